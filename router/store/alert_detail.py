"""One alert with all that is known of its destinations: their states, their last decisions, and what was given up."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.model import Millis
from router.packed import unpack
from router.store.alert_rows import ListedAlert, listed_alerts
from router.store.schema import (
    IS_UNSETTLED,
    changes,
    configurations,
    dead_letters,
    deliveries,
    fates,
    inhibitors,
)
from router.store.waiting_alerts import InhibitingAlert, inhibiting_alerts

_MAX_CHANGES = 50
"""The last fate at each destination is looked for in so many of the latest changes."""
_MAX_FATES = 2_000


@dataclass(frozen=True, slots=True)
class LastFate:
    """What became of the last change of an alert at one destination. Times are epoch ms."""

    destination: str
    kind: str
    """Of the change: ``fired``, ``resolved`` or ``repeated``."""
    fate: str
    rule: str
    reason: str
    at: Millis
    updated_at: Millis
    position: str | None
    """The position of the rule (``file:line``); None: it is not known."""
    configuration: str | None
    """The sha256 of the files by which it was decided; None: it is not known."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """The last attempt of a conversation."""

    delivery: int
    outcome: str | None
    reason: str
    words: str
    finished_at: Millis | None


@dataclass(frozen=True, slots=True)
class AlertDetail:
    """An alert and its destinations."""

    alert: ListedAlert
    fates: Mapping[str, LastFate]
    """By destination."""
    positions: Mapping[tuple[str, str], LastFate]
    """The last fate of each rule at each destination, by destination and rule."""
    inhibitors: Mapping[int, InhibitingAlert]
    """By member."""
    dead_letters: Mapping[int, tuple[int, str]]
    """By conversation: the number of its open dead letter, and why it was given up."""
    failed: Mapping[int, FailedAttempt]
    """By conversation, if its last attempt failed."""
    mutes: bool
    """Whether it mutes other alerts by some inhibit rule while it fires."""


# Statements are built once, because that takes longer than running them.
_MUTES = sa.select(sa.exists().where(inhibitors.c.alert_id == sa.bindparam("alert")))
_LATEST = (
    sa.select(changes.c.id)
    .where(changes.c.alert_id == sa.bindparam("alert"))
    .order_by(changes.c.id.desc())
    .limit(_MAX_CHANGES)
).subquery()
_LAST_FATES = (
    sa.select(
        *(fates.c[name] for name in ("destination", "fate", "rule", "reason", "at", "updated_at", "configuration")),
        changes.c.kind,
    )
    .select_from(_LATEST.join(changes, changes.c.id == _LATEST.c.id).join(fates, fates.c.change_id == changes.c.id))
    .order_by(changes.c.id.desc(), fates.c.id.desc())
    .limit(_MAX_FATES)
)  # fmt: skip


def read_alert(connection: sa.Connection, alert: int) -> AlertDetail | None:
    """Return an alert; None: there is none with this id."""
    found = listed_alerts(connection, [alert], whole=True)
    if not found:
        return None
    (row,) = found
    several = _last_fates(connection, alert)
    given_up = [each.conversation for each in row.destinations if each.decision == "given_up"]
    failed = [each.conversation for each in row.destinations if each.attempts and not each.is_under_way]
    return AlertDetail(
        row,
        {each.destination: each for each in several},
        {(each.destination, each.rule): each for each in several},
        inhibiting_alerts(connection, row.destinations),
        _dead_letters(connection, given_up) if given_up else {},
        {each: attempt for each in failed if (attempt := _last_attempt(connection, each)) is not None},
        bool(connection.execute(_MUTES, {"alert": alert}).scalar_one()),
    )


def _last_fates(connection: sa.Connection, alert: int) -> list[LastFate]:
    """Return the fates of the latest changes, the oldest first."""
    rows = connection.execute(_LAST_FATES, {"alert": alert}).mappings().all()
    known = _configurations(connection, {row["configuration"] for row in rows} - {None})
    found = []
    for row in reversed(rows):
        sha256, positions = known.get(row["configuration"], (None, {}))
        found.append(
            LastFate(**{**row, "configuration": sha256}, position=positions.get(row["rule"])),
        )
    return found


def _configurations(
    connection: sa.Connection, ids: set[int | None]
) -> dict[int | None, tuple[str | None, dict[str, str]]]:
    rows = connection.execute(sa.select(configurations).where(configurations.c.id.in_(list(ids)))).mappings()
    return {row["id"]: (row["sha256"], json.loads(unpack(row["positions"]))) for row in rows}


def _dead_letters(connection: sa.Connection, conversations: Sequence[int]) -> dict[int, tuple[int, str]]:
    rows = connection.execute(
        sa.select(dead_letters.c.conversation_id, dead_letters.c.id, dead_letters.c.reason)
        .where(dead_letters.c.conversation_id.in_(conversations), IS_UNSETTLED)
        .order_by(dead_letters.c.id)
    )
    return {conversation: (number, reason) for conversation, number, reason in rows}


def _last_attempt(connection: sa.Connection, conversation: int) -> FailedAttempt | None:
    columns = (deliveries.c[name] for name in ("outcome", "reason", "words", "finished_at"))
    row = connection.execute(
        sa.select(deliveries.c.id.label("delivery"), *columns)
        .where(deliveries.c.conversation_id == conversation)
        .order_by(deliveries.c.id.desc())
        .limit(1)
    ).mappings().first()  # fmt: skip
    return None if row is None else FailedAttempt(**row)
