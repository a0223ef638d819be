"""Reading the books: counts, backlog, what waits and why, the log of attempts, the quarantine."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.store.balance import balance
from router.store.period import ALWAYS, Period, known
from router.store.schema import (
    OPEN_FATES,
    alerts,
    changes,
    conversations,
    day_sums,
    dead_letters,
    deliveries,
    delivery_sums,
    fate_sums,
    fates,
    members,
    webhooks,
)  # fmt: skip

# A list of bodies shows so many bytes of each: a hundred whole ones can be more than the memory holds.
_SHOWN = 20_000


def ledger(connection: sa.Connection, period: Period = ALWAYS) -> dict[str, Any]:
    """The exact counts over all restarts: of the rows that are there, and of those that were pruned.

    A fate and its change count when the change was accepted, an attempt when it began.
    ``imbalance`` is how far changes x destinations and their fates are apart: zero, or there is a bug.

    :param period: one that is :func:`router.store.period.known`
    """
    counts: Counter[str] = Counter()
    for what, count in connection.execute(_day_counts(period)):
        counts[what] += int(count)
    by_destination: dict[str, Counter[str]] = defaultdict(Counter)
    by_fate: Counter[str] = Counter()
    for destination, fate, count in connection.execute(_fate_counts(period)):
        by_destination[destination][fate] += int(count)
        by_fate[fate] += int(count)
    attempts: dict[str, Counter[str]] = defaultdict(Counter)
    for destination, outcome, count in connection.execute(_delivery_counts(period)):
        attempts[destination][outcome] += int(count)
    return {
        "webhooks": {what: counts[what] for what in ("accepted", "quarantined")},
        "changes": {kind: counts[kind] for kind in ("fired", "resolved", "repeated")},
        "changes_x_destinations": counts["destinations"],
        "fates": {fate: by_fate[fate] for fate in FATES},
        "imbalance": counts["destinations"] - by_fate.total(),
        "by_destination": by_destination,
        "deliveries": attempts,
    }


def account(connection: sa.Connection, since: Millis | None, until: Millis | None) -> dict[str, Any]:
    """The ledger of ``[since, until)`` (epoch ms; None: without bound), each of its changes looked at.

    ``since`` and ``until`` are those it is of: whole days where something was pruned. ``wrong`` are the first ten
    changes that are not balanced, ``imbalance`` is by how much all of them are off.
    """
    period = known(connection, Period(since, until))
    balanced = balance(connection, period=period)
    return {
        "since": period.since,
        "until": period.until,
        **ledger(connection, period),
        "imbalance": balanced.off,
        "wrong": list(balanced.changes),
    }


def _day_counts(period: Period) -> sa.CompoundSelect[Any]:
    count, accepted = sa.func.count(), webhooks.c.quarantined.is_(None)
    return sa.union_all(
        sa.select(changes.c.kind, count).where(*period.holds(changes.c.at)).group_by(changes.c.kind),
        sa.select(sa.literal("destinations"), sa.func.coalesce(sa.func.sum(changes.c.destinations), 0)).where(
            *period.holds(changes.c.at)
        ),
        sa.select(sa.literal("accepted"), count).where(accepted, *period.holds(webhooks.c.received_at)),
        sa.select(sa.literal("quarantined"), count).where(~accepted, *period.holds(webhooks.c.received_at)),
        sa.select(day_sums.c.what, sa.func.sum(day_sums.c.count))
        .where(*period.holds(day_sums.c.day))
        .group_by(day_sums.c.what),
    )


def _fate_counts(period: Period) -> sa.CompoundSelect[Any]:
    kept = sa.select(fates.c.destination, fates.c.fate, sa.func.count())
    if period != ALWAYS:
        kept = kept.join(changes, changes.c.id == fates.c.change_id).where(*period.holds(changes.c.at))
    return sa.union_all(
        kept.group_by(fates.c.destination, fates.c.fate),
        sa.select(fate_sums.c.destination, fate_sums.c.fate, sa.func.sum(fate_sums.c.count))
        .where(*period.holds(fate_sums.c.day))
        .group_by(fate_sums.c.destination, fate_sums.c.fate),
    )


def _delivery_counts(period: Period) -> sa.CompoundSelect[Any]:
    outcome = sa.func.coalesce(deliveries.c.outcome, "under way")
    return sa.union_all(
        sa.select(deliveries.c.destination, outcome, sa.func.count())
        .where(*period.holds(deliveries.c.started_at))
        .group_by(deliveries.c.destination, deliveries.c.outcome),
        sa.select(delivery_sums.c.destination, delivery_sums.c.outcome, sa.func.sum(delivery_sums.c.count))
        .where(*period.holds(delivery_sums.c.day))
        .group_by(delivery_sums.c.destination, delivery_sums.c.outcome),
    )


FATES = ("delivered", "pending", "held", "inhibited", "digest", "moot", "dropped", "dead")


def firing(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).where(alerts.c.status == "firing")).scalar_one()


def backlog(connection: sa.Connection, now: Millis) -> list[dict[str, Any]]:
    """By destination: conversations that are due (``count``), since when (``oldest_at``, ms), failures in a row,
    and when the next attempt is (``next_at``, ms).
    """
    rows = connection.execute(
        sa.select(
            conversations.c.destination,
            sa.func.count(),
            sa.func.min(conversations.c.due_at),
            sa.func.max(conversations.c.attempts),
            sa.func.min(conversations.c.not_before),
        )
        .where(conversations.c.due_at <= now, conversations.c.state == "open")
        .group_by(conversations.c.destination)
        .order_by(conversations.c.destination)
    )
    return [
        {
            "destination": destination,
            "count": count,
            "oldest_at": oldest,
            "attempts": attempts,
            "next_at": next_at,
        }
        for destination, count, oldest, attempts, next_at in rows
    ]


def waiting(connection: sa.Connection, limit: int = 200) -> list[dict[str, Any]]:
    """What fires and is not told somewhere, and why: fate, rule, reason, until (ms, None: open)."""
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
        .where(
            conversations.c.state == "open",
            members.c.status == "firing",
            members.c.notified != "firing",
            members.c.decision != "drop",
        )
        .order_by(members.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return [
        {**row, "labels": json.loads(row["labels"]), "annotations": json.loads(row["annotations"])}
        for row in map(dict, rows.mappings())
    ]


def decided(connection: sa.Connection, limit: int = 200) -> list[dict[str, Any]]:
    """The newest fates: for whom, of which alert and change, and why."""
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


def attempts(connection: sa.Connection, limit: int = 100) -> list[dict[str, Any]]:
    """The newest delivery attempts."""
    columns = (c for c in deliveries.c if c.name != "conversation_id")
    rows = connection.execute(sa.select(*columns).order_by(deliveries.c.id.desc()).limit(limit))
    return [dict(row) for row in rows.mappings()]


def quarantined(connection: sa.Connection, limit: int = 100) -> list[dict[str, Any]]:
    """The newest bodies that could not be used: {id, source, received_at, reason, content_encoding, size (bytes),
    body (bytes, its beginning as it came)}.
    """
    rows = connection.execute(
        sa.select(
            webhooks.c.id, webhooks.c.source, webhooks.c.received_at, webhooks.c.quarantined.label("reason"),
            webhooks.c.content_encoding, sa.func.length(webhooks.c.body).label("size"),
            # Of an empty one, SQLite's substr makes NULL.
            sa.func.coalesce(sa.func.substr(webhooks.c.body, 1, _SHOWN), b"", type_=sa.LargeBinary).label("body"),
        )
        .where(webhooks.c.quarantined.is_not(None))
        .order_by(webhooks.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return [dict(row) for row in rows.mappings()]


@dataclass(frozen=True, slots=True)
class Kept:
    """A webhook that is not decided yet."""

    source: str
    received_at: Millis
    body: bytes
    sender: str


def undecided(connection: sa.Connection) -> list[int]:
    """The webhooks that are not decided yet, in the order of their arrival."""
    rows = connection.execute(
        sa.select(webhooks.c.id).where(webhooks.c.undecided.is_not(None)).order_by(webhooks.c.id)
    )
    return list(rows.scalars())


def kept(connection: sa.Connection, arrival: int) -> Kept:
    columns = webhooks.c.source, webhooks.c.received_at, webhooks.c.body, webhooks.c.sender
    return Kept(*connection.execute(sa.select(*columns).where(webhooks.c.id == arrival)).one())


def quarantined_body(connection: sa.Connection, number: int) -> bytes | None:
    wanted = webhooks.c.id == number, webhooks.c.quarantined.is_not(None)
    return connection.execute(sa.select(webhooks.c.body).where(*wanted)).scalar()


def dead(connection: sa.Connection, limit: int = 500) -> list[dict[str, Any]]:
    """What was given up and nobody has settled yet, the newest first: {id, destination, recipient, at,
    reason, alerts}; ``recipient``: who alone was not told; empty: nobody was.
    """
    letters = connection.execute(
        sa.select(dead_letters)
        .where(dead_letters.c.state == "dead")
        .order_by(dead_letters.c.id.desc())
        .limit(limit)
    ).mappings()
    return [
        {
            **{name: letter[name] for name in ("id", "destination", "recipient", "at", "reason")},
            "alerts": _given_up(connection, json.loads(letter["tellings"])),
        }
        for letter in letters
    ]


def dead_counts(connection: sa.Connection) -> dict[str, int]:
    rows = connection.execute(
        sa.select(dead_letters.c.destination, sa.func.count())
        .where(dead_letters.c.state == "dead")
        .group_by(dead_letters.c.destination)
    )
    return dict(rows.all())


def _given_up(connection: sa.Connection, tellings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = {each["member"]: each["status"] for each in tellings[:50]}
    rows = connection.execute(
        sa.select(members.c.id, alerts.c.labels, alerts.c.level, alerts.c.status)
        .join(alerts, alerts.c.id == members.c.alert_id)
        .where(members.c.id.in_(wanted))
        .order_by(members.c.id)
    ).mappings()
    return [
        {
            "labels": json.loads(row["labels"]),
            "level": row["level"],
            "untold": wanted[row["id"]],
            "status": row["status"],
        }
        for row in rows
    ]


def open_fates(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.count()).where(fates.c.fate.in_(OPEN_FATES))).scalar_one()
