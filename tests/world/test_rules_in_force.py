"""Two replicas with different files on one PostgreSQL: which rules are in force, and what a replica does that does not agree."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest
from ruamel.yaml import YAML

from router.app import ServeOptions, Service
from router.cli.running import serve
from router.model import HOUR, MINUTE, SECOND, Millis
from router.rules_watch import UNSERVED_WAIT
from router.store import LONGEST_BATCH
from router.store.timekeeping import Timekeeping
from tests.postgresql import Server
from tests.waiting import until
from tests.world.asking import metric_value
from tests.world.conftest import World

# Seconds between two questions, because the replicas also need the processor. The clock moves a second with each question.
_PAUSE = 0.1


def old(rules: str) -> str:
    """Return the rules as they are: a critical is sent to C0CRITICAL."""
    return rules


def new(rules: str) -> str:
    """Return rules by which a critical is sent to C0WARNINGS."""
    return rules.replace("C0CRITICAL", "C0WARNINGS")


@pytest.fixture
async def pair(world: World, postgresql: Server) -> AsyncIterator[tuple[World, World]]:
    """Two replicas that are not started yet."""
    (world.folder / "b").mkdir()
    with postgresql.database() as url:
        world.database = url
        other = World(world.folder / "b", world.clock, world.slack, world.pagerduty, world.smtp, database=url)
        yield world, other
        await other.end()
        await world.end()


async def in_force(world: World) -> Any:
    return (await world.get("/status"))["config"]["in_force"]


async def agreement(world: World, *, agrees: bool, each: Millis = SECOND) -> None:
    """Wait until a replica agrees with the rules in force, or no longer does.

    :param each: how far the clock moves between two questions
    """

    async def has_come() -> bool:
        world.clock.advance(each)
        return bool((await in_force(world))["agrees"] is agrees)

    await until(has_come, f"agrees: {agrees}", _PAUSE)


async def all_decided(world: World, fates: int) -> None:
    """Wait until everything that was accepted is decided and delivered. :param fates: how many changes × destinations"""

    async def are_delivered() -> bool:
        world.clock.advance(SECOND)
        return await world.fates() == {"delivered": fates}

    await until(are_delivered, "all is delivered", _PAUSE)
    assert (await world.service.store.undecided.count()).alerts == 0  # type: ignore[union-attr]


async def loads(world: World) -> list[str]:
    """Return who put rules in force, the first one first."""
    assert world.service is not None
    answer = await world.get("/api/v1/configuration/history")
    return [each["actor"] for each in reversed(answer["items"])]


def channels(world: World) -> list[str]:
    return sorted(each.channel for each in world.slack.messages.values())


async def test_a_rolling_update_judges_nothing_by_the_old_file(pair: tuple[World, World]) -> None:
    a, b = pair
    await a.start(old)
    assert await a.post("First", "critical") == 200
    await all_decided(a, 3)
    await b.start(new)
    posted = [await (a, b)[n % 2].post(f"Down{n}", "critical") for n in range(6)]
    assert set(posted) == {200}
    await all_decided(b, 22)  # 7 × 3, and the new rules send the first one to a fourth destination
    assert channels(a) == ["C0CRITICAL", *["C0WARNINGS"] * 7]
    await agreement(a, agrees=False)
    assert await metric_value(a, "alert_router_rules_in_force") == 0
    page = "".join(await a.get("/configuration"))
    assert "Other rules are in force" in page
    assert "other-rules" in page
    answer = await a.get("/api/v1/configuration")
    assert answer["in_force"]["agrees"] is False
    assert answer["in_force"]["sha256"] == (await b.get("/api/v1/configuration"))["sha256"]
    assert await metric_value(b, "alert_router_rules_in_force") == 1
    await a.stop()
    await a.start(old)  # it crashed, and starts with its old file
    assert (await in_force(a))["agrees"] is False
    assert await a.post("Late", "critical") == 200
    await all_decided(b, 25)
    await a.stop()
    await a.start(new)
    assert (await in_force(a))["agrees"] is True
    assert await loads(a) == ["start", "start"]
    for each in pair:
        assert (await each.ledger())["imbalance"] == 0


async def test_an_explicit_load_puts_old_rules_in_force_again(pair: tuple[World, World]) -> None:
    a, b = pair
    await a.start(old)
    await b.start(new)
    await agreement(a, agrees=False)
    status, answer = await a.reload(old)
    assert (status, answer["in_force"]["agrees"]) == (200, True)
    await agreement(b, agrees=False)
    assert await b.post("Down", "critical") == 200
    await all_decided(a, 3)
    assert channels(a) == ["C0CRITICAL"]


async def test_rules_that_no_replica_serves_are_replaced_after_a_while(pair: tuple[World, World]) -> None:
    a, b = pair
    await a.start(old)
    await b.start(new)
    await agreement(a, agrees=False)
    await b.end()
    for _ in range(UNSERVED_WAIT // SECOND - 2):  # a restart of b takes no longer
        a.clock.advance(SECOND)
        await a.at_rest()
    assert not (await in_force(a))["agrees"]
    await b.start(new)
    await agreement(b, agrees=True)
    await b.end()
    assert await a.post("Down", "critical") == 200
    await agreement(a, agrees=True, each=MINUTE)  # a term of these tests is an hour
    await all_decided(a, 3)
    assert channels(a) == ["C0CRITICAL"]
    assert await loads(a) == ["start", "start", "no replica agreed"]


def test_old_rules_come_back_before_the_alert_about_leases_fires() -> None:
    file = Path(__file__).parents[2] / "deploy/prometheus/rules/replicas.rules.yml"
    rules = YAML(typ="safe").load(file)["groups"][0]["rules"]
    (fires_after,) = [each["for"] for each in rules if each.get("alert") == "AlertRouterLeaseNotHeld"]
    fires = int(fires_after.removesuffix("m")) * MINUTE
    (option,) = [each for each in serve.params if each.name == "lease_seconds"]
    assert isinstance(option.type, click.IntRange)
    longest_term = (option.type.max or 0) * SECOND
    scrapes = 2 * 15 * SECOND
    assert longest_term <= UNSERVED_WAIT < fires - scrapes // 2
    assert longest_term + longest_term // 4 + LONGEST_BATCH + scrapes < fires  # a takeover


async def test_a_start_on_a_port_that_is_taken_puts_no_rules_in_force(pair: tuple[World, World]) -> None:
    a, b = pair
    await a.start(old)
    assert a.service is not None
    options = ServeOptions(b.write(new), a.service.runner.addresses[0][:2], database=b.database)
    with pytest.raises(OSError, match="in use"):
        await Service.open(options, {}, b.clock)
    assert await loads(a) == ["start"]
    assert await a.post("Down", "critical") == 200
    await all_decided(a, 3)
    assert channels(a) == ["C0CRITICAL"]


async def test_a_replica_joins_when_its_files_are_those_in_force(pair: tuple[World, World]) -> None:
    a, b = pair
    await a.start(old)
    await b.start(new)
    await agreement(a, agrees=False)
    a.write(new)
    await agreement(a, agrees=True)
    assert await loads(a) == ["start", "start"]
    assert await a.post("Down", "critical") == 200
    await all_decided(a, 3)
    assert channels(a) == ["C0WARNINGS"]


class LateLook:
    """Lets a replica notice no step of the clock until the test allows it."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        assert world.service is not None
        self.allowed = asyncio.Event()
        timekeeping, watch = world.service.store.timekeeping, Timekeeping.watch

        async def late(*args: Any, **options: Any) -> Millis:
            await self.allowed.wait()
            return await watch(timekeeping, *args, **options)

        monkeypatch.setattr(timekeeping, "watch", late)


async def night(world: World) -> None:
    """A warning is held, by a clock that is ten hours ahead."""
    world.clock.advance(10 * HOUR)
    await world.start(old)
    assert await world.post("Disk", "warning") == 200
    assert await world.fates() == {"held": 2}


async def test_a_step_that_a_replica_with_other_rules_sees_first_is_finished(
    pair: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    await night(a)
    await b.start(new)
    await agreement(a, agrees=False)
    look = LateLook(b, monkeypatch)
    a.clock.step_back(10 * HOUR)
    await until(lambda: _has_seen_a_step(a), "the replica with other rules has seen the step")
    look.allowed.set()
    await all_decided(b, 2)
    assert channels(b) == ["C0WARNINGS"]


async def _has_seen_a_step(world: World) -> bool:
    assert world.service is not None
    return world.service.clock_watch.count > 0


async def test_a_replica_goes_on_with_the_judging_of_one_that_has_ended(
    pair: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    await night(a)
    look = LateLook(a, monkeypatch)
    a.clock.step_back(10 * HOUR)
    await (await b._open(old)).stop()  # it ends before it has judged what fires
    look.allowed.set()
    await all_decided(a, 2)
    assert channels(a) == ["C0WARNINGS"]
