"""Counts the firing alerts that each rule decided, and those that inhibit rules mute.

No index has these counts, so the queries read every firing alert and its open members: about a tenth of a second for 50,000
alerts at three destinations. :class:`~router.store.shared_reading.SharedReading` shares the result.
"""

from dataclasses import dataclass

import sqlalchemy as sa

from router.store.schema import members
from router.store.totals import MAX_COUNTED


@dataclass(frozen=True, slots=True)
class MemberCount:
    """How many members have the same rule, destination and state. A member is an alert at a destination."""

    rule: str
    destination: str
    decision: str
    notified: str
    count: int


@dataclass(frozen=True, slots=True)
class MutedCount:
    """How many alerts an inhibition key mutes."""

    key: str
    reason: str
    """Of one of these decisions. It ends with the name of the inhibit rule in parentheses."""
    alerts: int


@dataclass(frozen=True, slots=True)
class RuleCounts:
    """What the rules decided about all alerts that fire now. Alerts that were dropped from the start are not counted."""

    members: tuple[MemberCount, ...]
    muted: tuple[MutedCount, ...]
    muted_is_exact: bool = True
    """False: more alerts are muted than the counts say."""

    @property
    def size(self) -> int:
        """How many members were counted."""
        return sum(each.count for each in self.members)


# SQLite keeps the order of a CROSS JOIN: it begins with the index of firing alerts.
_MEMBERS = sa.text(
    "SELECT members.rule, conversations.destination, members.decision, members.notified, count(*)"
    " FROM alerts CROSS JOIN members CROSS JOIN conversations"
    " WHERE alerts.status = 'firing' AND members.alert_id = alerts.id AND members.open = 1"
    " AND members.status = 'firing' AND conversations.id = members.conversation_id"
    " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
)


def count_by_rule(connection: sa.Connection) -> RuleCounts:
    """Return what the rules decided about all alerts that fire now."""
    counted = tuple(MemberCount(*row) for row in connection.execute(_MEMBERS))
    return RuleCounts(counted, *_muted(connection))


def _muted(connection: sa.Connection) -> tuple[tuple[MutedCount, ...], bool]:
    """Count the alerts of each inhibition key, from the first :data:`MAX_COUNTED` entries of the index."""
    some = (
        sa.select(members.c.inhibitor, members.c.alert_id, members.c.reason)
        .where(members.c.inhibitor.is_not(None), members.c.muted_destination.is_not(None))
        .order_by(members.c.inhibitor, members.c.muted_destination, members.c.alert_id)
        .limit(MAX_COUNTED + 1)
        .subquery()
    )
    by_key = sa.select(
        some.c.inhibitor,
        sa.func.max(some.c.reason),
        sa.func.count(some.c.alert_id.distinct()),
        sa.func.count(),
    ).group_by(some.c.inhibitor)
    rows = connection.execute(by_key).all()
    read = sum(row[3] for row in rows)
    return tuple(MutedCount(key, reason, count) for key, reason, count, _ in rows), read <= MAX_COUNTED
