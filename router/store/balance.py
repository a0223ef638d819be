"""Whether the books balance: every change has one fate at each of its destinations."""

from dataclasses import dataclass

import sqlalchemy as sa

from router.store.paced import pieces
from router.store.period import ALWAYS, Period
from router.store.schema import changes, day_sums, fate_sums, fates


@dataclass(frozen=True, slots=True)
class Balance:
    off: int
    """Fates missing or too many at a change, changes without any, fates twice at one destination, all together;
    zero, or there is a bug."""
    changes: tuple[int, ...]
    """The first ten changes that are wrong."""
    seen: tuple[int, int]
    """The newest change and fate that were looked at."""


_found = sa.func.count(fates.c.id)
_off = (
    sa.func.abs(changes.c.destinations - _found)
    + sa.case((_found == 0, 1), else_=0)
    + (_found - sa.func.count(fates.c.destination.distinct()))
)


def balance(
    connection: sa.Connection,
    last: Balance | None = None,
    period: Period = ALWAYS,
    *,
    in_no_hurry: bool = False,
) -> Balance:
    """Of all changes of the period, or of those which came or got another fate since the ``last`` look.

    :param in_no_hurry: with rests, see :func:`router.store.paced.paced`
    """
    newest = tuple(
        connection.execute(sa.select(sa.func.coalesce(sa.func.max(table.c.id), 0))).scalar_one()
        for table in (changes, fates)
    )
    wrong = (
        sa.select(changes.c.id, _off)
        .outerjoin(fates, fates.c.change_id == changes.c.id)
        .where(*period.holds(changes.c.at))
        .group_by(changes.c.id)
        .having(_off > 0)
        .order_by(changes.c.id)
    )
    if last is not None:
        came = sa.select(changes.c.id).where(changes.c.id > last.seen[0])
        fated = sa.select(fates.c.change_id).where(fates.c.id > last.seen[1])
        wrong = wrong.where(changes.c.id.in_(sa.union(came, fated)))
    some_each = pieces(connection, changes.c.id, in_no_hurry=in_no_hurry)
    rows = [row for some in some_each for row in connection.execute(wrong.where(some))]
    pruned = _sum(connection, day_sums, period, day_sums.c.what == "destinations") - _sum(
        connection, fate_sums, period
    )
    return Balance(
        sum(off for _, off in rows) + abs(pruned), tuple(number for number, _ in rows[:10]),
        (newest[0], newest[1]),
    )  # fmt: skip


def _sum(connection: sa.Connection, table: sa.Table, period: Period, *which: sa.ColumnElement[bool]) -> int:
    total = sa.select(sa.func.coalesce(sa.func.sum(table.c.count), 0)).where(
        *period.holds(table.c.day), *which
    )
    return int(connection.execute(total).scalar_one())
