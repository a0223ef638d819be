"""A start with other rules: webhooks are accepted immediately, while firing alerts are judged in pieces."""

import asyncio
import socket
from contextlib import suppress

import aiohttp
import pytest

from router.core.adopt import Adopted, Adoption
from router.database_wait import DatabaseWait
from router.decide import Policy
from router.model import HOUR, MINUTE, SECOND, Millis
from router.store import Phase
from router.store.rule_changes import RuleChanges
from tests.database import change, rows
from tests.world.asking import metric_value, until_delivered
from tests.world.conftest import World
from tests.world.fake_slack import Want

APPLIED = "alert_router_config_applied"
WARNINGS = tuple(f"Disk-{number}" for number in range(5))


class Pieces:
    """Holds each piece of the judging until the test releases it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: asyncio.Queue[None] = asyncio.Queue()
        self.done: list[Phase | None] = []
        """After each piece, what was left to do."""
        self._allowed = asyncio.Semaphore(0)
        judge_some = RuleChanges.judge_some

        async def held_up(
            rules: RuleChanges, policy: Policy, now: Millis
        ) -> tuple[Phase | None, frozenset[str]]:
            self.begun.put_nowait(None)
            await self._allowed.acquire()
            left, woken = await judge_some(rules, policy, now)
            self.done.append(left)
            return left, woken

        monkeypatch.setattr("router.store.jobs.adopting.RULES_PIECE", 1)
        monkeypatch.setattr(RuleChanges, "judge_some", held_up)

    async def let(self, count: int) -> None:
        """Release so many pieces, and return when the next one waits."""
        for _ in range(count):
            self._allowed.release()
            await self.begun.get()

    def let_all(self) -> None:
        for _ in range(1_000):
            self._allowed.release()


def sends_at_night(rules: str) -> str:
    return rules.replace("outside: hold", "outside: send")


@pytest.fixture
async def night(world: World) -> World:
    """Five warnings are held until the morning, and the service is down."""
    world.clock.advance(10 * HOUR)
    await world.start()
    for name in WARNINGS:
        await world.post(name, "warning")
    assert await world.fates() == {"held": 2 * len(WARNINGS)}
    await world.stop()
    return world


async def ready(world: World) -> str:
    assert world.service is not None
    async with (
        aiohttp.ClientSession(headers={"Accept": "text/plain"}) as session,
        session.get(f"{world.service.url}/readyz") as answer,
    ):
        assert answer.status == 200
        return await answer.text()


async def until_delivered_in_time(world: World, count: int) -> None:
    """Move the clock until so many deliveries are recorded."""
    assert world.service is not None
    while (await world.fates()).get("delivered", 0) < count:
        world.clock.advance(SECOND)
        await world.service.store.ready()


async def warnings_are_told_once(world: World) -> None:
    await until_delivered_in_time(world, 2 * len(WARNINGS))
    assert sum("Disk-" in each.shown for each in world.slack.messages.values()) == len(WARNINGS)
    assert len(world.smtp.mails) == len(WARNINGS)


async def test_webhooks_are_accepted_while_a_start_judges_what_fires(
    night: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Pieces(monkeypatch)
    starting = night.begin(sends_at_night)
    await pieces.begun.get()
    assert await night.post("Down", "critical") == 200
    assert "notifications may wait" in await ready(night)
    assert not (await night.get("/status"))["config"]["applied"]
    assert await metric_value(night, APPLIED) == 0
    assert not night.slack.messages
    pieces.let_all()
    await starting
    assert await ready(night) == "ready\n"
    assert await metric_value(night, APPLIED) == 1
    await until_delivered_in_time(night, 3 + 2 * len(WARNINGS))
    assert len(night.pagerduty.accepted) == 1
    assert await night.fates() == {"delivered": 3 + 2 * len(WARNINGS)}


async def test_who_connects_before_the_rules_are_adopted_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a load balancer asks another replica at once."""
    taken: list[socket.socket] = []
    adopts, may_adopt = asyncio.Event(), asyncio.Event()
    take_address, ask = DatabaseWait.take_address, RuleChanges.ask

    async def noted(wait: DatabaseWait) -> list[socket.socket]:
        taken.extend(await take_address(wait))
        return await take_address(wait)

    async def held_up(rules: RuleChanges, adoption: Adoption, now: Millis) -> Adopted:
        adopts.set()
        await may_adopt.wait()
        return await ask(rules, adoption, now)

    monkeypatch.setattr(DatabaseWait, "take_address", noted)
    monkeypatch.setattr(RuleChanges, "ask", held_up)
    starting = world.begin()
    await adopts.wait()
    address = taken[0].getsockname()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)
    may_adopt.set()
    await starting
    _, connected = await asyncio.open_connection(*address)
    connected.close()


