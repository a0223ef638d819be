"""A cluster of Alertmanagers is asked: what any peer has fires, and what resolved too early is sent again."""

from collections.abc import AsyncIterator, Callable

import pytest
from structlog.testing import capture_logs

from router.model import HOUR, MINUTE
from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_pagerduty import KEY, Page
from tests.world.fake_server import Fault

DOWN = Fault(503)


@pytest.fixture
async def pair() -> AsyncIterator[tuple[FakeAlertmanager, FakeAlertmanager]]:
    async with FakeAlertmanager() as one, FakeAlertmanager() as other:
        yield one, other


Pair = tuple[FakeAlertmanager, FakeAlertmanager]


def asking(*peers: FakeAlertmanager) -> Callable[[str], str]:
    urls = ", ".join(f'"{peer.url}"' for peer in peers)
    return lambda rules: f"{rules}\nsources: [{{name: prod, alertmanager_url: [{urls}], gone_after: 1m}}]\n"


async def minutes(world: World, pair: Pair, count: int) -> None:
    """Let minutes pass: both peers are asked each minute, and their answers are used."""
    for _ in range(count):
        asked = [peer.asked + 1 for peer in pair]
        world.clock.advance(MINUTE)
        for peer, times in zip(pair, asked, strict=True):
            await peer.until_asked(times)
        await world.at_rest()


async def paged(world: World, pair: Pair, *having: FakeAlertmanager) -> None:
    """Post a critical and wait until it is sent. These peers have it when they are asked next."""
    await world.start(asking(*pair))
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    for peer in having:
        peer.has("Down", "critical")
    await minutes(world, pair, 2)


def pages(world: World) -> list[bool]:
    """Return for each incident whether it is open."""
    return [each.open for each in world.pagerduty.incidents[KEY]]


async def test_what_one_peer_alone_has_goes_on(world: World, pair: Pair) -> None:
    _, other = pair
    await paged(world, pair, other)
    await minutes(world, pair, 10)
    assert pages(world) == [True]


async def test_what_no_peer_has_ever_had_is_not_gone(world: World, pair: Pair) -> None:
    await paged(world, pair)
    await minutes(world, pair, 10)
    assert pages(world) == [True]


async def test_what_no_peer_has_any_more_is_gone(world: World, pair: Pair) -> None:
    one, other = pair
    await paged(world, pair, one, other)
    one.forget()
    await minutes(world, pair, 4)
    assert pages(world) == [True]
    other.forget()
    await minutes(world, pair, 3)
    await world.pagerduty.until(lambda: pages(world) == [False])


async def test_a_peer_that_does_not_answer_is_left_out_and_noted(world: World, pair: Pair) -> None:
    one, other = pair
    await paged(world, pair, one, other)
    one.forget()
    other.fail(*[DOWN] * 100)
    with capture_logs() as logs:
        await minutes(world, pair, 4)
    await world.pagerduty.until(lambda: pages(world) == [False])
    noted = {each["peer"] for each in logs if each["event"] == "alertmanager does not answer"}
    assert noted == {other.url.split("/")[2]}


async def test_what_the_silent_peer_alone_had_is_not_gone(world: World, pair: Pair) -> None:
    _, other = pair
    await paged(world, pair, other)
    other.fail(*[DOWN] * 100)
    await minutes(world, pair, 10)
    assert pages(world) == [True]


async def test_whom_a_peer_has_listed_is_known_after_a_restart(world: World, pair: Pair) -> None:
    await paged(world, pair, *pair)
    await world.stop()
    for peer in pair:
        peer.forget()
    await world.start(asking(*pair))
    await minutes(world, pair, 3)
    await world.pagerduty.until(lambda: pages(world) == [False])


async def test_an_alert_that_only_one_peer_silences_is_sent(world: World, pair: Pair) -> None:
    one, other = pair
    world.clock.advance(10 * HOUR)
    one.has("Disk", "warning", silenced=True)
    other.has("Disk", "warning")
    await world.start(asking(*pair))
    await world.post("Disk", "warning")
    await minutes(world, pair, 2)
    assert await world.fates() == {"held": 2}
    other.has("Disk", "warning", silenced=True)
    await minutes(world, pair, 2)
    assert await world.fates() == {"inhibited": 2}


async def ended(world: World, pair: Pair) -> None:
    await paged(world, pair, *pair)
    pair[0].forget()
    world.clock.advance(10_000)
    await world.post("Down", "critical", "resolved")
    await world.pagerduty.until(lambda: pages(world) == [False])


async def test_an_alert_that_prometheus_still_sends_to_a_peer_fires_again(world: World, pair: Pair) -> None:
    await ended(world, pair)
    pair[1].clock = lambda: world.clock.now() + 20 * MINUTE
    pair[1].has("Down", "critical", updated="2026-11-23T12:22:50Z")  # 40 s from now, by that clock
    await minutes(world, pair, 1)
    await world.pagerduty.until(lambda: pages(world) == [False, True])
    await minutes(world, pair, 8)
    world.pagerduty.expect(Page("Down", open=False), Page("Down", open=True))


async def test_what_a_peer_lags_behind_with_is_no_second_page(world: World, pair: Pair) -> None:
    await ended(world, pair)
    pair[1].clock = lambda: world.clock.now() + 20 * MINUTE
    pair[1].has("Down", "critical", updated="2026-11-23T12:22:00Z")  # before the end, by that clock
    await minutes(world, pair, 4)
    pair[1].forget()
    await minutes(world, pair, 8)
    world.pagerduty.expect(Page("Down", open=False))


async def test_an_alert_that_a_peer_has_beyond_any_lag_fires_again(world: World, pair: Pair) -> None:
    await ended(world, pair)
    await minutes(world, pair, 6)
    await world.pagerduty.until(lambda: pages(world) == [False, True])


async def test_an_alert_that_a_peer_silences_does_not_fire_again(world: World, pair: Pair) -> None:
    await ended(world, pair)
    pair[1].has("Down", "critical", silenced=True)
    await minutes(world, pair, 10)
    assert pages(world) == [False]
