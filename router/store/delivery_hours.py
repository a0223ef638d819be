"""Counts the deliveries that ended in each hour, by destination and outcome. Charts are drawn from these counts.

A count changes in the same transaction as the rows of the deliveries. Hours that are older than :data:`KEPT` are added to
the counts of the hour 0, so that the counts of all hours always equal the counters.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from router.core.rows import INTERRUPTED
from router.core.state import State
from router.model import DAY, HOUR, Millis
from router.store import counters
from router.store.counters import CounterKind, Difference
from router.store.row_writes import RowInsert
from router.store.schema import delivery_hours

KEPT: Millis = 400 * DAY
"""How long single hours are kept: a year, and some weeks to compare it with."""
OLDER: Millis = 0
"""The hour that has the counts of all hours that are not kept."""
_PRUNED_AT_ONCE: Millis = 6 * HOUR
_COLUMNS = ("hour", "destination", "outcome", "count")
Hours = Mapping[tuple[Millis, str, str], int]
"""Counts by the first moment of the hour (epoch ms), destination key and outcome."""


def hour_of(at: Millis) -> Millis:
    """Return the first moment of an hour (epoch ms). Times before the epoch are in the hour :data:`OLDER`."""
    return max(at, OLDER) // HOUR * HOUR


def hour_changes(state: State) -> Hours:
    """Return by how much the unsaved deliveries change each count."""
    moves: dict[tuple[Millis, str, str], int] = {}
    for key, before in state.deliveries.before.items():
        after = state.deliveries.get(key)
        for row, number in ((before, -1), (after, 1)):
            if row is not None and row.outcome is not None:
                ended = row.started_at if row.finished_at is None else row.finished_at
                hour = hour_of(ended), row.destination, row.outcome
                moves[hour] = moves.get(hour, 0) + number
    return {hour: number for hour, number in moves.items() if number}


_ADD = "ON CONFLICT (hour, destination, outcome) DO UPDATE SET count = delivery_hours.count + excluded.count"
UPSERT = RowInsert("delivery_hours", _COLUMNS, ("bigint", "text", "text", "bigint"), _ADD)
"""Changes counts."""
_UPSERT = sa.text(UPSERT.values_sql(f":{name}" for name in _COLUMNS))
_MERGE = sa.text(
    "INSERT INTO delivery_hours (hour, destination, outcome, count)"  # noqa: S608  (constants)
    f" SELECT {OLDER}, destination, outcome, sum(count) FROM delivery_hours"
    f" WHERE hour > {OLDER} AND hour < :end GROUP BY destination, outcome {_ADD}"
)


def count_interrupted(connection: sa.Connection, under_way: Mapping[str, int], now: Millis) -> None:
    """Count deliveries that are under way as interrupted now. :param under_way: how many, by destination"""
    moves = [
        dict(zip(_COLUMNS, (hour_of(now), destination, INTERRUPTED, count), strict=True))
        for destination, count in under_way.items()
    ]
    if moves:
        connection.execute(_UPSERT, moves)


def first_old_hour(connection: sa.Connection, before: Millis) -> Millis | None:
    """Return the first hour that ends before a time and is not merged yet; None: there is none."""
    hour = delivery_hours.c.hour
    first = connection.execute(sa.select(sa.func.min(hour)).where(hour > OLDER)).scalar_one()
    return None if first is None or first >= hour_of(before) else int(first)


def merge_old_hours(connection: sa.Connection, before: Millis) -> int:
    """Add the oldest hours that end before a time to the hour :data:`OLDER`. Return how many rows were merged."""
    hour, first = delivery_hours.c.hour, first_old_hour(connection, before)
    if first is None:
        return 0
    end = min(hour_of(before), first + _PRUNED_AT_ONCE)
    connection.execute(_MERGE, {"end": end})
    return connection.execute(sa.delete(delivery_hours).where(hour > OLDER, hour < end)).rowcount


def differences(connection: sa.Connection) -> list[Difference]:
    """Return the sums of the hours that differ from the counters. It reads only counts."""
    ended = {
        (destination, outcome): count
        for (_, destination, outcome), count in counters.read_counters(
            connection, CounterKind.DELIVERY
        ).items()
        if outcome != counters.UNDER_WAY
    }
    columns = delivery_hours.c.destination, delivery_hours.c.outcome
    sums = {
        (destination, outcome): int(count)
        for destination, outcome, count in connection.execute(
            sa.select(*columns, sa.func.sum(delivery_hours.c.count)).group_by(*columns)
        )
        if count
    }
    return [
        Difference(("hours of deliveries", *key), sums.get(key, 0), ended.get(key, 0))
        for key in sorted({*ended, *sums})
        if ended.get(key, 0) != sums.get(key, 0)
    ]


def read_hours(
    connection: sa.Connection, since: Millis, until: Millis, destinations: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """Return the counts of the hours of a period in order: {hour, outcome, count}.

    :param since: the hour that it is in is the first one
    :param until: the hour that it is in is the last one
    :param destinations: only these; empty: all of them together
    """
    columns = delivery_hours.c.hour, delivery_hours.c.outcome
    query = (
        sa.select(*columns, sa.func.sum(delivery_hours.c.count).label("count"))
        .where(
            delivery_hours.c.hour >= max(hour_of(since), OLDER + 1),
            delivery_hours.c.hour <= hour_of(until),
        )
        .group_by(*columns)
        .order_by(*columns)
    )
    if destinations:
        query = query.where(delivery_hours.c.destination.in_(destinations))
    return [{**row, "count": int(row["count"])} for row in connection.execute(query).mappings()]
