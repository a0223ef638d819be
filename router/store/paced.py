"""Reads a whole table in pieces, with pauses between them, so that other work gets the processor."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import sqlalchemy as sa

ROWS_PER_PIECE = 10_000
"""The number of rows of a piece."""
# There is no pause after a piece that took less than this.
_NO_PAUSE_BELOW_SECONDS = 0.005
_MAX_PAUSE_SECONDS = 1.0
# How long a pause within one transaction is, as a multiple of the time that the piece took. It is short, because until the
# transaction ends, the WAL of SQLite grows and PostgreSQL can't vacuum.
_PAUSE_SHARE_WITHIN_TRANSACTION = 1.0
# How long a pause between two transactions is, as a multiple of the time that the piece took. The work then uses a tenth of
# one processor, if a piece takes 0.1 s or less; ten million rows take some minutes.
_PAUSE_SHARE_BETWEEN_TRANSACTIONS = 9.0


def next_ids(
    id_: sa.Column[int], after: int | None, count: int, *where: sa.ColumnElement[bool]
) -> sa.Subquery:
    """Return a subquery of the next ids of a table, in order.

    :param id_: the primary key of the table
    :param after: the id of the last row before; None: begin with the first row
    :param count: the largest number of ids
    :param where: more conditions
    """
    later = () if after is None else (id_ > after,)
    return sa.select(id_).where(*where, *later).order_by(id_).limit(count).subquery()


@dataclass(frozen=True, slots=True)
class RowRange:
    """A piece of a table."""

    rows: sa.ColumnElement[bool]
    """The condition that selects its rows."""
    last: int | None
    """The id of its last row; None: no rows follow."""


def piece_after(connection: sa.Connection, id_: sa.Column[int], after: int | None = None) -> RowRange:
    """Return the next :data:`ROWS_PER_PIECE` rows of a table, see :func:`next_ids`."""
    some = next_ids(id_, after, ROWS_PER_PIECE)
    ends = sa.func.min(some.c[id_.name]), sa.func.max(some.c[id_.name]), sa.func.count()
    first, last, count = connection.execute(sa.select(*ends)).one()
    rows = sa.false() if last is None else sa.and_(id_ >= first, id_ <= last)
    return RowRange(rows, last if count == ROWS_PER_PIECE else None)


def pieces_with_pauses(connection: sa.Connection, id_: sa.Column[int]) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the condition of each piece of a table, within one transaction. It sleeps between the pieces, so call it in a
    reader's thread.
    """
    after: int | None = None
    while True:
        began = time.perf_counter()
        piece = piece_after(connection, id_, after)
        yield piece.rows
        if piece.last is None:
            return
        after = piece.last
        time.sleep(_pause(time.perf_counter() - began, _PAUSE_SHARE_WITHIN_TRANSACTION))


def pause_between(took: float) -> float:
    """Return how long to pause before the next transaction (seconds).

    :param took: how long the last one took (seconds)
    """
    return _pause(took, _PAUSE_SHARE_BETWEEN_TRANSACTIONS)


def _pause(took: float, share: float) -> float:
    return 0.0 if took < _NO_PAUSE_BELOW_SECONDS else min(took * share, _MAX_PAUSE_SECONDS)
