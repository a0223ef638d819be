"""SQL statements that change many conversations: at a start of the service, and when the backoff of a destination ends."""

import secrets
from collections import Counter

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
_INTERRUPTED_AT_ONCE = 500
"""How many deliveries, and how many conversations, :func:`interrupt_some` changes. It takes some tens of milliseconds."""
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
    while interrupt_some(connection, sa.true(), now):
        pass


def interrupt_some(connection: sa.Connection, theirs: sa.ColumnElement[bool], now: Millis) -> bool:
    """Mark some deliveries that are under way as interrupted, and make some conversations due again that they hold.

    :param theirs: a condition on the deliveries: whose they are
    :returns: whether more may be left
    """
    under_way = connection.execute(
        sa.select(deliveries.c.id, deliveries.c.destination)
        .where(deliveries.c.outcome.is_(None), theirs)
        .limit(_INTERRUPTED_AT_ONCE)
    ).all()
    by_destination = Counter(destination for _, destination in under_way)
    counters.count_interrupted(connection, by_destination)
    delivery_hours.count_interrupted(connection, by_destination, now)
    if under_way:
        connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.id.in_([number for number, _ in under_way]))
            .values(outcome=INTERRUPTED, finished_at=now)
        )
    # Only those of ended deliveries: then no conversation has two under way. Conversations that a storm's message absorbed may
    # be left although the delivery of the storm had ended before.
    delivery = conversations.c.delivery_id
    has_ended = sa.or_(deliveries.c.id.is_(None), deliveries.c.outcome.is_not(None))
    held = connection.scalars(
        sa.select(conversations.c.id)
        .outerjoin(deliveries, deliveries.c.id == delivery)
        .where(delivery.is_not(None), has_ended, theirs)
        .limit(_INTERRUPTED_AT_ONCE)
    ).all()
    if held:
        is_due_again = (
            conversations.c.state == "open",
            conversations.c.due_at.is_not(None),
            conversations.c.deciding.is_(None),
        )
        next_at = sa.case((sa.and_(*is_due_again), next_attempt_at), else_=conversations.c.next_at)
        connection.execute(
            sa.update(conversations)
            .where(conversations.c.id.in_(held))
            .values(next_at=next_at, delivery_id=None)
        )
    return _INTERRUPTED_AT_ONCE in {len(under_way), len(held)}


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
