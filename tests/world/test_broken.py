"""Destinations that a person has to repair, and what is given up."""

import asyncio

import pytest
from click.testing import CliRunner

from router.cli import main
from router.model import DAY, HOUR, MINUTE, SECOND
from tests.world.asking import OWN, SLACK, run_deliveries_command, slack_lane, until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want
from tests.world.fake_slack import http as slack_http


async def recorded(world: World, outcome: str, count: int = 1) -> None:
    """Wait until so many attempts at Slack have this outcome."""
    assert world.service is not None
    store = world.service.store
    while (await store.pages.status())["deliveries"].get(SLACK, {}).get(outcome, 0) < count:
        await store.ready()


async def broken(world: World) -> None:
    """A world whose Slack channel is archived when a critical comes."""
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical")
    await recorded(world, "broken")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)


async def test_operators_are_notified_of_a_broken_destination_elsewhere(world: World) -> None:
    await world.start()
    await broken(world)
    world.pagerduty.expect(
        Page("Down", open=True), Page(f"{SLACK} can't be notified: is_archived", open=True)
    )
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    assert any(OWN in mail.subject for mail in world.smtp.mails)
    state = await slack_lane(world)
    assert (state["broken_since"], state["paused_until"]) == (
        world.clock.now(),
        world.clock.now() + MINUTE,
    )
    assert f'alert_router_destination_broken{{destination="{SLACK}"}} 1.0' in await world.get("/metrics")


async def test_a_broken_destinations_messages_wait_for_a_successful_probe(world: World) -> None:
    await world.start()
    await broken(world)
    await world.post("Full", "critical")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 3)
    world.clock.advance(61 * SECOND)
    await recorded(world, "broken", 2)
    del world.slack.trouble["C0CRITICAL"]
    world.clock.advance(121 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 1)
    await recorded(world, "delivered")
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 2)
    world.slack.expect(Want("C0CRITICAL", ("Down",)), Want("C0CRITICAL", ("Full",)))
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 4)
    assert (await slack_lane(world))["broken_since"] is None


async def test_a_report_from_before_a_restart_ends_after_the_repair(
    world: World,
) -> None:
    await world.start()
    await broken(world)
    await world.stop()
    del world.slack.trouble["C0CRITICAL"]
    await world.start()
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 3)
    assert (await slack_lane(world))["broken_since"] is None


async def test_resume_tries_immediately_and_a_success_ends_the_report(world: World) -> None:
    await world.start()
    await broken(world)
    del world.slack.trouble["C0CRITICAL"]
    result = await run_deliveries_command(world, "resume", SLACK)
    assert result.exit_code == 0
    assert f"{SLACK}: delivered\n" in result.output
    assert len(world.slack.messages) == 1
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 3)
    assert (await slack_lane(world))["broken_since"] is None
    other = await run_deliveries_command(world, "resume", "slack:C0NOBODY")
    assert other.exit_code == 1
    assert "There is no destination with this key" in other.output


async def test_resume_of_a_broken_destination_sends_no_second_page(world: World) -> None:
    await world.start()
    await broken(world)
    since = (await slack_lane(world))["broken_since"]
    world.slack.trouble["C0CRITICAL"] = "not_in_channel"
    world.clock.advance(10 * SECOND)
    for _ in range(2):
        result = await run_deliveries_command(world, "resume", SLACK)
        assert result.exit_code == 1
        assert f"{SLACK}: still broken: not_in_channel\n" in result.output
    assert (await slack_lane(world))["broken_since"] == since
    await until_delivered(world, 4)
    assert len(world.pagerduty.accepted) == 2
    assert len(world.smtp.mails) == 2


async def test_resume_where_nothing_is_due_says_so_and_leaves_the_report(world: World) -> None:
    await world.start()
    await broken(world)
    await world.post("Down", "critical", "resolved")
    world.clock.advance(10 * SECOND)
    result = await run_deliveries_command(world, "resume", SLACK)
    assert result.exit_code == 0
    assert f"{SLACK}: nothing was due to try" in result.output
    assert (await slack_lane(world))["broken_since"] is not None


async def test_operators_names_the_receiver_of_self_alerts(world: World) -> None:
    await world.start(lambda rules: f"operators: team\n{rules}")
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", (SLACK, "is_archived")))
    await until_delivered(world, 4)
    assert len(world.pagerduty.accepted) == 1


