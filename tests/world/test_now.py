"""What an operator asks about alerts: what fires, who was notified, who was not and why, and what is held."""

import io
import json
from typing import Any

import aiohttp
import pytest

from router.model import DAY, HOUR, MINUTE, SECOND
from router.web.pages.page_rendering import short_path
from tests.world.asking import until_delivered, until_failed
from tests.world.bodies import alert, webhook
from tests.world.browsing import ask, read
from tests.world.conftest import World
from tests.world.fake_slack import http as slack_http

TEAM, ONCALL = "slack:C0WARNINGS", "slack:C0CRITICAL"
NIGHT = 10 * HOUR  # after noon


async def send(world: World, *alerts: Any, **fields: Any) -> None:
    """Post a webhook of several alerts."""
    assert world.service is not None
    body = json.dumps(webhook(*alerts, **fields)).encode()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{world.service.url}/webhook", data=io.BytesIO(body)) as answer,
    ):
        assert answer.status == 200


async def note(world: World, name: str, destination: str) -> dict[str, Any]:
    """The note of a destination on the page of the only alert with this name."""
    _, found = await ask(world, "/api/v1/find", q=name)
    assert found["is_only"], found
    _, answer = await ask(world, f"/api/v1/alerts/{found['items'][0]['id']}")
    (said,) = [each for each in answer["destinations"] if each["destination"] == destination]
    return dict(said)


async def test_what_fires_is_listed_with_who_was_notified(world: World) -> None:
    await world.start()
    await world.post("Cert", "info")
    await world.post("Slow", "warning", team="db")
    await world.post("Down", "critical", instance="db-1")
    world.clock.advance(2 * SECOND)
    await until_delivered(world, 5)
    _, page = await ask(world, "/api/v1/alerts")
    assert [(each["title"], each["level"]) for each in page["items"]] == [
        ("Down on db-1", "critical"), ("Slow on eu-1", "warning"), ("Cert on eu-1", "info"),
    ]  # fmt: skip
    assert (page["total"], page["total_is_exact"], page["next"], page["is_partial"]) == (3, True, None, False)
    assert {each["state"] for each in page["items"][0]["destinations"]} == {"notified"}
    _, groups = await ask(world, "/api/v1/alert-groups")
    assert [(each["title"], each["firing"]) for each in groups["items"]] == [
        ("Down on db-1", 1), ("Slow on eu-1", 1), ("Cert on eu-1", 1),
    ]  # fmt: skip
    shown = await read(world, "/")
    assert "Down on db-1" in shown.text
    assert (
        f"notified email:oncall@example.com, {await pagerduty(world)}, {ONCALL} : Notified at" in shown.text
    )
    assert shown.link("Silence of Down on db-1").startswith(
        "http://alertmanager.example/#/silences/new?filter="
    )
    story = await read(world, shown.link("Down on db-1"))
    assert "Who was notified, and who was not" in story.text
    assert f"{ONCALL}: sent, accepted" in story.text


async def pagerduty(world: World) -> str:
    assert world.service is not None
    (key,) = [each for each in (await ask(world, "/status"))[1]["lanes"] if each["channel"] == "pagerduty"]
    return str(key["destination"])


async def test_a_held_alert_says_until_when_and_by_which_line(world: World) -> None:
    await world.start()
    world.clock.advance(NIGHT)
    await world.post("Slow", "warning")
    said = await note(world, "Slow", TEAM)
    assert said["state"] == "held"
    line = next(n for n, text in enumerate(world.rules.splitlines(), 1) if "severity: warning" in text)
    where = f"{world.folder / 'routes.yaml'}:{line}"
    assert said["words"] == f"Not notified: held until Tue 24 Nov 09:00 by rule route.routes[1] ({where})."
    assert said["next"] == "It is sent then if it still fires."
    assert (said["position"], len(said["configuration"])) == (where, 64)
    _, summary = await ask(world, "/api/v1/waiting/summary")
    assert summary["counts"] == [{"fate": "held", "count": 2, "until": said["until"]}]
    shown = await read(world, "/waiting?fate=held&severity=&destination=")
    assert "2 held until Tue 24 Nov 2026 09:00:00 (in 11 h)" in shown.text
    assert (await read(world, "/now")).link("2 held until Tue 24 Nov 2026 09:00:00") == "/waiting?fate=held"
    page = await read(world, "/find?q=Slow")
    assert f"/configuration/{said['configuration']}#" in page.link(f"route.routes[1] ({short_path(where)})")
    assert (
        f"No rule sends it to the other destinations: digest:daily, email:oncall@example.com, {await pagerduty(world)}"
        in page.text
    )


