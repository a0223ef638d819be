"""Destinations that somebody has to mend, and what is given up."""

import asyncio
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result

from router.cli import main
from router.model import DAY, HOUR, MINUTE, SECOND
from tests.world.conftest import World
from tests.world.fake_pagerduty import Page
from tests.world.fake_slack import Want
from tests.world.fake_slack import http as slack_http
from tests.world.test_delivery import delivered, failed

SLACK = "slack:C0CRITICAL"
OWN = "AlertRouterDestinationBroken"


async def recorded(world: World, outcome: str, count: int = 1) -> None:
    """So many attempts at Slack have come to this."""
    assert world.service is not None
    store = world.service.store
    while (await store.status())["deliveries"].get(SLACK, {}).get(outcome, 0) < count:
        await store.ready()


async def lane(world: World) -> dict[str, Any]:
    (found,) = [each for each in (await world.get("/status"))["lanes"] if each["destination"] == SLACK]
    return dict(found)


async def command(world: World, *arguments: str) -> Result:
    """``alert-router deliveries`` of the running service."""
    assert world.service is not None
    return await asyncio.to_thread(
        CliRunner().invoke, main, ["deliveries", "--url", world.service.url, *arguments]
    )


async def broken(world: World) -> None:
    """Slack's channel is archived when a critical comes."""
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical")
    await recorded(world, "broken")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)


async def test_the_operator_is_told_of_a_broken_destination_by_the_others(world: World) -> None:
    await world.start()
    await broken(world)
    world.pagerduty.expect(Page("Down", open=True), Page(f"{SLACK} can't be told: is_archived", open=True))
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    assert any(OWN in mail.subject for mail in world.smtp.mails)
    state = await lane(world)
    assert (state["broken_since"], state["paused_until"]) == (
        world.clock.now(),
        world.clock.now() + MINUTE,
    )
    assert f'alert_router_destination_broken{{destination="{SLACK}"}} 1.0' in await world.get("/metrics")


async def test_what_a_broken_destination_is_to_tell_waits_for_a_probe_that_gets_through(world: World) -> None:
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
    assert (await lane(world))["broken_since"] is None


async def test_a_destination_that_was_broken_before_a_restart_is_said_to_be_mended_after_it(
    world: World,
) -> None:
    await world.start()
    await broken(world)
    await world.stop()
    del world.slack.trouble["C0CRITICAL"]
    await world.start()
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 3)
    assert (await lane(world))["broken_since"] is None


async def test_resume_tries_at_once_and_a_success_ends_the_report(world: World) -> None:
    await world.start()
    await broken(world)
    del world.slack.trouble["C0CRITICAL"]
    told = await command(world, "resume", SLACK)
    assert told.exit_code == 0
    assert f"{SLACK}: delivered\n" in told.output
    assert len(world.slack.messages) == 1
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 3)
    assert (await lane(world))["broken_since"] is None
    other = await command(world, "resume", "slack:C0NOBODY")
    assert other.exit_code == 1
    assert "there is no destination with this key" in other.output


async def test_resume_of_what_is_still_broken_says_so_and_pages_nobody_again(world: World) -> None:
    await world.start()
    await broken(world)
    since = (await lane(world))["broken_since"]
    world.slack.trouble["C0CRITICAL"] = "not_in_channel"
    world.clock.advance(10 * SECOND)
    for _ in range(2):
        told = await command(world, "resume", SLACK)
        assert told.exit_code == 1
        assert f"{SLACK}: still broken: not_in_channel\n" in told.output
    assert (await lane(world))["broken_since"] == since
    await delivered(world, 4)
    assert len(world.pagerduty.accepted) == 2
    assert len(world.smtp.mails) == 2


async def test_resume_where_nothing_is_due_says_so_and_leaves_the_report(world: World) -> None:
    await world.start()
    await broken(world)
    await world.post("Down", "critical", "resolved")
    world.clock.advance(10 * SECOND)
    told = await command(world, "resume", SLACK)
    assert told.exit_code == 0
    assert f"{SLACK}: nothing was due to try" in told.output
    assert (await lane(world))["broken_since"] is not None


