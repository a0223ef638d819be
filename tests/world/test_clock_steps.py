"""The clock is stepped back or forward: nothing is lost, told twice, or waits for as long as the step."""

import asyncio
from collections.abc import Callable

import pytest

from router.clock import SystemClock
from router.model import DAY, HOUR, MINUTE, SECOND, Millis
from tests.waiting import seconds_pass
from tests.world.conftest import World
from tests.world.fake_slack import Want, rate_limited
from tests.world.fake_slack import http as slack_http
from tests.world.test_delivery import delivered, failed


async def step_back(world: World, by: Millis) -> None:
    """As NTP does to a clock that was wrong; returns when what waits is reckoned anew."""
    assert world.service is not None
    turned = world.service.turned_back
    world.clock.step_back(by)
    while world.service.turned_back == turned:
        await world.service.store.ready()


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_what_failed_before_the_step_is_tried_again_soon(world: World, step: Millis) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 3)
    await world.post("Down", "critical")
    await failed(world, "slack:C0CRITICAL")
    world.slack.recover()
    await step_back(world, step)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    await delivered(world, 3)
    assert await world.fates() == {"delivered": 3}
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_a_pause_from_before_the_step_is_over(world: World, step: Millis) -> None:
    await world.start()
    world.slack.fail(rate_limited(600))
    await world.post("Down", "critical")
    await failed(world, "slack:C0CRITICAL")
    await step_back(world, step)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))


async def test_an_alert_that_waits_for_its_inhibitor_waits_no_longer_for_the_step(world: World) -> None:
    await world.start()
    await world.post("Disk", "warning")
    await step_back(world, DAY - 3 * HOUR)  # to Sunday afternoon, when the warning is held
    world.clock.advance(DAY)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))


async def test_an_end_from_before_the_step_is_told_soon(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await delivered(world, 3)
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical", "resolved")
    await failed(world, "slack:C0CRITICAL")
    await step_back(world, HOUR)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.only.replies))
    world.slack.expect(Want("C0CRITICAL", ("Resolved",), replies=("resolved",)))


async def test_a_held_alert_comes_out_at_the_next_opening_by_the_new_time_once(world: World) -> None:
    world.clock.advance(DAY + 10 * HOUR)  # Tuesday 22:00
    await world.start()
    await world.post("Disk", "warning")
    assert await world.fates() == {"held": 2}
    await step_back(world, DAY)
    world.clock.advance(10 * HOUR + MINUTE)  # Tuesday 08:01
    await world.smtp.until(lambda: bool(world.smtp.mails))
    assert world.smtp.only.subject == "Alert digest, Tue 24 Nov: 1 held"
    world.clock.advance(HOUR)
    await delivered(world, 3)
    world.clock.advance(DAY)
    await world.at_rest()
    assert await world.fates() == {"delivered": 2}
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))
    assert [mail.subject for mail in world.smtp.mails[1:]] == ["[FIRING:1] warning: Disk"]


@pytest.mark.parametrize("step", [2 * HOUR, DAY])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_digest_goes_out_once_a_slot_though_its_time_comes_twice(
    world: World, step: Millis, restart: bool
) -> None:
    await world.start()
    await world.post("Cert", "info")
    world.clock.advance(20 * HOUR + MINUTE)  # Tuesday 08:01
    await world.smtp.until(lambda: len(world.smtp.mails) == 1)
    await delivered(world, 1)
    if restart:
        await world.stop()
        world.clock.step_back(step)
        await world.start()
    else:
        await step_back(world, step)
    await world.post("Backup", "info")
    world.clock.advance(step + MINUTE)  # Tuesday 08:02 again
    await world.at_rest()
    assert len(world.smtp.mails) == 1
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    assert "Backup" in world.smtp.mails[1].text
    await delivered(world, 2)
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 3)
    await world.ledger()


async def test_after_a_year_that_never_was_digests_go_on_daily(world: World) -> None:
    """A clock far ahead is set right: what went out in the wrong year is in nobody's way."""
    await world.start()
    world.clock.advance(365 * DAY)
    await world.post("Cert", "info")
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 1)
    await delivered(world, 1)
    await step_back(world, 366 * DAY)
    await world.post("Backup", "info")
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)


async def test_a_backlog_from_before_a_step_while_it_was_down_is_told_after_the_start(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await failed(world, "slack:C0CRITICAL")
    await world.stop()
    world.slack.recover()
    world.clock.step_back(HOUR)
    await world.start()
    world.clock.advance(SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    await delivered(world, 3)
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


async def test_a_leap_forward_tells_everything_once(world: World) -> None:
    world.clock.advance(10 * HOUR)  # Monday 22:00
    await world.start()
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await failed(world, "slack:C0CRITICAL")
    await world.post("Disk", "warning")
    await world.post("Cert", "info")
    world.clock.advance(DAY - 10 * HOUR)  # Tuesday noon, at one go
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    await world.smtp.until(lambda: len(world.smtp.mails) == 3)
    await delivered(world, 6)
    assert await world.fates() == {"delivered": 6}
    world.slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0WARNINGS", ("Disk",)))


@pytest.mark.parametrize("until", [lambda now: None, lambda now: now + DAY])
async def test_whoever_waits_by_the_systems_clock_learns_of_a_step_back(
    until: Callable[[Millis], Millis | None],
) -> None:
    clock = SystemClock()
    waiting = asyncio.create_task(clock.wait(asyncio.Event(), until(clock.now())))
    await asyncio.sleep(0)
    clock.shift(-HOUR)
    seconds_pass(1)
    await waiting
