"""The Discord channel against a Discord that refuses what Discord refuses, over real sockets."""

import json
import re
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from router.channels import REGISTRY
from router.channels.discord import (
    DiscordChannel,
    DiscordOptions,
    DiscordSettings,
)
from router.channels.discord_attempt import MESSAGE_GONE
from router.channels.discord_layout import escape
from router.config import loads
from router.model import (
    HOUR,
    SECOND,
    Alert,
    Broken,
    Call,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Outcome,
    Rejected,
    Retry,
    Status,
)
from router.render import Templates
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
from tests.waiting import outwaited
from tests.world.fake_discord import (
    CLOSE,
    HANG,
    LOST_ANSWER,
    TOKEN,
    URL,
    WEBHOOK,
    FakeDiscord,
    Fault,
    Want,
    error,
    fault_of,
    http,
    texts,
)

PLACE = destination("discord", DiscordOptions.model_validate({"webhook_url": URL}))
RED, AMBER, BLUE, GREEN = 0xD5303E, 0xE8912D, 0x3A7BD5, 0x2EB67D
ENDED = alert(resolved=True)


@pytest.fixture
async def server() -> AsyncIterator[FakeDiscord]:
    async with FakeDiscord() as discord:
        yield discord


@pytest.fixture
async def channel(server: FakeDiscord) -> AsyncIterator[DiscordChannel]:
    async with opened(server.url) as channel:
        yield channel


@asynccontextmanager
async def opened(url: str, patience: float = 10) -> AsyncIterator[DiscordChannel]:
    channel = DiscordChannel(DiscordSettings(api_url=url), timeout=patience)
    try:
        yield channel
    finally:
        await channel.close()


def render(talk: Conversation, templates: Templates = TEMPLATES) -> Message:
    return DiscordChannel(DiscordSettings()).render(PLACE, talk, templates)


def embed(talk: Conversation) -> Any:
    """Of the first message."""
    (found,) = messages(render(talk))[0]["embeds"]
    return found


def messages(message: Message) -> list[dict[str, Any]]:
    return list(message.body["messages"])


def listed(texts: Iterable[str], number: int) -> list[int]:
    """Which of the numbered alerts have a row; those that have none are counted, at the end."""
    whole = "\n".join(texts)
    rows = [row for row in whole.splitlines() if not row.startswith("… and ")]
    shown = [int(found[1]) for row in rows if (found := re.search(r"instance=(\d{4})", row))]
    assert len(shown) + without_row(whole) == number
    return shown


def several(number: int, length: int = 0, ended: int = 0) -> list[Alert]:
    """Alerts by number, of which the first have ended."""
    return [alert(instance=f"{index:04}" + "x" * length, resolved=index < ended) for index in range(number)]


async def notify(channel: DiscordChannel, talk: Conversation, where: Destination = PLACE) -> Outcome:
    return await channel.send(where, talk, channel.render(where, talk, TEMPLATES))


async def remote(channel: DiscordChannel, talk: Conversation) -> Mapping[str, Any]:
    outcome = await notify(channel, talk)
    assert isinstance(outcome, Delivered), outcome
    return outcome.remote


def ids(state: Mapping[str, Any]) -> list[str]:
    """Of its messages, in their order."""
    return [state["message"], *state.get("more", ())]


# What a reader sees


async def test_the_first_notification_is_one_message(server: FakeDiscord, channel: DiscordChannel) -> None:
    notes = {
        "summary": "Checkouts fail",
        "description": "More than 5 %.",
        "runbook_url": "https://runbooks.example/x_(y)",
        "dashboard_url": "javascript:alert(1)",
    }
    talk = conversation(
        alert(service="checkout", annotations=notes, job="api"),
        alert(service="cart", annotations=notes, job="api", resolved=True),
    )
    assert ids(await remote(channel, talk)) == [server.only.id]
    server.expect(
        Want(
            (
                "🔴 CRITICAL: HighLatency on checkout (cluster=eu-1; 1 resolved) — Checkouts fail",
                "**Critical** · 1 firing · 1 resolved · cluster=eu-1",
                "More than 5 %.",
                r"dashboard\_url: javascript:alert(1)",
                "🔴 **service=checkout** · since 08:00 (1 h)",
                "✅ **service=cart** · after 59 min, at 08:59",
                "job=api",
                "[Runbook](<https://runbooks.example/x_%28y%29>)",
                "[Source](<https://prometheus.example/graph?g0.expr=up>)",
                "[Silence](<https://alertmanager.example/#/silences/new?filter=",
                "[Alertmanager](<https://alertmanager.example>)",
                "via oncall · 09:00 Europe/Berlin",
            ),
            RED,
        )
    )
    assert "](<javascript" not in server.only.shown


