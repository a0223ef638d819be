"""The Teams channel against a Teams that refuses what Teams refuses, over real sockets."""

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from router.channels.teams import TEAMS, TeamsChannel, TeamsOptions, TeamsSettings
from router.channels.teams_card import MAX_BODY_BYTES, STORM_ROOM, encoded, plain_card
from router.model import (
    SECOND,
    Broken,
    Call,
    Conversation,
    Delivered,
    Message,
    Outcome,
    Rejected,
    Retry,
    StormLine,
    StormNews,
    StormView,
)
from router.render import Templates
from router.render.folding import key_of, room_of
from router.rules.convert import convert_text
from tests.examples import examples
from tests.unit.channels.talk import (
    LEVELS,
    NOW,
    TEMPLATES,
    alert,
    conversation,
    conversations,
    destination,
    without_row,
)
from tests.world.fake_teams import LOST_ANSWER, SIGNATURE, FakeTeams, Fault, http, problems, shown

URL = f"https://prod-1.logic.azure.com/workflows/1?sig={SIGNATURE}"


def place(url: str = URL) -> Any:
    return destination("teams", TeamsOptions.model_validate({"webhook_url": url}))


@pytest.fixture
async def server() -> AsyncIterator[FakeTeams]:
    async with FakeTeams() as teams:
        yield teams


def render(talk: Conversation, templates: Templates = TEMPLATES) -> Message:
    return TeamsChannel(TeamsSettings()).render(place(), talk, templates)


async def send(server: FakeTeams, talk: Conversation) -> Outcome:
    channel = TeamsChannel(TeamsSettings())
    try:
        return await channel.send(place(server.url), talk, channel.render(place(), talk, TEMPLATES))
    finally:
        await channel.close()


def counted(card: Any) -> int:
    """Alerts that have a container, and those that are counted."""
    listed: int = sum(each["type"] == "Container" for each in card["body"])
    return listed + without_row(shown(card))


async def test_a_card_names_what_fires_and_then_what_ended(server: FakeTeams) -> None:
    assert await send(server, conversation()) == Delivered({"posted": True})
    await send(server, conversation(alert(resolved=True), version=2))
    first, second = server.cards
    assert first["body"][0]["text"] == r"🔴 CRITICAL: HighLatency \(cluster=eu-1\)"
    assert "p99 is over 2 s" in shown(first)
    assert "Alertmanager https://alertmanager.example" in shown(first)
    assert second["body"][0]["text"] == r"✅ Resolved: HighLatency \(cluster=eu-1\) after 59 min"
    assert [card["body"][0]["color"] for card in server.cards] == ["Attention", "Good"]
    assert not server.refusals


@examples(150)
@given(conversations)
def test_teams_takes_the_card_of_any_alerts_and_its_plain_card(talk: Conversation) -> None:
    card = render(talk).body["card"]
    for each in (card, plain_card(card)):
        raw = encoded(each)
        assert len(raw) <= MAX_BODY_BYTES
        assert not problems(raw)
    assert counted(card) == len(talk.listed)


@examples(30)
@given(st.integers(1, 300), st.sampled_from(["", "x" * 900, "ü" * 300, "🙂" * 300, "*" * 500, '"' * 500]))
def test_every_alert_is_shown_or_counted(number: int, text: str) -> None:
    notes = {
        "summary": text or "short",
        "description": text,
        "runbook_url": "https://r.example/" + "x" * len(text),
    }
    alerts = [alert(instance=f"{index}{text}", annotations=notes) for index in range(number)]
    card = render(conversation(*alerts)).body["card"]
    assert counted(card) == number
    for each in (card, plain_card(card)):
        assert len(encoded(each)) <= MAX_BODY_BYTES
        assert not problems(encoded(each))