async def test_an_inhibited_alert_names_its_inhibitor(world: World) -> None:
    await world.start()
    await world.post("Down", "critical", instance="db-1")
    await world.post("Down", "warning", instance="db-1")
    _, page = await ask(world, "/api/v1/waiting", fate="inhibited", destination=TEAM)
    (row,) = page["items"]
    said = row["note"]
    assert said["words"] == (
        'Not notified: inhibited by Down{severity="critical"} (inhibit_rules[0]), which fires since Mon 23 Nov 11:00.'
    )
    assert said["next"] == (
        "It is judged again when Down on db-1 (critical) ends, and sent then if it still fires."
    )
    page = await read(world, f"/alerts/{row['id']}")
    inhibitor = await read(world, page.link("The inhibiting alert: Down on db-1 (critical)"))
    assert "critical firing since" in inhibitor.text
    assert "it can mute other alerts" in inhibitor.text


async def test_an_alert_for_the_digest_says_which_one(world: World) -> None:
    await world.start()
    await world.post("Cert", "info")
    said = await note(world, "Cert", "digest:daily")
    assert said["state"] == "digest"
    assert said["words"].startswith("Waits for the digest of Tue 24 Nov 08:00 by rule route.routes[2]")


async def test_a_failed_attempt_says_why_and_when_the_next_is(world: World) -> None:
    await world.start()
    world.slack.fail(slack_http(503))
    await world.post("Down", "critical")
    await until_failed(world, ONCALL)
    await world.at_rest()
    said = await note(world, "Down", ONCALL)
    assert said["state"] == "pending"
    assert said["words"].startswith("Not notified: ")
    assert "503" in said["words"]
    assert said["next"].startswith("It is sent at Mon 23 Nov 12:")
    world.clock.advance(5 * MINUTE)
    await until_delivered(world, 3)
    assert (await note(world, "Down", ONCALL))["state"] == "notified"
    _, found = await ask(world, "/api/v1/find", q="Down")
    _, story = await ask(world, f"/api/v1/alerts/{found['items'][0]['id']}/story")
    attempts = [
        each["words"]
        for each in story["items"]
        if each["event"] == "attempt" and each["destination"] == ONCALL
    ]
    assert attempts == [
        f"{ONCALL}: sent, it failed for now (http 503); it was tried again", f"{ONCALL}: attempt 2, accepted",
    ]  # fmt: skip


async def test_a_broken_destination_says_since_when_and_what_follows(world: World) -> None:
    await world.start()
    world.slack.trouble["C0CRITICAL"] = "is_archived"
    await world.post("Down", "critical")
    await until_broken(world)
    said = await note(world, "Down", ONCALL)
    assert said["state"] == "pending"
    assert f"{ONCALL} is broken since Mon 23 Nov 12:0" in said["words"]
    assert "is_archived" in said["words"]
    assert said["next"] == "It is sent when the destination works again."


async def until_broken(world: World) -> None:
    assert world.service is not None
    while not any(each.get("broken_since") for each in world.service.lanes.describe()):
        await world.service.store.ready()


async def test_an_ended_alert_says_who_knew_and_who_did_not(world: World) -> None:
    await world.start()
    world.clock.advance(NIGHT)
    await world.post("Slow", "warning")
    await world.post("Down", "critical")
    await until_delivered(world, 3)
    await world.post("Slow", "warning", "resolved")
    await world.post("Down", "critical", "resolved")
    await until_delivered(world, 6)
    said = await note(world, "Slow", TEAM)
    assert (said["state"], said["words"]) == ("obsolete", "Not notified: ended before anyone was notified.")
    assert (await note(world, "Down", ONCALL))["state"] == "ended"
    _, page = await ask(world, "/api/v1/alerts")
    assert page["items"] == []
    _, page = await ask(world, "/api/v1/alerts", status="resolved")
    assert {each["name"] for each in page["items"]} == {"Slow", "Down"}
    assert "Nothing fires." in (await read(world, "/")).text


