"""SQL statements that change many conversations: at a start of the service, and when the backoff of a destination ends."""

import secrets

import sqlalchemy as sa

from router.core.conversations import DATABASE_ID
from router.core.rows import OF_STORM
from router.model import Millis
from router.package import package_version
from router.store import counters, delivery_hours
from router.store.opening import WRITTEN_BY
from router.store.paced import next_ids
from router.store.schema import IS_OPEN, conversations, deliveries, meta

ROWS_PER_STATEMENT = 2_000
"""How many rows of a table one statement examines. Such a statement takes about 10 milliseconds."""
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


def mark_interrupted(connection: sa.Connection, now: Millis) -> None:
    """Mark the deliveries that the last process left under way as interrupted, and make them due again.

    It also replaces the random id of the database: a start after a restore looks like any other start, and a restored
    database must not reuse keys that were used after its backup. Open conversations keep their keys. And it stores which
    version started, for the error message of an older one.
    """
    set_meta(connection, WRITTEN_BY, package_version())
    set_meta(connection, DATABASE_ID, secrets.token_hex(16))
    under_way = counters.read_under_way(connection)
    counters.count_interrupted(connection, under_way)
    delivery_hours.count_interrupted(connection, under_way, now)
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.outcome.is_(None))
        .values(outcome=counters.INTERRUPTED, finished_at=now)
    )
    connection.execute(
        sa.update(conversations).where(conversations.c.delivery_id.is_not(None)).values(delivery_id=None)
    )
    connection.execute(
        sa.update(conversations)
        .where(*is_due, conversations.c.next_at.is_(None))
        .values(next_at=next_attempt_at)
    )


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
