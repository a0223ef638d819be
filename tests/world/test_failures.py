"""What can't be delivered reaches a person: by a report of the destination, or a dead letter of a recipient."""

import json
import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import OWN, run_deliveries_command, slack_lane, until_delivered
from tests.world.conftest import World
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_slack import Want as Message
from tests.world.fake_slack import http as slack_http
from tests.world.fake_smtp import Want, answer

ANNA, BERT = "anna@example.com", "bert@example.com"
EMAIL = "email:oncall@example.com"
BOTH = f"email:{ANNA},{BERT}"
SLACK = "slack:C0CRITICAL"


async def attempted(world: World, destination: str, count: int) -> dict[str, int]:
    """Wait until so many attempts at a destination have an outcome, and return the number of each outcome."""
    assert world.service is not None
    store = world.service.store
    while True:
        found = dict((await store.pages.status())["deliveries"].get(destination, {}))
        if sum(number for outcome, number in found.items() if outcome != "under way") >= count:
            return found
        await store.ready()


async def reported(world: World, count: int) -> list[str]:
    """Wait for so many events, and return the summaries of the router's own alerts at PagerDuty."""
    await world.pagerduty.until(lambda: len(own(world)) >= count)
    return own(world)


def own(world: World) -> list[str]:
    found = []
    for incident in world.pagerduty.incidents[next(iter(world.pagerduty.keys))]:
        if "can't be notified" in incident.summary:
            found += [incident.summary] + ["ended"] * (not incident.open)
    return found


async def pass_time(world: World, span: int, step: int = MINUTE) -> None:
    """Move the clock in small steps, so that each attempt is made at about its time."""
    for _ in range(0, span, step):
        world.clock.advance(step)
        await world.at_rest()


def two(rules: str) -> str:
    """Two people read the on-call mail; the team gets what could not be delivered to one of them."""
    return rules.replace(
        "- email: {to: [oncall@example.com]}", f"- email: {{to: [{ANNA}, {BERT}], on_failure: team}}"
    )


def letters_of(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["destination"], each["recipient"]) for each in found]


# A smarthost that refuses everybody


@pytest.mark.parametrize("at", ["RCPT", "DATA"])
@pytest.mark.parametrize(
    "refusal",
    [
        "554 5.7.1 <localhost>: Helo command rejected: need fully-qualified hostname",
        "550 5.7.26 This mail is unauthenticated",
        "550 relaying denied",
        "550 5.4.5 Daily user sending limit exceeded",
        "554 Transaction failed",
    ],
)
async def test_a_smarthost_that_refuses_everybody_is_paused_and_reported(
    world: World, at: str, refusal: str
) -> None:
    await world.start()
    world.smtp.fail(*[answer(refusal, at=at)] * 9)
    await world.post("Down", "critical")
    (summary,) = await reported(world, 1)
    assert f"{EMAIL} can't be notified: " in summary
    assert refusal in summary, "in the provider's whole words"
    state = next(each for each in (await world.get("/status"))["lanes"] if each["destination"] == EMAIL)
    assert (state["broken_since"], state["paused_until"]) == (world.clock.now(), world.clock.now() + MINUTE)
    await world.post("Full", "critical")
    await until_delivered(world, 6)
    assert (await world.ledger())["by_destination"][EMAIL] == {"pending": 2}, "nothing is given up"
    world.smtp.recover()
    assert f"{EMAIL}: delivered\n" in (await run_deliveries_command(world, "resume", EMAIL)).output
    assert (await reported(world, 2))[1:] == ["ended"]
    world.clock.advance(2 * SECOND)
    await world.smtp.until(lambda: len(world.smtp.mails) == 2)
    await until_delivered(world, 10)
    assert await world.fates() == {"delivered": 10}