def test_many_labels_are_named_and_long_links_are_left_out_with_a_note() -> None:
    labels = {f"label{index:02}": "x" for index in range(12)}
    notes = {"runbook_url": "https://r.example/" + "x" * 2_000}
    plain = alert(annotations=notes)
    odd = replace(plain, labels={**plain.labels, **labels, "label00": "y" * 2_000})
    text = shown(render(conversation(odd, plain)).body["card"])
    assert "4 more=label08=x, label09=x, label10=x, label11=x" in text
    assert re.search(r"label00=y+… \(\d+ more characters of the label\)", text)
    assert "Links left out, too long: Runbook" in text


@pytest.mark.parametrize(("level", "color", "sign"), [
    ("critical", "Attention", "🔴"), ("warning", "Warning", "🟠"), ("info", "Accent", "🔵"),
])  # fmt: skip
def test_colour_and_sign_follow_the_level(level: str, color: str, sign: str) -> None:
    title = render(conversation(alert(severity=level))).body["card"]["body"][0]
    assert (title["color"], title["text"][:1]) == (color, sign)


def test_links_of_single_alerts_stand_in_their_part() -> None:
    notes = {"summary": "s", "runbook_url": "https://runbooks.example/b_(1)"}
    other = replace(alert(alertname="Other", annotations=notes), generator_url="https://prometheus.example/b")
    card = render(conversation(alert(), other)).body["card"]
    (part,) = [each["items"][0]["text"] for each in card["body"] if "Other" in str(each.get("items"))]
    assert "[Runbook](https://runbooks.example/b_%281%29) · [Source](https://prometheus.example/b)" in part
    assert "Runbook: https://runbooks.example/b_%281%29 · Source: https://prometheus.example/b" in shown(
        plain_card(card)
    )


def test_an_address_that_no_browser_opens_is_no_button() -> None:
    for address in ("http://:9090/graph?g0.expr=up", "http://host:99999/x", r"https://host\x"):
        about = replace(alert(), generator_url=address)
        assert "actions" not in render(conversation(about, external_url=address)).body["card"]


def test_a_long_annotation_leaves_room_for_the_short_ones() -> None:
    notes = {"summary": "s", "description": "d" * 9_000, "action": "restart it", "impact": "orders stop"}
    text = shown(render(conversation(alert(annotations=notes))).body["card"])
    assert all(note in text for note in notes.values())
    several = [alert(instance=str(n), annotations={**notes, "summary": str(n)}) for n in range(40)]
    text = shown(render(conversation(*several)).body["card"])
    assert "more characters of the summary)" in text
    assert "action: restart it" in text
    assert "impact: orders stop" in text


def test_the_card_of_text_has_all_words_of_the_other() -> None:
    notes = {"summary": "Host is away", "description": "No answer.", "impact": "orders stop"}
    several = [alert(instance=f"n{n}", annotations={**notes, "value": str(n)}) for n in range(40)]
    card = render(conversation(*several)).body["card"]
    plain = shown(plain_card(card))
    for line in shown(card).splitlines():
        for words in re.split("=| (?=https?:)", line, maxsplit=1):
            assert words in plain


def test_markup_and_other_schemes_stay_text() -> None:
    notes = {"summary": "[click](https://evil.example) **b**", "runbook_url": "javascript:alert(1)"}
    card = render(conversation(alert(annotations=notes))).body["card"]
    assert r"\[click\]\(https://evil.example\) \*\*b\*\*" in json.dumps(card).replace("\\\\", "\\")
    assert "javascript" not in str(card["actions"])


