"""What a conversation is about, in the few words that lists of deliveries and dead letters have room for."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.store.schema import alerts, conversations, groups, members
from router.store.totals import Total, count_rows

_MAX_NAMES = 3
# SQLite limits the number of parts of a UNION. https://sqlite.org/limits.html
_CONVERSATIONS_PER_QUERY = 100


@dataclass(frozen=True, slots=True)
class Topic:
    """What a conversation is about."""

    kind: str
    """group, alert, digest or storm."""
    urgency: int
    """The rank of its most urgent alert; 0: the most urgent level."""
    labels: dict[str, str]
    """The labels of its group; empty: it has none."""
    names: tuple[str, ...]
    """The names of its first alerts, without repetition; empty: a storm, or all of its alerts are pruned."""
    alerts: int
    """How many alerts it has had."""


def topics_of(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Topic]:
    """Return what each conversation is about, by its id."""
    wanted = sorted(set(ids))
    names: dict[int, list[str]] = {each: [] for each in wanted}
    found: dict[int, Topic] = {}
    for first in range(0, len(wanted), _CONVERSATIONS_PER_QUERY):
        some = wanted[first : first + _CONVERSATIONS_PER_QUERY]
        for conversation, labels in connection.execute(_first_alerts(some)):
            names[conversation].append(json.loads(labels).get("alertname", ""))
        rows = connection.execute(
            sa.select(
                conversations.c.id, conversations.c.kind, conversations.c.urgency, conversations.c.size,
                groups.c.labels,
            )
            .outerjoin(groups, groups.c.id == conversations.c.group_id)
            .where(conversations.c.id.in_(some))
        )  # fmt: skip
        for id_, kind, urgency, size, labels in rows:
            several = tuple(dict.fromkeys(filter(None, names[id_])))
            found[id_] = Topic(kind, urgency, json.loads(labels or "{}"), several, max(size, len(names[id_])))
    return found


def _first_alerts(conversations_: Sequence[int]) -> sa.CompoundSelect[Any]:
    """Select the conversation and the labels of the first alerts of each conversation."""
    parts = []
    for each in conversations_:
        some = (
            sa.select(members.c.conversation_id, members.c.alert_id)
            .where(members.c.conversation_id == each)
            .order_by(members.c.alert_id)
            .limit(_MAX_NAMES)
            .subquery()
        )
        parts.append(
            sa.select(some.c.conversation_id, alerts.c.labels).join(alerts, alerts.c.id == some.c.alert_id)
        )
    return sa.union_all(*parts)


def alerts_of(connection: sa.Connection, conversation: int, limit: int) -> tuple[list[dict[str, Any]], Total]:
    """Return the first alerts of a conversation: {id, labels, level, status, notified}, and how many it has.

    :param limit: how many alerts are returned at most
    """
    of_it = (
        sa.select(members.c.alert_id)
        .where(members.c.conversation_id == conversation)
        .order_by(members.c.alert_id)
    )
    some = of_it.add_columns(members.c.notified).limit(limit).subquery()
    rows = connection.execute(
        sa.select(alerts.c.id, alerts.c.labels, alerts.c.level, alerts.c.status, some.c.notified)
        .join(some, some.c.alert_id == alerts.c.id)
        .order_by(alerts.c.id)
    ).mappings()
    return [{**row, "labels": json.loads(row["labels"])} for row in rows], count_rows(connection, of_it)
