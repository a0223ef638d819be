"""Counters: how many rows are in each state. They make scans of the history unnecessary for pages and scrapes.

A counter changes in the same transaction as its rows. Pruned rows stay counted. A function for each kind of row says what
the row counts for; :func:`recount` computes the same numbers from the rows and from the sums of pruned rows.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.core.rows import (
    FIRING,
    INTERRUPTED,
    AlertRow,
    ChangeRow,
    ConversationRow,
    DeadLetterRow,
    DeliveryRow,
    FateRow,
    WebhookRow,
)
from router.core.state import State
from router.model import Fate
from router.store.paced import pieces_with_pauses
from router.store.period import ALWAYS, Period
from router.store.row_writes import RowInsert
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
"""The columns ``what``, ``destination`` and ``value`` of the table."""
Counts = Mapping[Key, int]


class CounterKind:
    """The kinds of counters: the values of the column ``what``."""

    WEBHOOK = "webhook"
    CHANGE = "change"
    OWED = "owed"
    """How many fates the changes must have: the sum of their destinations. The ledger compares it with the fates."""
    FATE = "fate"
    DELIVERY = "delivery"
    ALERT = "alert"
    CONVERSATION = "conversation"
    DEAD_LETTER = "dead letter"
    DUE = "due"
    """How many changes were due and delivered, by tenant. No counter: it is compared with the hours of objectives."""


OF_TENANTS = (CounterKind.CHANGE, CounterKind.OWED, CounterKind.FATE)
"""The kinds that are also counted for each tenant."""


def of_tenant(kind: str, tenant: str) -> str:
    """Return the column ``what`` of a counter that counts only one tenant."""
    return f"{kind} of {tenant}"


UNDER_WAY, WAITING, DEAD = "under way", "waiting", "dead"
_OF_WEBHOOKS = ("accepted", "quarantined")
_COUNTER_COLUMNS = ("what", "destination", "value", "count")

Counted = Sequence[tuple[Key, int]]


def _webhook(row: WebhookRow) -> Counted:
    return (((CounterKind.WEBHOOK, "", _OF_WEBHOOKS[row.quarantined is not None]), 1),)


def _change(row: ChangeRow) -> Counted:
    counted = ((CounterKind.CHANGE, "", row.kind), 1), ((CounterKind.OWED, "", ""), row.destinations)
    return (*counted, *_also_of(row.tenant, counted)) if row.tenant else counted


def _fate(row: FateRow) -> Counted:
    counted = (((CounterKind.FATE, row.destination, row.fate), 1),)
    return (*counted, *_also_of(row.tenant, counted)) if row.tenant else counted


def _also_of(tenant: str, counted: Counted) -> Counted:
    return tuple(((of_tenant(what, tenant), each, value), count) for (what, each, value), count in counted)


def _delivery(row: DeliveryRow) -> Counted:
    return (((CounterKind.DELIVERY, row.destination, row.outcome or UNDER_WAY), 1),)


def _alert(row: AlertRow) -> Counted:
    return (((CounterKind.ALERT, "", FIRING), 1),) if row.status == FIRING else ()


def _conversation(row: ConversationRow) -> Counted:
    return () if row.due_at is None else (((CounterKind.CONVERSATION, row.destination, WAITING), 1),)


def _dead_letter(row: DeadLetterRow) -> Counted:
    return (((CounterKind.DEAD_LETTER, row.destination, DEAD), 1),) if row.state == DEAD else ()


_COUNTS_OF_ROW: dict[str, Callable[[Any], Counted]] = {
    "webhooks": _webhook,
    "changes": _change,
    "fates": _fate,
    "deliveries": _delivery,
    "alerts": _alert,
    "conversations": _conversation,
    "dead_letters": _dead_letter,
}


def counter_changes(state: State) -> Counts:
    """Return by how much the unsaved rows change each counter."""
    moves: dict[Key, int] = {}
    for rows in state.tables:
        counted = _COUNTS_OF_ROW.get(rows.table.name) if rows.before else None
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


# Both databases support it: https://sqlite.org/lang_upsert.html,
# https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
UPSERT = RowInsert(
    "counters",
    _COUNTER_COLUMNS,
    ("text", "text", "text", "bigint"),
    "ON CONFLICT (what, destination, value) DO UPDATE SET count = counters.count + excluded.count",
)
"""Changes counters."""
_SELECT_COUNTS = f"SELECT {', '.join(_COUNTER_COLUMNS)} FROM counters WHERE count <> 0"  # noqa: S608  (constants)
_SELECT_ALL = sa.text(_SELECT_COUNTS)
_SELECT_KINDS = sa.text(f"{_SELECT_COUNTS} AND what IN :kinds").bindparams(
    sa.bindparam("kinds", expanding=True)
)
_UPSERT = sa.text(UPSERT.values_sql(f":{name}" for name in _COUNTER_COLUMNS))


def count_interrupted(connection: sa.Connection, under_way: Mapping[str, int]) -> None:
    """Count deliveries that are under way as interrupted. :param under_way: how many, by destination"""
    moves = [
        dict(zip(_COUNTER_COLUMNS, (CounterKind.DELIVERY, destination, value, number), strict=True))
        for destination, count in under_way.items()
        for value, number in ((UNDER_WAY, -count), (INTERRUPTED, count))
    ]
    if moves:
        connection.execute(_UPSERT, moves)


def read_counters(connection: sa.Connection, *kinds: str) -> Counts:
    """Return the counters of these kinds that are not zero. :param kinds: none: all, also those of tenants, which are many"""
    rows = connection.execute(_SELECT_KINDS, {"kinds": kinds}) if kinds else connection.execute(_SELECT_ALL)
    return {(each, destination, value): int(count) for each, destination, value, count in rows}


@dataclass(frozen=True, slots=True)
class Difference:
    """A counter that differs from the sum of its rows."""

    key: Key
    counted: int
    added_up: int

    def __str__(self) -> str:
        name = " ".join(filter(None, self.key))
        return f"{name}: counted {self.counted}, added up {self.added_up}"


def differences(
    connection: sa.Connection, due: Mapping[str, int], *, pauses: bool = True
) -> list[Difference]:
    """Return the counters that are wrong. It reads all rows, and repairs nothing.

    :param due: how many changes were due and delivered by another count, by tenant
    :param pauses: read the history in pieces with pauses, because a service needs the processor, too
    """
    counted = {(CounterKind.DUE, tenant, str(Fate.DELIVERED)): count for tenant, count in due.items()}
    counted |= read_counters(connection)
    added_up = recount(connection, pauses=pauses)
    return [
        Difference(key, counted.get(key, 0), added_up.get(key, 0))
        for key in sorted({*counted, *added_up})
        if counted.get(key, 0) != added_up.get(key, 0)
    ]


_Sums = sa.Select[Any, Any, Any, Any, Any] | sa.CompoundSelect[Any]
"""Selects what, destination, value, tenant and count of each key."""
_NONE = sa.literal("")


def recount(connection: sa.Connection, period: Period = ALWAYS, *, pauses: bool = False) -> Counts:
    """Compute the counters from the rows of a period, or of all time.

    A fate and its change count at the time when the change was accepted, an attempt at the time when it began.

    :param period: a result of :func:`router.store.period.whole_days`
    :param pauses: pause between the pieces of the history, see :func:`router.store.paced.pieces_with_pauses`
    """
    sums: Counter[Key] = Counter()
    for table, query in _HISTORY.items():
        for some in pieces_with_pauses(connection, table.c.id) if pauses else (sa.true(),):
            _add(sums, connection, query(period, some))
    _add(sums, connection, _of_pruned(period))
    if period == ALWAYS:
        _add(sums, connection, _of_now())
    return sums


def _add(sums: Counter[Key], connection: sa.Connection, query: _Sums) -> None:
    for what, destination, value, tenant, count in connection.execute(query):
        if what == CounterKind.DUE:
            sums[what, tenant, value] += int(count)
            continue
        sums[what, destination, value] += int(count)
        if tenant and what in OF_TENANTS:
            sums[of_tenant(what, tenant), destination, value] += int(count)


def _of_changes(period: Period, some: sa.ColumnElement[bool]) -> _Sums:
    these = (some, *period.holds(changes.c.at))
    owed = sa.func.coalesce(sa.func.sum(changes.c.destinations), 0)
    return sa.union_all(
        sa.select(sa.literal(CounterKind.CHANGE), _NONE, changes.c.kind, changes.c.tenant, sa.func.count())
        .where(*these)
        .group_by(changes.c.kind, changes.c.tenant),
        sa.select(sa.literal(CounterKind.OWED), _NONE, _NONE, changes.c.tenant, owed)
        .where(*these)
        .group_by(changes.c.tenant),
    )


def _of_webhooks(period: Period, some: sa.ColumnElement[bool]) -> _Sums:
    accepted = webhooks.c.quarantined.is_(None)
    return sa.union_all(
        *(
            sa.select(
                sa.literal(CounterKind.WEBHOOK), _NONE, sa.literal(value), _NONE, sa.func.count()
            ).where(some, which, *period.holds(webhooks.c.received_at))
            for value, which in (("accepted", accepted), ("quarantined", ~accepted))
        )
    )


def _of_fates(period: Period, some: sa.ColumnElement[bool]) -> _Sums:
    columns = fates.c.destination, fates.c.fate, fates.c.tenant
    kept = sa.select(sa.literal(CounterKind.FATE), *columns, sa.func.count()).where(some).group_by(*columns)
    if period != ALWAYS:
        return kept.join(changes, changes.c.id == fates.c.change_id).where(*period.holds(changes.c.at))
    due = sa.select(sa.literal(CounterKind.DUE), _NONE, fates.c.fate, fates.c.tenant, sa.func.count())
    was_due = some, fates.c.fate == Fate.DELIVERED, fates.c.due_at > 0
    return sa.union_all(kept, due.where(*was_due).group_by(fates.c.fate, fates.c.tenant))


def _of_deliveries(period: Period, some: sa.ColumnElement[bool]) -> _Sums:
    outcome = sa.func.coalesce(deliveries.c.outcome, UNDER_WAY)
    return (
        sa.select(sa.literal(CounterKind.DELIVERY), deliveries.c.destination, outcome, _NONE, sa.func.count())
        .where(some, *period.holds(deliveries.c.started_at))
        .group_by(deliveries.c.destination, deliveries.c.outcome)
    )


_HISTORY: dict[sa.Table, Callable[[Period, sa.ColumnElement[bool]], _Sums]] = {
    changes: _of_changes, webhooks: _of_webhooks, fates: _of_fates, deliveries: _of_deliveries,
}  # fmt: skip
"""The tables that grow with every webhook, and the query that computes the counters of some of their rows."""


def _of_pruned(period: Period) -> _Sums:
    owed, due = day_sums.c.what == "destinations", day_sums.c.what == "due and delivered"
    what = sa.case(
        (owed, CounterKind.OWED),
        (due, CounterKind.DUE),
        (day_sums.c.what.in_(_OF_WEBHOOKS), CounterKind.WEBHOOK),
        else_=CounterKind.CHANGE,
    )
    value = sa.case((owed, ""), (due, Fate.DELIVERED), else_=day_sums.c.what)
    of_table = (
        (day_sums, what, _NONE, value, day_sums.c.tenant),
        (fate_sums, sa.literal(CounterKind.FATE), fate_sums.c.destination, fate_sums.c.fate, fate_sums.c.tenant),
        (
            delivery_sums,
            sa.literal(CounterKind.DELIVERY),
            delivery_sums.c.destination,
            delivery_sums.c.outcome,
            _NONE,
        ),
    )  # fmt: skip
    return sa.union_all(
        *(
            sa.select(*columns, table.c.count).where(*period.holds(table.c.day))
            for table, *columns in of_table
        )
    )


def _of_now() -> _Sums:
    """Select the counters of the present state, which belong to no period."""

    def of(
        what: str, value: str, destination: sa.ColumnElement[str], which: sa.ColumnElement[bool]
    ) -> sa.Select[str, str, str, str, int]:
        named = sa.select(sa.literal(what), destination, sa.literal(value), _NONE, sa.func.count())
        return named.where(which).group_by(destination)

    firing = sa.select(sa.literal(CounterKind.ALERT), _NONE, sa.literal(FIRING), _NONE, sa.func.count())
    return sa.union_all(
        of(
            CounterKind.CONVERSATION,
            WAITING,
            conversations.c.destination,
            conversations.c.due_at.is_not(None),
        ),
        of(CounterKind.DEAD_LETTER, DEAD, dead_letters.c.destination, dead_letters.c.state == DEAD),
        firing.where(alerts.c.status == FIRING),
    )