async def test_a_change_edits_the_message_and_its_end_turns_it_green(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    state = await remote(channel, conversation())
    grown = conversation(alert(), alert(instance="b"), version=2, remote=state)
    assert ids(await remote(channel, grown)) == ids(state)
    server.expect(Want(("2 firing",), RED, edits=1))
    await remote(channel, conversation(ENDED, version=3, remote=state))
    server.expect(Want(("✅ Resolved: HighLatency",), GREEN, edits=2))
    assert [method for method, _ in server.calls] == ["POST", "PATCH", "PATCH"]


@pytest.mark.parametrize(
    ("level", "color", "sign"), [("critical", RED, "🔴"), ("warning", AMBER, "🟠"), ("info", BLUE, "🔵")]
)
def test_the_colour_says_how_urgent_it_is(level: str, color: int, sign: str) -> None:
    shown = embed(conversation(alert(severity=level)))
    assert (shown["color"], shown["title"]) == (color, f"{sign} HighLatency")


def test_what_was_held_or_hidden_is_said() -> None:
    talk = conversation(ENDED, truncated=3)
    held = replace(talk, alerts=(replace(talk.alerts[0], held_since=NOW - HOUR),))
    assert embed(held)["color"] == RED
    assert embed(held)["footer"]["text"].endswith(
        "held since 08:00 · 3 more alerts not shown by Alertmanager (max_alerts)"
    )


def test_a_footer_shows_what_was_given_for_discord_marks_nothing_up_there() -> None:
    assert embed(conversation(receiver=r"team\.web_*ops*"))["footer"]["text"].startswith("via team.web_*ops*")


# Text made safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a_b*c*~~d~~||e||`f`", r"a\_b\*c\*\~\~d\~\~\|\|e\|\|\`f\`"),
        ("[click](https://evil.example)", r"\[click\](https://evil.example)"),
        ("<@123> @everyone <#1>", r"\<\@123\> \@everyone \<\#1\>"),
        ("> quote\n# head", "\\> quote\n\\# head"),
        ("\\", "\\\\"),
        ("see https://grafana.example/d/a_b?c=*&d=[e], x_y", r"see https://grafana.example/d/a_b?c=*&d=[e], x\_y"),
        ("xhttps://a_b", r"xhttps://a\_b"),
        ("a\x00b\u202ec\r\nd", "a bc\nd"),
    ],
)  # fmt: skip
def test_markup_is_escaped_and_addresses_are_kept(text: str, safe: str) -> None:
    assert escape(text) == safe


@given(st.text("\\*_~`|<>[]#@ ax\n") | st.text())
def test_nothing_that_marks_up_is_left_unescaped(text: str) -> None:
    left = re.sub(r"\\[^A-Za-z0-9\s]", "", escape(text))
    assert not re.search(r"[\\*_~`|<>\[\]#@]", re.sub(r"https?://[^\s<]+", "", left))


async def test_a_label_mentions_no_one(server: FakeDiscord, channel: DiscordChannel) -> None:
    evil = "@everyone <@123> <@&4>"
    talk = conversation(alert(alertname=evil, service=evil), receiver=evil, group_labels={"service": evil})
    state = await remote(channel, talk)
    await remote(channel, replace(talk, remote=state, version=2))
    server.expect(Want((r"\@everyone \<\@123\>",), edits=1))
    assert all(body["allowed_mentions"] == {"parse": []} for _, body in server.calls)


odd_text = st.text(max_size=40) | st.text("\\*_~`|<>[]()#@:\n🙂 h", max_size=3_500) | st.sampled_from(["x" * 9_000, "*" * 4_000, "@here", "https://a.example/" + "x" * 5_000])  # fmt: skip
odd_alerts = st.builds(
    lambda labels, notes, **more: replace(alert(**more), labels={"severity": "info", **labels}, annotations=notes),
    st.dictionaries(odd_text, odd_text, max_size=5), st.dictionaries(st.sampled_from(["summary", "description", "runbook_url"]), odd_text),
    resolved=st.booleans(),
)  # fmt: skip
odd_conversations = st.builds(
    lambda several, many, **fields: conversation(*several * many, **fields),
    st.lists(odd_alerts, min_size=1, max_size=3), st.sampled_from([1, 1, 30]), receiver=odd_text,
    group_labels=st.dictionaries(odd_text, odd_text, max_size=3), truncated=st.integers(0, 10**6),
    external_url=st.sampled_from(["", "https://a.example", "https://a.example/" + "(" * 700]),
)  # fmt: skip


