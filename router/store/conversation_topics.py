"""What a conversation is about, in the few words that lists of deliveries and dead letters have room for."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.store.schema import alerts, conversations, groups, members
from router.store.totals import Total, count_rows

_MAX_NAMES = 3


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


def _nth_alert(number: int) -> sa.ColumnElement[Any]:
    """Return the id of an alert of a conversation: 0 is the first one."""
    of_it = sa.select(members.c.alert_id).where(members.c.conversation_id == conversations.c.id)
    return of_it.order_by(members.c.alert_id).limit(1).offset(number).scalar_subquery()


# They are built once, because that takes longer than running them. A join of all members would read every member of a large
# conversation.
_CONVERSATIONS = (
    sa.select(
        conversations.c.id, conversations.c.kind, conversations.c.urgency, conversations.c.size, groups.c.labels,
        *(_nth_alert(number).label(f"alert{number}") for number in range(_MAX_NAMES)),
    )
    .outerjoin(groups, groups.c.id == conversations.c.group_id)
    .where(conversations.c.id.in_(sa.bindparam("ids", expanding=True)))
)  # fmt: skip
_LABELS = sa.select(alerts.c.id, alerts.c.labels).where(alerts.c.id.in_(sa.bindparam("ids", expanding=True)))


def topics_of(connection: sa.Connection, ids: Iterable[int]) -> dict[int, Topic]:
    """Return what each conversation is about, by its id."""
    wanted = list(set(ids))
    if not wanted:
        return {}
    rows = connection.execute(_CONVERSATIONS, {"ids": wanted}).all()
    firsts = {row[0]: [each for each in row[5:] if each is not None] for row in rows}
    numbers = list({each for several in firsts.values() for each in several})
    names = {}
    if numbers:
        labels = connection.execute(_LABELS, {"ids": numbers})
        names = {id_: str(json.loads(text).get("alertname", "")) for id_, text in labels}
    found = {}
    for id_, kind, urgency, size, group, *_ in rows:
        several = tuple(dict.fromkeys(filter(None, (names.get(each, "") for each in firsts[id_]))))
        found[id_] = Topic(kind, urgency, json.loads(group or "{}"), several, max(size, len(firsts[id_])))
    return found


_SOME = (
    sa.select(members.c.alert_id, members.c.notified)
    .where(members.c.conversation_id == sa.bindparam("conversation"))
    .order_by(members.c.alert_id)
    .limit(sa.bindparam("alerts"))
    .subquery()
)
_ALERTS = (
    sa.select(alerts.c.id, alerts.c.labels, alerts.c.level, alerts.c.status, _SOME.c.notified)
    .join(_SOME, _SOME.c.alert_id == alerts.c.id)
    .order_by(alerts.c.id)
)


def alerts_of(connection: sa.Connection, conversation: int, limit: int) -> tuple[list[dict[str, Any]], Total]:
    """Return the first alerts of a conversation: {id, labels, level, status, notified}, and how many it has.

    :param limit: how many alerts are returned at most
    """
    rows = connection.execute(_ALERTS, {"conversation": conversation, "alerts": limit}).mappings().all()
    of_it = sa.select(members.c.alert_id).where(members.c.conversation_id == conversation)
    total = (
        Total(len(rows)) if len(rows) < limit else count_rows(connection, of_it.order_by(members.c.alert_id))
    )
    return [{**row, "labels": json.loads(row["labels"])} for row in rows], total
