"""The connection to PostgreSQL is lost at commits: before the server gets them, or after it has committed, and the answer is lost.

A router that does not know of its own claim would leave a delivery under way that nobody sends. So each batch has to have the
outcome for the router that it has in the database.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import aiohttp
import psycopg
import pytest

from router.model import DAY, MINUTE, SECOND
from router.store import StoreUnavailable
from tests.postgresql import Server
from tests.tcp_proxy import TcpProxy, proxied
from tests.world.bulk import alert
from tests.world.conftest import World
from tests.world.fake_pagerduty import KEY, http

_ALL = "CHAOS_SEED" in os.environ
"""`make hunt` loses other commits in each pass, and more of them."""
_SEED = int(os.environ.get("CHAOS_SEED") or 1)
_LARGE, _STORM = 501, 8
_BUSY = """
SELECT EXISTS (SELECT FROM conversations WHERE state <> 'closed' AND (next_at <= %(now)s OR delivery_id IS NOT NULL))
OR EXISTS (SELECT FROM webhooks WHERE undecided IS NOT NULL)
"""


@dataclass
class Lossy:
    """A world whose commits are lost at random."""

    world: World
    proxy: TcpProxy
    database: psycopg.Connection[tuple[int, ...]]
    """A connection that loses nothing."""
    lost: int = field(default=0)

    def lose(self, order: str) -> None:
        """Lose one in five commits from now on. :param order: see :attr:`TcpProxy.on_commit`"""
        dice = Random(f"{_SEED} {order}")

        def lost(_number: int) -> str | None:
            if dice.random() > 1 / 5:
                return None
            self.lost += 1
            return order

        self.proxy.on_commit = lost

    async def ask(self, path: str, body: object = None, *, until: int = 200) -> None:
        """Post something, and repeat that while it is refused, as Alertmanager and operators do."""
        assert self.world.service is not None
        given = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.post(f"{self.world.service.url}{path}", **given) as answer:
                    if answer.status == until:
                        return
                        assert answer.status >= 500, (
                            await answer.text()
                        )  # a reload that fails answers with 500

    async def send(self, group: str, *alerts: dict[str, object]) -> None:
        body = {
            "version": "4", "groupKey": group, "receiver": "r", "groupLabels": {"group": group},
            "externalURL": "http://am.example", "alerts": alerts,
        }  # fmt: skip
        await self.ask("/webhook", body)

    async def quiet(self) -> None:
        """Wait until nothing is due, under way or undecided."""
        await self.pass_time()
        while self.database.execute(_BUSY, {"now": self.world.clock.now()}).fetchone() == (True,):
            await self.pass_time()

    async def pass_time(self) -> None:
        assert self.world.service is not None
        self.world.clock.advance(2 * SECOND)
        with suppress(StoreUnavailable):
            await self.world.service.store.ready()

    async def reload(self, change: Callable[[str], str]) -> None:
        """Load other rules, which takes several commits. After one that fails, the router waits before it goes on."""
        self.world.write(change)
        reloading = asyncio.create_task(self.ask("/-/reload"))
        while not reloading.done():
            await self.pass_time()
        await reloading

    def counts(self, table: str, column: str) -> dict[object, int]:
        found = self.database.execute(f"SELECT {column}, count(*) FROM {table} GROUP BY 1".encode())
        return dict(found.fetchall())  # type: ignore[arg-type]

    def assert_told(self, *, fired: int, ended: int = 0) -> None:
        """Check that each alert was accepted once, apart from repeats, and that its destinations know it."""
        kinds = self.counts("changes", "kind")
        assert (kinds["fired"], kinds.get("resolved", 0)) == (fired, ended)
        assert self.counts("fates", "fate").keys() == {"delivered"}


@pytest.fixture
async def lossy(world: World, postgresql: Server) -> AsyncIterator[Lossy]:
    name = postgresql.create()
    with proxied(postgresql.socket) as proxy:
        world.database = postgresql.through(proxy, name)
        await world.start(_with_storms)
        with psycopg.connect(postgresql.url(name), autocommit=True) as database:
            yield Lossy(world, proxy, database)
        proxy.on_commit = lambda _number: None
        await world.end()
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _with_storms(rules: str) -> str:
    return rules.replace("{channel: C0WARNINGS}", "{channel: C0WARNINGS, storm_above: 5}")


async def single(lossy: Lossy) -> None:
    """One message, a quarantined body, a reload, and a digest."""
    world = lossy.world
    await lossy.send("one", alert("Single", "critical"))
    await lossy.quiet()
    await lossy.ask("/webhook", b"this is no webhook", until=202)
    await lossy.send("info", alert("Cert", "info"))
    await lossy.reload(lambda rules: _with_storms(rules).replace("stale_after: 0", "stale_after: 3d"))
    await lossy.send("one", alert("Single", "critical", "resolved"))
    await lossy.quiet()
    world.clock.advance(DAY)
    await lossy.quiet()
    lossy.assert_told(fired=2, ended=1)
    assert lossy.counts("webhooks", "quarantined IS NULL")[False] == 1
    assert lossy.counts("deliveries", "outcome") == {"delivered": 7}
    assert [each.open for each in world.pagerduty.incidents[KEY]] == [False]
    assert len(world.slack.messages) == 1
    assert len(world.smtp.mails) == 3


async def large(lossy: Lossy) -> None:
    """A webhook that is decided in pieces, and a conversation that is claimed, recorded and closed in pieces."""
    alerts = [alert(f"Down{number}", "critical", n=str(number)) for number in range(_LARGE)]
    await lossy.send("large", *alerts)
    await lossy.quiet()
    await lossy.send("large", *({**each, "status": "resolved"} for each in alerts))
    await lossy.quiet()
    lossy.assert_told(fired=_LARGE, ended=_LARGE)
    assert lossy.counts("deliveries", "outcome") == {"delivered": 6}, lossy.counts("deliveries", "reason")
    assert [each.open for each in lossy.world.pagerduty.incidents[KEY]] == [False]
    assert "Resolved" in lossy.world.slack.only.text


async def storm(lossy: Lossy) -> None:
    """A destination is paused and resumed, and a storm's message absorbs what was due there."""
    await lossy.ask("/api/v1/destinations/slack:C0WARNINGS/pause", {})
    for number in range(_STORM):
        await lossy.send(f"storm {number}", alert("Flood", "warning", n=str(number)))
    await lossy.ask("/api/v1/destinations/slack:C0WARNINGS/resume", {})
    await lossy.quiet()
    for number in range(_STORM):
        await lossy.send(f"storm {number}", alert("Flood", "warning", "resolved", n=str(number)))
    for _ in range(15):  # until the storm is over
        lossy.world.clock.advance(MINUTE)
        await lossy.quiet()
    lossy.assert_told(fired=_STORM, ended=_STORM)
    assert "interrupted" not in lossy.counts("deliveries", "outcome")
    assert len(lossy.world.slack.messages) == 1


async def dead_letter(lossy: Lossy) -> None:
    """A delivery is refused, and an operator retries the dead letter."""
    lossy.world.pagerduty.fail(*[http(400)] * 100)  # smaller events are refused as well
    await lossy.send("refused", alert("Refused", "critical"))
    await lossy.quiet()
    lossy.world.pagerduty.recover()
    ((letter,),) = lossy.database.execute("SELECT id FROM dead_letters").fetchall()
    await lossy.ask(f"/api/v1/dead-letters/{letter}/retry", {})
    await lossy.quiet()
    lossy.assert_told(fired=1)
    assert lossy.counts("deliveries", "outcome") == {"delivered": 3, "rejected": 1}


Scenario = Callable[[Lossy], Awaitable[None]]


@pytest.mark.hunt
@pytest.mark.parametrize("order", ["before", "after", "ended"])
@pytest.mark.parametrize("play", [single, large, storm, dead_letter])
async def test_a_lost_commit_changes_nothing_in_the_end(lossy: Lossy, order: str, play: Scenario) -> None:
    lossy.lose(order)
    await play(lossy)
    assert lossy.lost > 1
    assert (await lossy.world.ledger())["imbalance"] == 0
