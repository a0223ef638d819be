"""Readings of all of the history: in pieces with rests, so that webhooks get the processor meanwhile."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

ROWS_PER_PIECE = 10_000
"""Rows of a piece."""
# Seconds. After a piece that is shorter than the first, there is no rest. No rest is longer than the second.
_NO_REST_BELOW_SECONDS, _MAX_REST_SECONDS = 0.005, 1.0
# How long the work within one transaction rests, as a share of the time that it works. No more: until it ends, the WAL
# of SQLite grows, and PostgreSQL can't clean up.
_REST_SHARE_WITHIN_TRANSACTION = 1.0
# How long other work rests. It takes a tenth of one processor, if a piece takes no longer than a tenth of a second; with
# ten million rows it lasts some minutes.
_REST_SHARE_BETWEEN_TRANSACTIONS = 9.0


def next_ids(
    id_: sa.Column[int], after: int | None, count: int, *where: sa.ColumnElement[bool]
) -> sa.Subquery:
    """The next rows of a table, in the order of their ids.

    :param id_: its primary key
    :param after: the id of the last row before; None: begin
    :param count: how many rows, if there are as many
    :param where: what else holds for them
    """
    later = () if after is None else (id_ > after,)
    return sa.select(id_).where(*where, *later).order_by(id_).limit(count).subquery()


@dataclass(frozen=True, slots=True)
class RowRange:
    rows: sa.ColumnElement[bool]
    """The condition that chooses them."""
    last: int | None
    """The id of the last one; None: there are no more after it."""


def piece_after(connection: sa.Connection, id_: sa.Column[int], after: int | None = None) -> RowRange:
    """The next :data:`PIECE` rows of a table, see :func:`next_ids`."""
    some = next_ids(id_, after, ROWS_PER_PIECE)
    ends = sa.func.min(some.c[id_.name]), sa.func.max(some.c[id_.name]), sa.func.count()
    first, last, count = connection.execute(sa.select(*ends)).one()
    rows = sa.false() if last is None else sa.and_(id_ >= first, id_ <= last)
    return RowRange(rows, last if count == ROWS_PER_PIECE else None)


def pieces_with_rests(connection: sa.Connection, id_: sa.Column[int]) -> Iterator[sa.ColumnElement[bool]]:
    """All pieces of a table within one transaction, with rests between them, in the reader's thread."""
    after: int | None = None
    while True:
        began = time.perf_counter()
        piece = piece_after(connection, id_, after)
        yield piece.rows
        if piece.last is None:
            return
        after = piece.last
        time.sleep(_rest(time.perf_counter() - began, _REST_SHARE_WITHIN_TRANSACTION))


def rest_between(took: float) -> float:
    """How long to rest before the next transaction, in seconds. :param took: the time of the last one"""
    return _rest(took, _REST_SHARE_BETWEEN_TRANSACTIONS)


def _rest(took: float, share: float) -> float:
    return 0.0 if took < _NO_REST_BELOW_SECONDS else min(took * share, _MAX_REST_SECONDS)
