"""Queries about the members of conversations."""

from typing import Any

import sqlalchemy as sa

from router.core.rows import NOT_FIRING, RESOLVED
from router.model import Millis
from router.store.queries.query import ids_after, one_by_one
from router.store.schema import IS_HELD, members


@one_by_one
def next_opening(connection: sa.Connection, now: Millis) -> Any:
    """Return, for ``now``, when the next held alert becomes due after it; None: none is held."""
    following = (
        sa.select(members.c.at)
        .where(
            IS_HELD, members.c.at > now, members.c.notified.in_(NOT_FIRING),
        )
        .order_by(members.c.at)
        .limit(1)
    )  # fmt: skip
    return connection.execute(following).scalar()


@one_by_one
def first_due(connection: sa.Connection, key: int) -> Any:
    """Return the earliest due time of a conversation's members, see :data:`router.core.conversations.FIRST_DUE`."""
    first = sa.select(sa.func.min(members.c.at)).where(members.c.conversation_id == key)
    return connection.execute(first).scalar()


@one_by_one
def one_ended(connection: sa.Connection, key: int) -> Any:
    """Return one member whose end was notified, see :data:`router.core.conversations.ONE_ENDED`."""
    rows = connection.execute(
        sa.select(members.c.id)
        .where(members.c.conversation_id == key, members.c.notified == RESOLVED)
        .order_by(members.c.id)
        .limit(1)
    )
    return list(rows.scalars())


@one_by_one
def members_of(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(conversation, after, limit)``, the ids of the next members of a conversation."""
    conversation, after, limit = key
    return ids_after(connection, members.c.id, after, limit, members.c.conversation_id == conversation)


@one_by_one
def left_open(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(conversation, limit)``, the ids of members that are still open although their conversation is
    closing.
    """
    conversation, limit = key
    rows = connection.execute(
        sa.select(members.c.id)
        .where(members.c.conversation_id == conversation, members.c.open == sa.literal_column("1"))
        .limit(limit)
    )
    return list(rows.scalars())
