"""What is accepted by one replica and by another is decided exactly as by one router: inhibition, holds, digests and a reload."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from router.decide import Policy
from router.model import HOUR, MINUTE, SECOND, Millis
from router.store import Phase
from router.store.rule_changes import RuleChanges
from tests.clock import ManualClock
from tests.postgresql import Server
from tests.waiting import until
from tests.world.asking import until_failed
from tests.world.bulk import alert
from tests.world.bulk import post as post_many
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import FakePagerDuty
from tests.world.fake_slack import FakeSlack
from tests.world.fake_smtp import FakeSmtp
from tests.world.fake_smtp import answer as smtp_answer
from tests.world.replicas import MAILS, Pair

EVENING, DIGEST, OPENING = (MONDAY_NOON + hours * HOUR for hours in (8, 20, 21))
_UNDER_WAY = sa.text("SELECT count(*) FROM conversations WHERE next_at <= :now OR delivery_id IS NOT NULL")
Disturb = Callable[[Pair, World], Awaitable[None]]


@dataclass
class Routers:
    """One router, or two replicas: :attr:`a` and :attr:`b` are the same world then."""

    a: World
    b: World
    pair: Pair | None = None

    @property
    def live(self) -> list[World]:
        return [each for each in (self.a, self.b) if each.service is not None]

    async def start(self, change: Callable[[str], str] = lambda rules: rules) -> None:
        await (self.a.start(change) if self.pair is None else self.pair.start(change))

    async def at(self, moment: Millis) -> None:
        """Do all that is due now, let time pass until a moment, and do all that is due then.

        A message shows when it was sent, so what is due now must not be sent after the time has passed.
        """
        await self.settled()
        self.a.clock.advance(moment - self.a.clock.now())
        await self.settled()

    async def settled(self) -> None:
        async def is_done() -> bool:
            for each in self.live:
                await each.at_rest()
            store = self.live[0].service.store  # type: ignore[union-attr]
            now = self.a.clock.now()
            due = await store.database.read(lambda c: c.execute(_UNDER_WAY, {"now": now}).scalar_one())
            self.a.clock.advance(SECOND if due else 0)
            return not due and (await store.undecided.count()).alerts == 0

        await until(is_done, "nothing is due", pause=0.05)

    async def told(self) -> dict[str, Any]:
        """Return what became of all, and what people were told."""
        ledger = await self.live[0].ledger()
        return {
            "fates": {fate: count for fate, count in ledger["fates"].items() if count},
            "changes": ledger["changes"],
            "slack": sorted(
                (each.channel, each.shown, len(each.replies)) for each in self.a.slack.messages.values()
            ),
            "pages": sorted(
                (each.summary, each.open)
                for several in self.a.pagerduty.incidents.values()
                for each in several
            ),
            "mails": sorted((each.recipients, each.subject) for each in self.a.smtp.mails),
        }


@pytest.fixture
async def routers(tmp_path: Path, postgresql: Server) -> AsyncIterator[tuple[Routers, Routers]]:
    """One router on SQLite, and two replicas, each with providers and a clock of their own."""
    name = postgresql.create()
    async with AsyncExitStack() as stack:

        async def world(folder: str, database: str | None = None, replica: str | None = None) -> World:
            slack = await stack.enter_async_context(FakeSlack())
            pagerduty = await stack.enter_async_context(FakePagerDuty())
            smtp = await stack.enter_async_context(FakeSmtp())
            path = tmp_path / folder
            path.mkdir()
            clock = ManualClock(MONDAY_NOON)
            made = World(path, clock, slack, pagerduty, smtp, database=database, replica=replica)
            stack.push_async_callback(made.end)
            return made

        one = await world("one")
        a = await world("two", postgresql.url(name), "a")
        b = a.twin("b")
        stack.push_async_callback(b.end)
        yield Routers(one, one), Routers(a, b, Pair(a, b, postgresql, name))
    postgresql.execute(f"DROP DATABASE {name} WITH (FORCE)")


async def nothing(_pair: Pair, _holder: World) -> None:
    """All goes well."""


async def stops(pair: Pair, holder: World) -> None:
    await pair.end(holder)


async def is_lost(pair: Pair, holder: World) -> None:
    """It is taken for dead, although it still runs."""
    await pair.expel(holder)


async def play(routers: Routers, disturb: Disturb = nothing) -> dict[str, Any]:
    """An evening, a night and a morning. The mails fail at the slot of the digest, and then the holder may be disturbed."""
    a, b = routers.a, routers.b
    await routers.start()
    await routers.at(EVENING)
    await a.post("Disk", "critical")
    await b.post("Disk", "warning")
    await a.post("Disk", "info")
    await b.post("Memory", "warning")
    await a.post("Slow", "info")
    await b.post("Old", "info")
    await routers.at(EVENING + HOUR)
    fates = (await routers.told())["fates"]
    assert fates == {"delivered": 3, "inhibited": 3, "held": 2, "digest": 2}
    await b.post("Disk", "critical", "resolved")
    await routers.at(EVENING + 2 * HOUR)
    fates = (await routers.told())["fates"]
    assert fates == {"delivered": 6, "held": 4, "digest": 3}
    await b.post("Network", "critical")
    await a.post("Network", "warning")
    await routers.at(EVENING + 3 * HOUR)
    a.smtp.fail(smtp_answer("451 later", at="MAIL"))
    a.clock.advance(DIGEST - a.clock.now())
    await until_failed(a, "digest:daily")
    if routers.pair is not None:
        await disturb(routers.pair, routers.pair.holder(MAILS))
    await routers.settled()
    await routers.at(DIGEST + 30 * MINUTE)
    digests = [each for each in a.smtp.mails if each.recipients == ("digest@example.com",)]
    assert len(digests) == 1
    await routers.at(OPENING + 30 * MINUTE)
    return await routers.told()


@pytest.mark.parametrize("disturb", [nothing, stops, is_lost])
async def test_two_replicas_tell_what_one_router_tells(
    routers: tuple[Routers, Routers], disturb: Disturb
) -> None:
    one, two = routers
    assert await play(two, disturb) == await play(one)


class Gate:
    """Stops the reload after its first piece, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pieces, self.reached, self.opened = 0, asyncio.Event(), asyncio.Event()
        judge_some = RuleChanges.judge_some

        async def judges(
            rules: RuleChanges, policy: Policy, now: Millis
        ) -> tuple[Phase | None, frozenset[str]]:
            if self.pieces:
                self.reached.set()
                await self.opened.wait()
            self.pieces += 1
            return await judge_some(rules, policy, now)

        monkeypatch.setattr(RuleChanges, "judge_some", judges)


