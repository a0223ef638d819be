"""Deliveries by the whole service: outages, limits, restarts, stops, and rules that changed."""

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import until_delivered, until_failed
from tests.world.conftest import World
from tests.world.fake_pagerduty import HANG, Page
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_slack import LOST_ANSWER, Want, rate_limited
from tests.world.fake_slack import http as slack_http


async def test_a_failed_delivery_is_tried_again_when_its_time_has_come(world: World) -> None:
    await world.start()
    world.slack.fail(slack_http(503))
    assert await world.post("Down", "critical") == 200
    await until_failed(world, "slack:C0CRITICAL")
    world.slack.expect()
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    assert await world.fates() == {"delivered": 3}


async def test_a_rate_limit_delays_only_its_destination(
    world: World,
) -> None:
    await world.start()
    world.slack.fail(rate_limited(90))
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    await world.post("Disk", "critical")
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    world.clock.advance(89 * SECOND)
    await until_delivered(world, 4)
    world.slack.expect()
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 1)
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: len(world.slack.messages) == 2)


async def test_a_provider_that_hangs_delays_no_other(world: World) -> None:
    await world.start()
    world.pagerduty.fail(HANG)
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.smtp.until(lambda: bool(world.smtp.mails))
    await world.pagerduty.until(lambda: bool(world.pagerduty.events))
    world.pagerduty.recover()
    await until_failed(
        world, next(iter(k for k in (await world.ledger())["by_destination"] if "pagerduty" in k))
    )
    world.clock.advance(HOUR)
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    world.pagerduty.expect(Page("Down", open=True))


async def test_after_an_outage_there_is_one_message_with_what_is_true_now(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 20)
    await world.post("Down", "critical", instance="a")
    await until_failed(world, "slack:C0CRITICAL")
    await world.post("Down", "critical", instance="b")
    await world.post("Down", "critical", "resolved", instance="a")
    world.slack.recover()
    world.clock.advance(HOUR)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", ("Down", "1 firing", "1 resolved")))


async def test_a_message_is_edited_after_a_restart_not_posted_anew(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await until_delivered(world, 3)
    await world.stop()
    await world.start()
    await world.post("Down", "critical", "resolved")
    await world.slack.until(lambda: bool(world.slack.only.replies))
    world.slack.expect(Want("C0CRITICAL", ("Resolved",), replies=("resolved",)))


async def test_a_stop_sends_what_is_due_and_refuses_webhooks(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await world.stop()
    world.pagerduty.expect(Page("Down", open=True))
    assert len(world.smtp.mails) == 1
    assert len(world.slack.messages) == 1


async def test_what_is_held_is_judged_by_the_rules_of_the_next_start(world: World) -> None:
    world.clock.advance(10 * HOUR)
    await world.start()
    await world.post("Disk", "warning")
    assert await world.fates() == {"held": 2}
    await world.stop()
    await world.start(lambda rules: rules.replace("outside: hold", "outside: send"))
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.smtp.until(lambda: bool(world.smtp.mails))
    await until_delivered(world, 2)
    assert await world.fates() == {"delivered": 2}


async def test_an_alert_of_a_removed_destination_goes_to_the_new_one(world: World) -> None:
    world.clock.advance(10 * HOUR)
    await world.start()
    await world.post("Disk", "warning")
    await world.stop()
    await world.start(lambda rules: rules.replace("{channel: C0WARNINGS}", "{channel: C0CRITICAL}"))
    assert await world.fates() == {"held": 2, "dropped": 1}
    world.clock.advance(11 * HOUR)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0CRITICAL", ("Disk",)))


async def test_the_end_is_sent_at_night_and_under_an_inhibitor(world: World) -> None:
    await world.start()
    await world.post("Down", "warning")
    world.clock.advance(2 * SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.clock.advance(10 * HOUR)
    await world.post("Down", "critical")
    await world.post("Down", "warning", "resolved")
    await world.slack.until(
        lambda: len(world.slack.messages) == 2 and any(m.replies for m in world.slack.messages.values())
    )
    world.slack.expect(
        Want("C0WARNINGS", ("Resolved",), replies=("resolved",)), Want("C0CRITICAL", ("Down",))
    )


async def test_pagerduty_is_resolved_though_the_answer_to_its_trigger_was_lost(world: World) -> None:
    await world.start()
    world.pagerduty.fail(pagerduty_http(503))
    await world.post("Down", "critical")
    key = next(k for k in (await world.ledger())["by_destination"] if "pagerduty" in k)
    await until_failed(world, key)
    await world.post("Down", "critical", "resolved")
    world.clock.advance(HOUR)
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    assert [event.action for event in world.pagerduty.accepted] == ["resolve"]
    world.pagerduty.expect()


async def test_a_possible_duplicate_is_counted(world: World) -> None:
    await world.start()
    world.slack.history_trouble = "missing_scope"  # else Slack is asked, and there is no double
    world.slack.fail(LOST_ANSWER)
    await world.post("Down", "critical")
    await until_failed(world, "slack:C0CRITICAL")
    world.clock.advance(MINUTE)
    await until_delivered(world, 3)
    assert len(world.slack.in_channel("C0CRITICAL")) == 2
    name = 'alert_router_possible_duplicates_total{channel="slack",destination="slack:C0CRITICAL"}'
    assert f"{name} 1.0" in await world.get("/metrics")
    (doubtful,) = [
        each
        for each in (await world.get("/api/v1/deliveries"))["items"]
        if (each["destination"], each["outcome"]) == ("slack:C0CRITICAL", "delivered")
    ]
    assert doubtful["reason"] == "an earlier attempt may have arrived as well"