async def test_the_routers_own_alert_mutes_nothing(world: World) -> None:
    """The self-alert and the warning both have no datacenter label."""
    await world.start(lambda rules: rules.replace("equal: [alertname, cluster]", "equal: [datacenter]"))
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical", datacenter="one")
    await recorded(world, "broken")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)
    await world.post("Disk", "warning")
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))


async def test_operators_that_are_broken_themselves_give_way_to_the_rest(world: World) -> None:
    await world.start(
        lambda rules: (
            "operators: chat\n"
            + rules.replace("receivers:", "receivers:\n  chat: [{slack: {channel: C0CRITICAL}}]", 1)
        )
    )
    await broken(world)
    world.pagerduty.expect(
        Page("Down", open=True), Page(f"{SLACK} can't be notified: is_archived", open=True)
    )


@pytest.mark.parametrize("operators", ["", "operators: daily\n"])
async def test_labels_of_other_alerts_do_not_affect_self_alerts(world: World, operators: str) -> None:
    await world.start(lambda rules: f"{operators}{rules}")
    labels = {
        "broken_destination": SLACK, "alertname": OWN, "about": SLACK, "source": "alert-router",
    }  # fmt: skip
    await world.post("Down", "critical", **labels)
    await until_delivered(world, 3)
    world.slack.expect(Want("C0CRITICAL", (OWN,)))
    world.pagerduty.expect(Page(OWN, open=True))
    assert (await world.ledger())["by_destination"].keys() == {
        SLACK, "email:oncall@example.com", *(key for key in (await world.ledger())["by_destination"] if key.startswith("pagerduty:")),
    }  # fmt: skip
    assert (await slack_lane(world))["broken_since"] is None
    await world.stop()
    await world.start(lambda rules: f"{operators}{rules}")
    assert (await slack_lane(world))["broken_since"] is None
    await world.post("Down", "critical", "resolved", **labels)
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)


async def test_after_a_day_of_failures_the_on_failure_receiver_is_notified(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("channel: C0CRITICAL}", "channel: C0CRITICAL, on_failure: team}")
    )
    world.slack.fail(slack_http(503), slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    world.clock.advance(DAY)
    await world.slack.until(lambda: bool(world.slack.in_channel("C0WARNINGS")))
    world.slack.expect(Want("C0WARNINGS", ("Down",)))
    (letter,) = (await world.get("/api/v1/dead-letters"))["items"]
    assert (letter["destination"], letter["reason"]) == (SLACK, "given up after 1 d: http 503")
    assert f'alert_router_dead_letters{{destination="{SLACK}"}} 1.0' in await world.get("/metrics")
    listed = await run_deliveries_command(world, "--dead")
    assert listed.exit_code == 1
    assert "critical Down firing (firing now)" in listed.output
    tried = await run_deliveries_command(world, "retry", str(letter["id"]))
    assert f"{letter['id']}: to be tried again\n" in tried.output
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")))
    assert "Nothing is dead.\n" in (await run_deliveries_command(world, "--dead")).output
    gone = await run_deliveries_command(world, "discard", str(letter["id"]))
    assert gone.exit_code == 1


async def test_a_day_of_outage_gives_up_all_overdue_conversations(world: World) -> None:
    await world.start(lambda rules: rules.replace("slack: {token", "slack: {give_up_after: 12h, token"))
    await broken(world)
    await world.post("Full", "critical")
    world.clock.advance(11 * HOUR)
    await recorded(world, "broken", 2)
    await world.post("New", "critical")
    world.clock.advance(2 * HOUR)
    await recorded(world, "rejected", 2)
    fates = (await world.ledger())["by_destination"][SLACK]
    assert fates == {"dead": 2, "pending": 1}
    assert (await run_deliveries_command(world, "discard", "--all")).exit_code == 0
    assert (await world.ledger())["by_destination"][SLACK] == {"dropped": 2, "pending": 1}


async def test_a_service_that_is_not_there_is_said_so(world: World) -> None:
    result = await asyncio.to_thread(
        CliRunner().invoke, main, ["deliveries", "--url", "http://127.0.0.1:1", "--dead"]
    )
    assert result.exit_code == 1
    assert "does not answer" in result.output
    other = await asyncio.to_thread(
        CliRunner().invoke, main, ["deliveries", "--url", f"{world.slack.url}", "retry", "1"]
    )
    assert other.exit_code == 1
