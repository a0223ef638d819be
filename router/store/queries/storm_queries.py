"""Queries of storms: how much is due, and what their messages cover."""

from typing import Any

import sqlalchemy as sa

from router.core.storms import MAX_GROUPS_SHOWN, StormGroup, StormProgress, Surge
from router.store.queries.lane_conditions import belongs_to_storm, due_conditions, has_own_message
from router.store.queries.query import count_up_to, one_by_one
from router.store.schema import IS_OPEN, conversations, groups

_was_notified = sa.or_(conversations.c.known > 0, conversations.c.ended > 0)


@one_by_one
def surge(connection: sa.Connection, key: Any) -> Any:
    """Return the :class:`router.core.storms.Surge` for ``(destination, now, storm, edits, above)``."""
    destination, now, storm, edits, above = key
    others = (*due_conditions(destination, now), ~belongs_to_storm(storm))
    if edits:
        others += (conversations.c.own_message == 0,)
    critical = conversations.c.urgency == 0
    urgent = count_up_to(connection, above + 1, conversations.c.id, *others, conversations.c.priority == 0)
    due = urgent
    for priority in (1, 2):
        due += count_up_to(
            connection, above + 1 - due, conversations.c.id, *others, conversations.c.priority == priority
        )
    if not storm:
        return Surge(due, due, urgent, 0, 0, 0, 0)
    is_due = sa.and_(conversations.c.next_at.is_not(None), conversations.c.next_at <= now)
    fires = sa.or_(conversations.c.shown > 0, sa.and_(conversations.c.firing > 0, is_due))
    firing, waits, urgent_waits, standing, shown = connection.execute(
        sa.select(
            sa.func.count().filter(fires),
            sa.func.count().filter(is_due),
            sa.func.count().filter(is_due, critical, conversations.c.waiting != conversations.c.ends),
            sa.func.count().filter(_was_notified),
            sa.func.count().filter(conversations.c.shown > 0),
        ).where(belongs_to_storm(storm), conversations.c.state == "open")
    ).one()
    return Surge(due + firing, due, urgent, waits, urgent_waits, standing, shown)


@one_by_one
def due_after(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(destination, now, share, after, limit)``, ``(urgency, id)`` of the next conversations that
    are due and that a storm's message covers, most urgent first.
    """
    destination, now, share, after, limit = key
    position = sa.tuple_(conversations.c.urgency, conversations.c.id)
    rows = connection.execute(
        sa.select(conversations.c.urgency, conversations.c.id)
        .where(*due_conditions(destination, now), ~has_own_message(share), position > sa.tuple_(*after))
        .order_by(conversations.c.urgency, conversations.c.id)
        .limit(limit)
    )
    return [tuple(row) for row in rows]


@one_by_one
def standing(connection: sa.Connection, storm: int) -> Any:
    """Return the :class:`router.core.storms.StormProgress` for ``storm``."""
    fires = sa.and_(IS_OPEN, conversations.c.shown > 0)
    left = sa.and_(IS_OPEN, _was_notified, conversations.c.delivery_id.is_(None))
    is_over = sa.and_(~IS_OPEN, conversations.c.ended > 0)
    counts = connection.execute(
        sa.select(
            sa.func.count().filter(left),
            sa.func.count().filter(fires),
            sa.func.coalesce(sa.func.sum(conversations.c.shown).filter(fires), 0),
            sa.func.count().filter(is_over),
        ).where(belongs_to_storm(storm))
    ).one()
    rows = connection.execute(
        sa.select(
            conversations.c.urgency,
            groups.c.labels,
            groups.c.external_url,
            conversations.c.shown,
            conversations.c.source,
        )
        .join(groups, groups.c.id == conversations.c.group_id)
        .where(belongs_to_storm(storm), fires)
        .order_by(conversations.c.urgency, conversations.c.id)
        .limit(MAX_GROUPS_SHOWN)
    )
    left_over, firing, alerts, resolved = map(int, counts)
    return StormProgress(left_over, firing, alerts, resolved, tuple(StormGroup(*row) for row in rows))