async def test_one_mail_that_is_always_refused_keeps_no_other_waiting(world: World) -> None:
    """A spam filter refuses its words. Other mails are delivered, so the mail is dead and the destination is not broken."""
    await world.start()
    world.smtp.refuse_content = lambda mail: "554 5.7.1 spam" if "Viagra" in mail.subject else None
    await world.post("Viagra", "critical")
    await reported(world, 1)
    await world.post("Down", "critical")
    await pass_time(world, 10 * MINUTE)
    assert [mail.subject for mail in world.smtp.mails] != []
    assert await attempted(world, EMAIL, 4)
    (letter,) = (await world.get("/api/v1/dead-letters"))["items"]
    assert "554 5.7.1 spam" in letter["reason"]
    assert own(world)[-1] == "ended"
    world.smtp.expect(Want(("oncall@example.com",), "Down"))


# One of several recipients


@pytest.mark.parametrize("refusal", ["550 5.1.1 <bert@example.com>: queue id AB2", "550 5.7.1 not for you"])
async def test_a_refused_recipient_is_a_dead_letter_and_others_get_one_mail(
    world: World, refusal: str
) -> None:
    await world.start(two)
    world.smtp.refused = {BERT: refusal}
    with capture_logs() as logs:
        await world.post("Down", "critical")
        await world.slack.until(lambda: bool(world.slack.in_channel("C0WARNINGS")))
        await until_delivered(world, 5)
    (letter,) = (await world.get("/api/v1/dead-letters"))["items"]
    assert (letter["destination"], letter["recipient"]) == (BOTH, BERT)
    assert letter["reason"] == f"smtp 550: {refusal}"
    assert any(refusal in str(each) for each in logs)
    assert any(refusal in each["words"] for each in (await world.get("/api/v1/deliveries"))["items"])
    listed = await run_deliveries_command(world, "--dead")
    assert f"{BOTH}: {BERT}" in listed.output
    assert f"smtp 550: {refusal}" in listed.output
    assert (await world.ledger())["by_destination"][BOTH] == {"delivered": 1}
    world.slack.expect(Message("C0CRITICAL", ("Down",)), Message("C0WARNINGS", ("Down",)))
    await world.post("Down", "critical")
    await world.post("Down", "critical", "resolved")
    await world.smtp.until(lambda: sum("RESOLVED" in mail.subject for mail in world.smtp.mails) == 2)
    mails = [mail for mail in world.smtp.mails if mail.recipients == (ANNA,)]
    assert [mail.subject.split()[0] for mail in mails] == ["[FIRING:1]", "[RESOLVED]"]


async def test_a_recipient_always_refused_for_now_is_given_up_in_the_end(world: World) -> None:
    await world.start(lambda rules: two(rules).replace("email: {smart", "email: {give_up_after: 2h, smart"))
    world.smtp.refused = {BERT: "451 4.7.1 try again later"}
    await world.post("Down", "critical")
    await attempted(world, BOTH, 1)
    for _ in range(4):
        await pass_time(world, 20 * MINUTE, 5 * MINUTE)
        await world.post("Down", "critical")  # Alertmanager repeats it
    assert (await world.get("/api/v1/dead-letters"))["items"] == []
    assert own(world) == [], "the smarthost takes mails"
    await world.stop()
    await world.start(lambda rules: two(rules).replace("email: {smart", "email: {give_up_after: 2h, smart"))
    await pass_time(world, HOUR, 5 * MINUTE)
    (letter,) = (await world.get("/api/v1/dead-letters"))["items"]
    assert (letter["destination"], letter["recipient"]) == (BOTH, BERT)
    assert letter["reason"] == "given up after 2 h: smtp 451: 451 4.7.1 try again later"
    assert (await world.ledger())["by_destination"][BOTH]["delivered"] >= 1
    assert [mail.recipients for mail in world.smtp.mails if BERT in mail.recipients] == []
    assert len([mail for mail in world.smtp.mails if ANNA in mail.recipients]) == 1
    assert len(world.slack.in_channel("C0WARNINGS")) == 1, "the team was notified instead"


async def test_news_do_not_wait_for_a_recipient_that_is_refused_for_now(world: World) -> None:
    await world.start(two)
    world.smtp.refused = {BERT: "451 4.7.1 try again later"}
    await world.post("Down", "critical", instance="a")
    await attempted(world, BOTH, 1)
    await pass_time(world, HOUR, 5 * MINUTE)  # its next attempt is minutes away
    await world.post("Down", "critical", instance="b")
    while len(world.smtp.mails) < 2:
        world.clock.advance(2 * SECOND)
        await world.at_rest()
    assert [mail.recipients for mail in world.smtp.mails] == [(ANNA,), (ANNA,)]


