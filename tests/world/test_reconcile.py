"""What the service does with Alertmanager's answers, with no answer, and with missing repeats."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from router.model import HOUR, MINUTE, SECOND
from tests.waiting import until
from tests.world.asking import until_delivered
from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_pagerduty import Page
from tests.world.fake_server import Fault
from tests.world.fake_slack import Want
from tests.world.reconciling import asking, count


@pytest.fixture
async def alertmanager() -> AsyncIterator[FakeAlertmanager]:
    async with FakeAlertmanager() as alertmanager:
        yield alertmanager


TO_OPENING = 21 * HOUR  # from Monday noon


async def until_reason(world: World, reason: str) -> None:
    """Wait until an alert that is not sent has this reason."""

    async def ready() -> bool:
        assert world.service is not None
        return reason in {row["reason"] for row in await world.service.store.pages.waiting()}

    await until(ready, f"something waits because of: {reason}")


async def failed(world: World, times: int) -> None:
    """Wait until so many requests have failed."""

    async def ready() -> bool:
        return await count(world, 'alert_router_reconcile_failures_total{source="prod"}') == times

    await until(ready, f"{times} unanswered questions")


async def fated(world: World, **fates: int) -> None:
    async def ready() -> bool:
        return await world.fates() == fates

    await until(ready, f"the fates {fates}")


async def test_an_alert_that_left_alertmanager_is_resolved_with_the_reason(
    world: World, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.has("Down", "critical")
    await world.start(asking(alertmanager))
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.smtp.until(lambda: bool(world.smtp.mails))
    await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
    for asked in (2, 3):
        world.clock.advance(MINUTE)
        await alertmanager.until_asked(asked)
    alertmanager.forget()
    for asked in (4, 5):
        world.clock.advance(MINUTE)
        await alertmanager.until_asked(asked)
    await world.slack.until(lambda: bool(world.slack.only.replies))
    await world.pagerduty.until(lambda: not world.pagerduty.only.open)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    reason = "gone from Alertmanager"
    world.slack.expect(Want("C0CRITICAL", ("Resolved", reason), replies=(reason,)))
    assert reason in world.smtp.mails[-1].text
    assert (await world.ledger())["changes"] == {"fired": 1, "resolved": 1, "repeated": 0}
    assert await count(world, 'alert_router_changes_total{kind="resolved"') == 1


async def test_just_before_an_opening_it_is_asked_what_is_to_be_let_out(
    world: World, alertmanager: FakeAlertmanager
) -> None:
    world.clock.advance(10 * HOUR)
    alertmanager.has("Disk", "warning", silenced=True)
    alertmanager.has("Cert", "warning")
    await world.start(asking(alertmanager, every="1d"))
    await world.post("Disk", "warning")
    await world.post("Cert", "warning")
    world.clock.advance(MINUTE)  # the openings are looked up
    world.clock.advance(TO_OPENING - 10 * HOUR - MINUTE - 10 * SECOND)
    await alertmanager.until_asked(2)
    await until_reason(world, "silenced in Alertmanager")
    world.clock.advance(20 * SECOND)
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.smtp.until(lambda: bool(world.smtp.mails))
    world.slack.expect(Want("C0WARNINGS", ("Cert", "held since")))
    assert alertmanager.asked == 2
    await fated(world, delivered=2, inhibited=2)


async def test_a_silence_that_ends_lets_the_alert_out(world: World, alertmanager: FakeAlertmanager) -> None:
    world.clock.advance(10 * HOUR)
    alertmanager.has("Disk", "warning", silenced=True)
    await world.start(asking(alertmanager))
    await world.post("Disk", "warning")
    world.clock.advance(MINUTE)
    await until_reason(world, "silenced in Alertmanager")
    world.clock.advance(TO_OPENING - 10 * HOUR)
    await alertmanager.until_asked(3)
    alertmanager.has("Disk", "warning")
    world.clock.advance(MINUTE)
    await fated(world, pending=2)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Disk", "held since")))


async def test_holds_that_ended_during_downtime_are_asked_about_first(
    world: World, alertmanager: FakeAlertmanager
) -> None:
    world.clock.advance(10 * HOUR)
    alertmanager.has("Disk", "warning")
    await world.start(asking(alertmanager))
    await world.post("Disk", "warning")
    await world.stop()
    alertmanager.has("Disk", "warning", silenced=True)
    world.clock.advance(TO_OPENING)
    await world.start(asking(alertmanager))
    assert await world.fates() == {"inhibited": 2}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503),
        Fault(301),
        Fault(200, "<html>"),
        Fault(200, "null"),
        Fault(200, '[{"labels": {}}]'),
        Fault(close=True),
    ],
)
async def test_an_answer_that_can_t_be_had_changes_nothing_and_is_counted(
    world: World, alertmanager: FakeAlertmanager, fault: Fault
) -> None:
    world.clock.advance(10 * HOUR)
    alertmanager.fail(*[fault] * 1_000)
    await world.start(asking(alertmanager))
    await world.post("Disk", "warning")
    for failures in range(1, 4):
        await failed(world, failures)
        world.clock.advance(MINUTE)
    await failed(world, 4)
    world.clock.advance(TO_OPENING - 10 * HOUR)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Disk", "held since")))
    await failed(world, 5)


async def test_without_an_answer_for_long_a_silence_counts_no_more(
    world: World, alertmanager: FakeAlertmanager
) -> None:
    alertmanager.has("Disk", "warning", silenced=True)
    world.clock.advance(TO_OPENING - 2 * MINUTE)
    await world.start(asking(alertmanager))
    await world.post("Disk", "warning")
    world.clock.advance(MINUTE)
    await until_reason(world, "silenced in Alertmanager")
    alertmanager.fail(*[Fault(503)] * 100)
    world.clock.advance(14 * MINUTE)
    await failed(world, 1)
    assert await world.fates() == {"inhibited": 2}
    world.clock.advance(MINUTE)
    await fated(world, pending=2)
    world.clock.advance(MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.expect(Want("C0WARNINGS", ("Disk",)))


@pytest.mark.parametrize(
    ("authorization", "auth"),
    [
        ("Bearer token-of-nobody", "bearer_token: token-of-nobody"),
        ("Basic YW06cMOkc3M=", "basic_auth: {username: am, password: päss}"),
    ],
)
async def test_it_is_asked_with_credentials(world: World, authorization: str, auth: str) -> None:
    async with FakeAlertmanager(authorization) as alertmanager:
        await world.start(asking(alertmanager, f", alertmanager_auth: {{{auth}}}"))
        assert alertmanager.asked == 1
        assert await count(world, "alert_router_reconcile_failures_total{") == 0


async def test_an_alert_without_repeats_is_resolved_with_the_reason(world: World) -> None:
    await world.start(lambda rules: rules.replace("stale_after: 0", "stale_after: 12h"))
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.messages))
    await world.smtp.until(lambda: bool(world.smtp.mails))
    world.clock.advance(12 * HOUR)
    await world.slack.until(lambda: bool(world.slack.only.replies))
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    world.slack.expect(
        Want("C0CRITICAL", ("Resolved", "no longer repeated"), replies=("no longer repeated",))
    )
    assert "at Mon 12:00" in world.smtp.mails[-1].text
    assert "no longer repeated" in world.smtp.mails[-1].text
    await world.post("Down", "critical")
    await world.slack.until(lambda: len(world.slack.messages) == 2)


async def test_a_repeat_is_sent_again_where_the_route_passes_it(world: World) -> None:
    await world.start(lambda rules: rules.replace("receiver: oncall}", "receiver: oncall, repeat: pass}"))
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    world.clock.advance(4 * HOUR)
    await world.post("Down", "critical")
    await world.slack.until(lambda: bool(world.slack.only.replies))
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    await world.pagerduty.until(lambda: len(world.pagerduty.accepted) == 2)
    world.slack.expect(Want("C0CRITICAL", ("Down",), replies=("still firing",)))
    world.pagerduty.expect(Page("Down", open=True))
    first, second = world.smtp.mails
    assert str(second.message["In-Reply-To"]) == first.id
    assert "FIRING AGAIN - critical" in second.text


async def test_the_peers_of_a_pair_make_one_change_and_one_repeat(world: World) -> None:
    await world.start(lambda rules: rules.replace("receiver: oncall}", "receiver: oncall, repeat: pass}"))
    assert world.service is not None
    for peer in (1, 2):
        body = {
            "version": "4", "groupKey": "g", "receiver": "r", "status": "firing", "externalURL": f"http://am-{peer}",
            "alerts": [{"status": "firing", "labels": {"alertname": "Down", "severity": "critical"}}],
        }  # fmt: skip
        async with aiohttp.ClientSession() as session:
            await session.post(f"{world.service.url}/webhook", json=body)
        await world.pagerduty.until(lambda: bool(world.pagerduty.accepted))
        world.clock.advance(15 * SECOND)
    assert (await world.ledger())["changes"] == {"fired": 1, "resolved": 0, "repeated": 1}
    await world.stop()
    world.pagerduty.expect(Page("Down", open=True))
    assert (len(world.pagerduty.accepted), len(world.smtp.mails), len(world.slack.messages)) == (1, 1, 1)
