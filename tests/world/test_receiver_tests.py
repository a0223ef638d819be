"""Tests of receivers: a message marked TEST and its end at every destination, and what each answered."""

from contextlib import AsyncExitStack
from typing import Any

import pytest

from router.decide import TEST_ALERTNAME
from router.model import HOUR, MINUTE, SECOND
from router.store import Receipt, StoreUnavailable
from tests import database
from tests.world.asking import SLACK, metric_value, run_deliveries_command, until_delivered, until_failed
from tests.world.commands import run
from tests.world.conftest import World
from tests.world.fake_discord import URL, FakeDiscord
from tests.world.fake_pagerduty import Page
from tests.world.fake_pagerduty import http as pagerduty_http
from tests.world.fake_slack import http as slack_http
from tests.world.fake_smtp import answer as smtp_answer
from tests.world.fake_teams import FakeTeams, shown
from tests.world.fake_telegram import CHAT, TOKEN, FakeTelegram
from tests.world.fake_webhook import FakeWebhook
from tests.world.test_faults import ask
from tests.world.testing_receivers import (
    answers,
    begin_test,
    finish,
    post_test,
    read_test,
    until_answered,
    words,
)

EMAIL = "email:oncall@example.com"
GOOD = ("delivered", "delivered")


async def test_a_test_and_its_end_arrive_at_every_destination(world: World) -> None:
    await world.start()
    report = await finish(world, await begin_test(world, "oncall"))
    assert report["outcome"] == "delivered"
    assert set(answers(report).values()) == {GOOD}
    assert len(answers(report)) == 3
    assert (report["severity"], report["by"]) == ("critical", "this machine")
    (incident,) = [each for several in world.pagerduty.incidents.values() for each in several]
    world.pagerduty.expect(Page("TEST", open=False))
    assert incident.severity == "critical"
    assert "TEST" in world.slack.only.shown
    assert "you need not do anything" in world.slack.only.shown.casefold()
    assert ["TEST" in each.subject for each in world.smtp.mails] == [True, True]
    assert world.smtp.mails[1].subject.startswith("[RESOLVED]")
    assert await world.fates() == {"delivered": 6}


async def test_the_title_says_test_in_every_channel(world: World) -> None:
    async with AsyncExitStack() as stack:
        discord = await stack.enter_async_context(FakeDiscord())
        hook = await stack.enter_async_context(FakeWebhook())
        teams = await stack.enter_async_context(FakeTeams())
        telegram = await stack.enter_async_context(FakeTelegram())
        sections = (
            f"  webhook: {{}}\n  teams: {{}}\n  discord: {{api_url: '{discord.url}'}}\n"
            f"  telegram: {{token: '{TOKEN}', api_url: '{telegram.url}'}}\nreceivers:\n"
        )
        more = (
            f"  oncall:\n    - discord: {{webhook_url: '{URL}'}}\n    - webhook: {{url: '{hook.url}'}}\n"
            f"    - teams: {{webhook_url: '{teams.url}'}}\n    - telegram: {{chat_id: {CHAT}}}\n"
        )
        await world.start(
            lambda rules: rules.replace("receivers:\n", sections, 1).replace("  oncall:\n", more, 1)
        )
        report = await finish(world, await begin_test(world, "oncall", severity="warning"))
        assert (report["outcome"], len(report["destinations"])) == ("delivered", 7), report
        for text in (
            world.slack.only.text, world.pagerduty.only.summary, world.smtp.mails[0].subject, world.smtp.mails[1].subject,
            next(iter(discord.messages.values())).shown, *(shown(each) for each in teams.cards),
            *(each.shown for each in telegram.messages.values()),
        ):  # fmt: skip
            assert TEST_ALERTNAME in text.split("\n\n")[0], text
        assert [each.body["alerts"][0]["labels"]["alertname"] for each in hook.calls] == [TEST_ALERTNAME] * 2
        assert [each.body["status"] for each in hook.calls] == ["firing", "resolved"]


async def test_a_test_ignores_hours_and_inhibitors(world: World) -> None:
    await world.start()
    world.clock.advance(10 * 60 * MINUTE)  # the office is closed
    await world.at_rest()
    inhibits_all = (
        "source_matchers: ['alertname=\"Down\"']\n    target_matchers: ['alertname=~\".*\"']\n    equal: []"
    )
    await world.reload(
        lambda rules: rules.replace("inhibit_rules:\n", f"inhibit_rules:\n  - {inhibits_all}\n")
    )
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    report = await finish(world, await begin_test(world, "team", severity="warning"))
    assert set(answers(report).values()) == {GOOD}


