"""Counts the good and bad events of each objective in each hour, by tenant.

A change that is settled counts in the same transaction as its fate. Webhooks are counted in memory and added every few
seconds, see :mod:`router.objective_counts`. Hours that are older than :data:`~router.store.delivery_hours.KEPT` are added
to the counts of the hour 0, so the counts of all hours stay comparable with the rows of the ledger.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.core.settled import SettledChange, objective_results
from router.model import DAY, HOUR, Millis, Objective
from router.store.counters import CounterKind, read_counters
from router.store.delivery_hours import OLDER, hour_of
from router.store.row_writes import RowInsert
from router.store.schema import conversations, objective_hours

_PRUNED_AT_ONCE: Millis = 24 * HOUR
_COLUMNS = ("hour", "tenant", "objective", "good", "bad")
# Beyond this many, overdue conversations are not counted one by one.
_MAX_COUNTED = 10_000

EventKey = tuple[Millis, str, str]
"""The first moment of the hour (epoch ms), the tenant, and the objective."""
EventCounts = Mapping[EventKey, tuple[int, int]]
"""How many good and bad events there were."""


def count_settled(settled: Iterable[SettledChange]) -> EventCounts:
    """Return how many good and bad events these settled changes make."""
    moves: dict[EventKey, tuple[int, int]] = {}
    for each in settled:
        hour = hour_of(each.at)
        for objective, is_good in objective_results(each):
            key = hour, each.tenant, str(objective)
            good, bad = moves.get(key, (0, 0))
            moves[key] = good + is_good, bad + (not is_good)
    return moves


_ADD = (
    "ON CONFLICT (hour, tenant, objective) DO UPDATE"
    " SET good = objective_hours.good + excluded.good, bad = objective_hours.bad + excluded.bad"
)
UPSERT = RowInsert("objective_hours", _COLUMNS, ("bigint", "text", "text", "bigint", "bigint"), _ADD)
"""Adds to counts."""
_UPSERT = sa.text(UPSERT.values_sql(f":{name}" for name in _COLUMNS))
_MERGE = sa.text(
    "INSERT INTO objective_hours (hour, tenant, objective, good, bad)"  # noqa: S608  (constants)
    f" SELECT {OLDER}, tenant, objective, sum(good), sum(bad) FROM objective_hours"
    f" WHERE hour > {OLDER} AND hour < :end GROUP BY tenant, objective {_ADD}"
)


def add_events(connection: sa.Connection, counts: EventCounts) -> None:
    """Add events to the counts of their hours."""
    rows = [dict(zip(_COLUMNS, (*key, good, bad), strict=True)) for key, (good, bad) in counts.items()]
    if rows:
        connection.execute(_UPSERT, rows)


def first_old_hour(connection: sa.Connection, before: Millis) -> Millis | None:
    """Return the first hour that ends before a time and is not merged yet; None: there is none."""
    hour = objective_hours.c.hour
    first = connection.execute(sa.select(sa.func.min(hour)).where(hour > OLDER)).scalar_one()
    return None if first is None or first >= hour_of(before) else int(first)


def merge_old_hours(connection: sa.Connection, before: Millis) -> int:
    """Add the oldest hours that end before a time to the hour 0. Return how many rows were merged."""
    hour, first = objective_hours.c.hour, first_old_hour(connection, before)
    if first is None:
        return 0
    end = min(hour_of(before), first + _PRUNED_AT_ONCE)
    connection.execute(_MERGE, {"end": end})
    return connection.execute(sa.delete(objective_hours).where(hour > OLDER, hour < end)).rowcount


def delivered_events(connection: sa.Connection) -> dict[str, int]:
    """Return how many changes were due and delivered since the counts began, by tenant."""
    columns = objective_hours.c
    rows = connection.execute(
        sa.select(columns.tenant, sa.func.sum(columns.good))
        .where(columns.objective == Objective.DELIVERED)
        .group_by(columns.tenant)
    )
    return {tenant: int(good) for tenant, good in rows if good}


@dataclass(frozen=True, slots=True)
class Overdue:
    """Conversations that are due and not delivered. They are counted as good or bad when they are settled."""

    count: int
    urgent: int
    """Those with an alert of the most urgent level."""
    oldest: Millis | None
    """When the first of them was due (epoch ms); None: there is none."""
    is_exact: bool
    """There are not more than were counted."""


@dataclass(frozen=True, slots=True)
class ObjectiveCount:
    """The good and bad events of an objective of a tenant, in several periods."""

    tenant: str
    objective: str
    events: tuple[tuple[int, int], ...]
    """Good and bad events of each period, in the order of the question."""


def count_objectives(connection: sa.Connection, starts: Sequence[Millis]) -> list[ObjectiveCount]:
    """Return the events of each tenant and objective in periods that end now.

    :param starts: the beginnings of the periods, the longest period first; the hour that one is in belongs to it
    """
    columns, sums = objective_hours.c, []
    for start in starts:
        is_in = columns.hour >= hour_of(start)
        sums += [sa.func.sum(sa.case((is_in, each), else_=0)) for each in (columns.good, columns.bad)]
    rows = connection.execute(
        sa.select(columns.tenant, columns.objective, *sums)
        .where(columns.hour >= max(hour_of(starts[0]), OLDER + 1))
        .group_by(columns.tenant, columns.objective)
        .order_by(columns.tenant, columns.objective)
    )
    return [
        ObjectiveCount(
            tenant, objective, tuple(zip(map(int, counts[::2]), map(int, counts[1::2]), strict=True))
        )
        for tenant, objective, *counts in rows
    ]


def first_counted_hour(connection: sa.Connection) -> Millis | None:
    """Return the first hour that has counts and is kept (epoch ms); None: nothing is counted yet."""
    hour = objective_hours.c.hour
    first = connection.execute(sa.select(sa.func.min(hour)).where(hour > OLDER)).scalar_one()
    return None if first is None else int(first)


def count_days(
    connection: sa.Connection, since: Millis, tenant: str | None
) -> list[tuple[str, Millis, int, int]]:
    """Return the events of each objective on each day: objective, the first moment of the day (UTC, epoch ms), good, bad.

    :param since: the hour that it is in is the first one
    :param tenant: None: all together
    """
    columns = objective_hours.c
    day = columns.hour - columns.hour % sa.literal_column(str(DAY))
    query = (
        sa.select(columns.objective, day.label("day"), sa.func.sum(columns.good), sa.func.sum(columns.bad))
        .where(columns.hour >= max(hour_of(since), OLDER + 1))
        .group_by(columns.objective, day)
        .order_by(columns.objective, day)
    )
    if tenant is not None:
        query = query.where(columns.tenant == tenant)
    return [(name, int(at), int(good), int(bad)) for name, at, good, bad in connection.execute(query)]


def read_overdue(connection: sa.Connection, urgent_before: Millis, any_before: Millis) -> Overdue:
    """Return which conversations wait although they were due.

    :param urgent_before: urgent ones count if they were due before this time (epoch ms)
    :param any_before: the same for the others
    """
    destination, due_at, urgency = (
        conversations.c.destination,
        conversations.c.due_at,
        conversations.c.urgency,
    )
    waiting = [
        key for (_, key, _), count in read_counters(connection, CounterKind.CONVERSATION).items() if count
    ]
    rows = connection.execute(
        sa.select(due_at, urgency)
        .where(
            # Of each destination, only the beginning of an index is read, however many wait for their opening.
            destination.in_(waiting), due_at.is_not(None), due_at < max(urgent_before, any_before),
            due_at < sa.case((urgency == 0, urgent_before), else_=any_before),
        )
        .limit(_MAX_COUNTED + 1)
    ).all()  # fmt: skip
    return Overdue(
        min(len(rows), _MAX_COUNTED), sum(rank == 0 for _, rank in rows), min((at for at, _ in rows), default=None),
        len(rows) <= _MAX_COUNTED,
    )  # fmt: skip