async def test_a_dropped_alert_says_by_which_rule(world: World) -> None:
    await world.start(lambda rules: rules.replace("outside: hold", "outside: drop"))
    world.clock.advance(NIGHT)
    await world.post("Slow", "warning")
    said = await note(world, "Slow", TEAM)
    assert said["state"] == "dropped"
    assert said["words"].startswith("Not notified: dropped by rule route.routes[1] (")


@pytest.mark.parametrize(
    ("query", "by"), [("Slow", "name"), ("f7", "fingerprint"), ('team="db"', "filter"), ("DB-7", "search")]
)
async def test_an_alert_is_found_by_name_fingerprint_label_and_text(
    world: World, query: str, by: str
) -> None:
    await world.start()
    labels = {"alertname": "Slow", "team": "db", "instance": "db-7.example", "severity": "warning"}
    await send(world, alert(labels=labels, fingerprint="f7"), alert("Other"))
    _, found = await ask(world, "/api/v1/find", q=query)
    assert (found["by"], found["is_only"], found["items"][0]["name"]) == (by, True, "Slow")
    page = await read(world, f"/find?q={query}", follow=False)
    assert (page.status, page.address) == (302, f"/alerts/{found['items'][0]['id']}")


async def test_several_alerts_that_are_found_are_listed(world: World) -> None:
    await world.start()
    await send(world, *(alert(labels={"alertname": "Slow", "n": str(n)}) for n in range(3)))
    assert (await read(world, "/find?q=Slow", follow=False)).address == "/alerts?status=any&name=Slow"
    page = await read(world, "/find?q=Slow")
    assert "3 alerts" in page.text
    assert page.fields["name"] == "Slow"
    assert "No alert matches." in (await read(world, "/find?q=nothing+like+it")).text
    assert (await read(world, "/find?q=", follow=False)).address == "/alerts"


async def test_a_list_is_paged_to_its_end_without_repeating(world: World) -> None:
    await world.start()
    for group in range(3):
        several = (
            alert(labels={"alertname": "Down", "n": f"{group}-{n}", "severity": ("critical", "info")[n % 2]})
            for n in range(20)
        )
        await send(world, *several, groupKey=f"g{group}", groupLabels={"alertname": "Down"})
    lists = (
        ("/api/v1/alerts", {"limit": 25}, 60),
        ("/api/v1/waiting", {"limit": 11, "fate": "inhibited"}, 30),
        ("/api/v1/alert-groups", {"limit": 2}, 3),
    )
    for path, parameters, total in lists:
        seen: list[str] = []
        levels: list[str] = []
        cursor: dict[str, str] | None = {}
        while cursor is not None:
            _, page = await ask(world, path, **parameters, **cursor)
            seen += [
                json.dumps([each.get("id"), each.get("member"), each.get("group")]) for each in page["items"]
            ]
            levels += [each["level"] for each in page["items"]]
            assert (page["total"], page["total_is_exact"]) == (total, True)
            cursor = {"cursor": page["next"]} if page["next"] else None
        assert len(set(seen)) == len(seen) == total
        assert levels == sorted(levels)
    first = await read(world, "/now?limit=1")
    assert (
        "60 alerts" in (await read(world, first.link("All 20 alerts"))).text
    )  # the groups have the same labels
    page = await read(world, "/alerts?limit=25&severity=critical")
    rest = await read(world, page.link("Next page"))
    assert "30 alerts" in rest.text
    assert rest.link("First page") == "/alerts?limit=25&severity=critical"


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/api/v1/alerts", {"unknown": "1"}), ("/api/v1/alerts", {"filter": "team"}), ("/api/v1/alerts", {"filter": 'a=~"("'}),
        ("/api/v1/alerts", {"status": "odd"}), ("/api/v1/alerts", {"cursor": "W10"}), ("/api/v1/alerts", {"limit": "0"}),
        ("/api/v1/alerts", {"name": ["a", "b"]}), ("/api/v1/alerts/0", {}), ("/api/v1/alerts/%00", {}), ("/api/v1/alerts/x", {}),
        (f"/api/v1/alerts/{2**63}", {}), ("/api/v1/alerts/1/story", {"before": "x"}), ("/api/v1/waiting", {"fate": "delivered"}),
        ("/api/v1/alert-groups", {"limit": "101"}), ("/api/v1/decisions", {"since": "-1"}), ("/api/v1/find", {}),
        ("/api/v1/waiting/summary", {"x": "1"}), ("/api/v1/alerts", {"filter": '\x00="a"x'}),
    ],
)  # fmt: skip
async def test_a_wrong_parameter_is_refused_with_its_name(
    world: World, path: str, parameters: dict[str, Any]
) -> None:
    await world.start()
    status, problem = await ask(world, path, **parameters)
    assert status == 400
    assert problem["title"] == "Bad Request"
    assert problem["errors"]


