"""The rules in force: the tree with its counts, inhibit rules, schedules, the check of the files, and the page of all that."""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from router import file_check
from router.model import DAY, HOUR, Millis
from router.rules.check import Checked, check_file
from router.store import Search
from router.store.schema import alerts, conversations, members
from router.web.api.cursors import encode_cursor
from tests.world.asking import until_delivered
from tests.world.conftest import MONDAY_NOON, World

HOSTILE = ("<script>alert(1)</script>", "\u202egnp.exe\x1b[2J", "x" * 5_000, "javascript:alert(1)", "{{7*7}}")


async def answer(world: World, path: str, **parameters: Any) -> tuple[int, str]:
    assert world.service is not None
    address = f"{world.service.url}{path}"
    async with aiohttp.ClientSession() as session, session.get(address, params=parameters) as found:
        return found.status, await found.text()


async def got(world: World, path: str, **parameters: Any) -> Any:
    status, text = await answer(world, path, **parameters)
    assert status == 200, text
    return json.loads(text)


async def stored(world: World) -> dict[str, Counter[str]]:
    """Return how many firing members the store has, by rule and destination."""
    assert world.service is not None
    query = (
        sa.select(members.c.rule, conversations.c.destination)
        .join(conversations, conversations.c.id == members.c.conversation_id)
        .join(alerts, alerts.c.id == members.c.alert_id)
        .where(alerts.c.status == "firing", members.c.open == 1, members.c.status == "firing")
    )
    rows = await world.service.store.database.read(lambda connection: connection.execute(query).all())
    found: dict[str, Counter[str]] = {}
    for rule, destination in rows:
        found.setdefault(rule, Counter())[destination] += 1
    return found


async def counted(world: World) -> dict[str, Counter[str]]:
    """Return the same by the API."""
    found = {}
    for route in (await got(world, "/api/v1/routes"))["items"]:
        at = {each["key"]: sum(each["fates"].values()) for each in route["destinations"] if each["fates"]}
        if at:
            found[route["path"]] = Counter(at)
            assert sum(at.values()) == sum(route["fates"].values())
    return found


async def test_the_counts_of_the_tree_are_those_of_the_store(world: World) -> None:
    world.clock.advance(10 * HOUR)  # the office is closed
    await world.start()
    for number in range(3):
        await world.post(f"Down{number}", "critical")
        await world.post(f"Slow{number}", "warning")
        await world.post(f"Full{number}", "info", mountpoint=HOSTILE[number])
        assert await counted(world) == await stored(world)
    await world.post("Down0", "warning")  # muted by the critical one
    await world.post("Down1", "critical", "resolved")
    await until_delivered(world, 9)
    await world.at_rest()
    assert await counted(world) == await stored(world)
    critical, warning, info = (await got(world, "/api/v1/routes"))["items"][1:]
    assert (critical["firing"], critical["fates"]) == (2, {"delivered": 6})
    assert (warning["firing"], warning["fates"]) == (4, {"held": 6, "inhibited": 2})
    assert (info["firing"], info["fates"]) == (3, {"digest": 3})
    (rule,) = (await got(world, "/api/v1/inhibit-rules"))["items"]
    assert (rule["name"], rule["muted"], rule["equal"]) == ("inhibit_rules[0]", 1, ["alertname", "cluster"])


async def test_the_tree_says_where_each_route_stands_and_leads(world: World) -> None:
    await world.start()
    tree = await got(world, "/api/v1/routes")
    root, critical, warning, info = tree["items"]
    lines = (world.folder / "routes.yaml").read_text().splitlines()
    assert "severity: critical" in lines[int(critical["position"].rpartition(":")[2]) - 1]
    assert (root["parent"], root["matchers"], root["hours"]) == (None, [], None)
    assert (critical["parent"], critical["severity"], critical["continue"]) == ("route", "critical", False)
    assert [each["key"].partition(":")[0] for each in critical["destinations"]] == [
        "pagerduty",
        "slack",
        "email",
    ]
    assert warning["hours"] == {
        "active": ["office"], "mute": [], "open": True, "why": "", "outside": "hold", "outside_digest": None,
    }  # fmt: skip
    assert info["destinations"] == [
        {"key": "digest:daily", "is_digest": True, "when_closed": False, "fates": {}}
    ]
    assert (tree["total"], tree["in_force"]["differs"], tree["in_force"]["applied"]) == (4, False, True)


