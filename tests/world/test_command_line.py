"""Commands that ask the running service: an operator's questions, hostile texts, pages, exit codes."""

import json

import pytest

from router.model import HOUR, MINUTE, SECOND
from tests.world.asking import SLACK, until_delivered, until_failed
from tests.world.commands import run
from tests.world.conftest import World
from tests.world.fake_slack import http as slack_http
from tests.world.test_access import users
from tests.world.test_failures import BERT

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp\x9b31m\r\nfake line \u200b"


def harmless(text: str) -> bool:
    return all(each.isprintable() or each == "\n" for each in text)


async def test_status_says_that_nothing_is_wrong(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    found = await run(world, "status")
    assert found.exit_code == 0, found.output
    assert "Mon 23 Nov 2026 12:00:00 UTC: 1 alert fires\nNothing is wrong.\n" in found.output
    assert (
        "slack:C0CRITICAL  Slack C0CRITICAL (oncall)\n  healthy: last delivered just now.\n" in found.output
    )
    assert found.output.endswith("6 destinations (3 healthy, 3 unused)\n")


async def test_status_exits_with_1_if_something_is_wrong(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 100)
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    for _ in range(70):
        world.clock.advance(SECOND)
        await world.at_rest()
    found = await run(world, "status")
    assert found.exit_code == 1
    assert "! slack:C0CRITICAL has been failing for 1 min: http 503\n" in found.output
    assert found.output.index("failing since 12:00 (1 min)") < found.output.index("healthy")
    one = await run(world, "status", SLACK, "--json")
    assert (one.exit_code, json.loads(one.output)["state"]) == (1, "failing")
    some = json.loads((await run(world, "status", "--state", "failing", "--json")).output)
    assert [each["key"] for each in some["items"]] == [SLACK]
    assert some["overview"]["firing"] == 1
    gone = await run(world, "status", "slack:NOWHERE")
    assert (gone.exit_code, "there is no destination with this key" in gone.output) == (1, True)


async def test_alerts_lists_what_fires_and_who_knows(world: World) -> None:
    await world.start()
    await world.post("Backup", "info")
    await world.post("Down", "critical", team="db")
    await world.post("Full", "critical", team="web")
    await until_delivered(world, 6)
    found = await run(world, "alerts")
    lines = found.output.splitlines()
    assert [line.split()[3] for line in lines[1:4]] == ["Full", "Down", "Backup"]
    assert "3 notified" in lines[1]
    assert "digest:daily: digest until Tue 24 Nov 08:00" in lines[3]
    assert lines[4] == "3 alerts"
    for filters in (
        ["team=db"],
        ['team=~"d.*"', "severity=critical"],
        ["Down"],
        ["--severity", "critical", "db"],
    ):
        assert "\n1 alert\n" in (await run(world, "alerts", *filters)).output, filters
    assert (await run(world, "alerts", "team=nobody")).output == "No alerts.\n"
    waiting = (await run(world, "alerts", "--waiting")).output
    assert "Waits for the digest of Tue 24 Nov 08:00" in waiting
    assert waiting.endswith("\n1 waiting notification\n")
    wrong = await run(world, "alerts", "a=~(")
    assert (wrong.exit_code, "filter:" in wrong.output) == (1, True)


async def test_show_answers_who_was_notified_and_why_not(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    world.clock.advance(HOUR)
    await world.post("Down", "critical", "resolved")
    await until_delivered(world, 6)
    await world.post("Backup", "info")
    shown = (await run(world, "show", "Down")).output
    assert "Down on eu-1  critical, resolved\n" in shown
    assert "slack:C0CRITICAL  ended\n  Notified, and notified of the end" in shown
    assert "12:00:00  It fired (critical), as default reported\n" in shown
    assert "slack:C0CRITICAL: to be sent: to oncall by route.routes[0] (" in shown
    assert "routes.yaml:24)" in shown
    fingerprint = json.loads((await run(world, "show", "Down", "--json")).output)["alert"]["fingerprint"]
    number = str(json.loads((await run(world, "show", "Down", "--json")).output)["alert"]["id"])
    assert (await run(world, "show", fingerprint)).output == shown
    assert (await run(world, "show", number)).output == shown
    early = (await run(world, "show", "Down", "--at", "12:30")).output
    assert "It fired" in early
    assert "It ended" not in early
    late = (await run(world, "show", "Down", "--since", "30m")).output
    assert "It fired" not in late
    assert "It ended" in late
    waiting = (await run(world, "show", "Backup")).output
    assert "digest:daily  digest\n  Waits for the digest of Tue 24 Nov 08:00" in waiting
    gone = await run(world, "show", "Nothing")
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "there is no alert with the name, the fingerprint or the labels Nothing" in gone.stderr


async def test_show_lists_several_alerts_of_a_name(world: World) -> None:
    await world.start()
    for instance in ("a", "b"):
        await world.post("Down", "critical", instance=instance)
    found = (await run(world, "show", "Down")).output
    assert found.endswith("Several alerts have this name. Show one by its number.\n")
    number = found.split()[0]
    assert f"number {number}, fingerprint" in (await run(world, "show", number)).output


async def test_deliveries_are_filtered_by_time_and_outcome(world: World) -> None:
    await world.start()
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, SLACK)
    await until_delivered(world, 2)
    world.clock.advance(2 * HOUR)
    await world.at_rest()
    await world.post("Full", "critical")
    await until_delivered(world, 6)

    async def count(*options: str) -> int:
        return int(json.loads((await run(world, "deliveries", "--json", *options)).output)["total"])

    assert await count() == 7
    assert await count("--outcome", "failed") == 1
    assert await count("--since", "1h") == await count("--since", "13:30") == 4
    assert await count("--since", "1h", "--destination", SLACK) == 2
    assert await count("--until", "2026-11-23 12:30") == 3
    listed = (await run(world, "deliveries", "--outcome", "failed")).output
    assert "retry" in listed
    assert "http 503" in listed
    assert listed.endswith("1 delivery\n")
    wrong = await run(world, "deliveries", "--since", "yesterday")
    assert (wrong.exit_code, "'yesterday' is not a time; write it like" in wrong.output) == (2, True)


async def test_long_lists_say_what_is_left_or_come_whole(world: World) -> None:
    await world.start()
    for number in range(30):
        await world.post(f"Down{number}", "critical")
    some = (await run(world, "alerts", "--limit", "20")).output
    assert some.endswith("\n20 of 30 alerts; --all shows all\n")
    assert len((await run(world, "alerts", "--all")).output.splitlines()) == 32
    whole = json.loads((await run(world, "alerts", "--all", "--json")).output)
    assert (len(whole["items"]), whole["total"], whole["next"]) == (30, 30, None)
    cut = json.loads((await run(world, "alerts", "--limit", "20", "--json")).output)
    assert (len(cut["items"]), cut["total"], cut["next"] is None) == (20, 30, False)


async def test_hostile_texts_control_no_terminal(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503, HOSTILE)] * 100)
    await world.post(f"Down{HOSTILE}", "critical", instance=HOSTILE, cluster="界" * 300)
    await until_failed(world, SLACK)
    number = str(json.loads((await run(world, "alerts", "--json")).output)["items"][0]["id"])
    for command in (
        ["alerts"], ["alerts", "--waiting"], ["show", number], ["deliveries"], ["status"], ["status", SLACK],
    ):  # fmt: skip
        shown = (await run(world, *command)).output
        assert harmless(shown), command
        assert "\nfake line" not in shown


