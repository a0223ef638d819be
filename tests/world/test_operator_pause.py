"""An operator's pause of a destination: nothing is sent there until it is resumed, and nothing is lost."""

from router.model import DAY, HOUR, MINUTE
from tests.world.asking import (
    SLACK,
    metric_value,
    run_deliveries_command,
    slack_lane,
    until_delivered,
    until_failed,
)
from tests.world.conftest import MONDAY_NOON, World
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want


async def paused(world: World) -> None:
    await world.start()
    result = await run_deliveries_command(world, "pause", SLACK)
    assert f"{SLACK}: paused since 12:00:00" in result.output


async def test_a_paused_destination_waits_and_others_do_not(world: World) -> None:
    await paused(world)
    await world.post("Down", "critical")
    await until_delivered(world, 2)  # PagerDuty and email
    await world.at_rest()
    assert not world.slack.messages
    lane = await slack_lane(world)
    assert (lane["paused_since"], lane["backlog"], lane["broken_since"]) == (MONDAY_NOON, 1, None)
    assert await metric_value(world, f'alert_router_destination_paused{{destination="{SLACK}"}}') == 1
    result = await run_deliveries_command(world, "resume", SLACK)
    assert result.output.endswith(f"{SLACK}: delivered\n")
    world.slack.expect(Want("C0CRITICAL", ("Down",)))
    world.pagerduty.expect(Page("Down", open=True))
    assert (await slack_lane(world))["paused_since"] is None


async def test_a_pause_lasts_over_a_restart_and_a_reload(world: World) -> None:
    await paused(world)
    await world.post("Down", "critical")
    await until_delivered(world, 2)
    await world.stop()
    world.clock.advance(HOUR)
    await world.start()
    assert (await world.reload(lambda rules: rules.replace("stale_after: 0", "stale_after: 3d")))[0] == 200
    await world.at_rest()
    assert (await slack_lane(world))["paused_since"] == MONDAY_NOON
    assert not world.slack.messages
    again = await run_deliveries_command(world, "pause", SLACK)
    assert "paused since " in again.output
    await run_deliveries_command(world, "resume", SLACK)
    world.slack.expect(Want("C0CRITICAL", ("Down",)))
    await world.stop()
    await world.start()
    assert (await slack_lane(world))["paused_since"] is None


async def test_what_waited_for_days_is_not_given_up_at_its_first_failure(world: World) -> None:
    await paused(world)
    await world.post("Down", "critical")
    await until_delivered(world, 2)
    for _ in range(3):
        world.clock.advance(DAY)
        await world.at_rest()
    world.slack.trouble["C0CRITICAL"] = "internal_error"
    await run_deliveries_command(world, "resume", SLACK)
    await until_failed(world, SLACK)
    assert (await world.fates()).get("dead") is None
    del world.slack.trouble["C0CRITICAL"]
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: len(world.slack.messages) == 1)


async def test_a_paused_destination_is_not_reported_as_broken(world: World) -> None:
    await world.start()
    world.slack.trouble["C0CRITICAL"] = "internal_error"
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    await run_deliveries_command(world, "pause", SLACK)
    world.clock.advance(2 * HOUR)
    await world.at_rest()
    assert (await slack_lane(world))["broken_since"] is None
    assert world.pagerduty.accepted == [
        each for each in world.pagerduty.accepted if "AlertRouter" not in str(each)
    ]


async def test_an_unknown_destination_can_not_be_paused(world: World) -> None:
    await world.start()
    result = await run_deliveries_command(world, "pause", "slack:C0NOBODY")
    assert result.exit_code == 1
    assert "There is no destination with this key." in result.output