async def test_rules_outside_the_tree_are_counted_as_well(world: World) -> None:
    await world.start()
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    await world.at_rest()
    status, _ = await world.reload(
        lambda rules: rules.replace("    - {severity: critical, receiver: oncall}\n", "")
    )
    assert status == 200
    await world.at_rest()
    tree = await got(world, "/api/v1/routes")
    assert len(tree["items"]) == 3
    former = {(each["rule"], each["destination"]) for each in tree["others"]}
    assert former == {("route.routes[0]", key) for key in (await stored(world))["route.routes[0]"]}
    assert [each["fates"] for each in tree["others"]] == [{"delivered": 1}] * 3
    assert await counted(world) == {"route": (await stored(world))["route"]}


def many_routes(rules: str) -> str:
    several = "".join(
        f"    - {{matchers: ['team=\"{number}\"'], receiver: daily}}\n" for number in range(450)
    )
    return rules.replace("  routes:\n", f"  routes:\n{several}")


async def test_a_large_tree_comes_in_pages(world: World) -> None:
    await world.start(many_routes)
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await got(world, "/api/v1/routes", limit=200, **cursor)
        assert page["total"] == 454
        found += [each["path"] for each in page["items"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert found == ["route", *(f"route.routes[{number}]" for number in range(453))]
    status, html = await answer(world, "/routes", cursor=cursor["cursor"], labels="team=440")
    assert (status, "route.routes[440]" in html, "440 more routes refuse it" in html) == (200, True, True)


@pytest.mark.parametrize("path", ["routes", "inhibit-rules", "schedules", "checks"])
async def test_the_lists_refuse_what_they_do_not_know(world: World, path: str) -> None:
    await world.start()
    for wrong in ({"limit": "0"}, {"colour": "1"}, {"cursor": "x"}, {"cursor": encode_cursor((-1,)) or ""},
                  {"cursor": encode_cursor(("a", 1)) or ""}, {"cursor": encode_cursor((2**40,)) or ""}):  # fmt: skip
        status, _ = await answer(world, f"/api/v1/{path}", **wrong)
        assert (wrong, status) == (wrong, 400)


async def test_schedules_say_what_is_open_and_when_that_changes(world: World) -> None:
    await world.start()
    (office,) = (await got(world, "/api/v1/schedules"))["items"]
    assert (office["open"], office["changes_at"]) == (True, MONDAY_NOON + 6 * HOUR)
    assert (len(office["days"]), office["days"][0]["open_local"]) == (14, [["09:00", "18:00"]])
    world.clock.advance(4 * DAY + 7 * HOUR)  # Friday, 19:00
    (office,) = (await got(world, "/api/v1/schedules", days=1))["items"]
    assert (office["open"], office["changes_at"]) == (False, None)
    (office,) = (await got(world, "/api/v1/schedules", days=7))["items"]
    assert office["changes_at"] == MONDAY_NOON + 7 * DAY - 3 * HOUR


async def test_the_check_is_of_the_files_on_the_disk(world: World) -> None:
    await world.start()
    assert (await got(world, "/api/v1/checks"))["items"] == []
    world.write(lambda rules: rules.replace("equal: [alertname, cluster]", "equal: []") + "\n  - name: all\n"
                '    source_matchers: [\'a=~".*"\']\n    target_matchers: [\'a=~".*"\']\n')  # fmt: skip
    checked = await got(world, "/api/v1/checks")
    assert {each["severity"] for each in checked["items"]} == {"warning"}
    assert checked["in_force"]["differs"]
    world.write(lambda rules: rules.replace("receiver: team", "receiver: taem"))
    checked = await got(world, "/api/v1/checks")
    assert "did you mean 'team'?" in checked["items"][0]["todo"]
    _, html = await answer(world, "/routes")
    assert "did you mean" in html
    assert "was changed, and is not in force until it is reloaded" in html
    world.write()
    checked = await got(world, "/api/v1/checks")
    assert (checked["items"], checked["in_force"]["differs"]) == ([], False)


async def test_the_page_does_not_wait_for_a_long_check(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on, runs = Event(), 0

    def slow(path: Path, environ: Mapping[str, str], now: Millis) -> Checked:
        nonlocal runs
        runs += 1
        goes_on.wait()
        return check_file(path, environ, now)

    monkeypatch.setattr(file_check, "check_file", slow)
    await world.start()
    for _ in range(2):
        _, html = await answer(world, "/routes")
        assert "The check is running." in html
    goes_on.set()
    assert (await got(world, "/api/v1/checks"))["items"] == []
    _, html = await answer(world, "/routes")
    assert ("It finds nothing wrong." in html, runs) == (True, 1)


async def test_a_broken_included_file_is_shown_with_its_state(world: World) -> None:
    (world.folder / "teams").mkdir()
    file = world.folder / "teams" / "payments.yaml"
    file.write_text("receivers: {oncall: [{email: {to: [pay@example.com]}}]}\nroute: {receiver: oncall}\n")

    def with_team(rules: str) -> str:
        mounted = "  routes:\n    - {matchers: ['team=\"payments\"'], mount: payments}\n"
        return rules.replace("\ntimezone", "\ninclude: teams/*.yaml\ntimezone").replace(
            "  routes:\n", mounted
        )

    await world.start(with_team)
    tree = await got(world, "/api/v1/routes")
    (mounted,) = [each for each in tree["items"] if each["fragment"]]
    assert (mounted["fragment"], mounted["path"], tree["in_force"]["differs"]) == (
        "payments",
        "payments: route",
        False,
    )
    another = world.folder / "teams" / "new.yaml"
    another.write_text("route: {}\n")
    assert (await got(world, "/api/v1/routes"))["in_force"]["differs"]
    another.unlink()
    assert not (await got(world, "/api/v1/routes"))["in_force"]["differs"]
    file.write_text("route: {receiver: <b>nobody</b>}\n")
    assert (await got(world, "/api/v1/routes"))["in_force"]["differs"]
    assert world.service is not None
    await world.service.reload()
    checked = await got(world, "/api/v1/checks")
    (fragment,) = checked["fragments"]
    assert (fragment["state"], checked["items"][0]["severity"]) == ("last good version", "error")
    assert "there is no receiver" in fragment["problems"][0]
    _, html = await answer(world, "/routes")
    assert "last good version" in html
    assert "<b>nobody" not in html


async def test_an_alert_of_the_store_is_explained_on_the_page(world: World) -> None:
    await world.start()
    await world.post("Down", "critical", note='a "quoted" one')
    assert world.service is not None
    ((alert,), _) = await world.service.store.pages.known_alerts(Search(), 1)
    status, html = await answer(world, "/routes", fingerprint=alert.alert.fingerprint)
    assert (status, "✓ takes it" in html, "Notified so far" in html) == (200, True, True)
    assert "note=&#34;a \\&#34;quoted\\&#34; one&#34;" in html


async def test_alerts_with_one_fingerprint_are_distinguished_by_source(world: World) -> None:
    await world.start(
        lambda rules: rules.replace("\nchannels", "\nsources: [{name: eu}, {name: us}]\nchannels")
    )
    assert world.service is not None
    body = {"alerts": [{"status": "firing", "labels": {"alertname": "Down"}, "fingerprint": "f00d"}]}
    async with aiohttp.ClientSession() as session:
        for source in ("eu", "us"):
            async with session.post(f"{world.service.url}/webhook/{source}", json=body) as found:
                assert found.status == 200
    _, html = await answer(world, "/routes", fingerprint="f00d")
    assert "2 alerts have this fingerprint" in html
    assert 'href="/routes?fingerprint=f00d&amp;source=eu"' in html
    _, html = await answer(world, "/routes", fingerprint="f00d", source="eu")
    assert "alerts have this fingerprint" not in html


async def test_the_page_shows_hostile_labels_harmlessly(world: World) -> None:
    await world.start()
    for value in HOSTILE:
        labels = f"severity=warning\nteam={json.dumps(value, ensure_ascii=False)}"
        status, html = await answer(world, "/routes", labels=labels, at="2026-11-20 22:41")
        assert (status, "✓ takes it" in html) == (200, True)
        assert "<script>alert" not in html
        assert 'href="javascript' not in html
        assert "\u202e" not in html
        assert "\x1b" not in html
        assert "49</" not in html


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"labels": "severity!=critical"}, "is not a label; an alert has a value"),
        ({"labels": "a=b", "at": "soon"}, "&#39;soon&#39; is not a time"),
        ({"fingerprint": "beef"}, "the store has no alert of the fingerprint beef"),
        ({"labels": "=<b>"}, "&lt;b&gt;"),
    ],
)
async def test_the_form_says_what_is_wrong_with_it(world: World, query: dict[str, str], words: str) -> None:
    await world.start()
    status, html = await answer(world, "/routes", **query)
    assert (status, words in html) == (400, True)
    assert (await answer(world, "/routes", lables="a=b"))[0] == 400
    assert (await answer(world, "/routes", labels="x" * 30_000))[0] == 400
