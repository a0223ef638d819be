"""Reading the books: counts, backlog, what waits and why, the log of attempts, the quarantine."""

import json
from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.store.schema import (
    OPEN_FATES,
    alerts,
    changes,
    conversations,
    dead_letters,
    deliveries,
    fates,
    members,
    webhooks,
)  # fmt: skip


def ledger(connection: sa.Connection) -> dict[str, Any]:
    """The exact counts, over all restarts.

    ``imbalance`` is how far changes x destinations and their fates are apart: zero, or there is a bug.
    """
    kinds: dict[str, int] = dict(
        connection.execute(sa.select(changes.c.kind, sa.func.count()).group_by(changes.c.kind)).all()
    )
    owed = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(changes.c.destinations), 0))
    ).scalar_one()
    by_fate: dict[str, int] = dict(
        connection.execute(sa.select(fates.c.fate, sa.func.count()).group_by(fates.c.fate)).all()
    )
    by_destination: dict[str, dict[str, int]] = {}
    for destination, fate, count in connection.execute(
        sa.select(fates.c.destination, fates.c.fate, sa.func.count()).group_by(
            fates.c.destination, fates.c.fate
        )
    ):
        by_destination.setdefault(destination, {})[fate] = count
    outcomes = connection.execute(
        sa.select(deliveries.c.destination, sa.func.coalesce(deliveries.c.outcome, "under way"), sa.func.count())
        .group_by(deliveries.c.destination, deliveries.c.outcome)
    )  # fmt: skip
    attempts: dict[str, dict[str, int]] = {}
    for destination, outcome, count in outcomes:
        attempts.setdefault(destination, {})[outcome] = count
    accepted, quarantined = connection.execute(
        sa.select(
            sa.func.count().filter(webhooks.c.quarantined.is_(None)),
            sa.func.count().filter(webhooks.c.quarantined.is_not(None)),
        )
    ).one()
    return {
        "webhooks": {"accepted": accepted, "quarantined": quarantined},
        "changes": {kind: kinds.get(kind, 0) for kind in ("fired", "resolved", "repeated")},
        "changes_x_destinations": int(owed),
        "fates": {fate: by_fate.get(fate, 0) for fate in FATES},
        "imbalance": int(owed) - sum(by_fate.values()),
        "by_destination": by_destination,
        "deliveries": attempts,
    }


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
        (members.c.verdict == "hold", "held"),
        (members.c.verdict == "send", "pending"),
        else_=members.c.verdict,
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
            members.c.told != "firing",
            members.c.verdict != "drop",
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
    """The newest bodies that could not be used, whole: {id, source, received_at, reason, body (bytes)}."""
    rows = connection.execute(
        sa.select(webhooks.c.id, webhooks.c.source, webhooks.c.received_at, webhooks.c.quarantined.label("reason"), webhooks.c.body)
        .where(webhooks.c.quarantined.is_not(None))
        .order_by(webhooks.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    return [dict(row) for row in rows.mappings()]


def dead(connection: sa.Connection, limit: int = 500) -> list[dict[str, Any]]:
    """What was given up and nobody has settled yet, the newest first: {id, destination, at, reason, alerts}."""
    letters = connection.execute(
        sa.select(dead_letters)
        .where(dead_letters.c.state == "dead")
        .order_by(dead_letters.c.id.desc())
        .limit(limit)
    ).mappings()
    return [
        {
            **{name: letter[name] for name in ("id", "destination", "at", "reason")},
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
