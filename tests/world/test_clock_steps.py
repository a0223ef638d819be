"""The clock is stepped back or forward: nothing is lost, sent twice, or delayed by the size of the step."""

import asyncio
import time
from collections.abc import Callable

import pytest

from router.clock import SystemClock, offset
from router.model import DAY, HOUR, MINUTE, SECOND, Millis
from tests.world.asking import until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want, rate_limited
from tests.world.fake_slack import http as slack_http


async def stepped(world: World, by: Millis) -> None:
    """Set the wall clock, and return when the service has noticed that and decided again what waits."""
    assert world.service is not None
    seen = world.service.clock_watch.count
    world.clock.step(by)
    while world.service.clock_watch.count == seen:
        await world.service.store.ready()


async def step_back(world: World, by: Millis) -> None:
    """Set the wall clock back, as NTP does to a clock that was ahead."""
    await stepped(world, -by)


@pytest.mark.parametrize("step", [HOUR, DAY])
async def test_what_failed_before_the_step_is_tried_again_soon(world: World, step: Millis) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 3)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    world.slack.recover()
    await step_back(world, step)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    assert await world.fates() == {"delivered": 3}
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


@pytest.mark.parametrize("step", [-DAY, -HOUR, HOUR, DAY])
async def test_a_step_does_not_change_a_pause_that_the_provider_asked_for(world: World, step: Millis) -> None:
    await world.start()
    world.slack.fail(rate_limited(600))
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await stepped(world, step)
    world.clock.advance(9 * MINUTE)
    await world.at_rest()
    assert not world.slack.messages
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))


async def test_a_step_does_not_prolong_the_wait_for_an_inhibitor(world: World) -> None:
    await world.start()
    await world.post("Disk", "warning")
    await step_back(world, DAY - 3 * HOUR)  # to Sunday afternoon, when the warning is held
    world.clock.advance(DAY)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))


async def test_an_end_from_before_the_step_is_sent_soon(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical", "resolved")
    await until_failed(world, "slack:C0CRITICAL")
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
    assert world.smtp.only.subject == "Alert digest, Tue 24 Nov: 1 held: Disk"
    world.clock.advance(HOUR)
    await until_delivered(world, 3)
    world.clock.advance(DAY)
    await world.at_rest()
    assert await world.fates() == {"delivered": 2}
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))
    (mail,) = world.smtp.mails[1:]
    assert mail.subject.startswith("[FIRING:1] warning: Disk")


@pytest.mark.parametrize("step", [2 * HOUR, DAY])
@pytest.mark.parametrize("restart", [False, True])
async def test_a_digest_goes_out_once_a_slot_though_its_time_comes_twice(
    world: World, step: Millis, restart: bool
) -> None:
    await world.start()
    await world.post("Cert", "info")
    world.clock.advance(20 * HOUR + MINUTE)  # Tuesday 08:01
    await world.smtp.until(lambda: len(world.smtp.mails) == 1)
    await until_delivered(world, 1)
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
    await until_delivered(world, 2)
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 3)
    await world.ledger()


async def test_after_a_year_that_never_was_digests_go_on_daily(world: World) -> None:
    """A clock that is far ahead is corrected: what was sent in the wrong year delays nothing."""
    await world.start()
    world.clock.advance(365 * DAY)
    await world.post("Cert", "info")
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 1)
    await until_delivered(world, 1)
    await step_back(world, 366 * DAY)
    await world.post("Backup", "info")
    world.clock.advance(DAY)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)


