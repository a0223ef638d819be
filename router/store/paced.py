"""Readings of all of the history that nobody waits for: in pieces with rests, so that webhooks get the processor."""

import time
from collections.abc import Iterable, Iterator

import sqlalchemy as sa

PIECE = 10_000
"""Rows that are looked at between two rests."""
# What a reading takes of one processor at most. With ten million rows it lasts some minutes.
_SHARE = 0.1
# Seconds. A shorter piece needs no rest.
_SHORT = 0.005


def paced(connection: sa.Connection, id_: sa.Column[int]) -> Iterator[sa.ColumnElement[bool]]:
    """Conditions that choose all rows of a table, some at a time. It rests after each, in the reader's thread.

    :param id_: its primary key
    """
    last: int | None = None
    while True:
        began = time.thread_time()
        next_ones = sa.select(id_) if last is None else sa.select(id_).where(id_ > last)
        piece = next_ones.order_by(id_).limit(PIECE).subquery()
        first, until = connection.execute(
            sa.select(sa.func.min(piece.c[id_.name]), sa.func.max(piece.c[id_.name]))
        ).one()
        if until is None:
            return
        yield sa.and_(id_ >= first, id_ <= until)
        last = until
        took = time.thread_time() - began
        if took > _SHORT:
            time.sleep(took / _SHARE - took)


def pieces(
    connection: sa.Connection, id_: sa.Column[int], *, in_no_hurry: bool
) -> Iterable[sa.ColumnElement[bool]]:
    """As :func:`paced`, or one condition that chooses all rows."""
    return paced(connection, id_) if in_no_hurry else (sa.true(),)
