"""An alert that its sender reports as firing is sent, even after an end of minutes ago; an ended one is not paged again."""

import re
from typing import Any

import aiohttp
import pytest

from router.app import ServeOptions, Service
from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_pagerduty import KEY, Page
from tests.world.reconciling import asking, count

START = "2026-11-23T11:00:00Z"
EARLIER = "2026-11-23T10:59:59Z"
LATER = "2026-11-23T12:00:01Z"
LAG = 5 * MINUTE


async def say(
    world: World,
    status: str,
    *,
    start: str = START,
    peer: str = "http://am-1",
    group: str = "g",
    **annotations: str,
) -> None:
    """Post one critical alert as one peer of a pair."""
    assert world.service is not None
    alert: dict[str, Any] = {
        "status": status, "labels": {"alertname": "Down", "cluster": "eu-1", "severity": "critical"},
        "annotations": annotations, "startsAt": start,
    }  # fmt: skip
    if status == "resolved":
        alert["endsAt"] = "2026-11-23T11:59:50Z"
    body = {
        "version": "4", "groupKey": group, "receiver": "r", "status": status, "groupLabels": {}, "externalURL": peer,
        "alerts": [alert],
    }  # fmt: skip
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", json=body) as answer,
    ):
        assert answer.status == 200


async def ended(world: World) -> None:
    """Have an alert fire, be sent, and end."""
    await say(world, "firing")
    await until_delivered(world, 3)
    await say(world, "resolved")
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)
    await until_delivered(world, 6)


async def again(world: World) -> None:
    """Wait until the alert is sent a second time."""
    await world.pagerduty.until(lambda: len(world.pagerduty.incidents[KEY]) == 2)
    world.pagerduty.expect(Page("Down", open=False), Page("Down", open=True))


async def quiet(world: World) -> None:
    """Check that nothing more was sent, and that nothing is left to send."""
    backlog = re.compile(r"alert_router_backlog\{\S* [1-9]")
    while any(backlog.match(line) for line in await world.get("/metrics")):
        pass
    world.pagerduty.expect(Page("Down", open=False))


SHARED = pytest.mark.parametrize("peer", ["http://am-1", "http://am-2"], ids=["shared url", "own url"])
OLD = pytest.mark.parametrize("start", [START, EARLIER], ids=["same start", "older start"])


@SHARED
@OLD
async def test_a_firing_after_its_end_is_sent_when_the_lag_is_over(
    world: World, peer: str, start: str
) -> None:
    await world.start()
    await ended(world)
    world.clock.advance(3 * SECOND)
    await say(world, "firing", start=start, peer=peer)
    world.clock.advance(LAG - 4 * SECOND)
    await quiet(world)
    world.clock.advance(SECOND)
    await again(world)
    assert (await world.ledger())["changes"] == {"fired": 2, "resolved": 1, "repeated": 1}


@SHARED
async def test_a_repeat_of_the_firing_does_not_make_the_doubt_longer(world: World, peer: str) -> None:
    await world.start()
    await ended(world)
    for _ in range(4):
        world.clock.advance(MINUTE)
        await say(world, "firing", start=EARLIER, peer=peer)
    world.clock.advance(MINUTE)
    await again(world)


@SHARED
async def test_a_late_firing_that_ends_makes_no_second_page(world: World, peer: str) -> None:
    await world.start()
    await ended(world)
    world.clock.advance(3 * SECOND)
    await say(world, "firing", peer=peer)
    world.clock.advance(5 * SECOND)
    await say(world, "resolved", peer=peer)
    for _ in range(12):
        world.clock.advance(30 * SECOND)
        await quiet(world)
    assert (await world.ledger())["changes"] == {"fired": 1, "resolved": 1, "repeated": 2}


@SHARED
async def test_after_the_lag_a_firing_is_sent_immediately(world: World, peer: str) -> None:
    await world.start()
    await ended(world)
    world.clock.advance(LAG)
    await say(world, "firing", start=EARLIER, peer=peer)
    await again(world)


