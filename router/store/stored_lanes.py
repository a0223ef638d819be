"""The states of lanes in the database, as the replica that serves each lane published it last. On a database that no other
process can share, nothing is published.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import sqlalchemy as sa

from router.core.head import Grant, LeaseLost
from router.model import Millis
from router.store.database import Database
from router.store.notices import ReplicaTopic, notify, topic_notice
from router.store.row_writes import upsert
from router.store.schema import lanes, leases

_ROWS_PER_STATEMENT = 500


class StoredLane(NamedTuple):
    """The state of a lane, or of what the lanes of a lease share."""

    name: str
    """The key of the destination, or the name of the lease."""
    state: str
    """JSON, see :mod:`router.deliver.lane_memory`."""


class StoredLanes:
    """Reads and writes the states of lanes.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> dict[str, str]:
        """Return all states, by the key of the destination or the name of the lease."""
        return await self._database.read(_read)

    async def publish(
        self,
        states: Mapping[Grant, Collection[StoredLane]],
        gone: Collection[str],
        now: Millis,
    ) -> frozenset[Grant]:
        """Store the states of lanes, in place of the stored ones, and let other replicas know. States of a lease that another
        replica holds by now are left.

        :param states: by the lease of the lanes
        :param gone: the names whose states are deleted
        :returns: the leases that were still held
        """
        work = partial(
            _publish, session=self._database.session, states=dict(states), gone=tuple(gone), now=now
        )  # fmt: skip
        return await self._database.write(work)

    async def forget(self, name: str, lease: str) -> None:
        """Delete the state of a lane, unless a replica holds its lease."""
        await self._database.write(partial(_forget, name=name, lease=lease))


def check_lease(connection: sa.Connection, session: str, grant: Grant | None) -> None:
    """Check in a transaction that writes that a lease is still held.

    :param grant: None: no other process serves
    :raises LeaseLost: another replica holds it, or nobody does
    """
    if grant is not None and grant not in held_by(connection, session):
        raise LeaseLost(grant.name)


def held_by(connection: sa.Connection, session: str) -> frozenset[Grant]:
    """Return the leases that a replica holds."""
    found = connection.execute(sa.select(leases.c.name, leases.c.fence).where(leases.c.replica == session))
    return frozenset(Grant(name, fence) for name, fence in found)


def _read(connection: sa.Connection) -> dict[str, str]:
    return {row.name: row.state for row in connection.execute(sa.select(lanes.c.name, lanes.c.state))}


def _publish(
    connection: sa.Connection,
    *,
    session: str,
    states: Mapping[Grant, Collection[StoredLane]],
    gone: Sequence[str],
    now: Millis,
) -> frozenset[Grant]:
    held = held_by(connection, session)
    rows = [each for grant, several in states.items() if grant in held for each in several]
    for first in range(0, len(gone), _ROWS_PER_STATEMENT):
        some = gone[first : first + _ROWS_PER_STATEMENT]
        connection.execute(sa.delete(lanes).where(lanes.c.name.in_(some)))
    upsert(connection, lanes, [{**each._asdict(), "replica": session, "at": now} for each in rows])
    notify(connection, topic_notice(session, ReplicaTopic.LANES))
    return held


def _forget(connection: sa.Connection, *, name: str, lease: str) -> None:
    holder = connection.execute(sa.select(leases.c.replica).where(leases.c.name == lease)).scalar()
    if holder is None:
        connection.execute(sa.delete(lanes).where(lanes.c.name == name))