@settings(deadline=None)
@given(conversations | odd_conversations)
@example(conversation(*[alert(instance=f"{number:03}" + "*" * 900) for number in range(150)]))
def test_whatever_it_is_about_a_message_is_one_that_discord_takes(talk: Conversation) -> None:
    """Rendered by template, within every limit, JSON; so is what is sent if it were refused all the same."""
    message = render(talk)
    assert not message.fallback
    assert json.loads(json.dumps(message.body)) == message.body
    assert 1 <= len(messages(message)) <= 4
    for body in messages(message):
        plain = body.pop("plain")
        assert fault_of(body) == 0
        assert fault_of({"content": plain, "embeds": []}) == 0


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 700), st.data())
def test_every_alert_is_shown_or_counted(number: int, length: int, data: st.DataObject) -> None:
    """Over all messages, in order; as plain text, in each of them."""
    ended = data.draw(st.integers(0, number))
    message = render(conversation(*several(number, length, ended)))
    firing_first = [*range(ended, number), *range(ended)] if number > 1 else []
    parts = messages(message)
    if number > 1:
        shown = listed((part["embeds"][0]["description"] for part in parts), number)
        assert shown == firing_first[: len(shown)]
    texts = [part["plain"] for part in parts]
    rows = sum(each.startswith(("🔴 **", "✅ **")) for text in texts for each in text.splitlines()[1:])
    assert rows + sum(map(without_row, texts)) == number


@pytest.mark.parametrize(("number", "parts"), [(1, 1), (50, 1), (150, 2), (2_000, 4)])
async def test_what_does_not_fit_one_message_goes_into_numbered_ones(
    server: FakeDiscord, channel: DiscordChannel, number: int, parts: int
) -> None:
    """Up to four; what is beyond is counted."""
    await remote(channel, conversation(*several(number), alert(instance="9999")))
    posted = list(server.messages.values())
    numbers = [f" · {part}/{parts}" for part in range(1, parts + 1)] if parts > 1 else [""]
    title = f"🔴 HighLatency \N{MULTIPLICATION SIGN} {number + 1}: 0000, {'0001, 0002, …' if number > 1 else '9999'}"
    titles = [title, *["HighLatency"] * (parts - 1)]
    assert [each.embeds[0]["title"] for each in posted] == list(map(str.__add__, titles, numbers))
    shown = listed((each.embeds[0]["description"] for each in posted), number + 1)
    assert ("… and " in posted[-1].shown) is (number == 2_000)
    assert len(shown) >= min(number + 1, 300)


@pytest.mark.parametrize("number", [1, 50, 2_000])
def test_an_annotation_of_any_length_is_cut_where_it_shows(number: int) -> None:
    notes = {"summary": "s" * 100_000, "description": "d" * 100_000, "runbook_url": "https://a.example/" + "r" * 100_000}  # fmt: skip
    alerts = [replace(each, annotations=notes) for each in several(min(number, 10))]
    alerts += several(number)[10:]
    parts = messages(render(conversation(*alerts, alert(instance="9999"))))
    assert "sss…" in parts[0]["embeds"][0]["description"]
    assert len(listed((part["embeds"][0]["description"] for part in parts), number + 1)) >= min(
        number + 1, 20
    )


