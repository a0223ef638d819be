"""Reads how the notifications of one alert went: the fate of its firing and of its end at each destination, and the last
attempts. A test of a receiver asks this again and again, so the alert is found by its identity.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from router.core.members import NO_DESTINATION
from router.model import Millis
from router.store.schema import (
    IS_UNSETTLED,
    alerts,
    changes,
    conversations,
    dead_letters,
    deliveries,
    fates,
    members,
)

_MAX_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class ChangeFate:
    """Where a change stands at a destination."""

    fate: str
    reason: str
    at: Millis
    """When it got this fate."""


@dataclass(frozen=True, slots=True)
class MadeAttempt:
    """An attempt to send something of the conversation of an alert."""

    delivery: int
    outcome: str | None
    """None: it is under way."""
    reason: str
    words: str
    finished_at: Millis | None

    @property
    def shown(self) -> str:
        return ": ".join(filter(None, [self.reason, self.words]))


@dataclass(frozen=True, slots=True)
class DestinationProgress:
    """What is known at one destination."""

    fired: ChangeFate | None = None
    ended: ChangeFate | None = None
    attempts: tuple[MadeAttempt, ...] = ()
    """The oldest first."""
    next_at: Millis | None = None
    """When the conversation may be sent next; None: it has no news, or an attempt is under way."""
    refused: str = ""
    """The recipients of the destination that were given up, and why."""
    in_storm: bool = False
    """The message of a storm covered it, or tried to."""


def read_progress(
    connection: sa.Connection, source: str, identity: str, since: Millis
) -> dict[str, DestinationProgress]:
    """Return how the notifications of an alert went, by destination; empty: the alert is not known.

    :param since: only attempts that began at this time or later (epoch ms)
    """
    alert = connection.execute(
        sa.select(alerts.c.id).where(alerts.c.source == source, alerts.c.identity == identity)
    ).scalar()
    if alert is None:
        return {}
    fired, ended = _fates(connection, alert)
    # Each query names the rows of the next one: with a join, a planner may read whole tables.
    of_alert = sa.select(members.c.conversation_id).where(members.c.alert_id == alert).limit(_MAX_ROWS)
    numbers = list(connection.execute(of_alert).scalars())
    columns = (conversations.c[name] for name in ("id", "destination", "storm_id", "next_at"))
    rows = connection.execute(sa.select(*columns).where(conversations.c.id.in_(numbers))).all()
    ids = {id_ for row in rows for id_ in (row.id, row.storm_id) if id_ is not None}
    attempts, refused = _attempts(connection, ids, since), _refused(connection, ids)
    found = {
        key: DestinationProgress(fired.get(key), ended.get(key))
        for key in {**fired, **ended}
        if key != NO_DESTINATION
    }
    for row in sorted(rows, key=lambda each: int(each.id)):
        key = row.destination
        made = [*attempts.get(row.id, ()), *attempts.get(row.storm_id, ())]
        found[key] = DestinationProgress(
            fired.get(key), ended.get(key), tuple(sorted(made, key=lambda each: each.delivery)), row.next_at,
            "; ".join([*refused.get(row.id, ()), *refused.get(row.storm_id, ())]), row.storm_id is not None,
        )  # fmt: skip
    return found


def _fates(connection: sa.Connection, alert: int) -> tuple[dict[str, ChangeFate], dict[str, ChangeFate]]:
    """Return the fates of the first firing, and those of the last end, by destination."""
    of_alert = sa.select(changes.c.id, changes.c.kind).where(changes.c.alert_id == alert).limit(_MAX_ROWS)
    several = connection.execute(of_alert).all()
    kinds = {row.id: row.kind for row in several if row.kind in ("fired", "resolved")}
    columns = (fates.c[name] for name in ("id", "change_id", "destination", "fate", "reason", "updated_at"))
    rows = connection.execute(sa.select(*columns).where(fates.c.change_id.in_(list(kinds))).limit(_MAX_ROWS))
    fired: dict[str, ChangeFate] = {}
    ended: dict[str, ChangeFate] = {}
    for _, change, destination, fate, reason, at in sorted(tuple(row) for row in rows):
        if kinds[change] == "fired":
            fired.setdefault(destination, ChangeFate(fate, reason, at))
        else:
            ended[destination] = ChangeFate(fate, reason, at)
    return fired, ended


def _attempts(connection: sa.Connection, ids: set[int], since: Millis) -> dict[int | None, list[MadeAttempt]]:
    columns = (deliveries.c[name] for name in ("outcome", "reason", "words", "finished_at"))
    rows = connection.execute(
        sa.select(deliveries.c.conversation_id, deliveries.c.id, *columns)
        .where(deliveries.c.conversation_id.in_(ids), deliveries.c.started_at >= since)
        .limit(_MAX_ROWS)
    )
    found: dict[int | None, list[MadeAttempt]] = {}
    for conversation, *attempt in rows:
        found.setdefault(conversation, []).append(MadeAttempt(*attempt))
    return found


def _refused(connection: sa.Connection, ids: set[int]) -> dict[int | None, list[str]]:
    rows = connection.execute(
        sa.select(dead_letters.c.conversation_id, dead_letters.c.recipient, dead_letters.c.reason)
        .where(dead_letters.c.conversation_id.in_(ids), dead_letters.c.recipient != "", IS_UNSETTLED)
        .limit(_MAX_ROWS)
    )
    found: dict[int | None, list[str]] = {}
    for conversation, recipient, reason in rows:
        found.setdefault(conversation, []).append(f"not to {recipient}: {reason}")
    return found
