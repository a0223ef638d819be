"""Checks whether what is stored is consistent, and agrees with what senders report. Any finding is a bug."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.core.reduce import PEER_LAG
from router.core.rows import OF_ALERT, OF_GROUP
from router.model import MINUTE, Millis
from router.store import counters, delivery_hours
from router.store.objective_hours import delivered_events
from router.store.schema import IS_OPEN, alerts, conversations, dead_letters, groups, members

# How long a firing may be in doubt, and a margin until the doubt is settled.
_MAX_DOUBT: Millis = PEER_LAG + MINUTE
_MAX_EXAMPLES = 10
_MAX_EXAMPLE_CHARS = 200
_its_group = groups.alias("its_group")
_of_it = members.c.conversation_id == conversations.c.id
_something_to_say = sa.or_(
    sa.exists().where(
        _of_it,
        sa.or_(
            members.c.status == "firing", members.c.notified.in_(("firing", "unknown")), members.c.at.is_not(None)
        ),
    ),
    # An operator may retry it.
    sa.exists().where(dead_letters.c.conversation_id == conversations.c.id, dead_letters.c.state == "dead"),
)  # fmt: skip
# Alerts that Alertmanager left out (max_alerts) may still fire. The conversation ends when a webhook has the whole group.
_hidden_may_fire = sa.and_(
    conversations.c.kind == OF_GROUP,
    sa.exists().where(groups.c.id == conversations.c.group_id, groups.c.truncated > 0),
    sa.exists().where(_of_it, members.c.notified == "resolved"),
)
_is_empty = sa.and_(
    IS_OPEN,
    conversations.c.kind.in_((OF_GROUP, OF_ALERT)),
    ~_something_to_say,
    ~_hidden_may_fire,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    count: int
    first: tuple[str, ...]
    """The first ten cases, in words."""

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON: {count, first}."""
        return {"count": self.count, "first": list(self.first)}


@dataclass(frozen=True, slots=True)
class Integrity:
    """What all checks found."""

    contradicted: Finding
    """Alerts that are resolved here although their sender repeats them as firing."""
    empty: Finding
    """Open conversations in which nothing fires and nothing is left to send."""
    miscounted: Finding
    """Counters that differ from the sums of their rows."""


def find_faults(connection: sa.Connection, now: Millis, last: Integrity | None = None) -> Integrity:
    """Run all checks.

    :param last: reuse its ``miscounted`` instead of checking the counters, because that reads all of the history
    """
    claimed = (alerts.c.claimed_firing_at <= now - _MAX_DOUBT, alerts.c.status == "resolved")
    contradicted = sa.select(alerts.c.source, alerts.c.labels, alerts.c.fingerprint).where(*claimed)
    empty = (
        sa.select(conversations.c.destination, _its_group.c.receiver, _its_group.c.group_key)
        .join(_its_group, _its_group.c.id == conversations.c.group_id)
        .where(_is_empty)
    )
    return Integrity(
        _finding(
            connection,
            contradicted.order_by(alerts.c.id),
            lambda row: (
                f"{row['source']}: {json.loads(row['labels']).get('alertname', '')} {row['fingerprint']}"
            ),
        ),
        _finding(
            connection,
            empty.order_by(conversations.c.id),
            lambda row: f"{row['destination']}: group:{row['receiver']}:{row['group_key']}",
        ),
        miscounted(connection) if last is None else last.miscounted,
    )


def miscounted(connection: sa.Connection, *, pauses: bool = True) -> Finding:
    """Compare the counters with the sums of their rows. :param pauses: see :func:`router.store.counters.differences`"""
    due = delivered_events(connection)
    found = [*counters.differences(connection, due, pauses=pauses), *delivery_hours.differences(connection)]
    return Finding(len(found), tuple(str(each)[:_MAX_EXAMPLE_CHARS] for each in found[:_MAX_EXAMPLES]))


def _finding(connection: sa.Connection, rows: sa.Select[Any], name: Callable[[Any], str]) -> Finding:
    count = connection.execute(sa.select(sa.func.count()).select_from(rows.subquery())).scalar_one()
    first: Iterable[Any] = connection.execute(rows.limit(_MAX_EXAMPLES)).mappings() if count else ()
    return Finding(count, tuple(name(row)[:_MAX_EXAMPLE_CHARS] for row in first))