async def test_a_retried_dead_letter_of_a_recipient_goes_only_to_it(world: World) -> None:
    await world.start(two)
    world.smtp.refused = {BERT: "550 5.1.1 unknown"}
    await world.post("Down", "critical")
    await until_delivered(world, 5)
    await world.post("Down", "critical")  # a repeat changes nothing
    world.smtp.recover()
    assert (await run_deliveries_command(world, "retry", "--all")).exit_code == 0
    world.clock.advance(2 * SECOND)
    await world.smtp.until(lambda: any(BERT in mail.recipients for mail in world.smtp.mails))
    assert [mail.recipients for mail in world.smtp.mails if "team" not in str(mail.recipients)] == [
        (ANNA,),
        (BERT,),
    ]
    assert (await world.get("/api/v1/dead-letters"))["items"] == []


async def test_an_end_that_one_recipient_missed_can_be_sent_to_it(world: World) -> None:
    await world.start(two)
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    world.smtp.refused = {BERT: "552 5.2.2 mailbox full"}
    await world.post("Down", "critical", "resolved")
    await until_delivered(world, 6)
    world.smtp.recover()
    assert (await run_deliveries_command(world, "retry", "--all")).exit_code == 0
    world.clock.advance(2 * SECOND)
    await world.smtp.until(lambda: len(world.smtp.mails) == 3)
    assert [(mail.recipients, mail.subject.split()[0]) for mail in world.smtp.mails] == [
        ((ANNA, BERT), "[FIRING:1]"),
        ((ANNA,), "[RESOLVED]"),
        ((BERT,), "[RESOLVED]"),
    ]


# Nothing gets through


@pytest.mark.parametrize("fault", [503, 418])
async def test_what_fails_in_any_way_for_a_while_is_reported_once(world: World, fault: int) -> None:
    await world.start()
    world.slack.fail(*[slack_http(fault)] * 1_000)
    await world.post("Down", "critical")
    await attempted(world, SLACK, 1)
    await pass_time(world, 14 * MINUTE)
    assert own(world) == []
    await pass_time(world, 2 * MINUTE)
    (summary,) = await reported(world, 1)
    assert re.search(
        rf"{SLACK} can't be notified: no delivery has succeeded for 1[56] min: http {fault}", summary
    )
    await pass_time(world, 2 * HOUR, 5 * MINUTE)
    assert len(own(world)) == 1
    world.slack.recover()
    await pass_time(world, 5 * MINUTE)
    assert (await reported(world, 2))[1:] == ["ended"]
    assert (await slack_lane(world))["broken_since"] is None


async def test_a_closed_port_is_reported_also_over_a_restart(world: World, unused_tcp_port: int) -> None:
    def change(rules: str) -> str:
        return rules.replace(world.smtp.smarthost, f"127.0.0.1:{unused_tcp_port}")

    await world.start(change)
    await world.post("Down", "critical")
    await attempted(world, EMAIL, 1)
    await pass_time(world, 10 * MINUTE)
    await world.stop()
    await world.start(change)
    await pass_time(world, 4 * MINUTE)
    assert own(world) == []
    await pass_time(world, 2 * MINUTE)
    (summary,) = await reported(world, 1)
    assert "connection failed" in summary
    assert str(unused_tcp_port) in summary, "in the whole words"
    await world.stop()
    await world.start(change)
    await pass_time(world, 30 * MINUTE, 5 * MINUTE)
    assert len(own(world)) == 1, "one report, also after another restart"
    await world.reload(lambda rules: rules)
    await pass_time(world, 5 * MINUTE)
    assert (await reported(world, 2))[1:] == ["ended"]


async def test_alert_after_is_settable_and_0_is_never(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("slack: {token", "slack: {alert_after: 2m, token").replace(
            "email: {smart", "email: {alert_after: 0, smart"
        )
    )
    world.slack.fail(*[slack_http(503)] * 1_000)
    world.smtp.fail(*[answer("451 later", at="MAIL")] * 1_000)
    await world.post("Down", "critical")
    await attempted(world, SLACK, 1)
    await pass_time(world, 2 * MINUTE, 30 * SECOND)
    await reported(world, 1)
    await pass_time(world, HOUR, 5 * MINUTE)
    (summary,) = own(world)
    assert SLACK in summary


