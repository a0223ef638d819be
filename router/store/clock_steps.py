"""A step of the clock. All timers begin again: in pieces, whose cursor is stored with each."""

from dataclasses import dataclass
from typing import Self

import sqlalchemy as sa

from router.core.adopt import CURSOR, Cursor, Phase
from router.core.clock_steps import ALIVE, SINCE
from router.core.reduce import PEER_LAG
from router.core.rows import NOT_FIRING
from router.model import Millis
from router.store import starts
from router.store.schema import alerts, conversations, members, meta
from router.store.starts import is_due, later, put

TURNING = "turning"
"""Where the next piece begins; without it, all timers have begun again."""
# One after the other: a conversation is due when its first member is.
_TABLES = {table.name: table for table in (alerts, members, conversations)}


@dataclass(frozen=True, slots=True)
class Turning:
    """Of a step that is under way."""

    ended_since: Millis | None
    """An end from then on is an end of just before the step. None: the clock was stepped back."""
    table: str = alerts.name
    after: int = 0
    """The id of the last row that was looked at."""

    @classmethod
    def read(cls, text: str) -> Self:
        ended_since, table, after = text.split()
        return cls(None if ended_since == "back" else int(ended_since), table, int(after))

    def __str__(self) -> str:
        return f"{'back' if self.ended_since is None else self.ended_since} {self.table} {self.after}"

    def following(self, last: int | None) -> "Turning | None":
        """After a piece. :param last: the last id of the piece; None: the table has ended"""
        if last is not None:
            return Turning(self.ended_since, self.table, last)
        names = list(_TABLES)
        left = names[names.index(self.table) + 1 :]
        # After a step forward, nothing waits for too long.
        return Turning(None, left[0]) if left and self.ended_since is None else None


def step(connection: sa.Connection, now: Millis, *, back: bool) -> None:
    """The clock was stepped, or nothing could be heard for a while: time passes from now on. What else there is to do,
    :func:`turn_some` does.

    :param back: what waits for a moment of the old time would wait for as long as the step
    """
    alive, unfinished = _value(connection, ALIVE), _value(connection, TURNING)
    put(connection, SINCE, str(now))
    put(connection, ALIVE, str(now))
    ended_since: Millis | None = now if alive is None else int(alive) - PEER_LAG
    if back or (unfinished is not None and Turning.read(unfinished).ended_since is None):
        ended_since = None
    put(connection, TURNING, str(Turning(ended_since)))


def turn_some(connection: sa.Connection, now: Millis) -> bool:
    """The timers of the next :data:`~router.store.starts.PIECE` rows begin again. False: all have."""
    found = _value(connection, TURNING)
    if found is None:
        return False
    at = Turning.read(found)
    ids = _TABLES[at.table].c.id
    piece = sa.select(ids).where(ids > at.after).order_by(ids).limit(starts.PIECE).subquery()
    last = connection.execute(sa.select(sa.func.max(piece.c.id))).scalar()
    if last is not None:
        _turn(connection, at, sa.and_(ids > at.after, ids <= last), now)
    left = at.following(last)
    if left is not None:
        put(connection, TURNING, str(left))
        return True
    connection.execute(sa.delete(meta).where(meta.c.key == TURNING))
    if at.ended_since is None:
        _judge_again(connection)
    return False


def _turn(connection: sa.Connection, at: Turning, these: sa.ColumnElement[bool], now: Millis) -> None:
    if at.table == members.name:
        _turn_members(connection, these, now)
    elif at.table == conversations.name:
        _turn_conversations(connection, these, now)
    else:
        _turn_alerts(connection, these, now, at.ended_since)


def _turn_alerts(
    connection: sa.Connection, these: sa.ColumnElement[bool], now: Millis, ended_since: Millis | None
) -> None:
    # The time in which another end may contradict a doubt begins again, and so does that after an end of just before.
    connection.execute(
        sa.update(alerts).where(these, alerts.c.doubt_until.is_not(None)).values(doubt_until=now + PEER_LAG)
    )
    if ended_since is not None:
        connection.execute(
            sa.update(alerts)
            .where(these, alerts.c.status == "resolved", alerts.c.changed_at > ended_since)
            .values(changed_at=now)
        )
        return
    for noted in (alerts.c.seen_at, alerts.c.changed_at, alerts.c.absent_at, alerts.c.claimed_firing_at):
        connection.execute(sa.update(alerts).where(these, noted > now).values({noted.name: now}))


def _turn_members(connection: sa.Connection, these: sa.ColumnElement[bool], now: Millis) -> None:
    """What is noted of the time before counts from now."""
    connection.execute(
        sa.update(members)
        .where(
            these,
            members.c.at > now,
            # News of what was notified, and what goes out instead of a destination that failed.
            sa.or_(members.c.notified.not_in(NOT_FIRING), members.c.failover == 1),
        )
        .values(at=now)
    )


def _turn_conversations(connection: sa.Connection, these: sa.ColumnElement[bool], now: Millis) -> None:
    """What no rule decides is due now."""
    is_open = conversations.c.state == "open"
    connection.execute(
        sa.update(conversations).where(these, is_open, conversations.c.not_before > now).values(not_before=0)
    )
    for noted in (conversations.c.since, conversations.c.tried_since, conversations.c.notified_at):
        connection.execute(
            sa.update(conversations).where(these, is_open, noted > now).values({noted.name: now})
        )
    first = (
        sa.select(sa.func.min(members.c.at))
        .where(members.c.conversation_id == conversations.c.id)
        .scalar_subquery()
    )
    connection.execute(
        sa.update(conversations)
        .where(these, conversations.c.slot.is_(None), conversations.c.due_at > now)
        .values(due_at=first)
    )
    connection.execute(sa.update(conversations).where(these, *is_due).values(next_at=later))


def _judge_again(connection: sa.Connection) -> None:
    """Whatever fires is judged by the new time."""
    found = _value(connection, CURSOR)
    if found is None or Cursor.read(found).phase is Phase.JUDGE:  # else the judging is yet to come
        put(connection, CURSOR, str(Cursor(Phase.JUDGE)))


def _value(connection: sa.Connection, key: str) -> str | None:
    return connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar()
