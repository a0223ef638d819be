"""Handles a step of the clock: moves stored times to the new time, in pieces, with a stored position."""

from dataclasses import dataclass, replace
from typing import Self

import sqlalchemy as sa

from router.core.adopt import CURSOR, AdoptionCursor, Phase
from router.core.reduce import PEER_LAG
from router.core.rows import NOT_FIRING
from router.core.uptime import ALIVE, SINCE
from router.model import Millis
from router.store import starts
from router.store.paced import next_ids
from router.store.schema import alerts, conversations, members, meta
from router.store.starts import is_due, next_attempt_at, set_meta

UNFINISHED_STEP = "clock step"
"""The key in ``meta`` of the :class:`ClockStep` that is not finished."""
RULES = "rules"
"""The last stage of a step back: digests get slots by the new time, and firing alerts are judged by it."""
# Members come before conversations, because a conversation is due when its first member is.
_TABLES_BY_NAME = {table.name: table for table in (alerts, members, conversations)}


@dataclass(frozen=True, slots=True)
class ClockStep:
    """A step of the clock that is not finished, and its position."""

    back: bool
    ended_since: Millis | None
    """Alerts that ended after this time ended just before a step forward, so another report may still contradict their end.
    None: there was no step forward."""
    table: str = alerts.name
    after: int = 0
    """The id of the last row that was handled."""

    @classmethod
    def read(cls, text: str) -> Self:
        """Parse what :meth:`__str__` wrote."""
        back, ended_since, table, after = text.split()
        return cls(back == "back", None if ended_since == "-" else int(ended_since), table, int(after))

    def __str__(self) -> str:
        ended_since = "-" if self.ended_since is None else self.ended_since
        return f"{'back' if self.back else 'forward'} {ended_since} {self.table} {self.after}"

    def following(self, last: int | None) -> "ClockStep | None":
        """Return the position after a piece; None: the step is finished.

        :param last: the last id of the piece; None: the table has no more rows
        """
        if last is not None:
            return replace(self, after=last)
        names = [*_TABLES_BY_NAME, RULES]
        # After a step forward, no member and no conversation waits too long, so only alerts are handled.
        return replace(self, table=names[names.index(self.table) + 1], after=0) if self.back else None


def begin_step(connection: sa.Connection, now: Millis, *, back: bool) -> None:
    """Record that the clock was stepped, or that the router could not receive anything for a while.

    All timeouts count from now on. The rows are left to :func:`step_some`, also those of an earlier step that is not
    finished.

    :param back: the clock was stepped back; then rows that wait for a time would wait too long, by the size of the step
    """
    alive, unfinished = _value(connection, ALIVE), _value(connection, UNFINISHED_STEP)
    set_meta(connection, SINCE, str(now))
    set_meta(connection, ALIVE, str(now))
    set_meta(connection, UNFINISHED_STEP, begun_step(unfinished, alive, back=back))


def begun_step(unfinished: str | None, alive: str | None, *, back: bool) -> str:
    """Return the text of a step that begins now, for :data:`UNFINISHED_STEP`.

    :param unfinished: an earlier step that is not finished; None: there is none
    :param alive: when a router last saved that it runs; None: never
    """
    before = ClockStep(back=False, ended_since=None) if unfinished is None else ClockStep.read(unfinished)
    forward = [] if before.ended_since is None else [before.ended_since]
    if not back and alive is not None:
        forward.append(int(alive) - PEER_LAG)
    return str(ClockStep(back or before.back, min(forward, default=None)))


def step_some(connection: sa.Connection, now: Millis) -> ClockStep | None:
    """Move the times of the next :data:`~router.store.starts.ROWS_PER_STATEMENT` rows.

    :param now: the time of this piece, which may be later than the step
    :returns: the step as it was before this piece; if it has reached :data:`RULES`, no rows are left. None: there is no
        unfinished step
    """
    found = _value(connection, UNFINISHED_STEP)
    if found is None:
        return None
    at = ClockStep.read(found)
    if at.table == RULES:
        return at
    ids = _TABLES_BY_NAME[at.table].c.id
    piece = next_ids(ids, at.after, starts.ROWS_PER_STATEMENT)
    last = connection.execute(sa.select(sa.func.max(piece.c.id))).scalar()
    if last is not None:
        _move_times(connection, at, sa.and_(ids > at.after, ids <= last), now)
    left = at.following(last)
    if left is None:
        finish_step(connection, at)
        return at
    set_meta(connection, UNFINISHED_STEP, str(left))
    if left.table == RULES:
        _judge_again(connection)
    return at


def finish_step(connection: sa.Connection, step: ClockStep) -> None:
    """Record that a step is finished, unless another one has begun meanwhile. :param step: as :func:`step_some` returned it"""
    connection.execute(sa.delete(meta).where(meta.c.key == UNFINISHED_STEP, meta.c.value == str(step)))


def _move_times(connection: sa.Connection, at: ClockStep, these: sa.ColumnElement[bool], now: Millis) -> None:
    if at.table == members.name:
        _move_member_times(connection, these, now)
    elif at.table == conversations.name:
        _move_conversation_times(connection, these, now)
    else:
        _move_alert_times(connection, at, these, now)


def _move_alert_times(
    connection: sa.Connection, at: ClockStep, these: sa.ColumnElement[bool], now: Millis
) -> None:
    # Another end may confirm or contradict a doubtful firing within some time; that time begins again. So does the time
    # after an end that came just before the step.
    connection.execute(
        sa.update(alerts).where(these, alerts.c.doubt_until.is_not(None)).values(doubt_until=now + PEER_LAG)
    )
    if at.ended_since is not None:
        connection.execute(
            sa.update(alerts)
            .where(these, alerts.c.status == "resolved", alerts.c.changed_at > at.ended_since)
            .values(changed_at=now)
        )
    if not at.back:
        return
    for noted in (alerts.c.seen_at, alerts.c.changed_at, alerts.c.absent_at, alerts.c.claimed_firing_at):
        connection.execute(sa.update(alerts).where(these, noted > now).values({noted.name: now}))


def _move_member_times(connection: sa.Connection, these: sa.ColumnElement[bool], now: Millis) -> None:
    """Make the members due now that wait for a time that was computed with the old clock."""
    connection.execute(
        sa.update(members)
        .where(
            these,
            members.c.at > now,
            # News for destinations that were notified, and failover of a destination that failed.
            sa.or_(members.c.notified.not_in(NOT_FIRING), members.c.failover == 1),
        )
        .values(at=now)
    )


def _move_conversation_times(connection: sa.Connection, these: sa.ColumnElement[bool], now: Millis) -> None:
    """End waits that no rule decided, and compute the due times of conversations again."""
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
    connection.execute(sa.update(conversations).where(these, *is_due).values(next_at=next_attempt_at))


def _judge_again(connection: sa.Connection) -> None:
    """Record that all firing alerts have to be judged by the new time."""
    found = _value(connection, CURSOR)
    if (
        found is None or AdoptionCursor.read(found).phase is Phase.JUDGE
    ):  # otherwise the judging comes later anyway
        set_meta(connection, CURSOR, str(AdoptionCursor(Phase.JUDGE)))


def _value(connection: sa.Connection, key: str) -> str | None:
    return connection.execute(sa.select(meta.c.value).where(meta.c.key == key)).scalar()
