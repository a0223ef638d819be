"""An incident written up: what the ledger knows about a period, as JSON, as a page and as a file."""

from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest

from router.decide import TEST_ALERTNAME
from router.model import HOUR, MINUTE, SECOND
from router.web.api import incident_gathering, incidents
from tests.world.asking import SLACK, until_delivered, until_failed
from tests.world.browsing import call, read
from tests.world.commands import run
from tests.world.conftest import World
from tests.world.fake_alertmanager import FakeAlertmanager
from tests.world.fake_server import http as alertmanager_http
from tests.world.fake_slack import http as slack_http
from tests.world.reconciling import asking
from tests.world.testing_receivers import begin_test, finish

NAME = "Database down | <b>now</b>"


async def played(world: World) -> None:
    """A night: a critical whose Slack message fails once, an info for the digest; a pause; all ends after an hour."""
    await world.start()
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical", team="db")
    await world.post("Slow", "info", team="db")
    await until_failed(world, SLACK)
    await until_delivered(world, 2)
    world.clock.advance(2 * MINUTE)
    await until_delivered(world, 3)
    assert (await call(world, "POST", f"/api/v1/destinations/{quote(SLACK)}/pause"))[0] == 200
    assert (await call(world, "POST", f"/api/v1/destinations/{quote(SLACK)}/resume"))[0] == 200
    world.clock.advance(HOUR)
    await world.post("Down", "critical", "resolved", team="db")
    await until_delivered(world, 6)
    await world.post("Slow", "info", "resolved", team="db")


def address(**parameters: str) -> str:
    given = {"name": NAME, "since": "2h", **parameters}
    return "&".join(f"{name}={quote(value)}" for name, value in given.items())


async def test_the_timeline_has_what_happened_in_order(world: World) -> None:
    await played(world)
    found = await world.get(f"/api/v1/incident?{address()}")
    lines = [(each["what"], each["alerts"], each["words"]) for each in found["timeline"]]
    assert lines[0] == ("alert", ["Down on eu-1"], "fired (critical)")
    whats = [what for what, _, _ in lines]
    assert {"alert", "decision", "notification", "failure", "resolution", "action"} == set(whats)
    assert [each["at"] for each in found["timeline"]] == sorted(each["at"] for each in found["timeline"])
    failure = next(each for each in found["timeline"] if each["what"] == "failure")
    assert (failure["destinations"], failure["words"]) == ([SLACK], "an attempt failed: http 503")
    actions = [words for what, _, words in lines if what == "action"]
    assert [each.split(": ")[1] for each in actions] == [
        f"pause destination {SLACK} (done)", f"resume destination {SLACK} (done)",
    ]  # fmt: skip
    digest = next(words for what, alerts, words in lines if what == "decision" and alerts == ["Slow on eu-1"])
    assert digest == "for the next digest"
    assert (found["owner"], len(found["alerts"]), found["timeline_left_out"]) == ("db", 2, 0)


async def test_a_silence_of_an_alert_of_which_nobody_knows_is_a_line(world: World) -> None:
    async with FakeAlertmanager() as alertmanager:
        world.clock.advance(10 * HOUR)  # 22:00: warnings are held
        alertmanager.has("Disk", "warning")
        alertmanager.has("Down", "critical")
        await world.start(asking(alertmanager))
        await world.post("Disk", "warning")
        await world.post("Down", "critical")
        await until_delivered(world, 3)
        alertmanager.has("Disk", "warning", silenced=True)
        alertmanager.has("Down", "critical", silenced=True)
        world.clock.advance(MINUTE)
        await world.at_rest()
        silenced_at = world.clock.now()
        world.clock.advance(MINUTE)
        await world.at_rest()
        found = await world.get(f"/api/v1/incident?{address()}")
        (line,) = [each for each in found["timeline"] if each["what"] == "silence"]
        assert (line["at"], line["alerts"]) == (silenced_at, ["Disk on eu-1"])
        assert line["words"].endswith("silenced in Alertmanager")
        assert len(line["destinations"]) == 2
        assert "silenced in Alertmanager" in found["markdown"]
        await world.stop()