async def test_the_cursor_of_another_list_is_refused(world: World) -> None:
    await world.start()
    await send(world, *(alert(labels={"alertname": "Down", "n": str(n)}) for n in range(3)))
    _, page = await ask(world, "/api/v1/alerts", limit=1)
    for path in ("/api/v1/waiting", "/api/v1/alert-groups", "/api/v1/decisions"):
        status, _ = await ask(world, path, cursor=page["next"])
        assert status == 400
    for cursor in ("eyJ9", "////", "W1widVwiLDBd"):
        assert (await ask(world, "/api/v1/alerts", cursor=cursor))[0] == 400


async def test_an_alert_that_is_not_there_has_a_page_that_says_so(world: World) -> None:
    await world.start()
    for path in ("/api/v1/alerts/9", "/api/v1/alerts/9/story"):
        status, problem = await ask(world, path)
        assert (status, problem["detail"]) == (
            404,
            "there is no alert with the number 9; it may have been pruned",
        )
    page = await read(world, "/alerts/9")
    assert page.status == 404
    assert "there is no alert with the number 9" in page.text
    assert (await read(world, "/alerts/..%2Fx")).status == 400


async def test_a_matcher_that_can_not_be_read_is_shown_beside_the_form(world: World) -> None:
    await world.start()
    for path in ("/now", "/alerts"):
        page = await read(world, path + '?filter=team%3D~"("&severity=critical')
        assert page.status == 400
        assert "filter: " in page.text
        assert page.fields["filter"] == 'team=~"("'


async def test_the_state_of_a_filter_is_in_its_form(world: World) -> None:
    await world.start()
    await world.post("Slow", "warning", team="db")
    page = await read(world, '/now?filter=team%3D"db"&severity=warning&destination=slack:C0WARNINGS&search=')
    assert "Slow" in page.text
    assert page.fields["filter"] == 'team="db"'
    assert page.html.count(" selected") == 2
    assert "Nothing that fires matches" in (await read(world, '/now?filter=team%3D"web"')).text


HOSTILE = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "javascript:alert(1)", '" onclick="x', "{{ 7 * 7 }}",
    "../../etc/passwd", "%00", "\u202egnp.exe", "\u2066x\u2069", "a\x00b\x1b[31m", "\ud800", "line\nbreak", "&lt;b&gt;",
    "<!channel> @everyone", "\ufeffx", "'\"><svg/onload=alert(1)>", "data:text/html,x", "x" * 3_000,
)  # fmt: skip
_FORBIDDEN = ("\x00", "\x1b", "\u202e", "\u2066", "\u2069", "\ufeff", "\ud800")


