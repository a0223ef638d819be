"""What is no transition of single rows: a start, a step of the clock, the end of all backoffs of a destination."""

import secrets

import sqlalchemy as sa

from router.core.adopt import CURSOR, Cursor, Phase
from router.core.clock_steps import ALIVE, SINCE
from router.core.conversations import DATABASE_ID
from router.core.reduce import PEER_LAG
from router.core.rows import NOT_FIRING, OF_STORM
from router.model import Millis
from router.store import counters
from router.store.schema import alerts, conversations, deliveries, members, meta

_PROBED = "probed"
_later = sa.case(
    (conversations.c.due_at > conversations.c.not_before, conversations.c.due_at),
    else_=conversations.c.not_before,
)
_is_due = (
    conversations.c.state == "open", conversations.c.due_at.is_not(None), conversations.c.delivery_id.is_(None),
    conversations.c.deciding.is_(None),
)  # fmt: skip
_storm_stands = sa.and_(conversations.c.state == "open", conversations.c.kind == OF_STORM)


def _put(connection: sa.Connection, key: str, value: str) -> None:
    connection.execute(sa.delete(meta).where(meta.c.key == key))
    connection.execute(sa.insert(meta).values(key=key, value=value))


def begin(connection: sa.Connection, now: Millis) -> None:
    """The process starts: what the last one left under way was interrupted.

    The random id of the database is replaced at each start, because a start after a restore looks like any other, and
    a restored database must not use keys again from after its backup. Open conversations keep their keys.
    """
    _put(connection, DATABASE_ID, secrets.token_hex(16))
    counters.interrupted(connection)
    connection.execute(
        sa.update(deliveries)
        .where(deliveries.c.outcome.is_(None))
        .values(outcome=counters.INTERRUPTED, finished_at=now)
    )
    connection.execute(
        sa.update(conversations).where(conversations.c.delivery_id.is_not(None)).values(delivery_id=None)
    )
    connection.execute(
        sa.update(conversations).where(*_is_due, conversations.c.next_at.is_(None)).values(next_at=_later)
    )


def resume(connection: sa.Connection, destination: str) -> None:
    """Whatever waits there after a failure may be tried at once."""
    connection.execute(
        sa.update(conversations)
        .where(conversations.c.destination == destination, sa.or_(sa.and_(*_is_due), _storm_stands))
        .values(not_before=0, next_at=conversations.c.due_at)
    )


def probe(connection: sa.Connection) -> None:
    """Write something: a full disk still takes a transaction that writes nothing."""
    _put(connection, _PROBED, "")


def step(connection: sa.Connection, now: Millis, *, back: bool) -> None:
    """The clock was stepped, or nothing could be heard for a while: time passes from now on.

    :param back: what waits for a moment of the old time would wait for as long as the step
    """
    alive = connection.execute(sa.select(meta.c.value).where(meta.c.key == ALIVE)).scalar()
    _put(connection, SINCE, str(now))
    _put(connection, ALIVE, str(now))
    # The time in which another end may contradict a doubt begins again, and so does that after an end of just before.
    connection.execute(
        sa.update(alerts).where(alerts.c.doubt_until.is_not(None)).values(doubt_until=now + PEER_LAG)
    )
    if back:
        _turn_back(connection, now)
        _judge_again(connection)
    elif alive is not None:
        connection.execute(
            sa.update(alerts)
            .where(alerts.c.status == "resolved", alerts.c.changed_at > int(alive) - PEER_LAG)
            .values(changed_at=now)
        )


def _judge_again(connection: sa.Connection) -> None:
    """Whatever fires is judged by the new time."""
    found = connection.execute(sa.select(meta.c.value).where(meta.c.key == CURSOR)).scalar()
    if found is None or Cursor.read(found).phase is Phase.JUDGE:  # else the judging is yet to come
        _put(connection, CURSOR, str(Cursor(Phase.JUDGE)))


def _turn_back(connection: sa.Connection, now: Millis) -> None:
    """What is noted of the time before counts from now, and what no rule decides is due now."""
    connection.execute(
        sa.update(members)
        .where(
            members.c.at > now,
            # News of what was notified, and what goes out instead of a destination that failed.
            sa.or_(members.c.notified.not_in(NOT_FIRING), members.c.failover == 1),
        )
        .values(at=now)
    )
    connection.execute(
        sa.update(conversations)
        .where(conversations.c.state == "open", conversations.c.not_before > now)
        .values(not_before=0)
    )
    for column in (conversations.c.since, conversations.c.tried_since, conversations.c.notified_at):
        connection.execute(
            sa.update(conversations)
            .where(conversations.c.state == "open", column > now)
            .values({column.name: now})
        )
    for noted in (alerts.c.seen_at, alerts.c.changed_at, alerts.c.absent_at, alerts.c.claimed_firing_at):
        connection.execute(sa.update(alerts).where(noted > now).values({noted.name: now}))
    first = (
        sa.select(sa.func.min(members.c.at))
        .where(members.c.conversation_id == conversations.c.id)
        .scalar_subquery()
    )
    connection.execute(
        sa.update(conversations)
        .where(conversations.c.slot.is_(None), conversations.c.due_at > now)
        .values(due_at=first)
    )
    connection.execute(sa.update(conversations).where(*_is_due).values(next_at=_later))