async def test_what_fails_now_and_then_is_no_outage(world: World) -> None:
    """Each time, what was due ended before it was sent: nothing is due and failing any more."""
    await world.start()
    for count in range(1, 4):
        world.slack.fail(slack_http(503))
        await world.post("Down", "critical")
        await attempted(world, SLACK, count)
        await world.post("Down", "critical", "resolved")
        await pass_time(world, HOUR, 10 * MINUTE)
    assert own(world) == []


async def test_a_rate_limit_of_an_hour_is_reported_while_it_lasts(world: World) -> None:
    await world.start()
    limit = slack_http(
        429, json.dumps({"ok": False, "error": "ratelimited"}), "application/json", Retry_After="3600"
    )
    world.slack.fail(limit)
    await world.post("Down", "critical")
    await attempted(world, SLACK, 1)
    await pass_time(world, 16 * MINUTE)
    (summary,) = await reported(world, 1)
    assert "ratelimited" in summary


# One cause


def several(rules: str) -> str:
    """Three more Slack channels for criticals, and one that gets only what `operators` sends."""
    more = "".join(f"\n    - slack: {{channel: C{number}}}" for number in range(3))
    return "operators: ops\n" + rules.replace(
        "receivers:", "receivers:\n  ops: [{slack: {channel: C0WARNINGS}}]", 1
    ).replace("    - slack: {channel: C0CRITICAL}", f"    - slack: {{channel: C0CRITICAL}}{more}")


async def test_one_cause_is_one_report_that_names_the_destinations(world: World) -> None:
    world.slack.channels |= {f"C{number}": f"c{number}" for number in range(3)}
    await world.start(several)
    world.slack.revoked = True
    await world.post("Down", "critical")
    (summary,) = await reported(world, 1)
    assert (
        "4 destinations slack:C0, slack:C0CRITICAL, slack:C1, slack:C2 can't be notified: token_revoked"
        in summary
    )
    assert (await attempted(world, SLACK, 1))["broken"] == 1
    assert not any(call["channel"] == "C0WARNINGS" for _, call in world.slack.calls), "it is broken as well"
    await pass_time(world, 10 * MINUTE)
    assert len(own(world)) == 1
    world.slack.revoked = False
    result = await run_deliveries_command(world, "resume", SLACK)
    assert f"{SLACK}: delivered" in result.output
    await world.slack.until(lambda: len(world.slack.messages) == 4)
    assert (await reported(world, 2))[1:] == ["ended"], "it ends with the last"
    lanes = (await world.get("/status"))["lanes"]
    assert [each["destination"] for each in lanes if each["broken_since"] is not None] == []


async def test_a_report_ends_with_the_last_destination_not_the_first(world: World) -> None:
    world.slack.channels |= {f"C{number}": f"c{number}" for number in range(3)}
    await world.start(several)
    world.slack.revoked = True
    await world.post("Down", "critical")
    await reported(world, 1)
    await attempted(world, SLACK, 1)
    world.slack.trouble["C1"] = "is_archived"
    world.slack.revoked = False
    await run_deliveries_command(world, "resume", SLACK)
    await world.slack.until(lambda: len(world.slack.messages) == 3)
    await world.at_rest()
    assert len(own(world)) == 1
    del world.slack.trouble["C1"]
    world.clock.advance(5 * SECOND)
    await run_deliveries_command(world, "resume", "slack:C1")
    assert (await reported(world, 2))[1:] == ["ended"]


