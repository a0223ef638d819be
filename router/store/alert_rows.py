"""Alerts as lists and pages show them: with their group, and with what each destination was notified of."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa

from router.model import Labels, Millis
from router.packed import unpack, unpack_short
from router.store.schema import alerts, conversations, groups, members

MAX_DESTINATIONS = 50
"""How many destinations of an alert a list has at most."""
_MEMBERS_PER_QUERY = 500
_NO_LABELS = frozenset({"", "{}"})
_MAX_ANNOTATION_BYTES = 64 * 1024
"""Annotations with more bytes are left out of lists."""


@dataclass(frozen=True, slots=True)
class AlertGroup:
    """An alert group of a sender."""

    id: int
    source: str
    receiver: str
    group_key: str
    labels: Labels
    external_url: str
    truncated: int


class DestinationState(NamedTuple):
    """What a destination was notified of about an alert, and what is to come. Times are epoch ms.

    A page may have hundreds, so it is a tuple, which is made faster than a dataclass.
    """

    member: int
    alert: int
    destination: str
    status: str
    """The status of the alert: ``firing`` or ``resolved``."""
    notified: str
    """``nothing``, ``unknown`` (an attempt is under way, or its answer was lost), ``firing`` or ``resolved``."""
    decision: str
    """``send``, ``hold``, ``digest``, ``inhibited``, ``drop`` or ``given_up``."""
    at: Millis | None
    """When it is due: the end of a hold, or the slot of a digest; None: it has no news."""
    rule: str
    reason: str
    inhibitor: str | None
    """The key of the inhibition."""
    held_since: Millis | None
    failover: bool
    conversation: int
    kind: str
    """``group``, ``alert`` or ``digest``."""
    attempts: int
    """How many attempts in a row have failed."""
    next_at: Millis | None
    """When its conversation is due, and not before the end of a backoff; None: nothing is due, or a delivery is under way."""
    is_under_way: bool
    notified_at: Millis | None
    """When the last successful delivery of its conversation ended."""


@dataclass(frozen=True, slots=True)
class ListedAlert:
    """An alert of a list. Times are epoch ms."""

    id: int
    source: str
    fingerprint: str
    labels: Labels
    annotations: Labels | None
    """None: they are too large for a list."""
    links: Labels
    generator_url: str
    status: str
    level: str
    starts_at: Millis | None
    ends_at: Millis | None
    changed_at: Millis
    seen_at: Millis
    note: str
    """Why it counts as ended although no sender resolved it."""
    withheld: str | None
    """Why Alertmanager would not notify of it now; None: it would, or is not asked."""
    last_change: int | None
    group: AlertGroup
    destinations: tuple[DestinationState, ...]
    destinations_left_out: int
    """How many more destinations there are."""


_COLUMNS = (
    "id", "source", "fingerprint", "labels", "links", "generator_url", "status", "level", "starts_at", "ends_at",
    "changed_at", "seen_at", "note", "withheld",
)  # fmt: skip


# Statements are built once, because that takes longer than running them.
_IDS: sa.BindParameter[int] = sa.bindparam("ids", expanding=True)
_LISTED = sa.select(
    *(alerts.c[name] for name in _COLUMNS),
    alerts.c.annotations,
    alerts.c.last_change_id.label("last_change"),
    alerts.c.group_id,
).where(alerts.c.id.in_(_IDS))
_GROUPS = sa.select(groups).where(groups.c.id.in_(_IDS))


def listed_alerts(
    connection: sa.Connection, ids: Sequence[int], *, whole: bool = False
) -> tuple[ListedAlert, ...]:
    """Return alerts in this order. Those that are gone are left out.

    :param whole: with their annotations, however large these are
    """
    if not ids:
        return ()
    rows = {row["id"]: row for row in connection.execute(_LISTED, {"ids": ids}).mappings().all()}
    of_groups = read_groups(connection, {row["group_id"] for row in rows.values()})
    states, more = destination_states(connection, list(rows))
    return tuple(
        ListedAlert(
            **{
                **{name: row[name] for name in _COLUMNS},
                "labels": json.loads(row["labels"]),
                "links": _as_labels(row["links"]),
            },
            annotations=_annotations(row["annotations"], whole=whole),
            last_change=row["last_change"],
            group=of_groups[row["group_id"]],
            destinations=tuple(states.get(id_, ())),
            destinations_left_out=more.get(id_, 0),
        )
        for id_ in ids
        if (row := rows.get(id_)) is not None
    )


def read_groups(connection: sa.Connection, ids: set[int]) -> dict[int, AlertGroup]:
    """Return groups by id."""
    if not ids:
        return {}
    rows = connection.execute(_GROUPS, {"ids": list(ids)}).mappings().all()
    return {row["id"]: AlertGroup(**{**row, "labels": json.loads(row["labels"])}) for row in rows}


# In the order of the fields of ``DestinationState``.
_STATE_COLUMNS = (
    members.c.id.label("member"), members.c.alert_id.label("alert"), conversations.c.destination, members.c.status,
    members.c.notified, members.c.decision, sa.func.coalesce(members.c.at, conversations.c.slot).label("at"),
    members.c.rule, members.c.reason, members.c.inhibitor, members.c.held_since, members.c.failover == 1,
    conversations.c.id.label("conversation"), conversations.c.kind, conversations.c.attempts, conversations.c.next_at,
    conversations.c.delivery_id.is_not(None).label("is_under_way"), conversations.c.notified_at,
)  # fmt: skip


_NUMBER = sa.func.row_number().over(partition_by=members.c.alert_id, order_by=members.c.id)
_NUMBERED = (
    sa.select(members.c.id, _NUMBER.label("number"))
    .where(members.c.alert_id.in_(_IDS), members.c.open == 1)
    .subquery()
)
_STATES_OF_ALERTS = (
    sa.select(*_STATE_COLUMNS)
    .select_from(
        _NUMBERED.join(members, members.c.id == _NUMBERED.c.id).join(
            conversations, conversations.c.id == members.c.conversation_id
        )
    )
    .where(_NUMBERED.c.number <= MAX_DESTINATIONS + 1)
)
_STATES_OF_MEMBERS = (
    sa.select(*_STATE_COLUMNS)
    .join(conversations, conversations.c.id == members.c.conversation_id)
    .where(members.c.id.in_(_IDS))
)


def destination_states(
    connection: sa.Connection, ids: Sequence[int]
) -> tuple[dict[int, list[DestinationState]], dict[int, int]]:
    """Return the states of alerts at the destinations of their open conversations, by alert, and how many are left out."""
    if not ids:
        return {}, {}
    rows = connection.execute(_STATES_OF_ALERTS, {"ids": ids}).all()
    found = sorted(map(DestinationState._make, rows), key=lambda each: each.member)
    states: dict[int, list[DestinationState]] = {}
    for state in found:
        states.setdefault(state.alert, []).append(state)
    cut = [alert for alert, several in states.items() if len(several) > MAX_DESTINATIONS]
    for alert in cut:
        del states[alert][MAX_DESTINATIONS:]
    return states, {alert: _count_open(connection, alert) - MAX_DESTINATIONS for alert in cut}


def states_of_members(connection: sa.Connection, ids: Sequence[int]) -> list[DestinationState]:
    """Return the states of members, in the order of their ids."""
    found: list[DestinationState] = []
    for first in range(0, len(ids), _MEMBERS_PER_QUERY):
        some = connection.execute(_STATES_OF_MEMBERS, {"ids": ids[first : first + _MEMBERS_PER_QUERY]}).all()
        found += map(DestinationState._make, some)
    return sorted(found, key=lambda each: each.member)


def _count_open(connection: sa.Connection, alert: int) -> int:
    query = sa.select(sa.func.count()).where(members.c.alert_id == alert, members.c.open == 1)
    return int(connection.execute(query).scalar_one())


def _annotations(packed: bytes, *, whole: bool) -> dict[str, str] | None:
    text = unpack(packed) if whole else unpack_short(packed, _MAX_ANNOTATION_BYTES)
    if text is None:
        return None
    found: dict[str, str] = json.loads(text.decode()) if text else {}
    return found


def _as_labels(text: str) -> dict[str, str]:
    if text in _NO_LABELS:
        return {}
    found = json.loads(text)
    return {name: value for name, value in found.items() if isinstance(value, str)}
