"""The replicas and their leases in the database. What they decide is in :mod:`router.core.leases`.

Times are the database's, so the clocks of the replicas' machines do not matter.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from router.core.adopt import POLICY
from router.core.head import Grant
from router.core.leases import RELEASED, LeaseRow, Renewal, RenewalRequest, ReplicaRow, renew
from router.model import DAY, Millis
from router.store import starts
from router.store.database import Database
from router.store.notices import ReplicaTopic, notify, topic_notice
from router.store.row_writes import upsert
from router.store.schema import conversations, deliveries, leases, meta, replicas, writers
from router.store.stored_lanes import held_by

_WRITERS_KEPT: Millis = 7 * DAY
"""How long the last batch of a process is kept. A process that is cut off for longer than that takes a commit without an
answer for one that failed."""


# The empty session, of a version without replicas, has no row either.
_HAS_VANISHED = ~sa.select(replicas.c.id).where(replicas.c.id == deliveries.c.replica).exists()
# Of the server at this moment, not at the begin of the transaction.
_NOW = sa.extract("epoch", sa.func.clock_timestamp()) * 1_000


def _rows_of(table: sa.Table, columns: Iterable[str]) -> sa.ScalarSelect[Any]:
    """Return all rows of a table as one JSON array of arrays; null: there are none."""
    row = sa.func.json_build_array(*(table.c[name] for name in columns))
    return sa.select(sa.func.json_agg(row)).scalar_subquery()


_VIEW = sa.select(
    _NOW,
    sa.select(meta.c.value).where(meta.c.key == POLICY).scalar_subquery(),
    _rows_of(replicas, ReplicaRow._fields),
    _rows_of(leases, LeaseRow._fields),
)


@dataclass(frozen=True, slots=True)
class ReplicasView:
    """The replicas and leases at one moment."""

    now: Millis
    """The time of the database (epoch ms)."""
    rules: str
    """The fingerprint of the rules in force; empty: there are none yet."""
    replicas: tuple[ReplicaRow, ...]
    leases: tuple[LeaseRow, ...]


class Replicas:
    """Begins, renews and ends the session of this process among the replicas.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.has_more_to_interrupt = True
        """Whether more may be under way by replicas that are gone. The next renewal interrupts some of it."""

    @property
    def are_possible(self) -> bool:
        """Whether other processes may serve from the same database. If not, this process holds everything."""
        return self._database.is_shared

    async def join(self, request: RenewalRequest) -> Renewal:
        """Begin a session. What replicas have under way whose sessions have ended is due again, if that is not much; see
        :attr:`has_more_to_interrupt`.
        """
        self._database.session = request.session
        self.has_more_to_interrupt = True
        joined = await self._database.write(partial(_join, request=request), is_urgent=True)
        assert joined is not None  # noqa: S101  (only a session that had begun can be expelled)
        renewal, self.has_more_to_interrupt = joined
        return renewal

    async def renew(self, request: RenewalRequest) -> Renewal | None:
        """Renew the session, and interrupt some of what replicas have under way that are gone. Return None if the session was
        expelled: then a new one has to begin.
        """
        interrupts, self.has_more_to_interrupt = self.has_more_to_interrupt, True
        renewed = await self._database.write(
            partial(_renew, request=request, interrupts=interrupts), is_urgent=True
        )
        if renewed is None:
            return None
        renewal, self.has_more_to_interrupt = renewed
        return renewal

    async def begin_lanes(self, grant: Grant, channels: Collection[str]) -> None:
        """Make due again what replicas that live have left under way at the destinations of these channels. They send nothing there
        any more, because the lease has passed on; what is left are claims that failed and could not be given back.

        Do nothing if the lease is not held any more: then the next holder sends.
        """
        work = partial(_begin_lanes, session=self._database.session, grant=grant, channels=tuple(channels))
        while await self._database.write(work, is_urgent=True):
            pass

    async def release(self, session: str, names: Collection[str]) -> None:
        """Give up leases for which nothing is under way, so that others can take them."""
        await self._database.write(partial(_release, session=session, names=tuple(names)), is_urgent=True)

    async def leave(self, session: str, *, is_urgent: bool = False) -> None:
        """End the session. Its leases become free, and what it still has under way becomes due again.

        :param is_urgent: end it before the jobs that wait; otherwise outcomes among these are still recorded
        """
        while await self._database.write(partial(_leave, session=session), is_urgent=is_urgent):
            pass

    async def view(self) -> ReplicasView:
        """Return who runs, and who holds what."""
        return await self._database.read(_view)