async def test_the_timeline_has_who_silenced_what_in_alertmanager(world: World) -> None:
    async with FakeAlertmanager() as alertmanager:
        alertmanager.has("Down", "critical")
        await world.start(asking(alertmanager))
        await world.post("Down", "critical")
        await until_delivered(world, 3)
        by_ada = {"starts": "2026-11-23T12:05:00Z", "ends": "2026-11-23T12:20:00Z"}
        alertmanager.silence("ada", "we | know", **by_ada, alertname="Down")
        alertmanager.silence("bob", "another", **by_ada, alertname="Other")
        alertmanager.silence(
            "eve", "long ago", "2026-11-22T12:05:00Z", "2026-11-22T12:20:00Z", alertname="Down"
        )
        alertmanager.silence("kim", "before", "2026-11-23T08:00:00Z", "2026-11-24T12:20:00Z", cluster="eu-1")
        world.clock.advance(HOUR)
        await world.at_rest()
        found = await world.get(f"/api/v1/incident?{address()}")
        silences = [
            (each["alerts"], each["words"]) for each in found["timeline"] if each["what"] == "silence"
        ]
        assert silences == [
            (["Down on eu-1"], "already silenced in Alertmanager by kim for 1 d 4 h: before"),
            (["Down on eu-1"], "silenced in Alertmanager by ada for 15 min: we | know"),
            (["Down on eu-1"], "the silence of ada ended"),
        ]
        assert found["silences_unknown"] == []
        await world.stop()


async def test_an_alertmanager_that_does_not_say_its_silences_is_named(world: World) -> None:
    async with FakeAlertmanager() as alertmanager:
        await world.start(asking(alertmanager))
        await world.post("Down", "critical")
        alertmanager.fail(alertmanager_http(500))
        found = await world.get(f"/api/v1/incident?{address()}")
        assert found["silences_unknown"] == ["prod: http 500"]
        assert "is not known of these sources: prod: http 500." in found["markdown"]
        await world.stop()


async def test_times_to_notify_and_to_resolve_are_those_of_the_ledger(world: World) -> None:
    await played(world)
    found = await world.get(f"/api/v1/incident?{address(filter='alertname=Down')}")
    assert (found["time_to_notify"], found["notified_at"]) == (0, found["reported_at"])
    slack = next(each for each in found["destinations"] if each["destination"] == SLACK)
    assert (slack["notified"], slack["failed"]) == (2, 1)
    assert slack["first_at"] > found["notified_at"], "the other destinations heard before"
    assert found["resolved_at"] == found["alerts"][0]["ended_at"]
    assert found["time_to_resolve"] == found["resolved_at"] - found["began_at"] >= HOUR
    early = await world.get(
        f"/api/v1/incident?{address(filter='alertname=Down', until=str(world.clock.now() - 30 * MINUTE))}"
    )
    assert (early["resolved_at"], early["alerts"][0]["status"]) == (None, "firing")
    assert "not yet: 1 still firing" in early["markdown"]


async def test_equal_failures_are_one_line_with_their_number(world: World) -> None:
    await world.start()
    world.slack.fail(*[slack_http(503)] * 3)
    await world.post("Down", "critical")
    for failed in (1, 2, 3):
        await until_failed(world, SLACK, failed)
        world.clock.advance(5 * MINUTE)
    await until_delivered(world, 3)
    found = await world.get(f"/api/v1/incident?{address()}")
    (words,) = [each["words"] for each in found["timeline"] if each["what"] == "failure"]
    assert words == "an attempt failed: http 503 (3 times within 10 min)"


async def test_the_file_shows_texts_of_others_literally(world: World) -> None:
    await played(world)
    found = await world.get(f"/api/v1/incident?{address(owner='[a](http://b)')}")
    text = found["markdown"]
    assert text.startswith("# Database down \\| \\<b\\>now\\</b\\>\n")
    assert "\\[a\\](http://b)" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    for heading in ("Summary", "Impact", "Timeline", "Notifications", "Alerts", "Causes", "Actions"):
        assert f"\n## {heading}\n" in text
    assert found["file"] == "2026-11-23.md"


async def test_the_page_shows_it_and_offers_the_file(world: World) -> None:
    await played(world)
    page = await read(world, f"/incident?{address()}")
    assert page.status == 200
    assert "fired (critical)" in page.text
    assert "refresh.js" not in page.html, "it would ask Alertmanager again and again"
    (where,) = [link for link in page.links if link.startswith("/api/v1/incident/file")]
    assert world.service is not None
    async with aiohttp.request("GET", world.service.url + where) as answer:
        assert answer.headers["Content-Disposition"] == 'attachment; filename="2026-11-23.md"'
        file = await answer.text()
    assert (
        file.split("\n---\n")[0]
        == (await world.get(f"/api/v1/incident?{address()}"))["markdown"].split("\n---\n")[0]
    )
    form = await read(world, "/incident")
    assert (form.status, "name" in form.fields) == (200, True)
    now = await read(world, "/")
    assert "/incident" in now.links


async def test_the_page_of_an_alert_leads_to_its_incident(world: World) -> None:
    await played(world)
    alert = (await world.get("/api/v1/alerts?status=any&name=Down"))["items"][0]["id"]
    page = await read(world, f"/alerts/{alert}")
    (where,) = [link for link in page.links if link.startswith("/incident?")]
    shown = await read(world, where)
    assert shown.status == 200
    assert "Down on eu-1" in shown.text
    assert "Slow on eu-1" not in shown.text


