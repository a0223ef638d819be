"""The Telegram channel against a Telegram that refuses what Telegram refuses, over real sockets."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from router.channels.telegram import (
    ALL_CHATS_LIMITS,
    CHAT_LIMITS,
    GROUP_LIMITS,
    STORM_ROOM,
    TELEGRAM,
    TelegramChannel,
    TelegramOptions,
    TelegramSettings,
)
from router.channels.telegram_html import HTML, escape, plain_text, units
from router.config import loads
from router.config.secrets import mask
from router.model import (
    MINUTE,
    SECOND,
    Broken,
    Call,
    Conversation,
    Delivered,
    Destination,
    Message,
    Outcome,
    Rejected,
    Retry,
    StormLine,
    StormNews,
    StormView,
)
from router.render import Templates
from router.render.folding import room_of
from router.rules.convert import convert_text
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
from tests.world.fake_telegram import (
    CHAT,
    CLOSE,
    LOST_ANSWER,
    TOKEN,
    FakeTelegram,
    Want,
    error,
    fault_of,
    http,
    parsed,
)

GROUP = destination("telegram", TelegramOptions.model_validate({"chat_id": CHAT}))
ENDED = alert(resolved=True)
PARSE_ERROR = "Bad Request: can't parse entities: Unsupported start tag"


@pytest.fixture
async def server() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as telegram:
        yield telegram


@pytest.fixture
async def channel(server: FakeTelegram) -> AsyncIterator[TelegramChannel]:
    async with opened(server.url) as channel:
        yield channel


@asynccontextmanager
async def opened(url: str, token: str = TOKEN) -> AsyncIterator[TelegramChannel]:
    channel = TelegramChannel(TelegramSettings.model_validate({"token": token, "api_url": url}))
    try:
        yield channel
    finally:
        await channel.close()


def options(**given: Any) -> TelegramOptions:
    return TelegramOptions.model_validate(given)


def render(talk: Conversation, templates: Templates = TEMPLATES) -> Message:
    return TelegramChannel(TelegramSettings.model_validate({"token": TOKEN})).render(GROUP, talk, templates)


async def send(channel: TelegramChannel, talk: Conversation, where: Destination = GROUP) -> Outcome:
    return await channel.send(where, talk, channel.render(where, talk, TEMPLATES))


async def delivered(
    channel: TelegramChannel, talk: Conversation, where: Destination = GROUP
) -> Mapping[str, Any]:
    outcome = await send(channel, talk, where)
    assert isinstance(outcome, Delivered), outcome
    return outcome.remote


def sent_bodies(message: Message) -> list[dict[str, Any]]:
    """What is sent of a message: as HTML, and as plain text should that be refused."""
    texts = [message.body, *message.body["replies"]]
    html = [{"text": each["text"], "parse_mode": "HTML"} for each in texts]
    return [*html, *({"text": each["plain"]} for each in texts)]


# What a reader sees


async def test_first_message_shows_all_facts(server: FakeTelegram, channel: TelegramChannel) -> None:
    notes = {
        "summary": "Checkouts fail",
        "description": "More than 5 %.",
        "runbook_url": "https://runbooks.example/x?a=1&b=2",
        "dashboard_url": "javascript:alert(1)",
    }
    talk = conversation(
        alert(service="checkout", annotations=notes, job="api"),
        alert(service="cart", annotations=notes, job="api", resolved=True),
    )
    remote = await delivered(channel, talk)
    assert remote == {"message": server.only.id, "shown": 1}
    server.expect(
        Want(
            (
                "🔴 CRITICAL: HighLatency on checkout (cluster=eu-1; 1 resolved)",
                "1 firing · 1 resolved",
                "Checkouts fail",
                "More than 5 %.",
                "🔴 service=checkout · since 08:00 (1 h)",
                "✅ service=cart · after 59 min, at 08:59",
                "job=api",
                "https://runbooks.example/x?a=1&b=2",
                "https://prometheus.example/graph?g0.expr=up",
                "https://alertmanager.example/#/silences/new?filter=",
                "https://alertmanager.example",
                "dashboard_url: javascript:alert(1)",
                "via oncall · 09:00 Europe/Berlin",
            )
        )
    )
    assert not [each for each in parsed(server.only.body).addresses if not each.startswith("https://")]
    assert server.only.body["link_preview_options"] == {"is_disabled": True}


async def test_update_edits_the_message_and_replies_with_news(
    server: FakeTelegram, channel: TelegramChannel
) -> None:
    remote = await delivered(channel, conversation(alert(instance="a")))
    grown = conversation(alert(instance="a"), alert(instance="b"), version=2, remote=remote)
    remote = await delivered(channel, grown)
    words = ("🔴 new: a", "🔴 new: b", "HighLatency \N{MULTIPLICATION SIGN} 2: a, b (cluster=eu-1)")
    server.expect(Want(("2 firing",), edits=1), Want(words, reply=True))
    await delivered(channel, conversation(ENDED, version=3, remote=remote))
    server.expect(
        Want(("✅ Resolved: HighLatency",), edits=2),
        Want(("🔴 new",), reply=True),
        Want(("✅ All resolved after 59 min", "HighLatency (cluster=eu-1)"), reply=True),
    )


async def test_update_without_news_is_an_edit_alone(server: FakeTelegram, channel: TelegramChannel) -> None:
    talk = conversation()
    remote = await delivered(channel, talk)
    old = tuple(replace(each, news=False) for each in talk.alerts)
    await delivered(channel, replace(talk, version=2, remote=remote, now=NOW + MINUTE, alerts=old))
    server.expect(Want(edits=1))


async def test_messages_go_to_the_topic(server: FakeTelegram, channel: TelegramChannel) -> None:
    server.chats[CHAT].threads.add(7)
    topic = destination("telegram", options(chat_id=CHAT, message_thread_id=7))
    remote = await delivered(channel, conversation(), topic)
    await delivered(channel, conversation(ENDED, version=2, remote=remote), topic)
    assert [each.thread for each in server.messages.values()] == [7, 7]
    lost = destination("telegram", options(chat_id=CHAT, message_thread_id=8))
    outcome = await send(channel, conversation(), lost)
    assert isinstance(outcome, Broken)
    assert outcome.reason == "telegram: message thread not found"


@pytest.mark.parametrize("chat", [42, "42", "@alerts"])
async def test_chat_is_a_number_or_a_name(
    server: FakeTelegram, channel: TelegramChannel, chat: int | str
) -> None:
    await delivered(channel, conversation(), destination("telegram", options(chat_id=chat)))
    assert server.only.chat in {42, "@alerts"}


# Text made safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<b>&\"'", "&lt;b&gt;&amp;&quot;'"),
        ("@all me@example.com", "@\u2060all me@example.com"),
        ("https://a.example/@x?a&b", "https://a.example/@x?a&amp;b"),
        ("a\x00b\u202ec\r\nd", "a bc\nd"),
    ],
)
def test_markup_and_mentions_are_escaped(text: str, safe: str) -> None:
    assert escape(text) == safe


async def test_labels_mention_nobody(server: FakeTelegram, channel: TelegramChannel) -> None:
    odd = "@channel <@all> @bob_smith"
    talk = conversation(alert(alertname=odd, service=odd), receiver=odd, group_labels={"service": odd})
    remote = await delivered(channel, talk)
    await delivered(channel, replace(talk, remote=remote, version=2))
    server.expect(Want(("CRITICAL",)), Want(("new",), reply=True))


_odd = st.text("<>&;\"'@#/\n🙂 ax") | st.text() | st.sampled_from(["&" * 9_000, "🙂" * 9_000, "<" * 4_000, "&amp;" * 2_000, "https://a.example/" + "&" * 5_000])  # fmt: skip
_odd_alerts = st.builds(
    lambda labels, notes, **more: replace(
        alert(**more), labels={"severity": "info", **labels}, annotations=notes
    ),
    st.dictionaries(_odd, _odd, max_size=4),
    st.dictionaries(st.sampled_from(["summary", "description", "runbook_url"]), _odd),
    resolved=st.booleans(),
)
_odd_conversations = st.builds(
    lambda several, many, **fields: conversation(*several * many, **fields),
    st.lists(_odd_alerts, min_size=1, max_size=3),
    st.sampled_from([1, 1, 30]),
    receiver=_odd,
    group_labels=st.dictionaries(_odd, _odd, max_size=3),
    remote=st.sampled_from([{}, {"message": 7, "shown": 0}]),
)


@settings(deadline=None)
@given(conversations | _odd_conversations)
def test_telegram_takes_every_message(talk: Conversation) -> None:
    """By the template, within the limits, as JSON; so is the plain text that is sent if the HTML is refused."""
    message = render(talk)
    assert not message.fallback
    assert json.loads(json.dumps(message.body)) == message.body
    for body in sent_bodies(message):
        assert fault_of(body) == ""


@pytest.mark.parametrize("text", ["a", '&<>"', "🙂", "e\u0301"])
@pytest.mark.parametrize("number", [1, 40, 3_000])
def test_dropped_alerts_are_counted_and_named(text: str, number: int) -> None:
    alerts = [
        alert(alertname=f"Down{index % 2}", instance=f"{index:04}{text * 30}", resolved=index % 3 == 0)
        for index in range(number)
    ]
    first, _ = sent_bodies(render(conversation(*alerts, alert(alertname="Down0"), group_labels={})))
    shown = parsed(first).text
    rows = len(re.findall("^(?:🔴|✅) (?!CRITICAL)", shown, re.MULTILINE))
    rest = without_row(shown)
    listed = conversation(*alerts, alert(alertname="Down0")).listed
    assert rows + rest == len(listed) == number + 1
    assert (rest > 0) is (number == 3_000 or (number == 40 and text != "a"))


def test_links_of_single_alerts_stand_beside_them() -> None:
    notes = {"summary": "s", "runbook_url": "https://runbooks.example/b?x=1&y=2"}
    other = replace(alert(alertname="Other", annotations=notes), generator_url="https://prometheus.example/b")
    html, plain = sent_bodies(render(conversation(alert(), other)))
    assert {"https://runbooks.example/b?x=1&y=2", "https://prometheus.example/b"} <= set(
        parsed(html).addresses
    )
    row = "Runbook: https://runbooks.example/b?x=1&y=2 · Source: https://prometheus.example/b"
    assert row in plain["text"].splitlines()


def test_an_address_that_no_browser_opens_is_no_link() -> None:
    for address in ("http://:9090/graph?g0.expr=up", "http://host:99999/x", r"https://host\x"):
        about = replace(alert(), generator_url=address)
        html, _ = sent_bodies(render(conversation(about, external_url=address)))
        assert parsed(html).addresses == []


def test_a_long_annotation_leaves_room_for_the_short_ones() -> None:
    """With few alerts it has all the room; in many alerts it is cut, and the others stay."""
    notes = {"summary": "s", "description": "d" * 3_000, "action": "restart it", "impact": "orders stop"}
    for each in sent_bodies(render(conversation(alert(annotations=notes)))):
        assert all(f"{name}: {notes[name]}" in each["text"] for name in ("action", "impact"))
        assert notes["description"] in each["text"]
    several = [alert(instance=str(n), annotations={**notes, "summary": str(n)}) for n in range(10)]
    for each in sent_bodies(render(conversation(*several))):
        assert all(f"{name}: {notes[name]}" in each["text"] for name in ("action", "impact"))
        assert "more characters of the summary)" in each["text"]


@pytest.mark.parametrize(("level", "sign"), [("critical", "🔴"), ("warning", "🟠"), ("info", "🔵")])
def test_the_sign_follows_the_level(level: str, sign: str) -> None:
    html, _ = sent_bodies(render(conversation(alert(severity=level))))
    assert parsed(html).text.startswith(f"{sign} {level.upper()}: HighLatency")


def test_the_title_names_what_fires_and_not_what_ended() -> None:
    ended = [alert(alertname=name, severity="info", instance="1", resolved=True) for name in ("AAA", "BBB")]
    down = alert(alertname="ZZZdown", instance="9")
    html, _ = sent_bodies(render(conversation(*ended, down, group_labels={"cluster": "eu-1"})))
    assert parsed(html).text.startswith("🔴 CRITICAL: ZZZdown on 9 (cluster=eu-1; 2 resolved)\n")


def test_cut_text_is_counted_and_keeps_entities_whole() -> None:
    summary = "&" * 20_000
    text = parsed({**sent_bodies(render(conversation(alert(annotations={"summary": summary}))))[0]}).text
    (left,) = re.findall(r"… \((\d+) more characters of the summary\)", text)
    assert text.count("&") + int(left) == len(summary)


@given(st.lists(st.sampled_from(["<b>", "</b>", "<i>x</i>", "&amp;", "🙂", "text "])), st.integers(80, 300))
def test_cut_markup_has_no_half_entity_or_open_tag(pieces: list[str], limit: int) -> None:
    depth, kept = 0, []
    for each in pieces * 20:
        depth += {"<b>": 1, "</b>": -1}.get(each, 0)
        if depth in {0, 1}:
            kept.append(each)
        depth = min(1, max(0, depth))
    text = "".join(kept) + "</b>" * depth
    cut = HTML.clip(text, limit, "it")
    assert units(cut) <= limit
    assert not parsed({"text": cut, "parse_mode": "HTML"}).fault
    assert plain_text(cut).split("… (")[0] == plain_text(text)[: len(plain_text(cut).split("… (")[0])]


# What goes wrong


async def test_not_modified_counts_as_delivered(server: FakeTelegram, channel: TelegramChannel) -> None:
    talk = conversation()
    remote = await delivered(channel, talk)
    old = tuple(replace(each, news=False) for each in talk.alerts)
    after = await delivered(channel, replace(talk, version=2, remote=remote, alerts=old))
    assert after == {**remote, "shown": 2}
    server.expect(Want())


@pytest.mark.parametrize("words", ["message to edit not found", "message can't be edited"])
async def test_message_that_cannot_be_edited_is_posted_again(
    server: FakeTelegram, channel: TelegramChannel, words: str
) -> None:
    remote = await delivered(channel, conversation())
    server.delete(server.only)
    server.fail(error(f"Bad Request: {words}"))
    outcome = await send(channel, conversation(ENDED, version=2, remote=remote))
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == (Call.POST,)
    server.expect(Want(("Resolved: HighLatency",)), Want(("All resolved",), reply=True))


async def test_refused_html_is_sent_as_plain_text(server: FakeTelegram, channel: TelegramChannel) -> None:
    server.fail(error(PARSE_ERROR))
    outcome = await send(channel, conversation())
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == (Call.POST,)
    assert "parse_mode" not in server.only.body
    server.expect(Want(("🔴 CRITICAL: HighLatency", "Source: https://prometheus.example/graph?g0.expr=up")))


async def test_refused_plain_text_is_rejected(server: FakeTelegram, channel: TelegramChannel) -> None:
    server.fail(error(PARSE_ERROR), error("Bad Request: message is too long"))
    assert isinstance(await send(channel, conversation()), Rejected)


async def test_rate_limit_waits_as_long_as_telegram_says(
    server: FakeTelegram, channel: TelegramChannel
) -> None:
    server.fail(error("Too Many Requests: retry after 17", retry_after=17))
    outcome = await send(channel, conversation())
    assert isinstance(outcome, Retry)
    assert (outcome.after, outcome.pause, outcome.ambiguous) == (17 * SECOND, True, False)
    assert outcome.reason == "http 429: too many requests"


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("Bad Request: chat not found", "telegram: chat not found"),
        ("Forbidden: bot was kicked from the supergroup chat", "telegram: bot was kicked"),
        ("Unauthorized", "http 401: token refused"),
        ("Not Found", "http 404: unknown token"),
    ],
)
async def test_broken_chat_or_token_says_why(
    server: FakeTelegram, channel: TelegramChannel, description: str, reason: str
) -> None:
    server.fail(error(description))
    outcome = await send(channel, conversation())
    assert isinstance(outcome, Broken)
    assert outcome.reason == reason
    assert outcome.cause == ("telegram" if "http" in reason else "")


async def test_supergroup_names_its_new_chat_id(server: FakeTelegram, channel: TelegramChannel) -> None:
    words = "Bad Request: group chat was upgraded to a supergroup chat"
    server.fail(error(words, migrate_to_chat_id=-1009))
    outcome = await send(channel, conversation())
    assert isinstance(outcome, Broken)
    assert outcome.words.startswith("set chat_id to -1009")


async def test_lost_answer_is_ambiguous(server: FakeTelegram, channel: TelegramChannel) -> None:
    server.fail(LOST_ANSWER)
    outcome = await send(channel, conversation())
    assert isinstance(outcome, Retry)
    assert outcome.ambiguous
    assert len(server.messages) == 1


async def test_next_attempt_continues_with_the_reply(server: FakeTelegram, channel: TelegramChannel) -> None:
    remote = await delivered(channel, conversation())
    server.fail(http(200, '{"ok": true}', "application/json"), CLOSE)
    talk = conversation(ENDED, version=2, remote=remote)
    outcome = await send(channel, talk)
    assert isinstance(outcome, Retry)
    assert outcome.further
    assert outcome.remote == {**remote, "shown": 2}
    final = replace(talk, remote=outcome.remote or {}, attempt=2)
    assert render(final).calls == (Call.POST,)
    assert await delivered(channel, final) == {**remote, "shown": 2, "replied": [2, 1]}
    assert [method for method, _ in server.calls] == [
        "sendMessage",
        "editMessageText",
        "sendMessage",
        "sendMessage",
    ]


async def test_refused_reply_is_reported_by_the_next_attempt(
    server: FakeTelegram, channel: TelegramChannel
) -> None:
    remote = await delivered(channel, conversation())
    refusal = error("Bad Request: something of tomorrow")
    server.fail(http(200, '{"ok": true}', "application/json"), refusal, refusal)
    talk = conversation(ENDED, version=2, remote=remote)
    outcome = await send(channel, talk)
    assert isinstance(outcome, Retry)
    assert outcome.further
    server.fail(refusal, refusal)
    assert isinstance(await send(channel, replace(talk, remote=outcome.remote or {})), Rejected)


async def test_attempt_makes_only_paid_requests(server: FakeTelegram, channel: TelegramChannel) -> None:
    remote = await delivered(channel, conversation())
    talk = conversation(ENDED, version=2, remote=remote)
    message = channel.render(GROUP, talk, TEMPLATES)
    assert message.calls == (Call.EDIT, Call.POST)
    outcome = await channel.send(GROUP, talk, replace(message, paid=1))
    assert isinstance(outcome, Retry)
    assert outcome.unfinished
    server.expect(Want(("Resolved",), edits=1))


async def test_token_never_shows(
    server: FakeTelegram, unused_tcp_port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in outcomes, nor in errors of the configuration, nor in logs."""
    caplog.set_level("DEBUG")
    secret = TOKEN.partition(":")[2]
    faults = [error(f"Bad Request: /bot{TOKEN}/sendMessage {TOKEN}"), http(502, f"<p>{TOKEN}"), CLOSE]
    for address in (server.url, f"http://127.0.0.1:{unused_tcp_port}", "http://[", "ftp://x"):
        async with opened(address) as channel:
            for fault in faults:
                server.fail(fault, fault)  # as HTML, and as plain text
                outcome = await send(channel, conversation())
                assert not isinstance(outcome, Delivered)
                assert secret not in repr(outcome) + outcome.shown + caplog.text
            server.recover()
    with pytest.raises(ValidationError) as caught:
        TelegramSettings.model_validate({"token": f"bot {TOKEN}"})
    assert secret not in str(caught.value)
    assert secret not in mask(f"# my bot is {TOKEN}")


