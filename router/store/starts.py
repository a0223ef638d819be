"""What is no transition of single rows: a start, and the end of all backoffs of a destination."""

import secrets

import sqlalchemy as sa

from router.core.conversations import DATABASE_ID
from router.core.rows import OF_STORM
from router.model import Millis
from router.store import counters
from router.store.paced import next_ids
from router.store.schema import conversations, deliveries, meta

ROWS_PER_STATEMENT = 2_000
"""Rows of a table that one statement looks at: some 10 milliseconds."""
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
    connection.execute(sa.delete(meta).where(meta.c.key == key))
    connection.execute(sa.insert(meta).values(key=key, value=value))


def mark_interrupted(connection: sa.Connection, now: Millis) -> None:
    """The process starts: what the last one left under way was interrupted.

    The random id of the database is replaced at each start, because a start after a restore looks like any other, and
    a restored database must not use keys again from after its backup. Open conversations keep their keys.
    """
    set_meta(connection, DATABASE_ID, secrets.token_hex(16))
    counters.count_interrupted(connection)
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
    """What waits there after a failure may be tried at once: of the next :data:`PIECE` open conversations.

    :returns: the id of the last one, for the next piece; 0: there are no more
    """
    ids = conversations.c.id
    is_open = conversations.c.state == sa.literal_column("'open'")
    piece = next_ids(ids, after, ROWS_PER_STATEMENT, is_open)
    last = connection.execute(sa.select(sa.func.max(piece.c.id))).scalar()
    if last is None:
        return 0
    connection.execute(
        sa.update(conversations)
        .where(
            ids.in_(sa.select(piece.c.id)),
            conversations.c.destination + "" == destination,  # with the addition, it goes by the ids
            sa.or_(sa.and_(*is_due), _storm_stands),
        )
        .values(not_before=0, next_at=conversations.c.due_at)
    )
    return int(last)


def probe(connection: sa.Connection) -> None:
    """Write something: a full disk still takes a transaction that writes nothing."""
    set_meta(connection, _PROBED, "")