MANY = 150


def without_inhibition(rules: str) -> str:
    return rules.partition("inhibit_wait")[0] + "stale_after: 0\n"


async def reload_between(routers: Routers, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The new rules inhibit. While they are applied, webhooks come to both replicas."""
    a, b = routers.a, routers.b
    await routers.start(without_inhibition)
    await routers.at(EVENING)
    many = [f"Down{number}" for number in range(MANY)]
    await post_many(b, "warnings", *(alert(name, "warning", cluster="eu-1") for name in many))
    await post_many(a, "criticals", *(alert(name, "critical", cluster="eu-1") for name in many))
    await a.post("Disk", "critical")
    await routers.at(EVENING + HOUR)
    with monkeypatch.context() as patch:
        gate = Gate(patch)
        b.write()
        reloading = asyncio.create_task(a.reload(lambda rules: rules))
        await gate.reached.wait()
        await b.post("Disk", "warning")
        await a.post("Down0", "critical", "resolved")
        await b.post("Network", "critical")
        await a.post("Network", "warning")
        gate.opened.set()
        assert (await reloading)[0] == 200
    assert gate.pieces > 1
    await routers.settled()
    for moment in (EVENING + 2 * HOUR, DIGEST + 30 * MINUTE, OPENING + 30 * MINUTE):
        await routers.at(moment)
    return await routers.told()


async def test_a_reload_between_webhooks_of_both_is_one_routers(
    routers: tuple[Routers, Routers], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = routers
    assert await reload_between(two, monkeypatch) == await reload_between(one, monkeypatch)
