"""SQL statements that change many conversations: at a start of the service, and when the backoff of a destination ends."""

import secrets
from collections.abc import Collection

import sqlalchemy as sa

from router.core.conversations import DATABASE_ID
from router.core.rows import INTERRUPTED, OF_STORM
from router.model import Millis
from router.package import package_version
from router.store import counters, delivery_hours
from router.store.opening import WRITTEN_BY
from router.store.paced import next_ids
from router.store.schema import IS_OPEN, conversations, deliveries, meta

ROWS_PER_STATEMENT = 2_000
"""How many rows of a table one statement examines. Such a statement takes about 10 milliseconds."""
_IDS_PER_STATEMENT = 500
_PROBED = "probed"
next_attempt_at = sa.case(
    (conversations.c.due_at > conversations.c.not_before, conversations.c.due_at),
    else_=conversations.c.not_before,
)
is_due = (
    conversations.c.state == "open", conversations.c.due_at.is_not(None), conversations.c.delivery_id.is_(None),
    conversations.c.deciding.is_(None),
)  # fmt: skip
_storm_stands = sa.and_(conversations.c.state == "open", conversations.c.kind == OF_STORM)


def set_meta(connection: sa.Connection, key: str, value: str) -> None:
    """Set a value of the table ``meta``."""
    connection.execute(sa.delete(meta).where(meta.c.key == key))
    connection.execute(sa.insert(meta).values(key=key, value=value))


def note_start(connection: sa.Connection) -> None:
    """Replace the random id of the database, and store which version started, for the error message of an older one.

    A start after a restore looks like any other start, and a restored database must not reuse keys that were used after its
    backup. Open conversations keep their keys.
    """
    set_meta(connection, WRITTEN_BY, package_version())
    set_meta(connection, DATABASE_ID, secrets.token_hex(16))


def mark_interrupted(connection: sa.Connection, now: Millis) -> None:
    """Mark the deliveries that the last process left under way as interrupted, and make them due again."""
    note_start(connection)
    interrupt(connection, None, now)


def interrupt(connection: sa.Connection, sessions: Collection[str] | None, now: Millis) -> None:
    """Mark deliveries that are under way as interrupted, and make their conversations due again.

    :param sessions: the deliveries of these replicas; None: all
    """
    delivery = conversations.c.delivery_id
    theirs = () if sessions is None else (deliveries.c.replica.in_(sessions),)
    under_way = counters.read_under_way(connection, *theirs)
    counters.count_interrupted(connection, under_way)
    delivery_hours.count_interrupted(connection, under_way, now)
    # Conversations that a storm's message absorbed may be left although the delivery of the storm has ended.
    left = sa.select(delivery).where(delivery.is_not(None))
    if sessions is not None:
        left = left.join(deliveries, deliveries.c.id == delivery).where(*theirs)
    ids = connection.execute(left.distinct()).scalars().all()
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.outcome.is_(None), *theirs)
        .values(outcome=INTERRUPTED, finished_at=now)
    )
    for first in range(0, len(ids), _IDS_PER_STATEMENT):
        some = conversations.c.delivery_id.in_(ids[first : first + _IDS_PER_STATEMENT])
        freed = (
            conversations.c.state == "open",
            conversations.c.due_at.is_not(None),
            conversations.c.deciding.is_(None),
        )
        connection.execute(sa.update(conversations).where(some, *freed).values(next_at=next_attempt_at))
        connection.execute(sa.update(conversations).where(some).values(delivery_id=None))


def resume_some(connection: sa.Connection, after: int, *, destination: str) -> int:
    """End the backoff of a destination's conversations, among the next :data:`ROWS_PER_STATEMENT` open ones.

    :param after: the id of the last conversation of the piece before
    :returns: the id of the last conversation of this piece; 0: there are no more
    """
    ids = conversations.c.id
    piece = next_ids(ids, after, ROWS_PER_STATEMENT, IS_OPEN)
    last = connection.execute(sa.select(sa.func.max(piece.c.id))).scalar()
    if last is None:
        return 0
    connection.execute(
        sa.update(conversations)
        .where(
            ids.in_(sa.select(piece.c.id)),
            conversations.c.destination + ""
            == destination,  # the concatenation keeps the planner on the index of ids
            sa.or_(sa.and_(*is_due), _storm_stands),
        )
        .values(not_before=0, next_at=conversations.c.due_at)
    )
    return int(last)


def probe(connection: sa.Connection) -> None:
    """Check that the database is writable, by writing a row. An empty transaction would succeed even on a full disk."""
    set_meta(connection, _PROBED, "")
