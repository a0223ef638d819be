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
from router.core.leases import RELEASED, LeaseRow, Renewal, RenewalRequest, ReplicaRow, renew
from router.model import DAY, Millis
from router.store import starts
from router.store.database import Database
from router.store.notices import ReplicaTopic, notify, topic_notice
from router.store.row_writes import upsert
from router.store.schema import conversations, deliveries, leases, meta, replicas, writers

_WRITERS_KEPT: Millis = 7 * DAY
"""How long the last batch of a process is kept. A process that is cut off for longer than that takes a commit without an
answer for one that failed."""


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

    @property
    def are_possible(self) -> bool:
        """Whether other processes may serve from the same database. If not, this process holds everything."""
        return self._database.is_shared

    async def join(self, request: RenewalRequest) -> Renewal:
        """Begin a session. What replicas have under way whose sessions have ended is due again."""
        self._database.session = request.session
        joined = await self._database.write(partial(_join, request=request))
        assert joined is not None  # noqa: S101  (only a session that had begun can be expelled)
        return joined

    async def renew(self, request: RenewalRequest) -> Renewal | None:
        """Renew the session. Return None if it was expelled: then a new session has to begin."""
        return await self._database.write(partial(_renew, request=request))

    async def release(self, session: str, names: Collection[str]) -> None:
        """Give up leases for which nothing is under way, so that others can take them."""
        await self._database.write(partial(_release, session=session, names=tuple(names)))

    async def leave(self, session: str) -> None:
        """End the session: its leases are free, and what it still has under way is due again."""
        await self._database.write(partial(_leave, session=session))

    async def view(self) -> ReplicasView:
        """Return who runs, and who holds what."""
        return await self._database.read(_view)


def _join(connection: sa.Connection, *, request: RenewalRequest) -> Renewal | None:
    starts.note_start(connection)
    now = _now(connection)
    starts.interrupt(connection, [""], now)  # by a version without replicas
    connection.execute(sa.delete(writers).where(writers.c.at < now - _WRITERS_KEPT))
    return _renew(connection, request=request, is_new=True)


def _renew(connection: sa.Connection, *, request: RenewalRequest, is_new: bool = False) -> Renewal | None:
    seen = _view(connection)
    now, members = seen.now, seen.replicas
    if not is_new and all(each.id != request.session for each in members):
        return None
    renewal = renew(members, seen.leases, request, seen.rules, now)
    gone = {*(each.id for each in renewal.expelled), *vanished_sessions(connection)}
    if gone:
        starts.interrupt(connection, gone, now)
        connection.execute(sa.delete(replicas).where(replicas.c.id.in_(gone)))
    upsert(connection, replicas, [each._asdict() for each in renewal.replicas if each not in members])
    upsert(connection, leases, [each._asdict() for each in renewal.leases if each not in seen.leases])
    return renewal


def vanished_sessions(connection: sa.Connection) -> Collection[str]:
    """Return the sessions that have no row any more, and still have deliveries under way."""
    has_row = sa.select(replicas.c.id).where(replicas.c.id == deliveries.c.replica).exists()
    # An empty session is of a version without replicas: what it left is interrupted when a session begins.
    theirs = (deliveries.c.outcome.is_(None), deliveries.c.replica != "", ~has_row)
    return connection.execute(sa.select(deliveries.c.replica).where(*theirs).distinct()).scalars().all()


def _release(connection: sa.Connection, *, session: str, names: Sequence[str]) -> None:
    connection.execute(
        sa.update(leases)
        .where(leases.c.replica == session, leases.c.name.in_(names))
        .values(replica=None, since=_now(connection), passed_on=RELEASED)
    )
    notify(connection, topic_notice(session, ReplicaTopic.LEASES))


def _leave(connection: sa.Connection, *, session: str) -> None:
    now = _now(connection)
    starts.interrupt(connection, [session], now)
    connection.execute(
        sa.update(leases)
        .where(leases.c.replica == session)
        .values(replica=None, since=now, passed_on=RELEASED)
    )
    connection.execute(sa.delete(replicas).where(replicas.c.id == session))
    notify(connection, topic_notice(session, ReplicaTopic.LEASES))


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
