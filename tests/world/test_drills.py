"""Drills: receivers are tested by the schedule of routes.yaml, once a slot, and a drill that fails is an alert."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from router.config import ConfigError
from router.model import DAY, HOUR, MINUTE, SECOND
from tests.world.asking import SLACK, metric_value, until_delivered
from tests.world.commands import run
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import Page
from tests.world.testing_receivers import Report, answers

DRILL = """
drill:
  at: "12:30"
  weekdays: ["monday:friday"]
  receivers: [oncall]
"""
OPERATORS = "\noperators: watchers\n"


def with_drill(rules: str) -> str:
    return rules + DRILL


def with_watchers(rules: str) -> str:
    watchers = "receivers:\n  watchers: [{email: {to: [watch@example.com]}}]\n"
    return with_drill(rules).replace("receivers:\n", watchers, 1) + OPERATORS


async def start(world: World, change: Callable[[str], str]) -> None:
    """Start, and wait until the drill knows its next slot."""
    await world.start(change)
    assert world.service is not None
    while await world.service.store.tests.last_slot() is None:
        pass
    await world.at_rest()


async def drills(world: World) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.get("/api/v1/drills"))["items"]
    return found


async def until_drilled(world: World, count: int) -> Report:
    """Move the clock until so many drills have finished. Return the test of the newest one."""
    while True:
        await world.at_rest()
        found = await drills(world)
        if len(found) == count and found[0]["outcome"] != "under way":
            await world.at_rest()
            (test,) = found[0]["tests"]
            return dict(test)
        world.clock.advance(5 * SECOND)


async def test_a_drill_runs_once_at_its_slot(world: World) -> None:
    await start(world, with_drill)
    world.clock.advance(29 * MINUTE)
    await world.at_rest()
    assert not await drills(world)
    world.clock.advance(MINUTE)
    test = await until_drilled(world, 1)
    assert (test["outcome"], test["slot"], test["by"]) == ("delivered", MONDAY_NOON + 30 * MINUTE, "")
    world.pagerduty.expect(Page("TEST", open=False))
    name = 'alert_router_drill_last_successful{receiver="oncall"}'
    assert await metric_value(world, name) == 1
    name = 'alert_router_drill_last_success_timestamp_seconds{receiver="oncall"}'
    assert await metric_value(world, name) == test["started_at"] / SECOND
    world.clock.advance(10 * HOUR)
    await world.at_rest()
    assert len(await drills(world)) == 1
    world.clock.advance(13 * HOUR + 59 * MINUTE)
    assert (await until_drilled(world, 2))["outcome"] == "delivered"


async def test_a_slot_is_not_repeated_after_a_restart(world: World) -> None:
    await start(world, with_drill)
    world.clock.advance(30 * MINUTE)
    await until_drilled(world, 1)
    await world.stop()
    await start(world, with_drill)
    world.clock.advance(MINUTE)
    await world.at_rest()
    assert len(await drills(world)) == 1
    assert await metric_value(world, 'alert_router_drill_last_successful{receiver="oncall"}') == 1
    world.pagerduty.expect(Page("TEST", open=False))


async def test_a_short_downtime_delays_a_drill_and_a_long_one_skips_it(world: World) -> None:
    await start(world, with_drill)
    await world.stop()
    world.clock.advance(HOUR)
    await start(world, with_drill)
    assert (await until_drilled(world, 1))["slot"] == MONDAY_NOON + 30 * MINUTE
    await world.stop()
    world.clock.advance(DAY + 2 * HOUR)
    await start(world, with_drill)
    world.clock.advance(5 * MINUTE)
    await world.at_rest()
    assert len(await drills(world)) == 1


async def test_a_changed_schedule_begins_with_its_next_slot(world: World) -> None:
    await start(world, with_drill)
    world.clock.advance(10 * MINUTE)
    await world.reload(lambda rules: with_drill(rules).replace("12:30", "12:05"))
    world.clock.advance(HOUR)
    await world.at_rest()
    assert not await drills(world), "12:05 of today had passed already"
    world.clock.advance(DAY - HOUR)
    await until_drilled(world, 1)


async def test_a_failed_drill_is_an_alert_until_the_next_good_one(world: World) -> None:
    await start(world, with_watchers)
    world.slack.trouble["C0CRITICAL"] = "not_in_channel"
    world.clock.advance(30 * MINUTE)
    test = await until_drilled(world, 1)
    assert (test["outcome"], answers(test)[SLACK]) == ("failed", ("failed", "not sent"))
    await world.smtp.until(lambda: any("AlertRouterDrillFailed" in each.subject for each in world.smtp.mails))
    (mail,) = [each for each in world.smtp.mails if "AlertRouterDrillFailed" in each.subject]
    assert mail.recipients == ("watch@example.com",)
    assert "not_in_channel" in mail.text
    assert await metric_value(world, 'alert_router_drill_last_successful{receiver="oncall"}') == 0
    await world.stop()
    del world.slack.trouble["C0CRITICAL"]
    await start(world, with_watchers)
    world.clock.advance(DAY)
    assert (await until_drilled(world, 2))["outcome"] == "delivered"
    await world.smtp.until(
        lambda: sum("AlertRouterDrillFailed" in each.subject for each in world.smtp.mails) == 2
    )
    assert world.smtp.mails[-1].subject.startswith("[RESOLVED]")
    assert (await world.get("/api/v1/alerts?status=firing"))["total"] == 0
    await world.ledger()


async def test_an_alert_of_a_drill_ends_when_the_drill_is_removed(world: World) -> None:
    def reported(rules: str) -> str:
        return with_watchers(rules).replace(OPERATORS, "") + "  report_to: watchers\n"

    await start(world, reported)
    world.slack.trouble["C0CRITICAL"] = "not_in_channel"
    world.clock.advance(30 * MINUTE)
    await until_drilled(world, 1)
    await world.smtp.until(lambda: any("AlertRouterDrillFailed" in each.subject for each in world.smtp.mails))
    (mail,) = [each for each in world.smtp.mails if "AlertRouterDrillFailed" in each.subject]
    assert mail.recipients == ("watch@example.com",)
    await world.reload(lambda rules: reported(rules).replace(DRILL + "  report_to: watchers\n", ""))
    world.clock.advance(2 * MINUTE)
    await world.smtp.until(
        lambda: sum("AlertRouterDrillFailed" in each.subject for each in world.smtp.mails) == 2
    )


async def test_a_drill_that_is_not_sent_yet_is_sent_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await start(world, with_drill)
    assert world.service is not None
    posts: list[object] = []

    async def crash(*given: object, **_: object) -> None:
        posts.append(given)

    with monkeypatch.context() as patch:
        patch.setattr("router.deliver.own_alerts.OwnAlerts.post", crash)
        world.clock.advance(30 * MINUTE)
        while not posts:
            await world.service.store.ready()
        await world.end()
    await start(world, with_drill)
    test = await until_drilled(world, 1)
    assert test["outcome"] == "delivered"
    world.pagerduty.expect(Page("TEST", open=False))


async def test_the_command_prints_the_last_drill(world: World) -> None:
    await start(world, with_drill)
    nothing = await run(world, "drills")
    assert (nothing.exit_code, nothing.output) == (1, "There was no drill yet.\n")
    world.slack.trouble["C0CRITICAL"] = "not_in_channel"
    world.clock.advance(30 * MINUTE)
    await until_drilled(world, 1)
    result = await run(world, "drills")
    assert result.exit_code == 1
    assert "Drill of Mon 23 Nov 2026 12:30:00 UTC: failed" in result.output
    assert "TEST failed after 0.0 s: not_in_channel" in result.output
    report = (await run(world, "drills", "--markdown")).output
    assert "0 of 1 receivers passed" in report
    assert "| slack:C0CRITICAL | failed after 0.0 s: not\\_in\\_channel" in report
    assert "oncall" in (await run(world, "drills", "--past")).output
    assert json.loads((await run(world, "drills", "--json")).output)["outcome"] == "failed"


async def test_mistakes_of_a_drill_have_their_position(world: World) -> None:
    with pytest.raises(ConfigError) as raised:
        await world.start(
            lambda rules: (
                rules
                + "\ndrill: {at: '25:00', weekdays: [mondey], receivers: [oncal], severity: criticl, timeout: 2h, when: 1}\n"
            )
        )
    assert "25:00" in raised.value.shown
    with pytest.raises(ConfigError) as raised:
        await world.start(
            lambda rules: (
                rules + "\ndrill: {at: '12:00', receivers: [oncal], severity: criticl, report_to: nobody}\n"
            )
        )
    shown = raised.value.shown
    assert "did you mean 'oncall'?" in shown
    assert "did you mean 'critical'?" in shown
    assert "there is no receiver 'nobody'" in shown
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
