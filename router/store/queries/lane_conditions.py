"""Conditions: which conversations are due at a destination, and which of them a storm's message covers."""

from typing import Any

import sqlalchemy as sa

from router.core.claimed_delivery import Share
from router.model import Millis
from router.store.schema import conversations

Conditions = tuple[sa.ColumnElement[bool], ...]


def due_conditions(destination: str, now: Millis) -> Conditions:
    """Return the conditions of conversations of a destination that are due, and not in a backoff."""
    return (*has_next_at(destination), conversations.c.next_at <= now)


def has_next_at(destination: Any) -> Conditions:
    """Return the conditions of conversations of a destination that are due now or later."""
    return (conversations.c.destination == destination, conversations.c.next_at.is_not(None))


def belongs_to_storm(storm: Any) -> sa.ColumnElement[bool]:
    """Return the condition that a conversation belongs to the storm, see :class:`router.core.claimed_delivery.Share`. The storm
    0 has no conversations.
    """
    of_it = sa.and_(conversations.c.storm_id == storm, conversations.c.own_message == 0)
    return sa.and_(conversations.c.storm_id.is_not(None), of_it)


def has_own_message(share: Share, storm: Any = None) -> sa.ColumnElement[bool]:
    """Return the condition that a conversation has its own message, not the storm's. See
    :class:`router.core.claimed_delivery.Share`.
    """
    belongs = belongs_to_storm(share.storm if storm is None else storm)
    apart = (
        sa.and_(sa.literal(share.edits), conversations.c.own_message == 1) if share.absorbs_all else ~belongs
    )
    if share.criticals_stay_separate:
        mere_end = sa.and_(belongs, conversations.c.waiting == conversations.c.ends)
        apart = sa.or_(apart, sa.and_(conversations.c.urgency == 0, ~mere_end))
    return apart