async def test_hostile_texts_are_shown_harmlessly(world: World) -> None:
    await world.start()
    for number, text in enumerate(HOSTILE):
        await send(
            world,
            alert(
                labels={"alertname": text, "severity": "critical", "evil": text, f"n{text[:20]}": "x", "instance": text},
                annotations={"summary": text, "description": text, "runbook_url": text, "dashboard_url": text, text[:20]: text},
                generatorURL=text, fingerprint=text[:100],
            ),
            groupKey=f"{number}{text}", groupLabels={"alertname": text}, externalURL=text, receiver=text,
        )  # fmt: skip
    _, page = await ask(world, "/api/v1/alerts", limit=100)
    assert page["total"] == len(HOSTILE)
    addresses = ["/now?limit=100", "/alerts?limit=100", "/waiting", "/decisions"]
    for found in page["items"]:
        addresses.append(f"/alerts/{found['id']}")
        assert all(each["address"].startswith(("http://", "https://")) for each in found["links"])
        assert (await ask(world, f"/api/v1/alerts/{found['id']}/story"))[0] == 200
    for where in addresses:
        shown = await read(world, where)
        assert shown.status == 200
        assert shown.tags.count("script") == 1
        assert not {"img", "iframe", "object"} & set(shown.tags)
        own = sum(shown.html.count(f'<svg class="{each}"') for each in ("swatch", "bars"))
        assert shown.tags.count("svg") == own, "only the chart's"
        assert not [each for each in _FORBIDDEN if each in shown.html]
        for address in shown.links:
            assert address.startswith(("/", "http://", "https://", "#")), address
    for text in HOSTILE:
        if "\ud800" not in text:
            status, found = await ask(world, "/api/v1/find", q=text[:400])
            assert status == 200 or "\x00" in text


async def test_large_alerts_are_cut_and_it_is_said(world: World) -> None:
    await world.start()
    labels = {"alertname": "Large", "severity": "critical", **{f"label{n:03}": "v" * 50 for n in range(400)}}
    annotations = {"summary": "s" * 100_000, "description": "d" * 1_000_000, "short": "fits"}
    await send(world, alert(labels=labels, annotations=annotations))
    _, page = await ask(world, "/api/v1/alerts", name="Large")
    (row,) = page["items"]
    assert (len(row["labels"]["values"]), row["labels"]["left_out"]) == (50, 352)
    assert row["summary"] == "(its annotations are too large for this list)"
    _, whole = await ask(world, f"/api/v1/alerts/{row['id']}")
    assert (len(whole["labels"]["values"]), whole["labels"]["left_out"]) == (402, 0)
    assert whole["annotations"]["clipped"] == ["description", "summary"]
    assert whole["annotations"]["values"]["short"] == "fits"
    shown = await read(world, f"/alerts/{row['id']}")
    assert len(shown.html) < 200_000
    assert "summary (cut, because it is too long)" in shown.text
    assert "and 352 more labels" in (await read(world, "/alerts")).text


async def test_a_story_is_read_in_parts(world: World) -> None:
    await world.start()
    for _ in range(3):
        for status in ("firing", "resolved"):
            await world.post("Down", "critical", status)
            await world.at_rest()
            world.clock.advance(HOUR)
            await world.at_rest()
    _, found = await ask(world, "/api/v1/find", q="Down")
    path = f"/api/v1/alerts/{found['items'][0]['id']}/story"
    _, whole = await ask(world, path)
    parts: list[Any] = []
    before: dict[str, Any] = {}
    while before is not None:
        _, part = await ask(world, path, limit=2, **before)
        parts = [*part["items"], *parts]
        before = {"before": part["before"]} if part["before"] else None  # type: ignore[assignment]
    assert parts == whole["items"]
    assert whole["before"] is None


async def test_decisions_are_listed_with_their_rules(world: World) -> None:
    await world.start()
    await world.post("Slow", "warning")
    since = world.clock.now()
    world.clock.advance(DAY)
    _, page = await ask(world, "/api/v1/decisions", destination=TEAM, since=since)
    (row,) = page["items"]
    assert (row["title"], row["rule"], row["kind"]) == ("Slow on eu-1", "route.routes[1]", "fired")
    assert (await ask(world, "/api/v1/decisions", since=since + 1))[1]["items"] == []
    assert "route.routes[1]" in (await read(world, "/decisions?fate=&destination=")).text


async def test_an_alert_without_a_destination_says_so(world: World) -> None:
    await world.start(
        lambda rules: rules.replace(
            '  daily:\n    - digest: {to: [digest@example.com], at: "08:00"}\n', "  daily: []\n"
        )
    )
    await world.post("Cert", "info")
    said = await note(world, "Cert", "none")
    assert said["state"] == "dropped"
    assert said["words"].startswith("Not notified: dropped by "), said