@SHARED
@pytest.mark.parametrize("doubted", [False, True])
async def test_a_newer_firing_is_sent_immediately(world: World, peer: str, doubted: bool) -> None:
    await world.start()
    await ended(world)
    if doubted:
        await say(world, "firing", peer=peer)
    await say(world, "firing", start=LATER, peer=peer)
    await again(world)


async def test_a_start_in_the_far_future_mutes_nothing_for_good(world: World) -> None:
    await world.start()
    await say(world, "firing", start="2099-01-01T00:00:00Z")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await say(world, "resolved", start="2099-01-01T00:00:00Z")
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)
    await say(world, "firing")
    world.clock.advance(LAG)
    await again(world)


async def test_a_doubt_outlasts_a_restart(world: World) -> None:
    await world.start()
    await ended(world)
    await say(world, "firing", peer="http://am-2", summary="of the second peer")
    await world.stop()
    world.clock.advance(HOUR)
    await world.start()
    world.clock.advance(LAG)  # another end may have been on its way while the router was down
    await world.pagerduty.until(lambda: len(world.pagerduty.incidents[KEY]) == 2)
    world.pagerduty.expect(Page("Down", open=False), Page("of the second peer", open=True))


async def test_every_group_that_reports_a_lasting_doubt_is_sent(world: World) -> None:
    await world.start()
    await ended(world)
    for group in ("g", "h"):
        await say(world, "firing", peer="http://am-2", group=group)
    world.clock.advance(LAG)
    await world.pagerduty.until(lambda: len(world.pagerduty.incidents[KEY]) == 3)
    await say(world, "resolved", peer="http://am-2")
    await world.pagerduty.until(lambda: not any(each.open for each in world.pagerduty.incidents[KEY]))


async def test_a_clock_that_steps_back_makes_no_doubt_longer(world: World) -> None:
    await world.start()
    await ended(world)
    await say(world, "firing", peer="http://am-2")
    await world.stop()
    world.clock.step_back(2 * HOUR)
    await world.start()
    world.clock.advance(LAG)
    await again(world)


@pytest.mark.parametrize("fires", [True, False])
async def test_an_answer_of_alertmanager_settles_a_doubt_immediately(world: World, fires: bool) -> None:
    async with FakeAlertmanager() as alertmanager:
        alertmanager.clock = world.clock.now
        await world.start(asking(alertmanager))
        await say(world, "firing")
        await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
        alertmanager.has("Down", "critical")
        world.clock.advance(MINUTE)
        await alertmanager.until_asked(2)
        await world.at_rest()
        await ended(world)
        world.clock.advance(3 * SECOND)
        await say(world, "firing", peer="http://am-2")
        alertmanager.forget()
        if fires:
            alertmanager.has("Down", "critical", updated="2026-11-23T12:02:00.000Z")
        world.clock.advance(MINUTE)
        await alertmanager.until_asked(3)
        await world.at_rest()
        if fires:
            await again(world)
            return
        for asked in range(4, 10):
            world.clock.advance(MINUTE)
            await alertmanager.until_asked(asked)
            await world.at_rest()
        await quiet(world)
        assert await count(world, 'alert_router_changes_total{kind="fired"') == 1


async def test_the_ledger_says_why_a_doubt_is_not_sent(world: World) -> None:
    await world.start()
    await ended(world)
    await say(world, "firing", peer="http://am-2")
    page = await world.get("/api/v1/decisions")
    assert any("contradicts a recent end" in row["reason"] for row in page["items"])


async def test_in_a_preview_doubts_are_settled_too(world: World) -> None:
    """A person who tries the preview with one alert posts the same start again and again."""
    options = ServeOptions(world.write(), ("127.0.0.1", 0), preview=True)
    world.service = await Service.open(options, {}, world.clock)
    await world.service.start()
    for status in ("firing", "resolved", "firing"):
        await say(world, status)
    assert (await world.ledger())["firing"] == 0
    world.clock.advance(LAG)
    while (await world.ledger())["firing"] == 0:
        world.clock.advance(SECOND)  # the service may have begun to wait only now
        await world.service.store.ready()
