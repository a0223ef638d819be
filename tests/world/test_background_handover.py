"""The work in the background with two replicas: what the other one hears, and what passes on when the holder ends."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from router.app import Service
from router.core.head import Grant
from router.core.leases import BACKGROUND
from router.model import DAY, HOUR, MINUTE, SECOND
from router.silence_watch import TELL_EVERY
from router.store import WORKS_BY, StoreUnavailable, WorkLost
from tests.postgresql import Server
from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_monitor import FakeMonitor
from tests.world.fake_pagerduty import Page
from tests.world.heartbeats import WATCHERS, post, said, with_heartbeat
from tests.world.pairs import Pair, pair_of
from tests.world.reconciling import asking
from tests.world.test_deadman import pinging
from tests.world.test_drills import with_drill


@pytest.fixture
async def pair(world: World, postgresql: Server) -> AsyncIterator[Pair]:
    world.slack.channels[WATCHERS] = "watchers"
    async with pair_of(world, postgresql, with_heartbeat()) as pair:
        yield pair


async def beat(pair: Pair) -> None:
    """A heartbeat comes to the replica that does not watch."""
    pair.world.service = pair.other
    await post(pair.world)
    await pair.passes(TELL_EVERY)


async def until_silent(pair: Pair) -> None:
    await pair.world.slack.until(lambda: len(said(pair.world)) == 1)


async def test_a_heartbeat_that_another_replica_hears_is_not_silent(pair: Pair) -> None:
    for _ in range(5):
        await beat(pair)
        await pair.passes(8 * MINUTE)
    assert not said(pair.world)
    await pair.passes(2 * MINUTE)
    await pair.passes(2 * TELL_EVERY)
    await until_silent(pair)
    for service in pair.both:
        await pair.passes(TELL_EVERY)
        assert [each.watched.heartbeat for each in service.silence_watch.silent()] == ["watchdog"]
    await beat(pair)
    await pair.passes(TELL_EVERY)
    await pair.world.slack.until(lambda: bool(pair.world.slack.in_channel(WATCHERS)[0].replies))
    await pair.passes(TELL_EVERY)
    assert not any(each.silence_watch.silent() for each in pair.both)
    assert len(said(pair.world)) == 1


async def test_a_silence_is_counted_over_a_takeover(pair: Pair) -> None:
    await beat(pair)
    await pair.passes(6 * MINUTE)
    await pair.hand_over()
    await pair.passes(3 * MINUTE)
    assert not said(pair.world)
    await pair.passes(MINUTE)
    await pair.passes(2 * TELL_EVERY)
    await until_silent(pair)


async def test_a_silence_that_another_replica_reported_ends_once(pair: Pair) -> None:
    await beat(pair)
    await pair.passes(10 * MINUTE)
    await pair.passes(2 * TELL_EVERY)
    await until_silent(pair)
    going_on = pair.other
    await pair.hand_over()
    await pair.passes(MINUTE)
    assert len(said(pair.world)) == 1
    pair.world.service = going_on
    await post(pair.world)
    await pair.passes(SECOND)
    await pair.world.slack.until(lambda: bool(pair.world.slack.in_channel(WATCHERS)[0].replies))
    assert len(said(pair.world)) == 1


async def test_what_work_writes_is_refused_once_another_replica_does_it(pair: Pair) -> None:
    store = pair.holder.store
    fence = {each.name: each.fence for each in (await store.replicas.view()).leases}[BACKGROUND]
    for grant, is_held in (
        (None, True),
        (Grant(BACKGROUND, fence), True),
        (Grant(BACKGROUND, fence - 1), False),
    ):
        before = WORKS_BY.set(grant)
        try:
            if is_held:
                await store.ready()
            else:
                with pytest.raises(WorkLost) as refused:
                    await store.ready()
                assert isinstance(refused.value, StoreUnavailable)
        finally:
            WORKS_BY.reset(before)
    assert store.trouble is None


async def ended(pair: Pair, service: Service, test: str) -> dict[str, Any]:
    """Follow a test at a replica until it has finished."""
    version = ""
    while True:
        found = await pair.get(service, f"/api/v1/tests/{test}?unlike={version}&wait=1")
        if found["finished_at"] is not None:
            return dict(found)
        version = found["version"]
        await pair.passes(SECOND)


async def test_a_receiver_is_tested_from_any_replica(pair: Pair) -> None:
    for service in pair.both:
        body = {"receiver": "watchers", "severity": "critical", "timeout": 60}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{service.url}/api/v1/tests", json=body) as answer,
        ):
            assert answer.status == 200
            started = await answer.json()
        assert await pair.post(pair.other, "/api/v1/tests", body) == 409  # one at a time, whoever is asked
        for each in pair.both:
            found = await ended(pair, each, started["id"])
            assert found["outcome"] == "delivered"
    assert len(said(pair.world)) == 2


async def test_a_test_goes_on_over_a_takeover(pair: Pair) -> None:
    going_on, body = pair.other, {"receiver": "watchers", "severity": "critical", "timeout": 600}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{going_on.url}/api/v1/tests", json=body) as answer,
    ):
        started = await answer.json()
    await pair.hand_over()
    found = await ended(pair, going_on, started["id"])
    assert found["outcome"] == "delivered"
    assert len(said(pair.world)) == 1


async def test_each_replica_shows_what_the_background_work_found(pair: Pair) -> None:
    for _ in range(3):
        await pair.passes(10 * SECOND)
    for service in pair.both:
        found = (await pair.get(service, "/status"))["integrity"]
        assert found is not None
        assert service.maintenance.integrity == pair.holder.maintenance.integrity


# Work that goes on at the next holder, and is done by one of them at a time.

Handover = Callable[..., Awaitable[None]]
both_ways = pytest.mark.parametrize("handover", [Pair.hand_over, Pair.lose_holder])
"""The holder stops properly; or it is taken for dead while it still runs."""


@both_ways
async def test_a_slot_during_a_handover_is_one_drill(
    world: World, postgresql: Server, handover: Handover
) -> None:
    async with pair_of(world, postgresql, with_drill) as pair:
        while await pair.a.store.tests.last_slot() is None:
            await pair.passes(0)
        going_on = pair.other
        await handover(pair, during=30 * MINUTE)

        async def drills() -> list[dict[str, Any]]:
            return list((await pair.get(going_on, "/api/v1/drills"))["items"])

        while not (found := await drills()) or found[0]["outcome"] == "under way":
            await pair.passes(5 * SECOND)
        for by in (MINUTE, 2 * HOUR):
            await pair.passes(by)
        assert [each["outcome"] for each in await drills()] == ["delivered"]
        world.pagerduty.expect(Page("TEST", open=False))


@both_ways
async def test_one_replica_asks_alertmanager_before_and_after(
    world: World, postgresql: Server, handover: Handover
) -> None:
    async with FakeAlertmanager() as alertmanager, pair_of(world, postgresql, asking(alertmanager)) as pair:
        alertmanager.has("Down", "critical")
        world.service = going_on = pair.other
        await world.post("Down", "critical")
        await pair.passes(MINUTE)
        await asked_each_minute(pair, alertmanager)
        await handover(pair)
        await pair.passes(MINUTE)
        await asked_each_minute(pair, alertmanager)
        alertmanager.forget()
        for _ in range(4):
            await pair.passes(MINUTE)
        await world.pagerduty.until(lambda: not world.pagerduty.only.open)
        assert (await going_on.store.pages.status())["changes"]["resolved"] == 1


async def asked_each_minute(pair: Pair, alertmanager: FakeAlertmanager) -> None:
    before = alertmanager.asked
    for minutes in (1, 2, 3):
        await pair.passes(MINUTE)
        assert alertmanager.asked == before + minutes


@both_ways
async def test_one_replica_pings_the_monitor_before_and_after(
    world: World, postgresql: Server, handover: Handover
) -> None:
    async with FakeMonitor() as monitor, pair_of(world, postgresql, pinging(monitor)) as pair:
        for is_after in (False, True):
            await pair.passes(MINUTE)
            before = len(monitor.pings)
            for minutes in (1, 2, 3):
                await pair.passes(MINUTE)
                assert len(monitor.pings) == before + minutes
            if not is_after:
                await handover(pair)
        assert {each.status for each in monitor.pings} == {200}


@both_ways
async def test_pruning_goes_on(world: World, postgresql: Server, handover: Handover) -> None:
    def short(rules: str) -> str:
        return rules + "retention: {history: 10d, webhooks: 1d}\n"

    async with pair_of(world, postgresql, short) as pair:
        world.service = going_on = pair.other
        for status in ("firing", "resolved"):
            await world.post("Down", "critical", status)
            await pair.passes(SECOND)
        await handover(pair)

        async def rows(table: str) -> int:
            counted = sa.text(f"SELECT count(*) FROM {table}")
            return await going_on.store.database.read(lambda c: c.execute(counted).scalar_one())

        assert await rows("webhooks WHERE body != ''") == 2
        await pair.passes(2 * DAY)
        while await rows("webhooks WHERE body != ''"):
            await pair.passes(HOUR)
        assert await rows("changes") == 2
        await pair.passes(9 * DAY)
        while await rows("webhooks") or await rows("changes"):
            await pair.passes(HOUR)