@pytest.mark.parametrize("wrong", ["since=soon", "since=2h&until=3h", "since=2h&filter=%3D", "until=1h"])
async def test_a_wrong_period_or_filter_is_refused_in_words(world: World, wrong: str) -> None:
    await world.start()
    status, problem = await call(world, "GET", f"/api/v1/incident?name=x&{wrong}")
    assert status == 400
    assert problem["detail"]


async def test_a_large_incident_is_bounded_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.start()
    for number in range(5):
        await world.post(f"Slow{number}", "info")
        world.clock.advance(SECOND)
    monkeypatch.setattr(incident_gathering, "_MAX_ALERTS", 2)
    monkeypatch.setattr(incidents, "_ALERTS_PER_READ", 2)
    monkeypatch.setattr(incident_gathering, "_MAX_ENTRIES", 3)
    found = await world.get(f"/api/v1/incident?{address()}")
    assert (len(found["alerts"]), found["alerts_left_out"]) == (2, 3)
    assert (len(found["timeline"]), found["timeline_left_out"]) == (3, 1)
    assert "3 more alerts are left out" in found["markdown"]
    assert "1 more lines are left out" in found["markdown"]


async def test_the_command_writes_the_file_and_replaces_none(world: World, tmp_path: Path) -> None:
    await played(world)
    folder = tmp_path / "docs" / "incidents"
    given = (NAME, "--since", "2h", "--folder", str(folder))
    first = await run(world, "incident", *given)
    assert (first.exit_code, first.stdout) == (
        0, f"{folder}/2026-11-23.md: 2 alerts, notified after 0 s, resolved after 2 h 2 min, owner db\n",
    )  # fmt: skip
    assert (folder / "2026-11-23.md").read_text().startswith("# Database down")
    second = await run(world, "incident", *given)
    assert second.exit_code == 0
    assert (folder / "2026-11-23-database-down-b-now-b.md").exists(), "a day may have several incidents"
    third = await run(world, "incident", *given)
    assert (third.exit_code, "exists; give --force" in third.stderr) == (1, True)
    assert (await run(world, "incident", *given, "--force")).exit_code == 0
    shown = await run(world, "incident", *given, "--output", "-")
    assert shown.stdout.startswith("# Database down")
    empty = await run(world, "incident", *given, "alertname=Nothing")
    assert (empty.exit_code, "nothing is written" in empty.stderr) == (1, True)


async def test_what_happened_after_the_period_takes_no_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    for number in range(3):
        await world.post(f"Early{number}", "info")
    until = world.clock.now() + MINUTE
    world.clock.advance(HOUR)
    for number in range(5):
        await world.post(f"Late{number}", "info")
    for name, value in (("_ALERTS_PER_READ", 2), ("_READS_OF_ALERTS", 6)):
        monkeypatch.setattr(incidents, name, value)
    monkeypatch.setattr(incident_gathering, "_MAX_ALERTS", 2)
    found = await world.get(f"/api/v1/incident?{address(until=str(until))}")
    assert [each["title"] for each in found["alerts"]] == ["Early2 on eu-1", "Early1 on eu-1"]
    assert (found["alerts_left_out"], found["is_partial"]) == (1, False)


async def test_an_alert_with_a_long_story_since_then_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    await world.post("Slow", "info")
    until = world.clock.now() + MINUTE
    for _ in range(4):
        world.clock.advance(HOUR)
        await world.post("Slow", "info")
    monkeypatch.setattr(incidents, "_CHANGES_PER_READ", 1)
    monkeypatch.setattr(incidents, "_READS_OF_A_STORY", 2)
    found = await world.get(f"/api/v1/incident?{address(since='6h', until=str(until))}")
    assert [each["title"] for each in found["alerts"]] == ["Slow on eu-1"]
    assert found["timeline"][0]["words"] == "fired (info)"


async def test_the_search_of_a_huge_history_ends_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.start()
    for number in range(6):
        await world.post(f"Slow{number}", "info")
    for name, value in (("_ALERTS_PER_READ", 1), ("_READS_OF_ALERTS", 4)):
        monkeypatch.setattr(incidents, name, value)
    found = await world.get(f"/api/v1/incident?{address()}")
    assert (found["is_partial"], 0 < len(found["alerts"]) < 6) == (True, True)
    assert "there may be more alerts than counted" in found["markdown"]


async def test_a_test_of_a_receiver_is_no_incident(world: World) -> None:
    await world.start()
    await finish(world, await begin_test(world, "oncall"))
    await world.post(TEST_ALERTNAME, "info", receiver="oncall")
    found = await world.get(f"/api/v1/incident?{address()}")
    assert [(each["title"], each["level"]) for each in found["alerts"]] == [
        (f"{TEST_ALERTNAME} on eu-1", "info")
    ]