async def test_a_digest_gets_the_test_as_a_mail_at_once(world: World) -> None:
    await world.start()
    report = await finish(world, await begin_test(world, "daily"))
    assert answers(report) == {"digest:daily": GOOD}
    assert [each.recipients for each in world.smtp.mails] == [("digest@example.com",)] * 2
    assert all(TEST_ALERTNAME in each.subject for each in world.smtp.mails)
    await world.ledger()


async def test_a_refusal_is_shown_in_the_providers_words(world: World) -> None:
    await world.start()
    world.slack.trouble["C0CRITICAL"] = "not_in_channel"
    report = await finish(world, await begin_test(world, "oncall"))
    assert report["outcome"] == "failed"
    assert answers(report) == {SLACK: ("failed", "not sent"), EMAIL: GOOD, _pager(report): GOOD}
    assert "not_in_channel" in words(report, SLACK)[0]
    name = f'alert_router_tests_total{{destination="{SLACK}",outcome="failed",receiver="oncall"}}'
    assert await metric_value(world, name) == 1
    world.pagerduty.expect(
        Page("TEST", open=False), *(Page("can't be notified", open=True) for _ in range(_own_reports(world)))
    )


async def test_a_destination_that_gets_no_ends_passes(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("channel: C0CRITICAL", "channel: C0CRITICAL, send_resolved: false")
    )
    report = await finish(world, await begin_test(world, "oncall"))
    assert (report["outcome"], answers(report)[SLACK]) == ("delivered", ("delivered", "not sent"))
    assert "send_resolved" in words(report, SLACK)[1]


async def test_a_stand_in_is_shown_with_its_answer(world: World) -> None:
    spare = "  spare: [{email: {to: [spare@example.com]}}]\n  oncall:\n"
    await world.start(
        lambda rules: rules.replace("routing_key:", "on_failure: spare, routing_key:", 1).replace(
            "  oncall:\n", spare, 1
        )
    )
    world.pagerduty.fail(*[pagerduty_http(400)] * 10)
    report = await finish(world, await begin_test(world, "oncall"))
    assert report["outcome"] == "failed"
    assert answers(report)[_pager(report)] == ("failed", "not sent")
    assert answers(report)["email:spare@example.com"] == GOOD
    await world.ledger()


