"""Checks whether the ledger balances: every change has exactly one fate at each of its destinations."""

import asyncio
import time
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from router.store.database import Database
from router.store.paced import pause_between, piece_after
from router.store.period import ALWAYS, Period
from router.store.schema import changes, day_sums, fate_sums, fates


@dataclass(frozen=True, slots=True)
class Balance:
    """The result of a check of the ledger."""

    off: int
    """The number of missing and surplus fates, changes without a fate, and second fates at one destination. Anything but
    zero is a bug."""
    changes: tuple[int, ...]
    """The ids of the first ten changes that do not balance."""
    seen: tuple[int, int]
    """The ids of the newest change and the newest fate at the time of the check."""


_found = sa.func.count(fates.c.id)
_off_by = (
    sa.func.abs(changes.c.destinations - _found)
    + sa.case((_found == 0, 1), else_=0)
    + (_found - sa.func.count(fates.c.destination.distinct()))
)
_wrong_changes = (
    sa.select(changes.c.id, _off_by)
    .outerjoin(fates, fates.c.change_id == changes.c.id)
    .group_by(changes.c.id)
    .having(_off_by > 0)
    .order_by(changes.c.id)
)
_MAX_NAMED_CHANGES = 10


def recent_balance(
    connection: sa.Connection, last: Balance | None = None, period: Period = ALWAYS
) -> Balance:
    """Check the changes of the period.

    :param last: check only changes that were added, or got another fate, since this result
    """
    seen = newest_ids(connection)
    wrong = _wrong_changes.where(*period.holds(changes.c.at))
    if last is not None:
        came = sa.select(changes.c.id).where(changes.c.id > last.seen[0])
        fated = sa.select(fates.c.change_id).where(fates.c.id > last.seen[1])
        wrong = wrong.where(changes.c.id.in_(sa.union(came, fated)))
    rows = connection.execute(wrong).all()
    off = sum(off for _, off in rows) + pruned_off(connection, period)
    return Balance(off, tuple(number for number, _ in rows[:_MAX_NAMED_CHANGES]), seen)


def newest_ids(connection: sa.Connection) -> tuple[int, int]:
    """Return the ids of the newest change and the newest fate; 0: there is none."""
    change, fate = (
        connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
        for table in (changes, fates)
    )
    return change, fate


async def whole_balance(database: Database) -> Balance:
    """Check all changes in pieces, each a transaction of its own, with pauses between them."""
    seen = await database.read(newest_ids)
    off, after = await database.read(pruned_off), None
    named: list[int] = []
    while True:
        began = time.perf_counter()
        wrong, after = await database.read(partial(_balance_some, after=after))
        off += sum(off for _, off in wrong)
        named += [number for number, _ in wrong[: _MAX_NAMED_CHANGES - len(named)]]
        if after is None:
            return Balance(off, tuple(named), seen)
        await asyncio.sleep(pause_between(time.perf_counter() - began))


def _balance_some(connection: sa.Connection, after: int | None) -> tuple[list[tuple[int, int]], int | None]:
    """Check the next changes.

    :returns: ``(change id, imbalance)`` of those that do not balance, and the id after which the next piece begins (None:
        there is none)
    """
    piece = piece_after(connection, changes.c.id, after)
    wrong = connection.execute(_wrong_changes.where(piece.rows)).all()
    return [(number, off) for number, off in wrong], piece.last


def pruned_off(connection: sa.Connection, period: Period = ALWAYS) -> int:
    """Return the imbalance (see :attr:`Balance.off`) of the sums of pruned rows."""
    return abs(
        _sum(connection, day_sums, period, day_sums.c.what == "destinations")
        - _sum(connection, fate_sums, period)
    )


def _sum(connection: sa.Connection, table: sa.Table, period: Period, *which: sa.ColumnElement[bool]) -> int:
    total = sa.select(sa.func.coalesce(sa.func.sum(table.c.count), 0)).where(
        *period.holds(table.c.day), *which
    )
    return int(connection.execute(total).scalar_one())
