"""PagerDuty, over real sockets against a PagerDuty that refuses what the vendor refuses."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from pydantic import ValidationError

from router.channels.pagerduty import PagerDutyChannel, PagerDutyOptions, PagerDutySettings
from router.channels.pagerduty_event import smaller_events
from router.model import SECOND, Alert, Broken, Conversation, Delivered, Outcome, Rejected, Retry
from router.render import Templates
from tests.unit.channels.drawings import drawn
from tests.unit.channels.talk import (
    LEVELS,
    TEMPLATES,
    TOKEN,
    alert,
    conversation,
    conversations,
    destination,
)
from tests.world.fake_pagerduty import CLOSE, HANG, KEY, LOST_ANSWER, FakePagerDuty, Page, http, problems

PLACE = destination("pagerduty", PagerDutyOptions.model_validate({"routing_key": KEY}))


@pytest.fixture
async def pagerduty() -> AsyncIterator[FakePagerDuty]:
    async with FakePagerDuty() as fake:
        yield fake


@asynccontextmanager
async def channel_to(url: str, patience: float = 10) -> AsyncIterator[PagerDutyChannel]:
    channel = PagerDutyChannel(PagerDutySettings(events_url=url), timeout=patience)
    try:
        yield channel
    finally:
        await channel.close()


@pytest.fixture
async def channel(pagerduty: FakePagerDuty) -> AsyncIterator[PagerDutyChannel]:
    async with channel_to(pagerduty.url) as channel:
        yield channel


async def notify(channel: PagerDutyChannel, talk: Conversation, place: Any = PLACE) -> Outcome:
    return await channel.send(place, talk, channel.render(place, talk, TEMPLATES))


def render(talk: Conversation, templates: Templates = TEMPLATES) -> Any:
    channel = PagerDutyChannel(PagerDutySettings())
    message = channel.render(PLACE, talk, templates)
    assert message.body == json.loads(json.dumps(message.body))
    return message


def body(talk: Conversation) -> Any:
    return render(talk).body


async def test_a_firing_group_opens_one_incident_and_its_end_closes_it(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    first = await notify(channel, conversation())
    assert first == Delivered({"dedup_key": TOKEN})
    pagerduty.expect(Page("HighLatency (cluster=eu-1): p99 is over 2 s", open=True, severity="critical"))
    assert isinstance(first, Delivered)

    more = conversation(alert(), alert(instance="b"), version=2, remote=first.remote)
    assert await notify(channel, more) == first
    pagerduty.expect(
        Page("HighLatency \N{MULTIPLICATION SIGN} 2: b (cluster=eu-1): p99 is over 2 s", open=True)
    )

    over = conversation(alert(resolved=True), version=3, remote=first.remote)
    assert await notify(channel, over) == first
    pagerduty.expect(Page("HighLatency \N{MULTIPLICATION SIGN} 2", open=False))
    assert [event.action for event in pagerduty.events] == ["trigger", "trigger", "resolve"]


async def test_a_group_that_fires_again_opens_another_incident(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    await notify(channel, conversation())
    await notify(channel, conversation(alert(resolved=True), version=2))
    await notify(channel, conversation(episode=2, version=3))
    pagerduty.expect(Page("HighLatency", open=False), Page("HighLatency", open=True))


async def test_nothing_is_resolved_while_alertmanager_hides_alerts(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    await notify(channel, conversation())
    hidden = conversation(alert(resolved=True), version=2, truncated=3)
    await notify(channel, hidden)
    pagerduty.expect(Page("3 more not shown by Alertmanager", open=True))
    assert body(hidden)["payload"]["custom_details"]["counts"]["not_shown_by_alertmanager"] == 3


async def test_a_resolve_without_a_trigger_opens_nothing(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    assert isinstance(await notify(channel, conversation(alert(resolved=True))), Delivered)
    pagerduty.expect()


def test_the_event_says_where_what_since_when_and_where_to_look() -> None:
    notes = {
        "summary": "slow",
        "runbook_url": "https://runbooks.example/slow",
        "dashboard_url": "javascript:alert(1)",
    }
    event = body(conversation(alert(instance="web-1", service="checkout", annotations=notes)))
    payload = event["payload"]
    assert payload["summary"] == "HighLatency on web-1 (cluster=eu-1): slow"
    assert (payload["source"], payload["component"]) == ("web-1", "checkout")
    assert (payload["group"], payload["class"]) == ("cluster=eu-1", "HighLatency")
    assert payload["timestamp"] == "2026-11-21T07:00:00.000+00:00"
    details = payload["custom_details"]
    assert details["counts"] == {"firing": 1, "resolved": 0}
    assert details["alerts"][0]["labels"]["instance"] == "web-1"
    assert details["alerts"][0]["annotations"] == notes
    assert [link["text"] for link in event["links"]] == ["Runbook", "Source", "Silence"]
    assert (event["client"], event["client_url"]) == ("alert-router", "https://alertmanager.example")


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [
        (LEVELS, ["critical", "warning", "info"]),
        (("page", "ticket", "log"), ["critical", "warning", "info"]),
        (("p1", "p2", "p3", "p4"), ["critical", "error", "warning", "info"]),
        (("info", "critical"), ["info", "critical"]),
        (("page",), ["critical"]),
        (("p1", "p2"), ["critical", "info"]),
    ],
)
def test_a_level_becomes_pagerdutys_word_or_the_word_for_its_rank(
    levels: tuple[str, ...], wanted: list[str]
) -> None:
    templates = Templates(levels=levels, timezone="UTC")
    talks = [conversation(alert(severity=level)) for level in levels]
    assert [render(talk, templates).body["payload"]["severity"] for talk in talks] == wanted


def test_the_details_are_rows_for_a_person_and_then_json() -> None:
    """One row for each alert, annotations by their names, what all share once."""
    shared = {"description": "No answer for 5 min.\nSee the console.", "impact": "orders stop"}
    alerts = [
        alert(instance=f"db-{number}", resolved=number == 3, annotations={**shared, "summary": f"db-{number} is away", "value": value})
        for number, value in ((1, "7"), (2, "7"), (3, "8"))
    ]  # fmt: skip
    details = body(conversation(*alerts, truncated=2))["payload"]["custom_details"]
    assert {name: text for name, text in details.items() if isinstance(text, str)} == {
        "status": "2 firing · 1 resolved · 2 more not shown by Alertmanager (max_alerts)",
        "firing": "🔴 db-1 · since 08:00 (1 h) · db-1 is away\n🔴 db-2 · since 08:00 (1 h) · db-2 is away",
        "resolved": "✅ db-3 · after 59 min, at 08:59 · db-3 is away",
        "summary": "No answer for 5 min.",
        "description": "See the console.",
        "impact": "orders stop",
        "value": "db-1, db-2: 7\ndb-3: 8",
        "labels": "alertname=HighLatency, cluster=eu-1, severity=critical",
    }
    assert list(details) == [
        "status", "firing", "resolved", "summary", "description", "impact", "value", "labels", "counts", "alerts",
    ]  # fmt: skip


def test_an_annotation_never_replaces_a_detail_of_the_router() -> None:
    notes = {
        "firing": "a",
        "alerts": "b",
        "counts": "c",
        "left out": "d",
        "links": "e",
        "labels": "f",
        "status": "g",
    }
    details = body(conversation(alert(annotations=notes)))["payload"]["custom_details"]
    assert {name: details[f"annotation {name}"] for name in notes} == notes
    assert details["status"] == "1 firing"
    assert details["firing"] == "🔴 HighLatency · since 08:00 (1 h)"


def test_alerts_with_links_of_their_own_have_them_in_the_event() -> None:
    several = [
        replace(alert(instance=f"n{number}"), generator_url=f"https://prometheus.example/{number}")
        for number in range(30)
    ]
    event = body(conversation(*several))
    assert [link["text"] for link in event["links"]] == [
        "Source", "Silence these 30", *(f"Source: n{number}" for number in range(1, 21)),
    ]  # fmt: skip
    details = event["payload"]["custom_details"]
    assert details["links"] == "9 more links of single alerts are in the list of alerts"
    assert [each["source"] for each in details["alerts"][1:]] == [each.generator_url for each in several[1:]]


def grafana(number: int, **annotations: str) -> Alert:
    """Return an alert of Grafana that has three links of its own, and a runbook."""
    links = {name: f"https://grafana.example/{name}/{number}/" for name in ("dashboard", "panel")}
    notes = {"summary": "s", "runbook_url": f"https://runbooks.example/{number}/", **annotations}
    source = f"https://grafana.example/alerting/{number}/"
    return replace(alert(instance=f"n{number}", annotations=notes), generator_url=source, links=links)


def test_links_of_single_alerts_without_room_are_in_the_list_of_alerts() -> None:
    several = [grafana(number) for number in range(30)]
    event = body(conversation(*several))
    details = event["payload"]["custom_details"]
    assert details["links"] == "96 more links of single alerts are in the list of alerts"
    linked, listed = {each["href"] for each in event["links"]}, json.dumps(details["alerts"])
    addresses = {
        address
        for each in several
        for address in (each.generator_url, each.annotations["runbook_url"], *each.links.values())
    }
    assert len(addresses - linked) == 96
    assert [address for address in addresses - linked if address not in listed] == []
    assert details["alerts"][7]["links"] == several[7].links


@pytest.mark.parametrize("label_bytes", [0, 900], ids=["without annotations", "without a list"])
def test_links_that_the_event_has_nowhere_are_said_to_be_left_out(label_bytes: int) -> None:
    notes = {"description": "d" * 500, "impact": "i" * 900}
    several = [
        replace(each, labels={**each.labels, "long": f"{number}{'x' * label_bytes}"})
        for number in range(600)
        for each in [grafana(number, **{name: f"{number}{text}" for name, text in notes.items()})]
    ]
    event = body(conversation(*several))
    details = event["payload"]["custom_details"]
    assert ("alerts" in details) is (label_bytes == 0)
    assert details["links"] == "2376 more links of single alerts are left out"
    assert "https://grafana.example/panel/599/" not in json.dumps(event)


def test_a_smaller_event_does_not_point_to_a_list_that_it_lacks() -> None:
    readable, _ = smaller_events(body(conversation(*(grafana(number) for number in range(30)))))
    details = readable["payload"]["custom_details"]
    assert "alerts" not in details
    assert details["links"].endswith("96 more links of single alerts are left out")


def test_a_text_of_many_alerts_counts_what_it_leaves_out() -> None:
    """The count is the same as that of the whole text."""
    notes = [f"{number:03} {'d' * 400}" for number in range(200)]
    several = [
        alert(instance=f"i{number}", annotations={"summary": "s", "description": note})
        for number, note in enumerate(notes)
    ]
    text = body(conversation(*several))["payload"]["custom_details"]["description"]
    whole = "\n".join(f"i{number}: {note}" for number, note in enumerate(notes))
    assert text == f"{whole[:20_000]}… ({len(whole) - 20_000} more characters)"


def test_an_address_that_no_browser_opens_is_no_link() -> None:
    notes = {
        "summary": "s",
        "runbook_url": "http://:1",
        "dashboard_url": "http://host:99999/",
        "runbook": r"http://a\b",
    }
    for address in ("http://:9090/graph?g0.expr=up", "http://host:99999/x", r"https://host\x"):
        about = conversation(replace(alert(annotations=notes), generator_url=address), external_url=address)
        event = body(about)
        assert (event["links"], event["client_url"]) == ([], "")
        details = event["payload"]["custom_details"]
        assert details["runbook_url"] == "http://:1"
        assert details["alerts"][0]["source"] == address


def test_the_summary_names_what_fires_and_not_what_ended() -> None:
    """Even if alerts of other names were there first, and are listed first."""
    ended = [
        alert(alertname=name, severity="info", instance="1", resolved=True) for name in ("AAA", "BBB", "CCC")
    ]
    down = alert(alertname="ZZZdown", instance="9", annotations={"summary": "9 does not answer"})
    summary = body(conversation(*ended, down, group_labels={"cluster": "eu-1"}))["payload"]["summary"]
    assert summary == "ZZZdown on 9 (cluster=eu-1; 3 resolved)"


def test_the_summary_says_what_and_where_without_a_summary_annotation() -> None:
    notes = {"description": "db1 unreachable for 5m"}
    down = alert(alertname="HostDown", instance="db1:9100", annotations=notes)
    event = body(conversation(down, group_labels={"alertname": "HostDown"}))
    assert event["payload"]["summary"] == "HostDown on db1:9100: db1 unreachable for 5m"
    many = [alert(alertname="HostDown", instance=f"db{number}:9100", annotations={}) for number in range(400)]
    summary = body(conversation(*many, group_labels={}))["payload"]["summary"]
    assert summary[:60].startswith("HostDown \N{MULTIPLICATION SIGN} 400: db0:9100, db1:9100, db2:9100, …")


@pytest.mark.parametrize(
    ("texts", "left_out"),
    [
        ({"description": 900}, ["600 descriptions"]),
        ({"message": 900}, ["600 descriptions"]),
        ({"impact": 900}, ["0 descriptions", "600 other annotations"]),
        ({"description": 900, "impact": 900}, ["600 descriptions", "600 other annotations"]),
    ],
)
def test_over_512_kb_annotations_are_left_out_before_labels(
    texts: dict[str, int], left_out: list[str]
) -> None:
    big = [
        alert(
            instance=str(number), annotations={name: f"{number}{'x' * size}" for name, size in texts.items()}
        )
        for number in range(600)
    ]
    event = body(conversation(*big))
    details = event["payload"]["custom_details"]
    wanted = ", ".join(each for each in left_out if not each.startswith("0 "))
    assert details["left out"] == f"{wanted}: the event would be larger than 512 KB"
    assert [each["labels"]["instance"] for each in details["alerts"]] == list(map(str, range(600)))
    assert len(details["firing"].splitlines()) == 600
    assert problems({**event, "routing_key": KEY}, len(json.dumps(event)), {KEY}) == []


def test_over_512_kb_what_all_alerts_share_stays() -> None:
    notes = {"description": "d" * 900, "impact": "orders stop"}
    details = body(conversation(*[alert(instance=str(each), annotations=notes) for each in range(600)]))[
        "payload"
    ]["custom_details"]
    assert details["summary"] == "d" * 900  # the description, as there is no other summary
    assert details["impact"] == "orders stop"
    assert "left out" not in details
    assert all("description" not in each["annotations"] for each in details["alerts"])


def test_over_512_kb_of_labels_every_alert_keeps_its_row() -> None:
    big = [alert(instance=str(number), rack=f"{number} {'x' * 900}") for number in range(600)]
    event = body(conversation(*big))
    details = event["payload"]["custom_details"]
    assert (
        details["left out"] == "600 alerts as JSON, with their labels: the event would be larger than 512 KB"
    )
    assert len(details["firing"].splitlines()) == 600
    assert problems({**event, "routing_key": KEY}, len(json.dumps(event)), {KEY}) == []


@pytest.mark.parametrize(
    ("number", "letters"), [(1, 20), (50, 20), (1_000, 20), (1, 100_000), (50, 100_000), (3_000, 400)]
)
def test_every_alert_has_a_row_in_the_event_or_is_counted(number: int, letters: int) -> None:
    alerts = [
        alert(instance=str(each), resolved=each % 2 == 1, annotations={"summary": f"{each}{'s' * letters}"})
        for each in range(number)
    ]
    event = body(conversation(*alerts))
    details = event["payload"]["custom_details"]
    assert details["counts"] == {"firing": number - number // 2, "resolved": number // 2}
    for status, count in details["counts"].items():
        rows = details.get(status, "").splitlines()
        cut = re.search(rf"(\d+) lines of {status}\b", details.get("left out", ""))
        assert len(rows) + int(cut[1] if cut else 0) == count
    assert "left out" in details or len(details["alerts"]) == number
    assert ("left out" in details) is (number * letters > 500_000)
    assert problems({**event, "routing_key": KEY}, len(json.dumps(event)), {KEY}) == []


def test_no_single_label_can_make_the_event_too_large() -> None:
    huge = "x" * 600_000
    notes = {"summary": huge, "runbook_url": f"https://runbooks.example/{huge}"}
    event = body(
        conversation(
            alert(alertname=huge, annotations=notes, instance=huge, service=huge, zone=huge),
            group_labels={"cluster": huge},
            external_url=f"https://alertmanager.example/{huge}",
        )
    )
    event = {name: value for name, value in event.items() if value}
    assert problems({**event, "routing_key": KEY}, len(json.dumps(event)), {KEY}) == []
    assert event["payload"]["custom_details"]["links"] == "too long to show: Runbook, Alertmanager"


@settings(deadline=None)
@given(conversations)
def test_pagerduty_takes_the_events_of_any_alerts(talk: Conversation) -> None:
    """The whole event and the smaller ones, which are sent if it is refused."""
    whole = body(talk)
    for each in [whole, *(smaller_events(whole) if "payload" in whole else [])]:
        event = {name: value for name, value in each.items() if value}
        assert problems({**event, "routing_key": KEY}, len(json.dumps(event)), {KEY}) == []


def test_a_template_that_fails_leaves_a_plain_page(tmp_path: Any) -> None:
    (tmp_path / "pagerduty.j2").write_text("{% block summary %}{{ nonsense }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    message = render(conversation(), broken)
    assert message.fallback
    assert message.body["payload"]["summary"] == "HighLatency (cluster=eu-1)"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (http(500), Retry("http 500", ambiguous=True)),
        (http(503, "<html>"), Retry("http 503", ambiguous=True)),
        (http(404), Broken("http 404: nothing at this address")),
        (http(403), Broken("http 403: forbidden")),
        (http(410), Broken("http 410: gone")),
        (http(304), Broken("http 304: redirect, not followed")),
        (http(418), Retry("http 418")),
        (http(407), Retry("http 407")),
        (http(401), Broken("http 401: credentials refused")),
        (http(400, '{"errors":["Length of \'routing_key\' is\\nincorrect"]}'), Broken("http 400: routing key refused")),
        (http(400, '{"message":"Invalid Routing Key","errors":null}'), Broken("http 400: routing key refused")),
        (http(200, "<html>please log in</html>"), Retry("bad answer", ambiguous=True)),
        (http(202, "[]"), Retry("bad answer", ambiguous=True)),
        (http(429), Retry("http 429", pause=True)),
        (http(429, Retry_After="7"), Retry("http 429", after=7 * SECOND, pause=True)),
        (http(429, Retry_After="Sat, 21 Nov 2026 08:00:00 GMT"), Retry("http 429", after=0, pause=True)),
        (http(429, Retry_After="inf"), Retry("http 429", pause=True)),
        (CLOSE, Retry("connection failed", ambiguous=True)),
        (LOST_ANSWER, Retry("connection failed", ambiguous=True)),
    ],
)  # fmt: skip
async def test_what_pagerduty_may_answer_is_an_outcome_after_one_attempt(
    fault: Any, outcome: Outcome, channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    pagerduty.fail(fault)
    assert await notify(channel, conversation()) == outcome
    assert len(pagerduty.events) == 1
    assert isinstance(await notify(channel, conversation()), Delivered)
    assert pagerduty.only.open


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (http(413), "http 413: too large"),
        (http(400, "no json"), "http 400: event refused"),
        (http(400, '{"errors":[]}'), "http 400: event refused"),
        (http(400, '{"errors":7}'), "http 400: event refused"),
        (http(400, "[" * 100_000), "http 400: event refused"),
        (http(400, '{"errors":["\'payload.links\' is odd"]}'), "http 400: event refused (links)"),
        (http(400, '{"errors":["\'payload.class\' is no text: %s routing_key"]}' % ("x" * 60)),
         "http 400: event refused (payload.class)"),
    ],
)  # fmt: skip
async def test_an_event_that_is_refused_is_sent_smaller_in_the_same_attempt(
    fault: Any, reason: str, channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    """First with what a person reads, at last with what PagerDuty requires."""
    pagerduty.fail(fault)
    several = conversation(alert(), alert(instance="b"), alert(instance="c", resolved=True))
    assert isinstance(await notify(channel, several), Delivered)
    required = {
        "summary": "HighLatency \N{MULTIPLICATION SIGN} 2: b (cluster=eu-1; 1 resolved): p99 is over 2 s",
        "source": "eu-1",
        "severity": "critical",
    }
    payload = pagerduty.events[1].payload
    details = payload["custom_details"]
    assert payload == {**required, "custom_details": details}
    assert details["firing"].splitlines() == [
        "🔴 HighLatency · since 08:00 (1 h)",
        "🔴 b · since 08:00 (1 h)",
    ]
    assert details["summary"] == "p99 is over 2 s"
    assert "Source: https://prometheus.example/graph?g0.expr=up" in details["links"]
    assert details["left out"] == "3 alerts as JSON: PagerDuty refused the event with all details"
    assert pagerduty.events[1].body.keys() == {"routing_key", "event_action", "dedup_key", "payload"}
    pagerduty.fail(fault, fault)
    assert isinstance(await notify(channel, several), Delivered)
    assert pagerduty.events[4].payload == {
        **required,
        "summary": f"{required['summary']} (2 firing · 1 resolved; details left out: refused by PagerDuty)",
    }
    pagerduty.fail(fault, fault, fault)
    assert await notify(channel, several) == Rejected(reason)
    assert len(pagerduty.events) == 8


async def test_a_smaller_event_has_links_and_rows_of_a_large_group(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    pagerduty.fail(http(413))
    big = [
        replace(alert(instance=f"{number}{'x' * 90}"), generator_url=f"https://prometheus.example/{number}")
        for number in range(2_000)
    ]
    await notify(channel, conversation(*big))
    (event,) = pagerduty.accepted
    assert len(json.dumps(event.body)) < 20_000
    details = event.payload["custom_details"]
    rows = len(details["firing"].splitlines())
    assert rows >= 40
    assert f"{2_000 - rows} lines of firing" in details["left out"]
    assert details["links"].splitlines()[0] == "Source: https://prometheus.example/0"


async def test_a_plain_event_keeps_to_the_length_of_a_summary(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    pagerduty.fail(http(400), http(400))
    assert isinstance(
        await notify(channel, conversation(alert(annotations={"summary": "x" * 5_000}))), Delivered
    )
    assert len(pagerduty.only.summary) == 1_024


async def test_a_resolve_that_is_refused_has_nothing_to_leave_out(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    pagerduty.fail(http(400))
    assert await notify(channel, conversation(alert(resolved=True))) == Rejected("http 400: event refused")
    assert len(pagerduty.events) == 1


async def test_a_redirect_takes_the_key_nowhere(channel: PagerDutyChannel, pagerduty: FakePagerDuty) -> None:
    for status in (301, 302, 303, 307, 308):
        pagerduty.fail(http(status, Location=f"{pagerduty.url}/v2/enqueue"))
        assert await notify(channel, conversation()) == Broken(f"http {status}: redirect, not followed")
    assert len(pagerduty.events) == 5


async def test_a_hung_server_is_an_ambiguous_timeout(pagerduty: FakePagerDuty) -> None:
    async with channel_to(pagerduty.url, patience=0.05) as channel:
        pagerduty.fail(HANG)
        assert await notify(channel, conversation()) == Retry("timeout", ambiguous=True)
        pagerduty.release()


async def test_a_refused_connection_is_not_ambiguous(unused_tcp_port: int) -> None:
    async with channel_to(f"http://127.0.0.1:{unused_tcp_port}") as channel:
        assert await notify(channel, conversation()) == Retry("connection failed")


async def test_a_server_without_tls_gets_nothing(pagerduty: FakePagerDuty) -> None:
    async with channel_to(pagerduty.url.replace("http:", "https:")) as channel:
        outcome = await notify(channel, conversation())
    assert outcome == Broken("tls: handshake failed")
    assert pagerduty.events == []


async def test_an_unknown_routing_key_is_broken_and_not_shown(
    channel: PagerDutyChannel, pagerduty: FakePagerDuty
) -> None:
    key = "another-key-of-32-characters-too"
    place = destination("pagerduty", PagerDutyOptions.model_validate({"routing_key": key}))
    outcome = await notify(channel, conversation(), place)
    assert outcome == Broken("http 400: routing key refused")
    for shown in (
        repr(place),
        repr(place.options),
        place.key,
        repr(channel.render(place, conversation(), TEMPLATES)),
    ):
        assert key not in shown  # fmt: skip


async def test_keys_are_kept_apart_and_served_at_the_same_time() -> None:
    keys = [f"{number:032}" for number in range(12)]
    places = [destination("pagerduty", PagerDutyOptions.model_validate({"routing_key": key})) for key in keys]
    async with FakePagerDuty(*keys) as pagerduty, channel_to(pagerduty.url) as channel:
        outcomes = await asyncio.gather(*(notify(channel, conversation(), place) for place in places * 3))
        assert outcomes == [Delivered({"dedup_key": TOKEN})] * 36
        for key in keys:
            pagerduty.expect(Page("HighLatency", open=True), key=key)


def test_a_destination_is_named_by_its_name_or_a_digest_of_its_key() -> None:
    named = PagerDutyOptions.model_validate({"routing_key": KEY, "name": "dba", "per": "alert"})
    assert (named.key("x"), named.per_alert) == (PLACE.key.replace(":", ":dba-"), True)
    assert PLACE.key.startswith("pagerduty:")
    assert len(PLACE.key) == len("pagerduty:") + 8
    assert not PLACE.per_alert


def test_a_routing_key_of_another_length_is_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError) as caught:
        PagerDutyOptions.model_validate({"routing_key": "too-short-a-secret"})
    assert "too-short-a-secret" not in str(caught.value)


def test_a_conversation_keeps_the_key_that_opened_its_incident() -> None:
    talk = replace(conversation(alert(resolved=True)), remote={"dedup_key": "opened-by"})
    assert body(talk) == {"event_action": "resolve", "dedup_key": "opened-by"}


async def test_an_attempt_that_was_cut_off_sends_nothing_later(
    pagerduty: FakePagerDuty, channel: PagerDutyChannel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old trigger after its resolve would open an incident that nobody ends."""
    answered, ended, real = threading.Event(), threading.Event(), socket.getaddrinfo

    def slow(*args: Any, **kwargs: Any) -> Any:
        answered.wait()
        return real(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    hasty = PagerDutyChannel(
        PagerDutySettings(events_url=pagerduty.url), timeout=0.02
    )  # real time: it passes while the look-up is stuck
    enqueue = hasty._enqueue

    def enqueue_and_say_so(*args: Any) -> Outcome:
        try:
            return enqueue(*args)
        finally:
            ended.set()

    monkeypatch.setattr(hasty, "_enqueue", enqueue_and_say_so)
    assert await notify(hasty, conversation()) == Retry("timeout", ambiguous=True)
    answered.set()
    ended.wait()
    await notify(channel, conversation(alert(resolved=True), version=2))
    assert [event.body["event_action"] for event in pagerduty.accepted] == ["resolve"]
    await hasty.close()


async def test_more_keys_than_threads_wait_for_no_other(pagerduty: FakePagerDuty) -> None:
    """Forty hang, and the next one is sent all the same."""
    pagerduty.fail(*[HANG] * 40)
    async with channel_to(pagerduty.url) as channel:
        hanging = [asyncio.create_task(notify(channel, conversation(token=f"{n:032}"))) for n in range(40)]
        await pagerduty.until(lambda: len(pagerduty.events) == 40)
        assert isinstance(await notify(channel, conversation()), Delivered)
        for each in hanging:
            each.cancel()
        await asyncio.wait(hanging)


def test_an_incident_shows_its_last_payload_when_it_is_resolved() -> None:
    found = drawn("pagerduty", conversation(), conversation(alert(resolved=True), version=2))
    assert found.text.startswith("resolvedHighLatency")
    assert "firing: 🔴 HighLatency · since 08:00 (1 h)" in found.text
    assert "Events as sent (2)" in found.text