def test_a_failing_template_gives_a_card_with_all_facts(tmp_path: Path) -> None:
    (tmp_path / "teams.j2").write_text("{% block title %}{{ 1 / 0 }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    message = render(conversation(alert(instance="n1"), alert(instance="n2")), broken)
    text = shown(message.body["card"])
    assert message.fallback
    assert all(each in text for each in ("CRITICAL: HighLatency", "2 firing", "instance=n1", "instance=n2"))


@pytest.mark.parametrize("letter", ["x", "🙂", "*", "ü", '"'])
def test_a_storm_names_all_its_groups_within_the_limit(letter: str) -> None:
    lines: list[StormLine] = []
    room = STORM_ROOM
    while True:
        labels = {"alertname": "HostDown", "instance": f"n{len(lines)} {letter * 20}"}
        line = StormLine(labels, "critical", 1, "https://am.example")
        room -= room_of(line, begins=key_of(line) not in map(key_of, lines[:1]))
        if room < 0:
            break
        lines.append(line)
    view = StormView(len(lines), len(lines), tuple(lines), over=False, news=StormNews(tuple(lines)))
    message = render(conversation(alerts=(), storm=view))
    assert not message.fallback
    assert not problems(encoded(message.body["card"]))
    found = {int(each) for each in re.findall(r"\bn(\d+) ", shown(message.body["card"]))}
    assert found == set(range(len(lines)))


def test_a_failing_storm_template_gives_a_card_that_names_all(tmp_path: Path) -> None:
    (tmp_path / "storm.txt.j2").write_text("{% block subject %}{{ 1 / 0 }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    lines = tuple(
        StormLine({"alertname": "HostDown", "instance": f"n{number}"}, "critical", 1, "https://am.example")
        for number in range(40)
    )
    view = StormView(40, 40, lines, over=False, news=StormNews(lines))
    message = render(conversation(alerts=(), storm=view), broken)
    assert message.fallback
    text = shown(message.body["card"])
    assert "Alert storm: 40 groups firing" in text
    assert {int(each) for each in re.findall(r"\bn(\d+)", text)} == set(range(40))


async def test_a_refused_card_is_sent_as_text(server: FakeTeams) -> None:
    server.fail(http(400))
    outcome = await send(server, conversation())
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == (Call.POST,)
    assert {each["type"] for each in server.cards[0]["body"]} == {"TextBlock"}
    assert "https://alertmanager.example" in shown(server.cards[0])


@pytest.mark.parametrize(("faults", "meaning"), [
    ((http(400), http(400)), Rejected), ((http(401),), Broken), ((http(404),), Broken), ((http(502),), Retry),
])  # fmt: skip
async def test_an_error_has_its_meaning_and_no_secret(server: FakeTeams, faults: Any, meaning: type) -> None:
    server.fail(*faults)
    outcome = await send(server, conversation())
    assert isinstance(outcome, meaning)
    assert SIGNATURE not in str(outcome)


@pytest.mark.parametrize("shape", ['{"code": "%s"}', '{"error": {"code": "%s"}}'])
async def test_a_workflow_that_is_off_is_broken(server: FakeTeams, shape: str) -> None:
    server.fail(Fault(400, shape % "WorkflowTriggerIsNotEnabled", "application/json"))
    assert await send(server, conversation()) == Broken("http 400: workflow is off or deleted")


async def test_a_lost_answer_is_ambiguous(server: FakeTeams) -> None:
    server.fail(LOST_ANSWER)
    outcome = await send(server, conversation())
    assert isinstance(outcome, Retry)
    assert outcome.ambiguous
    assert not TEAMS.dedupes


async def test_too_many_requests_pause_the_destination(server: FakeTeams) -> None:
    server.fail(http(429, Retry_After="7"))
    outcome = await send(server, conversation())
    assert isinstance(outcome, Retry)
    assert (outcome.pause, outcome.after) == (True, 7 * SECOND)


@pytest.mark.parametrize(
    "url", ["x", "ftp://a.example", "https://u:p@a.example", "https://a.webhook.office.com/x"]
)
def test_an_address_that_is_no_workflow_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        TeamsOptions.model_validate({"webhook_url": url})


def test_the_retired_connectors_get_a_note() -> None:
    receivers = [{"name": "a", "msteams_configs": [{"webhook_url": URL, "title": "t"}]}]
    result = convert_text(json.dumps({"route": {"receiver": "a"}, "receivers": receivers}), now=NOW)
    assert "Microsoft retired" in str(list(map(str, result.notes)))
    assert SIGNATURE not in result.text + str(result.notes)