async def test_a_test_that_gets_no_answer_is_reported_as_waiting(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    report = await finish(world, await begin_test(world, "oncall", timeout=60))
    assert report["outcome"] == "waiting"
    assert answers(report)[SLACK] == ("waiting", "waiting"), "its answers were lost, so it needs the end"
    answer, _, why = words(report, SLACK)[0].partition("; ")
    assert answer == "http 503"
    assert "tried again in" in why or "the next attempt is due" in why
    assert report["ended_at"] - report["sent_at"] >= 60 * SECOND
    assert report["finished_at"] - report["ended_at"] >= 60 * SECOND
    world.slack.recover()
    world.clock.advance(10 * MINUTE)
    await world.slack.until(lambda: bool(world.slack.messages))
    assert f"Resolved: {TEST_ALERTNAME}" in world.slack.only.shown


async def test_what_was_not_sent_in_time_is_never_sent(world: World) -> None:
    await world.start()
    world.smtp.fail(*[smtp_answer("451 4.3.0 try later", "RCPT")] * 100)
    report = await finish(world, await begin_test(world, "oncall", timeout=60))
    assert (report["outcome"], answers(report)[EMAIL]) == ("waiting", ("waiting", "not sent"))
    assert "try later" in words(report, EMAIL)[0]
    world.smtp.recover()
    world.clock.advance(10 * MINUTE)
    await world.at_rest()
    assert not world.smtp.mails
    assert (await world.fates()).get("pending") is None


async def test_an_end_that_is_refused_fails_the_test(world: World) -> None:
    await world.start()
    test = await begin_test(world, "oncall")
    await world.slack.until(lambda: bool(world.slack.messages))
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    report = await finish(world, test)
    assert answers(report)[SLACK] == ("delivered", "failed")
    assert "is_archived" in words(report, SLACK)[1]
    assert report["outcome"] == "failed"


async def test_a_paused_destination_says_so(world: World) -> None:
    await world.start()
    await run_deliveries_command(world, "pause", SLACK)
    test = await begin_test(world, "oncall", timeout=60)
    report = await until_answered(world, test, EMAIL)
    assert "paused the destination" in words(report, SLACK)[0]
    report = await finish(world, test, 20 * SECOND)
    assert report["outcome"] == "waiting"
    assert f"deliveries resume {SLACK}" in words(report, SLACK)[0]
    assert not world.slack.messages
    await run_deliveries_command(world, "resume", SLACK)
    await world.at_rest()
    assert not world.slack.messages


async def test_a_restart_in_the_middle_ends_the_test(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 3)
    test = await begin_test(world, "oncall")
    await until_answered(world, test, EMAIL)
    await until_failed(world, SLACK)
    world.slack.recover()
    await world.end()
    world.clock.advance(MINUTE)
    await world.start()
    report = await finish(world, test)
    assert (report["outcome"], report["interrupted"]) == (
        "interrupted", "the router was restarted during the test",
    )  # fmt: skip
    assert answers(report)[EMAIL] == GOOD
    world.pagerduty.expect(Page("TEST", open=False))
    alerts = await world.get("/api/v1/alerts?status=firing")
    assert alerts["total"] == 0


async def test_a_reload_that_removes_the_receiver_ends_the_test(world: World) -> None:
    await world.start()
    await run_deliveries_command(world, "pause", "slack:C0SPARE")
    only = "  spare: [{slack: {channel: C0SPARE}}, {email: {to: [spare@example.com]}}]\n"
    await world.reload(lambda rules: rules.replace("receivers:\n", f"receivers:\n{only}", 1))
    await run_deliveries_command(world, "pause", "slack:C0SPARE")
    test = await begin_test(world, "spare")
    await until_answered(world, test, "email:spare@example.com")
    await world.reload(lambda rules: rules)
    report = await finish(world, test)
    assert report["outcome"] == "failed"
    assert answers(report) == {"slack:C0SPARE": ("failed", "not sent"), "email:spare@example.com": GOOD}
    assert "no longer routed here" in words(report, "slack:C0SPARE")[0]
    assert not world.slack.messages, "nothing of it goes to another receiver"
    assert len(world.smtp.mails) == 2


async def test_a_second_test_of_a_receiver_is_refused(world: World) -> None:
    await world.start()
    await run_deliveries_command(world, "pause", SLACK)
    test = await begin_test(world, "oncall")
    status, problem = await post_test(world, "oncall")
    assert status == 409
    assert (
        f"under way already, by this machine: wait until it has finished; its id is {test}"
        in problem["detail"]
    )
    assert (await post_test(world, "team"))[0] == 200
    await finish(world, test, MINUTE)
    assert (await post_test(world, "oncall"))[0] == 200


async def test_a_receiver_that_can_not_be_tested_says_why(world: World) -> None:
    several = ", ".join(f"{{slack: {{channel: C{number:08}}}}}" for number in range(101))
    more = f"receivers:\n  nobody: []\n  everybody: [{several}]\n"
    await world.start(lambda rules: rules.replace("receivers:\n", more, 1))
    status, problem = await post_test(world, "nobody")
    assert (status, problem["detail"]) == (409, "the receiver nobody has no destinations")
    status, problem = await post_test(world, "everybody")
    assert (status, "more than 100 destinations" in problem["detail"]) == (409, True)


async def test_unknown_names_get_a_hint(world: World) -> None:
    await world.start()
    status, problem = await post_test(world, "oncal")
    assert (status, problem["detail"]) == (404, "there is no receiver 'oncal'; did you mean 'oncall'?")
    status, problem = await post_test(world, "oncall", severity="criticl")
    assert (status, problem["detail"]) == (422, "there is no level 'criticl'; did you mean 'critical'?")
    assert (await post_test(world, "oncall", timeout=0))[0] == 400


async def test_a_store_that_can_not_be_written_answers_503(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.store.sqlite._BUSY_SECONDS", 0.3)
    await world.start()
    with database.locked(world.folder / "router.db"):
        assert (await post_test(world, "oncall"))[0] == 503
    assert await _nothing_is_left(world) == []


async def test_a_test_that_can_not_be_accepted_is_not_sent_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    assert world.service is not None

    async def refuse(*_: Any, **__: Any) -> Receipt:
        raise StoreUnavailable("the disk is full; make room")

    with monkeypatch.context() as patch:
        patch.setattr(world.service.store, "accept", refuse)
        assert (await post_test(world, "oncall"))[0] == 503
    assert await _nothing_is_left(world) == ["interrupted"]


async def _nothing_is_left(world: World) -> list[str]:
    """Check that nothing is sent. Return the outcomes of the stored tests."""
    assert world.service is not None
    while (await ask(world, "/-/ready"))[0] != 200:
        pass
    world.clock.advance(MINUTE)
    await world.at_rest()
    assert not world.slack.messages
    assert (await world.get("/api/v1/alerts?status=firing"))["total"] == 0
    return [each["outcome"] for each in (await world.get("/api/v1/tests"))["items"]]


async def test_a_storm_names_the_test(world: World) -> None:
    await world.start()
    await run_deliveries_command(world, "pause", "slack:C0WARNINGS")
    for number in range(70):
        await world.post(f"Down{number}", "warning")
    test = await begin_test(world, "team", severity="warning", timeout=600)
    await until_answered(world, test, "email:team@example.com")
    world.clock.advance(2 * SECOND)
    await run_deliveries_command(world, "resume", "slack:C0WARNINGS")
    report = await finish(world, test)
    (slack,) = [each for each in report["destinations"] if each["destination"] == "slack:C0WARNINGS"]
    assert answers(report)["slack:C0WARNINGS"] == GOOD
    assert slack["firing"]["in_storm"]
    (storm,) = world.slack.messages.values()
    assert sum(TEST_ALERTNAME in reply for reply in storm.replies) == 1, "its end"


async def test_an_urgent_test_has_its_own_message_in_a_storm(world: World) -> None:
    await world.start()
    await run_deliveries_command(world, "pause", "slack:C0WARNINGS")
    for number in range(70):
        await world.post(f"Down{number}", "warning")
    test = await begin_test(world, "team", timeout=600)
    world.clock.advance(2 * SECOND)
    await run_deliveries_command(world, "resume", "slack:C0WARNINGS")
    report = await finish(world, test)
    (slack,) = [each for each in report["destinations"] if each["destination"] == "slack:C0WARNINGS"]
    assert answers(report)["slack:C0WARNINGS"] == GOOD
    assert not slack["firing"]["in_storm"]
    assert any(TEST_ALERTNAME in each.text for each in world.slack.messages.values())


async def test_the_command_shows_each_answer(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("  oncall:\n", "  mail: [{email: {to: [a@example.com]}}]\n  oncall:\n")
    )
    result = await run(world, "send-test", "mail")
    assert result.exit_code == 0, result.output
    assert "email:a@example.com: TEST delivered after" in result.output
    assert "email:a@example.com: its end delivered after" in result.output
    assert "The test and its end arrived." in result.output
    world.smtp.refused = {"a@example.com": "550 5.1.1 no such user"}
    result = await run(world, "send-test", "mail")
    assert result.exit_code == 1
    assert "no such user" in result.output
    result = await run(world, "send-test", "mial")
    assert (result.exit_code, "did you mean 'mail'?" in result.output) == (1, True)


async def test_a_test_is_an_action_with_its_result(world: World) -> None:
    await world.start()
    test = await begin_test(world, "oncall")
    (line,) = (await world.get("/api/v1/actions"))["items"]
    assert (line["action"], line["target"], line["outcome"], line["reason"]) == (
        "send test", "oncall", "done", f"test {test}",
    )  # fmt: skip
    await finish(world, test)
    page = "\n".join(await world.get(f"/tests/{test}"))
    assert "Every destination accepted the test and its end." in page
    assert "Send another test" in page
    assert "Send a test to oncall" in "\n".join(await world.get("/destinations/slack%3AC0CRITICAL"))
    assert f"/tests/{test}" in "\n".join(await world.get("/destinations"))
    assert f"/tests/{test}" in "\n".join(await world.get("/tests"))
    assert (await read_test(world, test))["outcome"] == "delivered"


def _pager(report: dict[str, Any]) -> str:
    return next(key for key in answers(report) if key.startswith("pagerduty:"))


def _own_reports(world: World) -> int:
    return sum(
        "can't be notified" in each.summary
        for several in world.pagerduty.incidents.values()
        for each in several
    )


async def test_a_step_of_the_clock_ends_a_test_that_waits(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    test = await begin_test(world, "oncall")
    await until_failed(world, SLACK)
    await world.at_rest()
    world.clock.step_back(6 * HOUR)
    for _ in range(10):
        world.clock.advance(30 * SECOND)
        await world.at_rest()
    report = await read_test(world, test)
    assert report["outcome"] == "waiting"
    status, _ = await post_test(world, "oncall")
    assert status == 200, "another test can begin"