async def test_the_ledger_is_that_of_the_service_or_of_a_database(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    world.clock.advance(2 * MINUTE)
    asked = await run(world, "ledger", "--since", "1d")
    assert asked.exit_code == 0, asked.output
    assert "from Sun 22 Nov 2026 12:02 until now, UTC\n" in asked.output
    assert asked.output.endswith("\nbalanced\n")
    database = f"sqlite:///{world.folder}/router.db"
    read = await run(world, "ledger", "--database", database)
    assert read.output == (await run(world, "ledger")).output
    both = await run(world, "ledger", "--database", database, "--url", "http://127.0.0.1:1")
    assert both.exit_code == 2
    none = await run(world, "ledger", "--since", "10:00", "--until", "9:00")
    assert none.exit_code == 1
    assert "exchange them" in none.output


async def test_digest_shows_what_the_next_one_says(world: World) -> None:
    await world.start()
    await world.post("Backup", "info", note=HOSTILE)
    listed = await run(world, "digest")
    assert listed.exit_code == 0, listed.output
    assert listed.output.splitlines()[1].split()[:6] == ["digest:daily", "Tue", "24", "Nov", "08:00", "1"]
    for name in ("daily", "digest:daily"):
        shown = await run(world, "digest", name)
        assert shown.exit_code == 0, shown.output
        assert shown.output.startswith("digest:daily  Tue 24 Nov 2026 08:00:00 UTC, since ")
        assert "1 firing\n\nSubject: " in shown.output
        assert "Backup" in shown.output
        assert harmless(shown.output)
    assert json.loads((await run(world, "digest", "daily", "--json")).output)["counts"]["firing"] == 1
    assert (await run(world, "digest", "daily", "--past")).output == "No digest was sent yet.\n"
    unknown = await run(world, "digest", "weekly")
    assert (unknown.exit_code, unknown.stdout) == (1, "")
    assert "there is no digest weekly; digests are: digest:daily" in unknown.stderr
    world.clock.advance(21 * HOUR)
    await until_delivered(world, 1)
    past = (await run(world, "digest", "daily", "--past")).output
    assert "Tue 24 Nov 08:00" in past or "08:00:00" in past
    assert past.endswith("\n1 digest\n")


async def test_completion_asks_the_service(world: World) -> None:
    await world.start(lambda rules: rules.replace("[oncall@example.com]", f"[anna@example.com, {BERT}]"))
    world.smtp.refused = {BERT: "550 5.1.1 unknown"}
    await world.post("Down", "critical")
    await until_delivered(world, 3)

    async def completed(*words: str) -> list[str]:
        found = await run(
            world, "", _ALERT_ROUTER_COMPLETE="bash_complete", COMP_WORDS=" ".join(["alert-router", *words]),
            COMP_CWORD=str(len(words)),
        )  # fmt: skip
        return found.output.split()

    assert await completed("deliveries", "resume", "sl") == [
        "plain,slack:C0CRITICAL",
        "plain,slack:C0WARNINGS",
    ]
    assert await completed("status", "dig") == ["plain,digest:daily"]
    assert await completed("show", "Do") == ["plain,Down"]
    (letter,) = await completed("deliveries", "retry", "")
    assert letter.removeprefix("plain,").isdecimal()
    assert await completed("deliveries", "--url", "http://127.0.0.1:1", "resume", "sl") == []


@pytest.mark.parametrize("command", ["status", "alerts", "deliveries", "ledger"])
async def test_a_watched_command_shows_it_again_until_ctrl_c(
    world: World, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    await world.start()
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("router.cli.watching.pause", pause)
    once = (await run(world, command)).output
    found = await run(world, command, "--watch=5")
    assert (found.exit_code, pauses) == (0, [5.0, 5.0])
    assert found.output == f"{once}\n{once}\n"


async def test_credentials_decide_what_commands_may_do(world: World) -> None:
    await world.start(users(vera="view", otto="operate"))
    nobody = await run(world, "status")
    assert (nobody.exit_code, nobody.stdout) == (1, "")
    assert "/api/v1/overview: " in nobody.stderr
    await world.post("Slow", "info")  # a database that is new and empty is a reason for the exit code 1
    vera = ("--user", "vera", "--password", "pw-of-vera")
    assert (await run(world, "status", *vera)).exit_code == 0
    assert (
        await run(world, "status", ALERT_ROUTER_USER="vera", ALERT_ROUTER_PASSWORD="pw-of-vera")
    ).exit_code == 0
    refused = await run(world, "deliveries", *vera, "pause", SLACK)
    assert refused.exit_code == 1
    assert "it needs the role operate, and has view" in refused.stderr
    otto = ("--user", "otto", "--password", "pw-of-otto")
    paused = await run(world, "deliveries", *otto, "pause", SLACK)
    assert paused.output == f"{SLACK}: paused since 12:00:00. Send again: deliveries resume {SLACK}\n"
    assert "paused by otto since 12:00 (0 s)" in (await run(world, "status", *vera)).output
    resumed = await run(world, "deliveries", *otto, "resume", SLACK, "--json")
    assert json.loads(resumed.output)["status"] == "nothing was due to try"
    wrong = await run(world, "status", "--user", "vera", "--password", "wrong")
    assert (wrong.exit_code, wrong.stdout) == (1, "")
