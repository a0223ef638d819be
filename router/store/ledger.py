"""Reads the ledger: its counts, what waits and why, the log of attempts."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from router.core.rows import FIRING
from router.model import Millis
from router.packed import unpack
from router.store import counters
from router.store.balance import recent_balance
from router.store.counters import CounterKind, Counts
from router.store.period import Period, whole_days
from router.store.schema import (
    WAITS,
    alerts,
    changes,
    conversations,
    fates,
    members,
)

FATE_NAMES = ("delivered", "pending", "held", "inhibited", "digest", "obsolete", "dropped", "dead")
_KINDS = (
    CounterKind.WEBHOOK,
    CounterKind.CHANGE,
    CounterKind.OWED,
    CounterKind.FATE,
    CounterKind.DELIVERY,
    CounterKind.ALERT,
)
"""The counters of the ledger. With many tenants, most counters are those of tenants."""


def ledger_from_counts(counts: Counts) -> dict[str, Any]:
    """Return the ledger as pages and the API show it. The counts are exact over all restarts and include pruned rows.

    ``imbalance`` is the difference between changes x destinations and their fates. Anything but zero is a bug.
    """
    by_destination: dict[str, Counter[str]] = defaultdict(Counter)
    attempts: dict[str, Counter[str]] = defaultdict(Counter)
    by_fate: Counter[str] = Counter()
    for (what, destination, value), count in counts.items():
        if what == CounterKind.FATE:
            by_destination[destination][value] = count
            by_fate[value] += count
        elif what == CounterKind.DELIVERY:
            attempts[destination][value] = count
    owed = counts.get((CounterKind.OWED, "", ""), 0)

    def of(what: str, values: Iterable[str]) -> dict[str, int]:
        return {value: counts.get((what, "", value), 0) for value in values}

    return {
        "webhooks": of(CounterKind.WEBHOOK, ("accepted", "quarantined")),
        "changes": of(CounterKind.CHANGE, ("fired", "resolved", "repeated")),
        "changes_x_destinations": owed,
        "fates": {fate: by_fate[fate] for fate in FATE_NAMES},
        "imbalance": owed - by_fate.total(),
        "by_destination": by_destination,
        "deliveries": attempts,
    }


def read_status(connection: sa.Connection) -> dict[str, Any]:
    """Return the ledger of all time and the number of alerts that are ``firing``. It reads only the counters."""
    counts = counters.read_counters(connection, *_KINDS)
    return {**ledger_from_counts(counts), "firing": counts.get((CounterKind.ALERT, "", FIRING), 0)}


def ledger_of_tenant(counts: Counts, tenant: str) -> dict[str, Any]:
    """Return the ledger of one tenant, as :func:`ledger_from_counts` does. Webhooks and deliveries have no tenant."""
    own = {
        (kind, destination, value): count
        for kind in counters.OF_TENANTS
        for (what, destination, value), count in counts.items()
        if what == counters.of_tenant(kind, tenant)
    }
    return ledger_from_counts(own)


def read_status_of_tenant(connection: sa.Connection, tenant: str) -> dict[str, Any]:
    """Return the ledger of one tenant of all time. It reads only the counters."""
    kinds = (counters.of_tenant(kind, tenant) for kind in counters.OF_TENANTS)
    return ledger_of_tenant(counters.read_counters(connection, *kinds), tenant)


def ledger_of_period(
    connection: sa.Connection, since: Millis | None, until: Millis | None, tenant: str | None = None
) -> dict[str, Any]:
    """Return the ledger of ``[since, until)`` (epoch ms; None: without bound). It reads every change of the period, so
    it takes longer than :func:`read_status`.

    Of pruned rows only the sums of whole days are known. So the ``since`` of the result can be earlier than the given
    one, and its ``until`` later than the given one. ``imbalance`` counts all missing and surplus fates, see
    :attr:`router.store.balance.Balance.off`. ``wrong`` lists the ids of the first ten changes that have too few or too
    many fates.

    :param tenant: only its changes; None: all
    """
    period = whole_days(connection, Period(since, until))
    if tenant is not None:
        found = ledger_of_tenant(counters.recount(connection, period), tenant)
        return {
            "since": period.since, "until": period.until, **found, "imbalance": abs(found["imbalance"]), "wrong": [],
        }  # fmt: skip
    balanced = recent_balance(connection, period=period)
    return {
        "since": period.since,
        "until": period.until,
        **ledger_from_counts(counters.recount(connection, period)),
        "imbalance": balanced.off,
        "wrong": list(balanced.changes),
    }


def alerts_of_changes(connection: sa.Connection, numbers: Sequence[int]) -> dict[int, int]:
    """Return the number of the alert of each of these changes."""
    rows = connection.execute(
        sa.select(changes.c.id, changes.c.alert_id).where(changes.c.id.in_(numbers)).order_by(changes.c.id)
    )
    return {row.id: row.alert_id for row in rows}


def waiting(connection: sa.Connection, limit: int = 200) -> list[dict[str, Any]]:
    """Return the newest firing alerts that a destination was not notified of, and why: {labels, annotations, level,
    starts_at, destination, fate, rule, reason, until}. ``until`` is epoch ms; None: it has no end yet.
    """
    fate = sa.case(
        (members.c.decision == "hold", "held"),
        (members.c.decision == "send", "pending"),
        (members.c.decision == "given_up", "dead"),
        else_=members.c.decision,
    )
    rows = connection.execute(
        sa.select(
            alerts.c.labels, alerts.c.annotations, alerts.c.level, alerts.c.starts_at, conversations.c.destination,
            fate.label("fate"), members.c.rule, members.c.reason,
            sa.func.coalesce(members.c.at, conversations.c.slot).label("until"),
        )
        .join(members, members.c.alert_id == alerts.c.id)
        .join(conversations, conversations.c.id == members.c.conversation_id)
        .where(WAITS)
        .order_by(members.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return [
        {**row, "labels": json.loads(row["labels"]), "annotations": json.loads(unpack(row["annotations"]))}
        for row in map(dict, rows.mappings())
    ]


def decisions(connection: sa.Connection, limit: int = 200) -> list[dict[str, Any]]:
    """Return the newest fates: {at, updated_at, kind, level, labels, destination, fate, rule, reason}."""
    rows = connection.execute(
        sa.select(
            fates.c.at, fates.c.updated_at, changes.c.kind, changes.c.level, alerts.c.labels, fates.c.destination,
            fates.c.fate, fates.c.rule, fates.c.reason,
        )
        .join(changes, changes.c.id == fates.c.change_id)
        .join(alerts, alerts.c.id == changes.c.alert_id)
        .order_by(fates.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return [{**row, "labels": json.loads(row["labels"])} for row in map(dict, rows.mappings())]