# Templates, storms


@pytest.mark.parametrize("remote", [{}, {"message": 7, "shown": 1}])
def test_template_that_fails_gives_all_facts(tmp_path: Path, remote: dict[str, Any]) -> None:
    shipped = (Path(__file__).parents[3] / "templates" / "telegram.j2").read_text()
    (tmp_path / "telegram.j2").write_text(shipped.replace("{{ headline }}", "{{ nothing }}"))
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    talk = conversation(alert(instance="<a>&b"), ENDED, version=2, remote=remote)
    message = render(talk, broken)
    assert message.fallback
    for body in sent_bodies(message):
        assert fault_of(body) == ""
    text = parsed(sent_bodies(message)[0]).text
    for words in (
        "CRITICAL: HighLatency",
        "1 firing, 1 resolved",
        "instance=<a>&b",
        "summary: p99 is over 2 s",
    ):
        assert words in text


def stormy(lines: tuple[StormLine, ...], **more: Any) -> Conversation:
    view = StormView(len(lines), len(lines), lines[:500], over=False, news=StormNews(firing=lines))
    return conversation(alerts=(), storm=view, **more)


def hosts(number: int, text: str = "") -> tuple[StormLine, ...]:
    labels = ({"alertname": "HostDown", "instance": f"n{each}{text}"} for each in range(number))
    return tuple(StormLine(each, "critical", 1, "https://am.example") for each in labels)