async def test_the_number_of_messages_follows_the_conversations_size(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    state = await remote(channel, conversation(*several(50)))
    grown = await remote(channel, conversation(*several(150), version=2, remote=state))
    assert (grown["message"], len(grown["more"])) == (state["message"], 1)
    server.expect(
        Want(("150 firing", "1/2", "instance=0000"), RED, edits=1), Want(("2/2", "instance=0149"), RED)
    )
    shrunk = await remote(channel, conversation(*several(50), version=3, remote=grown))
    assert ids(shrunk) == ids(state)
    server.expect(Want(("50 firing", "instance=0049"), RED, edits=2))
    assert [method for method, _ in server.calls] == ["POST", "PATCH", "POST", "PATCH", "DELETE"]


async def test_a_message_that_is_already_deleted_needs_no_deleting(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    state = await remote(channel, conversation(*several(150)))
    server.delete(list(server.messages.values())[1])
    assert ids(await remote(channel, conversation(version=2, remote=state))) == [state["message"]]


@pytest.mark.parametrize("fault", [error(50027, method="PATCH"), http(500), LOST_ANSWER, http(429, '{"retry_after": 1}')], ids=str)  # fmt: skip
async def test_an_attempt_that_stops_half_way_goes_on_where_it_stopped(
    server: FakeDiscord, channel: DiscordChannel, fault: Fault
) -> None:
    """What was posted is known, and counts as sent; nothing is posted twice for it."""
    state = await remote(channel, conversation(*several(150)))
    server.fail(error(10008, method="PATCH"), replace(fault, method="PATCH"))
    outcome = await notify(channel, conversation(*several(150, ended=150), version=2, remote=state))
    assert isinstance(outcome, Retry | Broken)
    assert isinstance(outcome, Broken) or outcome.ambiguous
    assert outcome.remote is not None
    assert outcome.remote["message"] != state["message"]
    assert outcome.remote["more"] == state["more"]
    later = conversation(
        *several(150, ended=150), version=2, remote=outcome.remote, now=NOW + HOUR, attempt=2
    )
    assert ids(await remote(channel, later)) == ids(outcome.remote)
    assert len(server.messages) == 3, "the first was orphaned when Discord said that it was gone"


async def test_refused_embeds_become_text_within_five_requests(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    """More in two seconds would not be taken, and the attempt would never come to its end."""
    server.fail(error(50035))
    await remote(channel, conversation(*several(2_000)))
    assert [bool(body["embeds"]) for _, body in server.calls] == [True, False, False, False, False]
    assert [re.findall(r" · \d/4$", each.content.splitlines()[0]) for each in server.messages.values()] == [
        [f" · {part}/4"] for part in range(1, 5)
    ]


def test_the_fullest_message_still_shows_alerts() -> None:
    """What stands once takes its share and no more; nor does one alert take it all."""
    address = "https://a.example/" + "r" * 440
    notes = {
        "summary": "*" * 5_000,
        "description": "*" * 5_000,
        "runbook_url": address,
        "dashboard_url": address,
    }

    def full(number: int) -> Alert:
        return alert(
            alertname="*" * 900, note=f"{number}" + "&" * 3_000, shared="y" * 3_000, annotations=notes
        )

    shown = embed(conversation(*map(full, range(200)), receiver="r" * 5_000))
    assert 5_000 < sum(map(len, texts([shown]))) <= 6_000
    assert shown["description"].count("🔴") >= 2
    assert [each["name"] for each in shown["fields"]] == ["Labels", "Links"]


@pytest.mark.parametrize(("around", "least"), [(0, 4_096), (300, 5_950)])
def test_the_line_that_counts_the_rest_fits_as_well(around: int, least: int) -> None:
    """Whichever limit is met first: the description's, or with much around it the one of all."""
    fullest = 0
    for length in range(60, 140, 16):
        shared: Any = {"alertname": "n" * around, "shared": "y" * around * 4}
        several = [alert(instance=f"{number:03}" + "x" * length, **shared) for number in range(300)]
        several = [replace(each, generator_url="https://a.example/" + "g" * around * 2) for each in several]
        parts = messages(render(conversation(*several, receiver="r" * around)))
        assert "\n… and " in parts[-1]["embeds"][0]["description"]
        for body in parts:
            plain = body.pop("plain")
            assert fault_of(body) == fault_of({"content": plain}) == 0
            fullest = max(fullest, sum(map(len, texts(body["embeds"]))))
    assert fullest > least


def test_a_link_that_does_not_fit_is_named() -> None:
    long = replace(alert(), generator_url="https://a.example/" + "x" * 1_100)
    message = render(conversation(long))
    (field,) = embed(conversation(long))["fields"]
    links = r"(?:\[\w+\]\(<https://[^<>]+>\) · )+too long to show: Source"
    assert re.fullmatch(links, field["value"])
    assert "too long to show: Source" in messages(message)[0]["plain"]


def test_links_of_single_alerts_stand_beside_them() -> None:
    notes = {"summary": "s", "runbook_url": "https://runbooks.example/b_(1)"}
    other = replace(alert(alertname="Other", annotations=notes), generator_url="https://prometheus.example/b")
    message = render(conversation(alert(), other))
    row = "[Runbook](<https://runbooks.example/b_%281%29>) · [Source](<https://prometheus.example/b>)"
    (part,) = messages(message)
    assert row in part["embeds"][0]["description"].splitlines()
    assert row in part["plain"].splitlines()


def test_an_address_that_no_browser_opens_is_no_link() -> None:
    for address in ("http://:9090/graph?g0.expr=up", "http://host:99999/x", r"https://host\x"):
        about = replace(alert(), generator_url=address)
        assert embed(conversation(about, external_url=address))["fields"] == []


def test_a_long_annotation_leaves_room_for_the_short_ones() -> None:
    """With few alerts it has all the room; in many alerts it is cut, and the others stay."""
    notes = {"summary": "s", "description": "d" * 3_500, "action": "restart it", "impact": "orders stop"}
    whole = embed(conversation(alert(annotations=notes)))["description"]
    assert all(f"{name}: {notes[name]}" in whole for name in ("action", "impact"))
    assert notes["description"] in whole
    several = [alert(instance=f"{n:04}", annotations={**notes, "summary": str(n)}) for n in range(10)]
    several.append(
        alert(instance="9999", annotations={**notes, "description": "e" * 5_000, "action": "call"})
    )
    parts = [part["embeds"][0]["description"] for part in messages(render(conversation(*several)))]
    assert "\n".join(parts).count("impact: orders stop") == 1
    assert "\n".join(parts).count("action: ") == 11
    assert "more characters of the description)" in parts[0]


def test_the_text_without_embeds_has_all_facts() -> None:
    notes = {"summary": "Host is away", "description": "No answer.", "impact": "orders stop"}
    several = [alert(instance=f"n{n}", annotations={**notes, "value": str(n)}) for n in range(2)]
    (part,) = messages(render(conversation(*several, alert(instance="n2", annotations=notes, resolved=True))))
    shown = "\n".join([*texts(part["embeds"]), part["embeds"][0]["footer"]["text"]])
    for words in ("**Critical** · 2 firing · 1 resolved", "No answer.", "impact: orders stop", "value: 1", "instance=n2", "[Source](<", "[Silence these 2](<", "[Alertmanager](<", "via oncall"):  # fmt: skip
        assert words in part["plain"]
        assert words in shown


# When a message can't be edited


@pytest.mark.parametrize("code", sorted(MESSAGE_GONE))
async def test_a_message_that_cannot_be_edited_is_posted_again(
    server: FakeDiscord, channel: DiscordChannel, code: int
) -> None:
    state = await remote(channel, conversation())
    server.fail(error(code, method="PATCH"))
    anew = await remote(channel, conversation(ENDED, remote=state, version=2))
    assert anew != state
    server.expect(Want(("🔴",), RED), Want(("✅",), GREEN))


async def test_a_removed_message_is_posted_again_and_edited_there(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    state = await remote(channel, conversation())
    server.delete(server.only)
    state = await remote(channel, conversation(version=2, remote=state))
    await remote(channel, conversation(ENDED, version=3, remote=state))
    server.expect(Want(("✅",), GREEN, edits=1))


# What comes of it


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (error(10015), Broken("discord 10015: unknown webhook")),
        (error(50027), Broken("discord 50027: invalid webhook token")),
        (error(220001), Broken("discord 220001: a forum, set thread_id")),
        (error(30046, 429), Retry("ratelimited", pause=True)),
        (error(40333, 403), Retry("discord 40333")),
        (error(99999, 400), Retry("discord 99999")),
        (error(10008, 404), Retry("discord 10008: unknown message")),
        (error(130000, 503), Retry("discord 130000", ambiguous=True)),
        (http(401, "no"), Broken("http 401")),
        (http(403, "<html>"), Broken("http 403")),
        (http(404, '{"code": "10015"}'), Broken("http 404")),
        (http(302, Location="/login"), Broken("http 302: redirect, not followed")),
        (http(500, "<html>oops"), Retry("http 500", ambiguous=True)),
        (http(502, "[" * 100_000), Retry("http 502", ambiguous=True)),
        (http(200, "<html>sign in here"), Retry("bad answer", ambiguous=True)),
        (http(200, "[]"), Retry("bad answer", ambiguous=True)),
        (http(200, '{"id": "no number"}'), Retry("bad answer", ambiguous=True)),
        (http(204), Retry("bad answer", ambiguous=True)),
        (CLOSE, Retry("connection failed", ambiguous=True)),
        (LOST_ANSWER, Retry("connection failed", ambiguous=True)),
    ],
    ids=str,
)  # fmt: skip
async def test_an_answer_is_an_outcome_after_one_attempt(
    server: FakeDiscord, channel: DiscordChannel, fault: Fault, outcome: Outcome
) -> None:
    server.fail(fault)
    assert await notify(channel, conversation()) == outcome
    assert len(server.calls) == 1


@pytest.mark.parametrize("fault", [error(50006), error(50035), error(50109), http(400), http(413), http(415), http(422)], ids=str)  # fmt: skip
async def test_what_discord_refuses_goes_as_text_in_the_same_attempt(
    server: FakeDiscord, channel: DiscordChannel, fault: Fault
) -> None:
    server.fail(fault)
    state = await remote(channel, conversation(alert(service="a"), alert(service="b")))
    server.expect(
        Want(
            (
                "HighLatency \N{MULTIPLICATION SIGN} 2: a, b",
                "**Critical**",
                "service=a",
                "service=b",
                "[Source](<",
                "via oncall",
            )
        )
    )
    assert server.only.embeds == []
    server.fail(fault)
    await remote(channel, conversation(ENDED, version=2, remote=state))
    server.expect(Want(("✅ Resolved: HighLatency",), edits=1))


async def test_text_that_is_refused_as_well_is_rejected(server: FakeDiscord, channel: DiscordChannel) -> None:
    server.fail(error(50035), error(50006))
    assert await notify(channel, conversation()) == Rejected("discord 50006: empty message")
    assert len(server.calls) == 2
    server.fail(http(413), http(413))
    assert await notify(channel, conversation()) == Rejected("http 413")


async def test_the_webhook_and_the_token_are_those_of_the_url(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    for other, code in ((f"https://discord.com/api/webhooks/12/{TOKEN}", 10015), (f"{URL}x", 50027)):
        where = destination("discord", DiscordOptions.model_validate({"webhook_url": other}))
        outcome = await notify(channel, conversation(), where)
        assert isinstance(outcome, Broken)
        assert f"discord {code}: " in outcome.reason
    server.expect()


async def test_a_discord_that_does_not_answer_may_have_got_it(server: FakeDiscord) -> None:
    async with opened(server.url, patience=10) as channel:
        server.fail(HANG)
        outcome = await outwaited(notify(channel, conversation()), server.until(lambda: bool(server.calls)))
        assert outcome == Retry("timeout", ambiguous=True)
        server.release()


async def test_a_refused_connection_is_not_ambiguous() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with opened(f"http://127.0.0.1:{taken.getsockname()[1]}") as channel:
            assert await notify(channel, conversation()) == Retry("connection failed")


async def test_a_broken_template_sends_the_plain_facts(
    server: FakeDiscord, channel: DiscordChannel, tmp_path: Path
) -> None:
    (tmp_path / "discord.j2").write_text("{% block text %}{{ nonsense.x }}{% endblock %}")
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    about = conversation(alert(service="@here"), ENDED)
    message = channel.render(PLACE, about, broken)
    assert message.fallback
    assert isinstance(await channel.send(PLACE, about, message), Delivered)
    server.expect(Want((r"CRITICAL: HighLatency on \@here (1 resolved) (1 firing, 1 resolved)", r"service=\@here", "resolved: alertname=HighLatency")))  # fmt: skip
    parts = messages(channel.render(PLACE, conversation(*several(100, length=300)), broken))
    assert len(parts) == 4
    sent = [{name: value for name, value in part.items() if name != "plain"} for part in parts]
    assert [fault_of(part) for part in sent] == [0] * 4
    assert len(listed((part["embeds"][0]["description"] for part in parts), 100)) >= 12


# Threads


def in_thread(thread_id: str) -> Destination:
    options = {"webhook_url": URL, "thread_id": thread_id}
    return destination("discord", DiscordOptions.model_validate(options))


async def test_messages_of_a_thread_are_edited_and_deleted_there(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    server.threads = {"77"}
    first = await notify(channel, conversation(*several(150)), in_thread("77"))
    assert isinstance(first, Delivered)
    assert {each.thread for each in server.messages.values()} == {"77"}
    shrunk = conversation(*several(50), version=2, remote=first.remote)
    assert isinstance(await notify(channel, shrunk, in_thread("77")), Delivered)
    assert [method for method, _ in server.calls] == ["POST", "POST", "PATCH", "DELETE"]
    server.expect(Want(("50 firing",), edits=1))


async def test_an_unknown_thread_is_broken(server: FakeDiscord, channel: DiscordChannel) -> None:
    outcome = await notify(channel, conversation(), in_thread("78"))
    assert outcome == Broken("discord 10003: unknown channel")
    server.expect()


async def test_the_fake_knows_a_message_in_its_own_thread_only(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    server.threads = {"77", "78"}
    first = await notify(channel, conversation(), in_thread("77"))
    assert isinstance(first, Delivered)
    for elsewhere in (in_thread("78"), PLACE):
        await notify(channel, conversation(version=2, remote=first.remote), elsewhere)
    assert [each.thread for each in server.messages.values()] == ["77", "78", None]


def test_a_thread_is_part_of_the_destinations_identity() -> None:
    assert in_thread("77").key == f"{PLACE.key}:77"
    for wrong in ("", "x", "7 7", "1" * 21, "\u0667"):
        with pytest.raises(ValidationError):
            in_thread(wrong)


# Rate limits


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        (http(429, '{"retry_after": 0.4213, "global": false}', Retry_After="1"), 422),
        (http(429, '{"retry_after": 64, "global": false}', X_RateLimit_Scope="shared"), 64 * SECOND),
        (http(429, '{"code": 0}', Retry_After="7"), 7 * SECOND),
        (http(429, "<html>", Retry_After="7"), 7 * SECOND),
        (http(429, '{"retry_after": 1e99}'), HOUR),
        (http(429, '{"retry_after": -1}'), 0),
        (http(429, '{"retry_after": NaN}'), None),
        (http(429, '{"retry_after": Infinity}'), None),
        (http(429, '{"retry_after": [1]}'), None),
        (http(429, "{}", Retry_After="soon"), None),
    ],
    ids=str,
)
async def test_a_429_pauses_the_destination_for_as_long_as_it_says(
    server: FakeDiscord, channel: DiscordChannel, fault: Fault, after: int | None
) -> None:
    server.fail(fault)
    outcome = await notify(channel, conversation())
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.after, outcome.pause) == ("ratelimited", after, True)


async def test_the_last_request_of_a_window_asks_for_a_rest() -> None:
    """The lane sends nothing more meanwhile, so Discord never says 429."""
    async with FakeDiscord(seconds=lambda: 0.0) as strict, opened(strict.url) as channel:
        for episode in range(4):
            assert await notify(channel, conversation(episode=episode)) == Delivered(ANY, rest=0)
        assert await notify(channel, conversation(episode=4)) == Delivered(ANY, rest=2 * SECOND)
        assert len(strict.calls) == 5


async def test_a_long_conversation_goes_on_window_by_window() -> None:
    """With room for three requests, the fourth message goes out first in the next window, in one request."""
    now = 0.0
    async with FakeDiscord(seconds=lambda: now, window=3) as strict, opened(strict.url) as channel:
        talk = conversation(*several(2_000))
        outcome = await notify(channel, talk)
        assert isinstance(outcome, Retry)
        assert (outcome.pause, outcome.ambiguous, outcome.further) == (True, True, True)
        assert (len(strict.messages), len(strict.calls)) == (3, 3)
        now += 2
        later = replace(talk, remote=outcome.remote or {}, now=NOW + HOUR, attempt=2)
        assert channel.render(PLACE, later, TEMPLATES).calls == (Call.POST,)
        await remote(channel, later)
        assert [method for method, _ in strict.calls[3:]] == ["POST"]
        assert [each.edits for each in strict.messages.values()] == [0, 0, 0, 0]


async def test_an_update_edits_the_first_message_and_those_that_changed(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    alerts = several(300)
    state = await remote(channel, conversation(*alerts))
    ended = replace(alerts[-1], status=Status.RESOLVED, ends_at=NOW)
    await remote(channel, conversation(*alerts[:-1], ended, version=2, remote=state, now=NOW + HOUR))
    assert [each.edits for each in server.messages.values()] == [1, 0, 1]


async def test_the_fakes_window_is_discords() -> None:
    """Five requests in two seconds; a channel that has learnt nothing is refused the sixth."""
    async with FakeDiscord(seconds=lambda: 0.0) as strict:
        for episode in range(5):
            async with opened(strict.url) as channel:
                await remote(channel, conversation(episode=episode))
        async with opened(strict.url) as channel:
            assert await notify(channel, conversation()) == Retry("ratelimited", after=2 * SECOND, pause=True)


@pytest.mark.parametrize(
    ("fault", "everywhere"),
    [
        (http(429, '{"retry_after": 5, "global": true}'), True),
        (http(429, '{"retry_after": 5}', X_RateLimit_Scope="global"), True),
        (http(429, "<html>Cloudflare", Retry_After="5"), True),
        (http(429, '{"retry_after": 5, "global": false}', X_RateLimit_Scope="user"), False),
    ],
    ids=str,
)
async def test_a_global_limit_is_for_every_webhook_and_others_for_one(
    server: FakeDiscord, channel: DiscordChannel, fault: Fault, everywhere: bool
) -> None:
    server.fail(fault)
    limited = Retry("ratelimited", after=5 * SECOND, pause=True, everywhere=everywhere)
    assert await notify(channel, conversation()) == limited


def test_discords_headers_alone_set_its_rate() -> None:
    """So one request goes after the other."""
    assert REGISTRY["discord"].limits == LaneLimits(rate=None, max_concurrency=1)


async def test_only_requests_that_are_paid_for_are_made(server: FakeDiscord, channel: DiscordChannel) -> None:
    long = conversation(*several(300))
    message = channel.render(PLACE, long, TEMPLATES)
    assert len(message.calls) > 2
    first = await channel.send(PLACE, long, replace(message, paid=1))
    assert isinstance(first, Retry)
    assert (first.unfinished, first.further, first.reached, len(server.calls)) == (True, True, True, 1)
    again = replace(long, remote=first.remote or {})
    message = channel.render(PLACE, again, TEMPLATES)
    assert isinstance(await channel.send(PLACE, again, message), Delivered)
    assert len(server.calls) == 1 + len(message.calls)


# Secrets and rules


@pytest.mark.parametrize("fault", [error(50027), error(50035), http(302, Location="/x"), http(500, TOKEN), CLOSE, None], ids=str)  # fmt: skip
async def test_no_secret_stands_in_an_outcome_a_log_or_a_repr(
    server: FakeDiscord, channel: DiscordChannel, caplog: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    caplog.set_level("DEBUG")
    server.fail(*([fault] if fault else []))
    outcome = await notify(channel, conversation())
    message = channel.render(PLACE, conversation(), TEMPLATES)
    shown = " ".join(map(repr, (outcome, PLACE, PLACE.options, PLACE.key, message)))
    assert TOKEN not in shown + caplog.text


def test_a_destination_is_named_by_its_name_or_the_webhooks_id() -> None:
    named = DiscordOptions.model_validate({"webhook_url": URL, "name": "ops"})
    assert (named.key("x"), PLACE.key) == (f"discord:ops-{WEBHOOK}", f"discord:{WEBHOOK}")
    assert not named.per_alert


@pytest.mark.parametrize(
    "url",
    [
        "https://discord.com/api/webhooks/1/s3cr3t",
        "https://ptb.discord.com/api/v10/webhooks/1/s3cr3t/",
        "http://127.0.0.1:8080/webhooks/1/s3cr3t",
    ],
)
def test_a_webhook_is_read_from_its_url(url: str) -> None:
    assert DiscordOptions.model_validate({"webhook_url": url}).webhook == ("1", "s3cr3t")


@pytest.mark.parametrize(
    "url",
    ["s3cr3t", "https://discord.com/channels/1/s3cr3t", "https://discord.com/api/webhooks/1/s3cr3t/slack",
     "https://discord.com/api/webhooks/x/s3cr3t", "https://discord.com/api/webhooks/1/s3cr3t?thread_id=2",
     "https://a:s3cr3t@discord.com/api/webhooks/1/x", "https://discord.com/api/webhooks/1/s3cr3t\n"],
)  # fmt: skip
def test_another_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValidationError, match="is no Discord webhook; copy its URL") as caught:
        DiscordOptions.model_validate({"webhook_url": url})
    assert "s3cr3t" not in str(caught.value)


RULES = """
channels: {discord: {}}
receivers:
  ops:
    - discord: {webhook_url: "${DISCORD_URL}"}
    - discord: {webhook_url: {file: discord-url}}
route: {receiver: ops}
"""


def test_rules_with_discord_load(tmp_path: Path) -> None:
    (tmp_path / "discord-url").write_text("https://discord.com/api/webhooks/7/x\n")
    config = loads(RULES, name="routes.yaml", folder=tmp_path, environ={"DISCORD_URL": URL}, now=NOW)
    assert set(config.policy.destinations) == {PLACE.key, "discord:7"}
    assert config.settings["discord"] == DiscordSettings()


def test_rules_with_discord_load_in_a_preview_without_its_secrets(tmp_path: Path) -> None:
    config = loads(RULES, name="routes.yaml", folder=tmp_path, environ={}, now=NOW, preview=True)
    assert len(config.policy.destinations) == 2


async def test_a_closed_channel_can_be_used_again(server: FakeDiscord, channel: DiscordChannel) -> None:
    await remote(channel, conversation())
    await channel.close()
    await channel.close()
    await remote(channel, conversation(episode=2))
    assert len(server.messages) == 2


def test_the_registry_knows_it() -> None:
    kind = REGISTRY["discord"]
    assert isinstance(kind.make(kind.settings.model_validate(kind.placeholder)), DiscordChannel)


async def test_the_fake_fails_on_missing_unexpected_and_wrong_messages(
    server: FakeDiscord, channel: DiscordChannel
) -> None:
    await remote(channel, conversation())
    for wanted in ([], [Want(("no such words",))], [Want(color=GREEN)], [Want(edits=1)], [Want(), Want()]):
        with pytest.raises(AssertionError, match=r"missing|unexpected"):
            server.expect(*wanted)
    server.only.content, server.only.quiet = "@everyone", False
    with pytest.raises(AssertionError, match="mentions"):
        server.expect(Want())
    good = {
        "title": "t",
        "description": "d",
        "fields": [{"name": "n", "value": "v"}],
        "footer": {"text": "f"},
    }
    assert fault_of({"embeds": [good]}) == 0
    for wrong in (
        {"title": "x" * 257}, {"description": "x" * 4_097}, {"footer": {"text": "x" * 2_049}}, {"color": 2**24},
        {"fields": [{"name": "n", "value": " "}]}, {"fields": [{"name": "n", "value": "x" * 1_025}]},
        {"fields": [{"name": "n", "value": "v"}] * 26}, {"fields": [{"name": "n", "value": "x" * 1_000}] * 6}, {"more": 1},
    ):  # fmt: skip
        assert fault_of({"embeds": [{**good, **wrong}]}) == 50035
    assert fault_of({"content": "x" * 2_001}) == fault_of({"embeds": [good] * 11}) == 50035
    assert fault_of({"content": " "}) == 50006


async def test_what_is_not_there_yet_comes_though_news_keep_coming() -> None:
    """Three calls a window, four messages, and each version touches all of them."""
    now = 0.0
    state: dict[str, Any] = {}
    async with FakeDiscord(seconds=lambda: now, window=3) as strict, opened(strict.url) as channel:
        for version in range(1, 12):
            alerts = several(800, ended=version * 40)
            talk = conversation(*alerts, version=version, remote=state, now=NOW + version * 2_000)
            outcome = await notify(channel, talk)
            assert isinstance(outcome, Delivered | Retry)
            state = dict(outcome.remote or {})
            now += 2
        assert len(strict.messages) == 4
