"""Two replicas in this process, on one PostgreSQL and one clock."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import sqlalchemy as sa

from router.app import ServeOptions, Service
from router.core.leases import BACKGROUND
from router.model import HOUR, MINUTE, SECOND, Millis
from router.store.schema import replicas
from tests.postgresql import Server
from tests.waiting import until
from tests.world.conftest import World
from tests.world.resting import at_rest


@dataclass
class Pair:
    """A world with two services. Leases use real time, and never expire during a test; the rest happens by the clock of the
    test.
    """

    world: World
    a: Service
    b: Service

    @property
    def both(self) -> tuple[Service, Service]:
        return self.a, self.b

    @property
    def holder(self) -> Service:
        """The one that does the work in the background."""
        return next(each for each in self.both if BACKGROUND in each.membership.held)

    @property
    def other(self) -> Service:
        return next(each for each in self.both if BACKGROUND not in each.membership.held)

    async def until_shared(self) -> None:
        """Wait until each lease is held, and both replicas hold as many, or one of them one more. Then none passes on."""

        async def is_shared() -> bool:
            for each in self.both:
                each.membership.renew_soon()
            holders = [each.replica for each in (await self.a.store.replicas.view()).leases]
            numbers = [holders.count(each.membership.session) for each in self.both]
            return sum(numbers) == len(holders) and max(numbers) - min(numbers) <= 1

        await until(is_shared, "both replicas hold leases", pause=0.05)
        await until(self._works, "the background work runs", pause=0.05)

    async def _works(self) -> bool:
        return any(map(self._is_at_work, self.both))

    def _is_at_work(self, service: Service) -> bool:
        """Whether a replica does the work in the background, and all of it waits for its time."""
        tasks = service.background.tasks
        # "undecided" only begins two tasks that wait.
        waiting = (each for each in tasks if each.get_name() != "undecided")
        return (
            BACKGROUND in service.membership.held
            and bool(tasks)
            and all(map(self.world.clock.knows, waiting))
        )

    async def hand_over(self, during: Millis = 0) -> None:
        """Stop the one that does the work in the background, and wait until the other one does it.

        :param during: how much time passes meanwhile (ms)
        """
        stopping, going_on = self.holder, self.other
        await stopping.lanes.stop(0)
        await stopping.stop()
        self.world.clock.advance(during)

        async def took_over() -> bool:
            going_on.membership.renew_soon()
            return self._is_at_work(going_on)

        await until(took_over, "the other replica works in the background", pause=0.05)

    async def lose_holder(self, during: Millis = 0) -> None:
        """Let the other one take the holder of the background for dead. It still runs, and finds out only later.

        :param during: how much time passes meanwhile (ms)
        """
        lost, going_on = self.holder, self.other
        session = lost.membership.session
        self.world.clock.advance(during)

        async def took_over() -> bool:
            me = going_on.membership.session
            await going_on.store.database.write(partial(_expire, session=session, other=me))
            going_on.membership.renew_soon()
            return self._is_at_work(going_on)

        await until(took_over, "the other replica works in the background", pause=0.05)
        await self.until_shared()

    async def passes(self, by: Millis) -> None:
        """Let time pass, and both do all that is to be done then."""
        self.world.clock.advance(by)
        for each in self.both:
            if not each.shutdown.has_begun():
                await at_rest(each, self.world.clock)

    async def get(self, service: Service, path: str) -> Any:
        async with aiohttp.ClientSession() as session, session.get(f"{service.url}{path}") as answer:
            assert answer.status == 200
            is_json = answer.content_type == "application/json"
            return await answer.json() if is_json else await answer.text()

    async def post(self, service: Service, path: str, json: object) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.url}{path}", json=json) as answer,
        ):
            await answer.read()
            return answer.status


def _expire(connection: sa.Connection, *, session: str, other: str) -> None:
    """Let a session expire. The other one has lived for long enough to know that."""
    of_session, of_other = replicas.c.id == session, replicas.c.id == other
    connection.execute(sa.update(replicas).where(of_session).values(expires_at=0))
    connection.execute(sa.update(replicas).where(of_other).values(started_at=replicas.c.started_at - HOUR))


@asynccontextmanager
async def pair_of(
    world: World,
    postgresql: Server,
    change: Callable[[str], str] = lambda rules: rules,
    term: Millis = 60 * MINUTE,
) -> AsyncIterator[Pair]:
    """Two replicas that share the leases."""
    path = world.write(change)
    with postgresql.database() as url:
        services: list[Service] = []

        async def begin(name: str) -> Service:
            options = ServeOptions(
                path, ("127.0.0.1", 0), database=url, replica=name, lease_term=term, drain=SECOND
            )
            service = await Service.open(options, {}, world.clock)
            services.append(service)
            await service.start()
            return service

        try:
            pair = Pair(world, await begin("a"), await begin("b"))
            await pair.until_shared()
            yield pair
        finally:
            world.service = None
            for each in services:
                if not each.shutdown.has_begun():
                    await each.lanes.stop(0)
            await asyncio.gather(*(each.stop() for each in services if not each.shutdown.has_begun()))