async def test_a_backlog_from_before_a_step_while_down_is_sent_after_the_start(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await world.stop()
    world.slack.recover()
    world.clock.step_back(HOUR)
    await world.start()
    world.clock.advance(SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    world.slack.expect(Want("C0CRITICAL", ("Down",)))


async def test_a_leap_forward_sends_everything_once(world: World) -> None:
    world.clock.advance(10 * HOUR)  # Monday 22:00
    await world.start()
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await world.post("Disk", "warning")
    await world.post("Cert", "info")
    world.clock.advance(DAY - 10 * HOUR)  # Tuesday noon, at one go
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    await world.smtp.until(lambda: len(world.smtp.mails) == 3)
    await until_delivered(world, 6)
    assert await world.fates() == {"delivered": 6}
    world.slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0WARNINGS", ("Disk",)))


STALE_AFTER = 12 * HOUR


def stale(rules: str) -> str:
    return rules.replace("stale_after: 0", "stale_after: 12h")


async def notified(world: World) -> None:
    await world.start(stale)
    await world.post("Down", "critical")
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    await until_delivered(world, 3)


async def looked(world: World, times: int = 4) -> None:
    """The service has looked so often for alerts that are not repeated."""
    for _ in range(times):
        world.clock.advance(31 * SECOND)
        await world.at_rest()


async def ended_as_stale_after(world: World, span: Millis) -> None:
    """Check that the alert ends after so long and not before. The test itself takes two minutes of that time."""
    world.clock.advance(span - 10 * MINUTE)
    await world.at_rest()
    world.pagerduty.expect(Page("Down", open=True))
    world.clock.advance(10 * MINUTE)
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)


@pytest.mark.parametrize("step", [-400 * DAY, -DAY, -13 * HOUR, 2 * MINUTE, 13 * HOUR, 400 * DAY])
async def test_a_step_of_the_clock_ends_nothing_as_stale(world: World, step: Millis) -> None:
    """Only an alert that is not repeated for the whole time after the step ends."""
    await notified(world)
    world.clock.advance(STALE_AFTER - MINUTE)
    await stepped(world, step)
    await looked(world)
    world.pagerduty.expect(Page("Down", open=True))
    await ended_as_stale_after(world, STALE_AFTER - 2 * MINUTE)


async def test_a_step_is_seen_before_anything_ends_by_it(world: World) -> None:
    """The reconciler looks at the exact time of the step, whichever part notices it first."""
    await notified(world)
    world.clock.advance(STALE_AFTER - MINUTE)
    await world.at_rest()
    assert world.service is not None
    world.clock.step(13 * HOUR)
    await world.service.reconciler.look()
    await world.at_rest()
    world.pagerduty.expect(Page("Down", open=True))


@pytest.mark.parametrize("back", [0, DAY])
async def test_a_router_that_was_down_for_long_ends_nothing_as_stale(world: World, back: Millis) -> None:
    """It could receive nothing, whatever its clock shows later."""
    await notified(world)
    await world.stop()
    world.clock.advance(20 * HOUR)
    world.clock.step_back(back)
    await world.start(stale)
    await looked(world)
    world.pagerduty.expect(Page("Down", open=True))
    await ended_as_stale_after(world, STALE_AFTER - 2 * MINUTE)


async def test_a_short_restart_does_not_delay_a_stale_end(world: World) -> None:
    await notified(world)
    world.clock.advance(STALE_AFTER - HOUR)
    await world.at_rest()
    await world.stop()
    world.clock.advance(MINUTE)
    await world.start(stale)
    world.clock.advance(HOUR)
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)


@pytest.mark.parametrize("step", [-DAY, 13 * HOUR])
async def test_a_step_makes_nothing_gone_from_alertmanager(world: World, step: Millis) -> None:
    async with FakeAlertmanager() as alertmanager:
        source = f'sources: [{{name: prod, alertmanager_url: "{alertmanager.url}", ask_every: 1m, gone_after: 5m}}]'
        await world.start(lambda rules: f"{rules}\n{source}\n")
        await world.post("Down", "critical")
        await until_delivered(world, 3)
        alertmanager.has("Down", "critical")
        for asked in (2, 3, 4):  # it is there, and then absent for a minute
            world.clock.advance(MINUTE)
            await alertmanager.until_asked(asked)
            alertmanager.forget()
        await stepped(world, step)
        await alertmanager.until_asked(5)  # immediately, however far the clock went back
        for asked in range(6, 10):
            world.clock.advance(MINUTE)
            await alertmanager.until_asked(asked)
            await world.at_rest()
        world.pagerduty.expect(Page("Down", open=True))
        world.clock.advance(2 * MINUTE)
        await alertmanager.until_asked(10)
        await world.pagerduty.until(lambda: not world.pagerduty.only.open)


@pytest.mark.parametrize("step", [-3 * DAY, 3 * DAY])
async def test_a_step_has_nothing_given_up(world: World, step: Millis) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 3)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await stepped(world, step)
    world.clock.advance(MINUTE)
    await until_failed(world, "slack:C0CRITICAL", 2)
    world.slack.recover()
    world.clock.advance(10 * MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    assert await world.fates() == {"delivered": 3}


async def test_after_a_step_back_what_fails_is_given_up_in_its_time(world: World) -> None:
    await world.start(lambda rules: rules.replace("slack: {", "slack: {alert_after: 0, ", 1))
    world.slack.fail(*[slack_http(503)] * 1_000)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await stepped(world, -30 * DAY)
    for _ in range(25):
        world.clock.advance(HOUR)
        await world.at_rest()
    assert await world.fates() == {"delivered": 2, "dead": 1}


async def test_a_router_that_was_down_gives_up_nothing_at_its_start(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await world.stop()
    world.clock.advance(3 * DAY)
    await world.start()
    await until_failed(world, "slack:C0CRITICAL", 2)
    assert (await world.fates()).get("dead", 0) == 0


@pytest.mark.parametrize("until", [lambda now: None, lambda now: now + DAY])
@pytest.mark.parametrize("step", [-HOUR, HOUR])
async def test_a_wait_by_the_system_clock_ends_with_a_step(
    until: Callable[[Millis], Millis | None], step: Millis, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SystemClock()
    waiting = asyncio.create_task(clock.wait(asyncio.Event(), until(clock.now())))
    await asyncio.sleep(0)
    stepped_by, real = step * 1_000_000, time.time_ns  # real time: the clock under test
    monkeypatch.setattr(time, "time_ns", lambda: real() + stepped_by)
    await waiting


async def test_in_a_preview_a_jump_is_time_that_passes() -> None:
    clock = SystemClock()
    before = offset(clock)
    clock.shift(HOUR)
    assert abs(offset(clock) - before) < SECOND
    clock.shift(-HOUR)
    assert abs(offset(clock) - before + HOUR) < SECOND