async def test_operators_names_who_is_told(world: World) -> None:
    await world.start(lambda rules: f"operators: team\n{rules}")
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", (SLACK, "is_archived")))
    await delivered(world, 4)
    assert len(world.pagerduty.accepted) == 1


async def test_the_routers_own_alert_mutes_nothing(world: World) -> None:
    """Here it shares the (empty) datacenter with the warning."""
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
    world.pagerduty.expect(Page("Down", open=True), Page(f"{SLACK} can't be told: is_archived", open=True))


@pytest.mark.parametrize("operators", ["", "operators: daily\n"])
async def test_a_label_of_somebody_else_s_alert_steers_nothing(world: World, operators: str) -> None:
    await world.start(lambda rules: f"{operators}{rules}")
    labels = {
        "broken_destination": SLACK, "alertname": OWN, "about": SLACK, "source": "alert-router",
    }  # fmt: skip
    await world.post("Down", "critical", **labels)
    await delivered(world, 3)
    world.slack.expect(Want("C0CRITICAL", (OWN,)))
    world.pagerduty.expect(Page(OWN, open=True))
    assert (await world.ledger())["by_destination"].keys() == {
        SLACK, "email:oncall@example.com", *(key for key in (await world.ledger())["by_destination"] if key.startswith("pagerduty:")),
    }  # fmt: skip
    assert (await lane(world))["broken_since"] is None
    await world.stop()
    await world.start(lambda rules: f"{operators}{rules}")
    assert (await lane(world))["broken_since"] is None
    await world.post("Down", "critical", "resolved", **labels)
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)


async def test_what_could_not_be_told_for_a_day_is_dead_and_another_is_told(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("channel: C0CRITICAL}", "channel: C0CRITICAL, on_failure: team}")
    )
    world.slack.fail(slack_http(503), slack_http(503))
    await world.post("Down", "critical")
    await failed(world, SLACK)
    world.clock.advance(DAY)
    await world.slack.until(lambda: bool(world.slack.in_channel("C0WARNINGS")))
    world.slack.expect(Want("C0WARNINGS", ("Down",)))
    (letter,) = await world.get("/api/v1/dead-letters")
    assert (letter["destination"], letter["reason"]) == (SLACK, "given up after 1 d: http 503")
    assert f'alert_router_dead_letters{{destination="{SLACK}"}} 1.0' in await world.get("/metrics")
    listed = await command(world, "--dead")
    assert listed.exit_code == 1
    assert "Down: not notified that it is firing; it is firing now" in listed.output
    tried = await command(world, "retry", str(letter["id"]))
    assert f"{letter['id']}: to be tried again\n" in tried.output
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: bool(world.slack.in_channel("C0CRITICAL")))
    assert "Nothing is dead.\n" in (await command(world, "--dead")).output
    gone = await command(world, "discard", str(letter["id"]))
    assert gone.exit_code == 1


async def test_a_destination_that_is_broken_for_a_day_gives_up_all_that_is_overdue(world: World) -> None:
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
    assert (await command(world, "discard", "--all")).exit_code == 0
    assert (await world.ledger())["by_destination"][SLACK] == {"dropped": 2, "pending": 1}


async def test_who_may_not_post_may_not_resume(world: World) -> None:
    await world.start(lambda rules: f"sources: [{{name: prod, bearer_token: secret-of-the-source}}]\n{rules}")
    assert world.service is not None
    for address in (f"/api/v1/destinations/{SLACK}/resume", "/api/v1/dead-letters/1/retry"):
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{world.service.url}{address}") as answer,
        ):
            assert answer.status == 401
    allowed = await command(world, "--token", "secret-of-the-source", "resume", SLACK)
    assert f"{SLACK}: nothing was due to try\n" in allowed.output


async def test_a_service_that_is_not_there_is_said_so(world: World) -> None:
    told = await asyncio.to_thread(
        CliRunner().invoke, main, ["deliveries", "--url", "http://127.0.0.1:1", "--dead"]
    )
    assert told.exit_code == 1
    assert "does not answer" in told.output
    other = await asyncio.to_thread(
        CliRunner().invoke, main, ["deliveries", "--url", f"{world.slack.url}", "retry", "1"]
    )
    assert other.exit_code == 1
