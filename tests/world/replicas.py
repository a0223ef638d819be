"""Two replicas in this process, on one database, by one clock. Their leases use real time, and never expire during a test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.app import Service
from router.core.leases import BACKGROUND
from router.model import SECOND
from tests.clock import ManualClock
from tests.postgresql import Server
from tests.waiting import until
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp

SLACK_LANES, PAGES, MAILS = "lanes slack", "lanes pagerduty", "lanes email"
LEASES = frozenset({SLACK_LANES, PAGES, MAILS, BACKGROUND})


@dataclass
class Pair:
    """Two replicas."""

    a: World
    b: World
    server: Server
    database: str

    @property
    def both(self) -> tuple[World, World]:
        return self.a, self.b

    async def start(self, change: Callable[[str], str] = lambda rules: rules) -> None:
        """Start both, and wait until each holds its share, and serves it."""
        for each in self.both:
            await each.start(change)
        await self.when(lambda: self._share() == {2} and self.serves_all(), "each serves by two leases")

    def _share(self) -> set[int]:
        return {len(_service(each).membership.held) for each in self.both}

    def serves_all(self) -> bool:
        """Return whether each destination has a lane at one of the two."""
        lanes = [lane for each in self.both for lane in _service(each).lanes.describe()]
        here = {lane["destination"] for lane in lanes if lane["is_here"]}
        return all(lane["destination"] in here for lane in lanes)

    async def when(self, ready: Callable[[], bool], what: str) -> None:
        """Wait until something is so, while both renew their sessions."""

        async def is_ready() -> bool:
            for each in self.both:
                if each.service is not None:
                    each.service.membership.renew_soon()
                    await each.service.store.ready()
            return ready()

        await until(is_ready, what)

    def holder(self, lease: str) -> World:
        """Return the replica that serves by a lease."""
        (found,) = [each for each in self.both if self.holds(each, lease)]
        return found

    def holds(self, world: World, lease: str) -> bool:
        return world.service is not None and lease in world.service.membership.held

    def other(self, world: World) -> World:
        return self.b if world is self.a else self.a

    async def end(self, world: World) -> None:
        """Stop a replica, and wait until the other one serves everything."""
        await world.end()
        left = _service(self.other(world))
        await self.when(
            lambda: left.membership.held == LEASES and all(each["is_here"] for each in left.lanes.describe()),
            "the other replica serves everything",
        )

    async def expel(self, world: World) -> None:
        """Let the other replica take one for dead that still runs, and serve all lanes."""
        session, left = _service(world).membership.session, _service(self.other(world))
        other = left.membership.session
        self.server.execute(f"UPDATE replicas SET expires_at = 0 WHERE id = '{session}'", self.database)
        # Before it has served for half a term, it would expel nobody.
        self.server.execute(f"UPDATE replicas SET started_at = 0 WHERE id = '{other}'", self.database)
        left.membership.renew_soon()

        async def has_all() -> bool:
            found = self.server.execute(
                "SELECT count(*) FROM leases WHERE replica = '" + other + "'", self.database
            )
            return bool(found[0][0] == len(LEASES)) and all(each["is_here"] for each in left.lanes.describe())

        await until(has_all, "the other replica serves all lanes")


def _service(world: World) -> Service:
    assert world.service is not None
    return world.service


@pytest.fixture
async def replica_pair(tmp_path: Path, postgresql: Server) -> AsyncIterator[Pair]:
    """Two replicas whose Slack accepts one message a second, and refuses what comes faster."""
    clock = ManualClock(MONDAY_NOON)
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(FakeSlack(seconds=lambda: clock.now() / SECOND))
        pagerduty = await stack.enter_async_context(FakePagerDuty())
        smtp = await stack.enter_async_context(FakeSmtp())
        name = postgresql.create()
        a = World(tmp_path, clock, slack, pagerduty, smtp, database=postgresql.url(name), replica="a")
        pair = Pair(a, a.twin("b"), postgresql, name)
        for each in pair.both:
            stack.push_async_callback(each.end)
        yield pair
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


def lanes_of(world: World) -> dict[str, dict[str, Any]]:
    assert world.service is not None
    return {str(each["destination"]): each for each in world.service.lanes.describe()}
