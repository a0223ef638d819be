"""What goes wrong with replicas and their database, one fault at a time, at random moments."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import psycopg

from tests.acceptance.processes import until
from tests.acceptance.replicas import LEASE_SECONDS, Cluster, Replica

log = logging.getLogger(__name__)
# The lock of the writer, see router/store/postgresql.py: its key is two numbers of 32 bits here.
# https://www.postgresql.org/docs/current/view-pg-locks.html
_IN_A_BATCH = """
SELECT a.usename FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.mode = 'ExclusiveLock' AND l.granted AND l.classid = 24940 AND l.objid = 1701999618
"""
_MAX_TRIES = 2_000


class Faults:
    """Causes faults, and ends each of them."""

    def __init__(self, cluster: Cluster, seed: str) -> None:
        self._cluster = cluster
        self._dice = Random(f"{seed} replica faults")
        self.happened: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "killed": self._kill,
            "stopped": self._stop,
            "stalled": self._stall,
            "stalled in a batch": self._stall_in_batch,
            "connections cut": self._cut,
            "connections refused": self._refuse,
            "connections hang": self._hang,
            "database restarted": self._restart,
            "database crashed": self._crash,
        }

    async def cause(self, count: int) -> None:
        """Cause so many faults: each kind once before any kind comes again, in random order."""
        waiting: list[str] = []
        for _ in range(count):
            if not waiting:
                waiting = self._dice.sample(sorted(self.kinds), len(self.kinds))
            kind = waiting.pop()
            await asyncio.sleep(self._dice.uniform(0, 1.5))  # real time: at a random moment
            log.info("fault: %s", kind)
            await self.kinds[kind]()
            self.happened[kind] += 1

    def _one(self) -> Replica:
        return self._dice.choice(self._cluster.replicas)

    async def _last(self, least: float, most: float) -> None:
        """:param least: in terms of a lease"""
        seconds = LEASE_SECONDS * self._dice.uniform(least, most)
        await asyncio.sleep(seconds)  # real time: how long a fault lasts

    async def _kill(self) -> None:
        replica = self._one()
        await replica.kill()
        if self._dice.random() < 0.7:  # a supervisor may start it at once
            await self._last(0, 1.5)
        await replica.start()

    async def _stop(self) -> None:
        replica = self._one()
        assert await replica.stop() == 0
        await replica.start()

    async def _stall(self) -> None:
        replica = self._one()
        replica.stall()
        await self._sleep_through(replica, 0.2, 2.5)

    async def _stall_in_batch(self) -> None:
        """Stall a replica while its session holds the lock of the writer."""
        replica = self._one()
        if not await asyncio.to_thread(_stalled_in_batch, self._cluster.url, replica):
            log.info("no batch of %s was met", replica.name)
            self.happened["no batch met"] += 1
        await self._sleep_through(replica, 1.2, 2.5)

    async def _sleep_through(self, replica: Replica, least: float, most: float) -> None:
        replica.is_out = self._dice.random() < 0.8  # else its requests time out
        await self._last(least, most)
        replica.wake_up()
        await self._back(replica)

    async def _cut(self) -> None:
        for replica in self._dice.sample(
            self._cluster.replicas, min(len(self._cluster.replicas), self._dice.choice((1, 2)))
        ):
            replica.proxy.cut()

    async def _refuse(self) -> None:
        replica = self._one()
        replica.proxy.refuse()
        await self._last(0.2, 2)
        replica.proxy.accept_again()
        await self._back(replica)

    async def _hang(self) -> None:
        replica = self._one()
        replica.proxy.hang()
        await self._last(0.2, 2)
        replica.proxy.flow()
        await self._back(replica)

    async def _restart(self) -> None:
        await self._restart_database("fast")

    async def _crash(self) -> None:
        await self._restart_database("immediate")

    async def _restart_database(self, mode: str) -> None:
        server = self._cluster.server
        await asyncio.to_thread(server.stop, "fast" if mode == "fast" else "immediate")
        await self._last(0, 0.5)
        await asyncio.to_thread(server.start)
        for replica in self._cluster.replicas:
            await self._back(replica)

    async def _back(self, replica: Replica) -> None:
        await until(replica.is_ready, f"{replica.name} is ready again")
        replica.is_out = False


def _stalled_in_batch(url: str, replica: Replica) -> bool:
    """Stall a replica inside a batch; if none is met, at any moment. :returns: whether one was met"""
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in range(_MAX_TRIES):
            if _holds(connection, replica):
                replica.stall()
                if _holds(connection, replica):
                    return True
                replica.wake_up()
            time.sleep(0.002)  # real time: between two questions
    replica.stall()
    return False


def _holds(connection: psycopg.Connection, replica: Replica) -> bool:
    return (replica.user,) in connection.execute(_IN_A_BATCH.encode()).fetchall()
