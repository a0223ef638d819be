"""Counters: how many rows are in each state, moved in the transaction that moves the rows. No page and no scrape
scans the history.

Rows that are pruned stay counted. Each kind of row says what it counts for, and :func:`recount` adds up the same from
the rows and from the sums of those that were pruned.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.core.rows import (
    FIRING,
    AlertRow,
    ChangeRow,
    ConversationRow,
    DeadLetterRow,
    DeliveryRow,
    FateRow,
    WebhookRow,
)
from router.core.state import State
from router.store.paced import paced
from router.store.period import ALWAYS, Period
from router.store.schema import (
    alerts,
    changes,
    conversations,
    day_sums,
    dead_letters,
    deliveries,
    delivery_sums,
    fate_sums,
    fates,
    webhooks,
)  # fmt: skip

Key = tuple[str, str, str]
"""What, destination, value: see the table."""
Counts = Mapping[Key, int]

WEBHOOK, CHANGE, OWED, FATE, DELIVERY = "webhook", "change", "owed", "fate", "delivery"
ALERT, CONVERSATION, LETTER = "alert", "conversation", "dead letter"
UNDER_WAY, INTERRUPTED, WAITING, DEAD = "under way", "interrupted", "waiting", "dead"
_OF_WEBHOOKS = ("accepted", "quarantined")
_COLUMNS = ("what", "destination", "value", "count")

Counted = Sequence[tuple[Key, int]]


def _webhook(row: WebhookRow) -> Counted:
    return (((WEBHOOK, "", _OF_WEBHOOKS[row.quarantined is not None]), 1),)


def _change(row: ChangeRow) -> Counted:
    return ((CHANGE, "", row.kind), 1), ((OWED, "", ""), row.destinations)


def _fate(row: FateRow) -> Counted:
    return (((FATE, row.destination, row.fate), 1),)


def _delivery(row: DeliveryRow) -> Counted:
    return (((DELIVERY, row.destination, row.outcome or UNDER_WAY), 1),)


def _alert(row: AlertRow) -> Counted:
    return (((ALERT, "", FIRING), 1),) if row.status == FIRING else ()


def _conversation(row: ConversationRow) -> Counted:
    return () if row.due_at is None else (((CONVERSATION, row.destination, WAITING), 1),)


def _letter(row: DeadLetterRow) -> Counted:
    return (((LETTER, row.destination, DEAD), 1),) if row.state == DEAD else ()


_COUNTED: dict[str, Callable[[Any], Counted]] = {
    "webhooks": _webhook,
    "changes": _change,
    "fates": _fate,
    "deliveries": _delivery,
    "alerts": _alert,
    "conversations": _conversation,
    "dead_letters": _letter,
}


def moved(state: State) -> Counts:
    """By how much the rows that are not saved yet move each counter."""
    moves: dict[Key, int] = {}
    for rows in state.tables:
        counted = _COUNTED.get(rows.table.name) if rows.before else None
        if counted is None:
            continue
        for key, before in rows.before.items():
            after = rows.get(key)
            was = () if before is None else counted(before)
            is_ = () if after is None else counted(after)
            if was == is_:
                continue
            for counter, number in was:
                moves[counter] = moves.get(counter, 0) - number
            for counter, number in is_:
                moves[counter] = moves.get(counter, 0) + number
    return {counter: number for counter, number in moves.items() if number}


def moving(parameters: Iterable[str]) -> str:
    """The statement that moves a counter by so much.

    :param parameters: how its parameters are written: what, destination, value and number
    """
    # Every database that we have understands it. https://sqlite.org/lang_upsert.html
    return (
        f"INSERT INTO counters ({', '.join(_COLUMNS)}) VALUES ({', '.join(parameters)})"  # noqa: S608  (constants)
        " ON CONFLICT (what, destination, value) DO UPDATE SET count = counters.count + excluded.count"
    )


_ALL = sa.text(f"SELECT {', '.join(_COLUMNS)} FROM counters WHERE count <> 0")  # noqa: S608  (constants)
_MOVING = sa.text(moving(f":{name}" for name in _COLUMNS))


def interrupted(connection: sa.Connection) -> None:
    """All deliveries that are under way are about to be interrupted."""
    rows = connection.execute(
        sa.select(deliveries.c.destination, sa.func.count())
        .where(deliveries.c.outcome.is_(None))
        .group_by(deliveries.c.destination)
    )
    moves = [
        dict(zip(_COLUMNS, (DELIVERY, destination, value, number), strict=True))
        for destination, count in rows.all()
        for value, number in ((UNDER_WAY, -count), (INTERRUPTED, count))
    ]
    if moves:
        connection.execute(_MOVING, moves)


def read(connection: sa.Connection) -> Counts:
    rows = connection.execute(_ALL)
    return {(each, destination, value): int(count) for each, destination, value, count in rows}


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that is not what its rows add up to."""

    key: Key
    counted: int
    added_up: int

    def __str__(self) -> str:
        name = " ".join(filter(None, self.key))
        return f"{name}: counted {self.counted}, added up {self.added_up}"