def _join(connection: sa.Connection, *, request: RenewalRequest) -> tuple[Renewal, bool] | None:
    starts.note_start(connection)
    connection.execute(sa.delete(writers).where(writers.c.at < _now(connection) - _WRITERS_KEPT))
    return _renew(connection, request=request, interrupts=True, is_new=True)


def _renew(
    connection: sa.Connection, *, request: RenewalRequest, interrupts: bool, is_new: bool = False
) -> tuple[Renewal, bool] | None:
    """:returns: the renewal, and whether more may be under way by replicas that are gone; None: the session was expelled"""
    seen = _view(connection)
    now, members = seen.now, seen.replicas
    if not is_new and all(each.id != request.session for each in members):
        return None
    renewal = renew(members, seen.leases, request, seen.rules, now)
    if renewal.expelled:
        connection.execute(
            sa.delete(replicas).where(replicas.c.id.in_([each.id for each in renewal.expelled]))
        )
    has_more = False
    if interrupts or renewal.expelled or has_vanished(connection):
        has_more = starts.interrupt_some(connection, _HAS_VANISHED, now)
    upsert(connection, replicas, [each._asdict() for each in renewal.replicas if each not in members])
    upsert(connection, leases, [each._asdict() for each in renewal.leases if each not in seen.leases])
    return renewal, has_more


def _begin_lanes(connection: sa.Connection, *, session: str, grant: Grant, channels: Sequence[str]) -> bool:
    """Interrupt some of what others have under way. :returns: whether more may be left"""
    if grant not in held_by(connection, session):
        return False
    at_these = (deliveries.c.destination.startswith(f"{each}:", autoescape=True) for each in channels)
    theirs = sa.and_(deliveries.c.replica != session, sa.or_(sa.false(), *at_these))
    return starts.interrupt_some(connection, theirs, _now(connection))


def has_vanished(connection: sa.Connection) -> bool:
    """Return whether a delivery is under way by a session that has no row any more."""
    theirs = sa.select(deliveries.c.id).where(deliveries.c.outcome.is_(None), _HAS_VANISHED).limit(1)
    return connection.scalar(theirs) is not None


def _release(connection: sa.Connection, *, session: str, names: Sequence[str]) -> None:
    connection.execute(
        sa.update(leases)
        .where(leases.c.replica == session, leases.c.name.in_(names))
        .values(replica=None, since=_now(connection), passed_on=RELEASED)
    )
    notify(connection, topic_notice(session, ReplicaTopic.LEASES))


def _leave(connection: sa.Connection, *, session: str) -> bool:
    """End a session once nothing is under way by it, or by one that is gone. :returns: whether more is; then some of it was interrupted"""
    now = _now(connection)
    if starts.interrupt_some(connection, _HAS_VANISHED | (deliveries.c.replica == session), now):
        return True
    connection.execute(
        sa.update(leases)
        .where(leases.c.replica == session)
        .values(replica=None, since=now, passed_on=RELEASED)
    )
    connection.execute(sa.delete(replicas).where(replicas.c.id == session))
    notify(connection, topic_notice(session, ReplicaTopic.LEASES))
    return False


def _view(connection: sa.Connection) -> ReplicasView:
    """Read all in one statement: a renewal holds up the batches of all replicas."""
    now, rules, members, held = connection.execute(_VIEW).one()
    return ReplicasView(
        int(now),
        rules or "",
        tuple(sorted(starmap(ReplicaRow, members or ()))),
        tuple(sorted(starmap(LeaseRow, held or ()), key=attrgetter("name"))),
    )


def due_of(connection: sa.Connection, *, destinations: Sequence[str], now: Millis) -> frozenset[str]:
    """Return the destinations, of the given ones, at which something is due."""
    of_lanes = (conversations.c.destination.in_(destinations), conversations.c.priority.in_((0, 1, 2)))
    due = sa.select(conversations.c.destination).where(
        *of_lanes, conversations.c.next_at.is_not(None), conversations.c.next_at <= now
    )
    return frozenset(connection.execute(due.distinct()).scalars())


def _now(connection: sa.Connection) -> Millis:
    """Return the time of the database (epoch ms)."""
    return int(connection.execute(sa.select(_NOW)).scalar_one())