async def test_a_critical_is_paged_as_soon_as_the_inhibit_rules_know_what_fires(
    night: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Pieces(monkeypatch)
    starting = night.begin(sends_at_night)
    await pieces.begun.get()
    while Phase.JUDGE not in pieces.done:
        await pieces.let(1)
    await night.post("Down", "critical")
    await night.pagerduty.until(lambda: bool(night.pagerduty.accepted))
    assert not starting.done()
    pieces.let_all()
    await starting


async def test_nothing_is_sent_before_new_inhibit_rules_know_what_fires(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The critical is known before the warning that it mutes arrives, but not by the new rules."""
    await world.start(lambda rules: rules.partition("inhibit_rules")[0])
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    await world.stop()
    pieces = Pieces(monkeypatch)
    starting = world.begin()
    await pieces.begun.get()
    await world.post("Down", "warning")
    world.clock.advance(MINUTE)
    pieces.let_all()
    await starting
    await world.at_rest()
    world.slack.expect(Want("C0CRITICAL", ("Down",)))
    assert (await world.fates())["inhibited"] == 2


@pytest.mark.parametrize("pieces_before", [1, len(WARNINGS), len(WARNINGS) + 1, 2 * len(WARNINGS)])
async def test_a_start_goes_on_where_the_one_before_was_stopped(
    night: World, monkeypatch: pytest.MonkeyPatch, pieces_before: int
) -> None:
    pieces = Pieces(monkeypatch)
    starting = night.begin(sends_at_night)
    await pieces.begun.get()
    await pieces.let(pieces_before)
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    assert len(pieces.done) == pieces_before
    pieces.let_all()
    await night.start(sends_at_night)
    assert len(pieces.done) == 2 * (len(WARNINGS) + 1)
    await warnings_are_told_once(night)


async def test_other_rules_than_those_of_the_stopped_start_are_applied_whole(
    night: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Pieces(monkeypatch)
    starting = night.begin(lambda rules: rules.replace("outside: hold", "outside: drop"))
    await pieces.begun.get()
    await pieces.let(2 * len(WARNINGS))
    starting.cancel()
    with suppress(asyncio.CancelledError):
        await starting
    pieces.let_all()
    await night.start(sends_at_night)
    await warnings_are_told_once(night)


async def test_a_step_back_while_the_service_was_down_delays_no_webhook(
    night: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = Pieces(monkeypatch)
    night.clock.step_back(10 * HOUR)
    starting = night.begin()
    await pieces.begun.get()
    assert await night.post("Down", "critical") == 200
    pieces.let_all()
    await starting
    await until_delivered_in_time(night, 3 + 2 * len(WARNINGS))


async def test_an_alert_that_cannot_be_judged_holds_up_nothing_else(
    night: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that refuses a row plays a bug of the router."""
    pieces = Pieces(monkeypatch)
    pieces.let_all()
    path = night.folder / "router.db"
    ((alert,),) = rows(path, "SELECT max(id) FROM alerts")
    change(
        path,
        "CREATE TRIGGER t BEFORE UPDATE ON members "
        f"WHEN NEW.alert_id = {alert} BEGIN SELECT RAISE(ABORT, 'no'); END",
    )
    await night.start(sends_at_night)
    await night.post("Down", "critical")
    await until_delivered_in_time(night, 3 + 2 * (len(WARNINGS) - 1))