def differences(connection: sa.Connection) -> list[Difference]:
    """The counters that are wrong. All rows are looked at, those of the history with rests; nothing is repaired."""
    counted, added_up = read(connection), recount(connection, rests=True)
    return [
        Difference(key, counted.get(key, 0), added_up.get(key, 0))
        for key in sorted({*counted, *added_up})
        if counted.get(key, 0) != added_up.get(key, 0)
    ]


def recount(connection: sa.Connection, period: Period = ALWAYS, *, rests: bool = False) -> Counts:
    """What the rows add up to, those of a period or all. All of them are looked at.

    A fate and its change count when the change was accepted, an attempt when it began.

    :param period: one that is :func:`router.store.period.known`
    :param rests: see :func:`router.store.paced.paced`
    """
    sums: Counter[Key] = Counter()
    for key, count in _added_up(connection, period, rests=rests):
        sums[key] += int(count)
    return sums


def _added_up(connection: sa.Connection, period: Period, *, rests: bool) -> Iterator[tuple[Key, int]]:
    for some in paced(connection, changes.c.id) if rests else (sa.true(),):
        for value, count, owed in connection.execute(_of_changes(period, some)):
            yield (CHANGE, "", value), count
            yield (OWED, "", ""), owed
    for value, count in connection.execute(_of_days(period)):
        what = OWED if value == "destinations" else WEBHOOK if value in _OF_WEBHOOKS else CHANGE
        yield (what, "", "" if what == OWED else value), count
    for some in paced(connection, fates.c.id) if rests else (sa.true(),):
        for destination, fate, count in connection.execute(_of_fates(period, some)):
            yield (FATE, destination, fate), count
    for destination, fate, count in connection.execute(_of_pruned_fates(period)):
        yield (FATE, destination, fate), count
    for destination, outcome, count in connection.execute(_of_deliveries(period)):
        yield (DELIVERY, destination, outcome), count
    if period == ALWAYS:
        yield from (((what, to, value), count) for what, to, value, count in connection.execute(_of_now()))


def _of_changes(period: Period, some: sa.ColumnElement[bool]) -> sa.Select[str, int, int]:
    return (
        sa.select(changes.c.kind, sa.func.count(), sa.func.sum(changes.c.destinations))
        .where(some, *period.holds(changes.c.at))
        .group_by(changes.c.kind)
    )


def _of_days(period: Period) -> sa.CompoundSelect[Any]:
    count, accepted = sa.func.count(), webhooks.c.quarantined.is_(None)
    return sa.union_all(
        sa.select(sa.literal("accepted"), count).where(accepted, *period.holds(webhooks.c.received_at)),
        sa.select(sa.literal("quarantined"), count).where(~accepted, *period.holds(webhooks.c.received_at)),
        sa.select(day_sums.c.what, sa.func.sum(day_sums.c.count))
        .where(*period.holds(day_sums.c.day))
        .group_by(day_sums.c.what),
    )


def _of_fates(period: Period, some: sa.ColumnElement[bool]) -> sa.Select[str, str, int]:
    kept = sa.select(fates.c.destination, fates.c.fate, sa.func.count()).where(some)
    if period != ALWAYS:
        kept = kept.join(changes, changes.c.id == fates.c.change_id).where(*period.holds(changes.c.at))
    return kept.group_by(fates.c.destination, fates.c.fate)


def _of_pruned_fates(period: Period) -> sa.Select[str, str, int]:
    return (
        sa.select(fate_sums.c.destination, fate_sums.c.fate, sa.func.sum(fate_sums.c.count))
        .where(*period.holds(fate_sums.c.day))
        .group_by(fate_sums.c.destination, fate_sums.c.fate)
    )


def _of_deliveries(period: Period) -> sa.CompoundSelect[Any]:
    outcome = sa.func.coalesce(deliveries.c.outcome, UNDER_WAY)
    return sa.union_all(
        sa.select(deliveries.c.destination, outcome, sa.func.count())
        .where(*period.holds(deliveries.c.started_at))
        .group_by(deliveries.c.destination, deliveries.c.outcome),
        sa.select(delivery_sums.c.destination, delivery_sums.c.outcome, sa.func.sum(delivery_sums.c.count))
        .where(*period.holds(delivery_sums.c.day))
        .group_by(delivery_sums.c.destination, delivery_sums.c.outcome),
    )


def _of_now() -> sa.CompoundSelect[Any]:
    """What is so now, and of no period."""

    def of(
        what: str, value: str, destination: sa.ColumnElement[str], which: sa.ColumnElement[bool]
    ) -> sa.Select[str, str, str, int]:
        named = sa.select(sa.literal(what), destination, sa.literal(value), sa.func.count())
        return named.where(which).group_by(destination)

    firing = sa.select(sa.literal(ALERT), sa.literal(""), sa.literal(FIRING), sa.func.count())
    return sa.union_all(
        of(CONVERSATION, WAITING, conversations.c.destination, conversations.c.due_at.is_not(None)),
        of(LETTER, DEAD, dead_letters.c.destination, dead_letters.c.state == DEAD),
        firing.where(alerts.c.status == FIRING),
    )