async def test_a_report_prints_some_names_and_counts_all(world: World) -> None:
    count = 30
    world.slack.channels |= {f"X{number}": f"x{number}" for number in range(count)}
    more = "".join(f"\n    - slack: {{channel: X{number}}}" for number in range(count))
    await world.start(
        lambda rules: rules.replace(
            "    - slack: {channel: C0CRITICAL}", f"    - slack: {{channel: C0CRITICAL}}{more}"
        )
    )
    world.slack.revoked = True
    await world.post("Down", "critical")
    while sum(name == "chat.postMessage" for name, _ in world.slack.calls) < count + 1:
        world.clock.advance(SECOND)
        assert world.service is not None
        await world.service.store.ready()
    await reported(world, 1)
    for number in range(count):
        await attempted(world, f"slack:X{number}", 1)
    while not all(
        each["broken_since"]
        for each in (await world.get("/status"))["lanes"]
        if "slack:X" in each["destination"]
    ):
        pass  # the last ones join the report
    assert len(own(world)) == 1
    assert len(own(world)[0]) < 300


async def test_a_broken_endpoint_of_pagerduty_is_reported_to_the_others(world: World) -> None:
    await world.start()
    world.pagerduty.fail(*[pagerduty_http(500, "<html>down</html>")] * 1_000)
    await world.post("Down", "critical")
    await attempted(world, EMAIL, 1)
    await pass_time(world, 16 * MINUTE)
    await world.smtp.until(lambda: any(OWN in mail.subject for mail in world.smtp.mails))
    assert len([mail for mail in world.smtp.mails if OWN in mail.subject]) == 1


async def test_a_token_in_a_providers_words_is_shown_nowhere(world: World) -> None:
    await world.start()
    body = json.dumps(
        {"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "xoxb-fake"}
    )
    world.slack.fail(*[slack_http(200, body, "application/json")] * 9)
    with capture_logs() as logs:
        await world.post("Down", "critical")
        (summary,) = await reported(world, 1)
        await attempted(world, SLACK, 1)
    shown = [summary, str(logs), await world.get("/api/v1/deliveries"), await world.get("/status")]
    assert "needed: chat:write, provided: ***" in summary
    assert not any("xoxb-fake" in str(each) for each in shown)
    metrics = "\n".join(await world.get("/metrics"))
    assert f'destination="{SLACK}",reason="missing_scope"' in metrics
    assert "chat:write" not in metrics


# What the last attempt did not reach


@pytest.mark.parametrize(
    ("refusal", "letters"), [("554 5.7.1 <localhost>: Helo command rejected", 0), ("451 4.3.0 queue full", 0)]
)
async def test_a_late_recipient_that_is_refused_again_is_no_success(
    world: World, refusal: str, letters: int
) -> None:
    """One recipient was late. Now the smarthost refuses all recipients, which is reported and stays reported."""
    await world.start(two)
    world.smtp.refused = {BERT: "451 4.7.1 try again later"}
    await world.post("Down", "critical")
    await attempted(world, BOTH, 1)
    world.smtp.refused = dict.fromkeys((ANNA, BERT), refusal)
    await world.post("Full", "critical")
    await pass_time(world, 30 * MINUTE, 30 * SECOND)
    assert len((await world.get("/api/v1/dead-letters"))["items"]) == letters
    assert [each == "ended" for each in own(world)] == [False]


async def test_a_destination_that_fails_now_and_then_gives_up_no_alert(world: World) -> None:
    """The destination refuses, accepts another message, and refuses again: the message is not the cause."""
    await world.start()
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("A", "critical")
    await reported(world, 1)
    await pass_time(world, 90 * SECOND, 30 * SECOND)
    await world.post("B", "critical")
    del world.slack.trouble["C0CRITICAL"]
    while not world.slack.messages:
        world.clock.advance(SECOND)
        await world.at_rest()
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await pass_time(world, 10 * MINUTE, 10 * SECOND)
    assert (await world.get("/api/v1/dead-letters"))["items"] == []


async def test_a_report_ends_though_the_levels_have_changed_since(world: World) -> None:
    await world.start()
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical")
    await reported(world, 1)
    levels = "severity: {label: severity, levels: [disaster, critical, warning, info]}"
    assert (await world.reload(lambda rules: f"{levels}\n{rules}"))[0] == 200
    world.slack.trouble.clear()
    await pass_time(world, 5 * MINUTE, 30 * SECOND)
    assert own(world)[-1] == "ended"
    assert (await world.ledger())["firing"] == 1