def as_many_as_fit(text: str) -> tuple[StormLine, ...]:
    """Of hosts with such names, what a message of a storm takes along."""
    room, number = STORM_ROOM, 0
    for line in hosts(1_000, text):
        room -= room_of(line, begins=number == 0)
        if room < 0:
            break
        number += 1
    return hosts(number, text)


@pytest.mark.parametrize("remote", [{}, {"message": 7, "shown": 1}])
@pytest.mark.parametrize("text", ["", ".example.com:9100", "&<>" * 20, "ü🙂 " * 60, "x" * 1_000])
def test_storm_names_every_group(text: str, remote: dict[str, Any]) -> None:
    """In the first message, or in the reply to it; a second reply holds what UTF-16 makes too long."""
    lines = as_many_as_fit(text)
    message = render(stormy(lines, version=2, remote=remote))
    bodies = sent_bodies(message)
    for body in bodies:
        assert fault_of(body) == ""
    html = bodies[: len(bodies) // 2]
    assert len(html) <= 2 + bool(remote)
    news = " ".join(body["text"] for body in (html[1:] if remote else html))
    assert {int(each) for each in re.findall(r"\bn(\d+)", news)} == set(range(len(lines)))


def test_storm_template_that_fails_names_every_group(tmp_path: Path) -> None:
    shipped = (Path(__file__).parents[3] / "templates" / "storm.txt.j2").read_text()
    (tmp_path / "storm.txt.j2").write_text(shipped.replace("{{ total }}", "{{ nothing }}"))
    broken = Templates(levels=LEVELS, timezone="UTC", directory=tmp_path)
    message = render(stormy(hosts(60)), broken)
    assert message.fallback
    assert set(re.findall(r"\bn(\d+)", message.body["text"])) == set(map(str, range(60)))


async def test_storm_is_edited_and_its_news_is_a_reply(
    server: FakeTelegram, channel: TelegramChannel
) -> None:
    remote = await delivered(channel, stormy(hosts(30)))
    server.expect(Want(("Alert storm: 30 groups firing", "HostDown")))
    await delivered(channel, stormy(hosts(31), version=2, remote=remote))
    server.expect(Want(("31 groups firing",), edits=1), Want(("31 new", "n30"), reply=True))
    assert TELEGRAM.storm_room == STORM_ROOM


# Settings, options, import


@pytest.mark.parametrize("chat", [0, "alerts", "@a", "--1", "1.5", True, "@" + "x" * 40])
def test_bad_chat_is_refused(chat: Any) -> None:
    with pytest.raises(ValidationError, match="is no chat"):
        options(chat_id=chat)


def test_chat_and_topic_make_the_key() -> None:
    assert options(chat_id=CHAT).key("r") == f"telegram:{CHAT}"
    assert options(chat_id="@alerts", message_thread_id=7).key("r") == "telegram:@alerts:7"


@pytest.mark.parametrize(
    ("chat", "limits"), [(CHAT, GROUP_LIMITS), ("@alerts", GROUP_LIMITS), (42, CHAT_LIMITS)]
)
def test_group_is_limited_to_twenty_a_minute(chat: Any, limits: Any) -> None:
    assert TELEGRAM.limits_of(options(chat_id=chat), None) == limits
    rate = GROUP_LIMITS.rate
    assert rate is not None
    assert rate.burst + rate.a_minute == 20
    assert TELEGRAM.shared_of(None) == ALL_CHATS_LIMITS


def imported(config: dict[str, Any], **global_keys: Any) -> tuple[Any, str]:
    data = {
        "global": global_keys,
        "route": {"receiver": "team"},
        "receivers": [{"name": "team", "telegram_configs": [config]}],
    }
    result = convert_text(json.dumps(data), now=NOW)
    loaded = loads(result.text, name="routes.yaml", folder=Path(), environ={}, now=NOW, preview=True)
    found = [each.options for each in loaded.policy.destinations.values()]
    return (found[0] if found else None, loaded.settings.get("telegram")), "\n".join(map(str, result.notes))


def test_import_takes_chat_topic_and_token() -> None:
    (found, section), notes = imported(
        {"chat_id": CHAT, "message_thread_id": 7, "bot_token": TOKEN, "message": "x", "parse_mode": "HTML"}
    )
    assert (found.chat_id, found.message_thread_id) == (str(CHAT), 7)
    assert section.api_url == "https://api.telegram.org"
    assert "set TELEGRAM_BOT_TOKEN to it" in notes
    assert TOKEN not in notes


def test_import_takes_the_global_token_and_address() -> None:
    (_, section), notes = imported(
        {"chat_id": 42, "disable_notifications": True},
        telegram_bot_token=TOKEN,
        telegram_api_url="https://telegram.example",
    )
    assert section.api_url == "https://telegram.example"
    assert "disable_notifications has no counterpart" in notes
    assert "telegram_bot_token is written here in plain text" in notes


def test_import_asks_for_a_chat_in_a_file() -> None:
    (found, _), notes = imported({"chat_id_file": "/run/chat", "bot_token": TOKEN})
    assert found is not None
    assert "set TEAM_TELEGRAM_CHAT_ID to the chat's number" in notes
    (found, _), notes = imported({"bot_token": TOKEN})
    assert found is None
    assert "has no chat_id" in notes
