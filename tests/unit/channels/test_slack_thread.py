"""What a Slack message can't hold, and what becomes of it when Slack or its readers interfere."""

import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.channels.slack import SlackChannel
from router.model import (
    DAY,
    MINUTE,
    SECOND,
    Broken,
    Call,
    Conversation,
    Delivered,
    Message,
    Retry,
)
from router.render import Templates
from tests.examples import examples
from tests.unit.channels.slack_talk import (
    CRITICAL,
    GREEN,
    NOW,
    RED,
    TEMPLATES,
    connect,
    conversation,
    noted,
    notify,
    remote,
    render,
    sections,
    shown_alert,
    whole,
    words,
)
from tests.unit.channels.talk import without_row
from tests.world.fake_slack import (
    CLOSE,
    LOST_ANSWER,
    TOKEN,
    FakeSlack,
    Fault,
    Want,
    error,
    http,
    rate_limited,
)


@pytest.fixture
async def server() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


@pytest.fixture
async def channel(server: FakeSlack) -> AsyncIterator[SlackChannel]:
    channel = connect(server.url)
    yield channel
    await channel.close()


def many(number: int, *, ended: int = 0, length: int = 0, **fields: Any) -> Conversation:
    alerts = (shown_alert(f"{index:05}" + "x" * length, firing=index >= ended) for index in range(number))
    return conversation(*alerts, **fields)


def split(number: int, **fields: Any) -> Conversation:
    """Of so many alerts, of which a message or a reply holds no more than fifty."""
    return many(number, length=200, **fields)


def unshown(message: Message) -> str:
    """The last lines, which count and name what even the replies don't hold; a list that goes on in another section is
    whole again.
    """
    lines = [line for part in message.body["parts"] for text in sections(part) for line in text.splitlines()]
    first = next(
        (number for number, line in enumerate(lines) if line.startswith(("… not shown", "… and "))), None
    )
    if first is None:
        return ""
    return (
        "\n".join(re.sub(r"^\*\d+/\d+\*$", "", line) for line in lines[first:])
        .replace(",\n\n", ", ")
        .replace(",\n", ", ")
    )


# Nothing is lost


@pytest.mark.parametrize("number", [1, 50, 2_000])
def test_every_alert_is_named(number: int) -> None:
    named = [f"service=`{index:05}`" for index in range(number)] if number > 1 else ["service=`00000`"]
    shown = whole(render(many(number)))
    assert [name for name in named if shown.count(name) != 1] == []
    assert unshown(render(many(number))) == ""


def test_what_stands_in_the_thread_is_counted_in_the_message() -> None:
    message = render(many(500, ended=100))
    sections_ = words(message, "section")
    rest = re.search(r"… and (\d+) more in the thread \((\d+) firing, (\d+) resolved\)", "\n".join(sections_))
    assert rest is not None
    total, firing, resolved = map(int, rest.groups())
    assert total == firing + resolved
    assert "\n".join(sections_).count("service=") + total == 500
    assert sum(text.count("service=") for part in message.body["parts"] for text in sections(part)) == total


@pytest.mark.parametrize(
    ("number", "length"), [(60, 3_000), (82, 3_000), (400, 3_000), (1_000, 900), (1_500, 3_000)]
)
def test_alerts_without_a_row_are_named_in_the_last_replies(number: int, length: int) -> None:
    alerts = [
        noted(shown_alert(f"{index:05}"), description=f"{index} " + "x" * length) for index in range(number)
    ]
    message = render(conversation(*alerts))
    left = unshown(message)
    shown = whole(message)
    rows = set(re.findall(r"service=`(\d{5})`", shown))
    assert without_row(left) == number - len(rows)
    assert rows | set(re.findall(r"\b\d{5}\b", left)) == {f"{index:05}" for index in range(number)}
    assert "not named here" not in left


def test_names_take_a_third_of_the_replies_at_most() -> None:
    alerts = [
        noted(shown_alert(f"{index:05}" + "y" * 50), description=f"{index} " + "x" * 1_000)
        for index in range(2_000)
    ]
    message = render(conversation(*alerts))
    left = unshown(message)
    rows = len(set(re.findall(r"service=`(\d{5})", whole(message))))
    assert rows > 100
    named = len(re.findall(r"\b\d{5}y", left))
    assert named > 800
    not_named = re.search(r"and (\d+) not named here \((\d+) HighErrorRate\)$", left)
    assert not_named is not None
    assert rows + named + int(not_named[1]) == 2_000
    assert len(message.body["parts"]) == 19


def test_all_rows_are_shown_where_they_fit_without_room_for_names() -> None:
    """The room for names is kept only if it is needed."""
    most = max(number for number in range(30, 60) if not unshown(render(_described(number))))
    assert re.search(r"… and (\d+) more", unshown(render(_described(most + 1)))) is not None
    assert len(render(_described(most)).body["parts"]) == 19


def _described(number: int) -> Conversation:
    return conversation(
        *(noted(shown_alert(f"{i:05}"), description=f"{i} " + "x" * 3_000) for i in range(number))
    )


@pytest.mark.parametrize("others", [0, 49])
def test_an_annotation_longer_than_a_message_goes_on_in_the_next_reply(others: int) -> None:
    long = " ".join(f"{word:06}" for word in range(100_000 // 7))
    alerts = [
        noted(shown_alert("first"), summary="s", details=long),
        *(shown_alert(f"{i}") for i in range(others)),
    ]
    message = render(conversation(*alerts))
    assert f"details: {long}" in whole(message)
    assert len(message.body["parts"]) > 1
    assert unshown(message) == ""


def test_a_title_longer_than_a_header_is_whole_in_the_thread() -> None:
    long = "Disk" + "x" * 300
    message = render(conversation(shown_alert(alertname=long), group_labels={}))
    assert words(message, "header")[0].endswith("…")
    assert long in whole(message)


def test_common_and_own_annotations_are_shown_whole_and_once() -> None:
    shared = {"summary": "shared " * 99, "owner": "team a"}
    alerts = [noted(shown_alert(f"{index}"), **shared, description=f"own {index}") for index in range(3)]
    shown = whole(render(conversation(*alerts)))
    for text in ("shared " * 98 + "shared", "owner: team a", "own 0", "own 1", "own 2"):
        assert shown.count(text) == 1


@examples(14)
@given(st.integers(1, 60), st.integers(0, 20_000), st.sampled_from(["x", "a b ", "& ", "&", "line\n"]))
def test_every_character_is_somewhere_or_counted(number: int, length: int, piece: str) -> None:
    """Of alerts with notes of their own: what is not shown whole is cut in one place, and counted from there on."""
    note = (piece * (length // len(piece) + 1))[:length].strip()
    alerts = [
        noted(shown_alert(f"{i:02}"), details=f"{i:02}<{' '.join(note.split())}>") for i in range(number)
    ]
    message = render(conversation(*alerts))
    shown, left = whole(message), unshown(message)
    escaped = " ".join(note.split()).replace("&", "&amp;")
    texts = [f"details: {i:02}&lt;{escaped}&gt;" for i in range(number)]
    missing = [text for text in texts if text not in shown]
    alerts_left = without_row(left)
    characters = re.search(r"(\d+) characters of text", left)
    if not missing:
        assert not left
        return
    assert len(missing) == alerts_left + (1 if characters else 0)
    if characters:
        end = shown.index("… not shown")
        row = shown[shown.rindex("🔴", 0, end) : end]
        whole_row = f"🔴 service=`{number - alerts_left - 1:02}` · since 22:55\n{missing[0]}"
        assert len(row.strip("\n")) + int(characters[1]) == pytest.approx(len(whole_row), abs=2)


def test_more_than_twenty_messages_are_never_needed() -> None:
    alerts = [
        *(shown_alert(f"{index:05}" + "x" * 60) for index in range(9_000)),
        *(shown_alert("y" * 99, alertname=f"Other{index}" + "z" * 99) for index in range(7)),
    ]
    message = render(conversation(*alerts, group_labels={}))
    assert len(message.body["parts"]) == 19
    left = unshown(message)
    assert left.endswith(sections(message.body["parts"][-1])[-1])
    shown = len(re.findall(r"service=`\d{5}", whole(message)))
    assert without_row(left) == 9_007 - shown
    assert left.endswith("4 other names)")


@examples(12)
@given(st.integers(1, 1_000), st.integers(0, 3_000), st.sampled_from("x&`*\n"))
def test_each_reply_is_one_that_slack_takes(number: int, length: int, piece: str) -> None:
    alerts = [
        noted(shown_alert(f"{i % 9}", instance=f"{i}"), note=f"{i}" + piece * length) for i in range(number)
    ]
    parts = render(conversation(*alerts)).body["parts"]
    slack = FakeSlack()
    place = {"channel": "C0CRITICAL"}
    assert [fault for part in parts if (fault := slack.refuses({**place, **part}))] == []
    assert [len(part["text"]) for part in parts if len(part["text"]) > 4_000] == []
    assert max((sum(map(len, sections(part))) for part in parts), default=0) <= 12_000
    numbers = [part["text"].rpartition(" ")[2] for part in parts]
    assert numbers == [f"{index + 2}/{len(parts) + 1}" for index in range(len(parts))]
    halves = re.compile("&(?!amp;|lt;|gt;)")
    assert not any(halves.search(text) for part in parts for text in sections(part))


async def test_the_thread_carries_the_rest_by_number(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, split(180))
    count = len(server.only.replies)
    assert count > 2
    server.expect(
        Want(
            "C0CRITICAL",
            ("more in the thread",),
            replies=tuple(f"*{number}/{count + 1}*" for number in range(2, count + 2)),
        )
    )
    assert [ts for ts, _ in state["parts"]] == [reply.ts for reply in server.only.thread]
    assert server.only.broadcasts == 0


async def test_without_the_template_the_thread_carries_the_rest_too(
    server: FakeSlack, channel: SlackChannel, tmp_path: Path
) -> None:
    (tmp_path / "slack.j2").write_text("{% block alert %}{{ nonsense }}{% endblock %}")
    broken = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    about = conversation(*(noted(shown_alert(f"{i:03}"), note=f"{i:03}" * 50) for i in range(100)))
    message = channel.render(CRITICAL, about, broken)
    assert isinstance(await channel.send(CRITICAL, about, message), Delivered)
    shown = "\n".join([server.only.shown, *server.only.replies])
    assert [i for i in range(100) if f"note: {f'{i:03}' * 50}" not in shown] == []


async def test_a_reply_whose_blocks_slack_refuses_goes_as_text(
    server: FakeSlack, channel: SlackChannel
) -> None:
    server.fail(Fault(), error("invalid_blocks"))
    await remote(channel, conversation(noted(shown_alert(), note="n" * 9_000)))
    (reply,) = server.only.thread
    assert reply.blocks == []
    assert reply.text.count("n") >= 9_000


# Replies follow the present


async def test_only_replies_whose_words_changed_are_edited(server: FakeSlack, channel: SlackChannel) -> None:
    before = split(180)
    state = await remote(channel, before)
    called = len(server.calls)
    *rest, last = (replace(each, news=False) for each in before.alerts)
    ended = shown_alert("00179" + "x" * 200, firing=False)
    assert last.alert.labels == ended.alert.labels
    await remote(channel, conversation(*rest, ended, remote=state, version=2, now=NOW + MINUTE))
    edits = [body for method, body in server.calls[called:] if method == "chat.update"]
    # The first reply has the title, which now counts the end.
    thread = server.only.thread
    assert [body["ts"] for body in edits] == [server.only.ts, thread[0].ts, thread[-2].ts]
    assert server.only.replies[-1].startswith("✅ resolved: 00179"), "the news are the one new reply"
    assert "✅ service=`00179" in server.only.replies[-2]


async def test_a_reply_that_is_not_needed_any_more_says_so_and_is_used_again(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, split(180))
    count = len(server.only.thread)
    state = await remote(channel, split(60, remote=state, version=2))
    numbered = [reply for reply in server.only.replies if not reply.startswith("🔴 new")]
    assert len(numbered) == count
    assert numbered[0].startswith("Continued: 2/2")
    assert numbered[1:] == ["Nothing is left for this reply: the message above has it all."] * (count - 1)
    state = await remote(channel, split(180, remote=state, version=3))
    numbered = [reply for reply in server.only.replies if not reply.startswith("🔴 new")]
    assert [f": {index + 2}/{count + 1}\n" in reply for index, reply in enumerate(numbered)] == [True] * count


async def test_a_removed_reply_is_posted_again_when_it_changes(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, split(180))
    count = len(server.only.thread)
    server.delete(server.only.thread[-1])
    state = await remote(channel, split(181, remote=state, version=2))
    numbered = [reply.ts for reply in server.only.thread if reply.blocks]
    assert [ts for ts, _ in state["parts"]] == numbered
    assert len(numbered) == count


async def test_replies_that_were_cut_short_go_on_from_there(server: FakeSlack, channel: SlackChannel) -> None:
    """What was talk stays talk, and nothing is posted twice."""
    about = split(180)
    server.fail(Fault(), Fault(), rate_limited(7))
    outcome = await notify(channel, about)
    assert isinstance(outcome, Retry)
    assert outcome.remote is not None
    first = [server.only.thread[0].ts]
    limited = Retry("ratelimited", after=7 * SECOND, ambiguous=True, pause=True, further=True)
    assert replace(outcome, remote=None) == limited
    assert [ts for ts, _ in outcome.remote["parts"]] == first
    state = await remote(channel, replace(about, remote=outcome.remote, attempt=2))
    assert [ts for ts, _ in state["parts"]] == [reply.ts for reply in server.only.thread]
    assert len(server.only.thread) == len(render(about).body["parts"])
    assert server.only.edits == 0


# An edit that Slack refuses


@pytest.mark.parametrize("code", ["cant_update_message", "edit_window_closed"])
async def test_an_edit_refused_becomes_a_reply_with_the_new_state(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.fail(error(code, "chat.update"))
    state = await remote(
        channel, conversation(shown_alert(news=False), shown_alert("cart"), remote=state, version=2)
    )
    await remote(
        channel,
        conversation(shown_alert(firing=False), shown_alert("cart", firing=False), remote=state, version=3),
    )
    server.expect(Want("C0CRITICAL", ("🔴",), RED, ("2 firing", "✅ Resolved: HighErrorRate")))
    assert [reply.color for reply in server.only.thread] == [RED, GREEN]
    assert server.only.broadcasts == 1, "what fires newly is shown in the channel"
    assert [method for method, _ in server.calls].count("chat.update") == 1


@pytest.mark.parametrize("code", ["invalid_arguments", "invalid_json", "a_code_of_tomorrow"])
async def test_an_unknown_error_gets_one_plain_try(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    server.fail(error(code))
    state = await remote(channel, conversation(shown_alert()))
    server.expect(Want("C0CRITICAL", ("HighErrorRate", "Checkouts fail")))
    assert (server.only.blocks, server.only.attachments, len(server.calls)) == ([], [], 2)
    server.fail(error(code, "chat.update"))
    await remote(channel, conversation(shown_alert(), shown_alert("cart"), remote=state, version=2))
    assert "cart" in server.only.text


async def test_an_unknown_error_that_stays_is_tried_again_later(
    server: FakeSlack, channel: SlackChannel
) -> None:
    server.fail(*[error("a_code_of_tomorrow")] * 2)
    outcome = await notify(channel, conversation(shown_alert()))
    assert outcome == Retry("a_code_of_tomorrow", remote={})
    assert len(server.calls) == 2


async def test_what_slack_says_beside_its_code_is_kept_for_people(
    server: FakeSlack, channel: SlackChannel
) -> None:
    body = {
        "ok": False, "error": "missing_scope", "needed": "chat:write", "provided": f"none, {TOKEN}",
        "response_metadata": {"messages": ["[ERROR] see your app"]},
    }  # fmt: skip
    server.fail(http(200, json.dumps(body), "application/json"))
    outcome = await notify(channel, conversation(shown_alert()))
    assert isinstance(outcome, Broken)
    assert outcome.words == "needed: chat:write, provided: none, ***, messages: [ERROR] see your app"
    assert outcome.cause == "slack"


@pytest.mark.parametrize("code", ["cant_broadcast_message", "cannot_reply_to_message", "a_code_of_tomorrow"])
async def test_news_that_the_thread_refuses_are_a_new_message(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    """An edit notifies nobody."""
    state = await remote(channel, conversation(shown_alert()))
    server.refuse_replies = code
    news = conversation(shown_alert(news=False), shown_alert("cart"), remote=state, version=2)
    state = await remote(channel, news)
    edited, announced = server.in_channel("C0CRITICAL")
    assert edited.edits == 1
    assert edited.replies == []
    assert "cart" in announced.shown
    await remote(channel, replace(news, remote=state, attempt=2))
    assert len(server.messages) == 2, "it is announced once"


async def test_an_edit_refused_for_an_unknown_reason_becomes_a_reply(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.fail(*[error("a_code_of_tomorrow", "chat.update")] * 2)
    await remote(channel, conversation(shown_alert(news=False), shown_alert("cart"), remote=state, version=2))
    assert len(server.only.replies) == 1
    assert "2 firing" in server.only.replies[0]


async def test_an_unknown_reason_that_refuses_all_seals_no_message(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.fail(*[error("a_code_of_tomorrow")] * 6)
    news = conversation(shown_alert(news=False), shown_alert("cart"), remote=state, version=2)
    outcome = await notify(channel, news)
    assert isinstance(outcome, Retry)
    assert outcome.remote is not None
    await remote(channel, replace(news, remote=outcome.remote, attempt=2))
    assert server.only.edits == 1
    assert len(server.only.replies) == 1


async def test_a_retry_repeats_no_reply_of_a_message_that_cannot_be_edited(
    server: FakeSlack, channel: SlackChannel
) -> None:
    server.edits_allowed = False
    state = await remote(channel, conversation(shown_alert()))
    ended = conversation(shown_alert(firing=False), remote=state, version=2)
    state = await remote(channel, ended)
    await remote(channel, replace(ended, remote=state, attempt=2))
    assert len(server.only.replies) == 1


async def test_a_split_message_that_cannot_be_edited_adds_only_what_is_new(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, split(180))
    count = len(server.only.thread)
    server.edits_allowed = False
    before = split(180).alerts
    known = [replace(each, news=False) for each in before]
    state = await remote(channel, conversation(*known, shown_alert("later"), remote=state, version=2))
    assert len(server.only.thread) == count + 1 + count, (
        "once, all of it anew: what stands there can't be mended"
    )
    more = shown_alert("latest")
    state = await remote(
        channel,
        conversation(*known, replace(shown_alert("later"), news=False), more, remote=state, version=3),
    )
    assert len(server.only.thread) == count + 1 + count + 2
    assert "service=`latest`" in server.only.replies[-1]
    assert "service=`later`" not in server.only.replies[-1]


async def test_a_retry_continues_with_the_replies_of_a_sealed_message(
    server: FakeSlack, channel: SlackChannel
) -> None:
    """Even if it comes a day late, and the words have changed with the hour."""
    state = await remote(channel, split(180))
    server.edits_allowed = False
    known = (replace(each, news=False) for each in split(180).alerts)
    again = conversation(*known, shown_alert("later"), remote=state, version=2)
    server.fail(Fault(), Fault(), Fault(), http(503))
    outcome = await notify(channel, again)
    assert isinstance(outcome, Retry)
    assert outcome.remote is not None
    assert len(outcome.remote["parts"]) == 1
    count = len(server.only.thread)
    late = replace(again, remote=outcome.remote, now=NOW + DAY)
    await remote(channel, late)
    assert len(server.only.thread) == count + len(render(late).body["parts"]) - 1
    assert "service=`later`" in server.only.replies[-1]


async def test_a_removed_sealed_message_is_posted_and_edited_again(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.edits_allowed = False
    state = await remote(channel, conversation(shown_alert(), shown_alert("cart"), remote=state, version=2))
    server.delete(server.only)
    server.edits_allowed = True
    state = await remote(
        channel, conversation(shown_alert(), shown_alert("cart"), shown_alert("tax"), remote=state, version=3)
    )
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=4))
    server.expect(Want("C0CRITICAL", ("✅",), GREEN, ("✅ All resolved",)))


# An answer that got lost


async def lost(server: FakeSlack, channel: SlackChannel, about: Conversation) -> Mapping[str, Any]:
    """What is known of a post that Slack took without being able to say so."""
    server.fail(LOST_ANSWER)
    outcome = await notify(channel, about)
    assert outcome == Retry("connection failed", ambiguous=True, remote={"doubt": about.now})
    assert outcome.remote is not None
    return outcome.remote


async def test_a_message_whose_answer_got_lost_is_found_again(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await lost(server, channel, conversation(shown_alert()))
    metadata = {"event_type": "alert_router", "event_payload": {"delivery": f"{'0' * 32}-1-1"}}
    assert server.only.metadata == metadata
    state = await remote(channel, conversation(shown_alert(), remote=state, attempt=2))
    assert state == {"channel": "C0CRITICAL", "ts": server.only.ts, "shown": 1, "threaded": 1}
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=2))
    server.expect(Want("C0CRITICAL", ("✅",), GREEN, ("✅ All resolved",)))


async def test_a_message_found_again_is_brought_up_to_date(server: FakeSlack, channel: SlackChannel) -> None:
    state = await lost(server, channel, conversation(shown_alert()))
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=2, attempt=2))
    server.expect(Want("C0CRITICAL", ("✅",), GREEN, ("✅ All resolved",)))


async def test_a_message_found_again_gets_its_numbered_replies(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await lost(server, channel, split(90))
    state = await remote(channel, split(90, remote=state, attempt=2))
    assert len(server.only.thread) == len(state["parts"]) > 0


async def test_a_post_that_did_not_arrive_is_posted_once(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(CLOSE)
    await notify(channel, conversation(shown_alert()))
    await remote(channel, conversation(shown_alert(), remote={"doubt": NOW}, attempt=2))
    server.expect(Want("C0CRITICAL"))


@pytest.mark.parametrize("code", ["missing_scope", "not_allowed_token_type", "channel_not_found", "odd_news"])
async def test_where_the_history_may_not_be_read_it_is_posted_again(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    state = await lost(server, channel, conversation(shown_alert()))
    server.history_trouble = code
    await remote(channel, conversation(shown_alert(), remote=state, attempt=2))
    assert len(server.messages) == 2


@pytest.mark.parametrize("fault", [http(503), error("service_unavailable"), rate_limited(3)], ids=str)
async def test_where_the_history_is_not_to_be_had_now_it_is_asked_for_later(
    server: FakeSlack, channel: SlackChannel, fault: Fault
) -> None:
    state = await lost(server, channel, conversation(shown_alert()))
    server.fail(fault)
    again = conversation(shown_alert(), remote=state, attempt=2, now=NOW + MINUTE)
    outcome = await notify(channel, again)
    assert isinstance(outcome, Retry)
    assert outcome.remote == state
    await remote(channel, replace(again, remote=state))
    server.expect(Want("C0CRITICAL"))


async def test_only_a_message_of_the_conversation_is_taken_for_it(
    server: FakeSlack, channel: SlackChannel
) -> None:
    await remote(channel, conversation(shown_alert(), token="1" * 32))
    await remote(channel, conversation(shown_alert(), episode=11))
    await remote(channel, conversation(shown_alert(), remote={"doubt": NOW}))
    assert len(server.messages) == 3


async def test_the_newest_message_of_the_conversation_counts(
    server: FakeSlack, channel: SlackChannel
) -> None:
    await lost(server, channel, conversation(shown_alert()))
    server.history_trouble = "missing_scope"
    server.fail(Fault(), LOST_ANSWER)
    await notify(channel, conversation(shown_alert(), remote={"doubt": NOW}))
    server.history_trouble = ""
    state = await remote(channel, conversation(shown_alert(), remote={"doubt": NOW}))
    assert state["ts"] == max(ts for _, ts in server.messages)


async def test_what_is_older_than_the_doubt_is_not_looked_through(
    server: FakeSlack, channel: SlackChannel
) -> None:
    server.now = (NOW - 2 * MINUTE) // SECOND
    await remote(channel, conversation(shown_alert()))
    await remote(channel, conversation(shown_alert(), remote={"doubt": NOW}))
    assert len(server.messages) == 2
    asked = next(body for method, body in server.calls if method == "conversations.history")
    assert float(asked["oldest"]) == (NOW - MINUTE) / SECOND


async def test_a_doubt_outlasts_what_cannot_have_arrived(server: FakeSlack, channel: SlackChannel) -> None:
    state = await lost(server, channel, conversation(shown_alert()))
    server.history_trouble, server.trouble["C0CRITICAL"] = "missing_scope", "is_archived"
    assert await notify(channel, conversation(shown_alert(), remote=state, attempt=2)) == Broken(
        "is_archived", state
    )


async def test_an_answer_without_a_ts_leaves_a_doubt(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(http(200, '{"ok":true,"channel":"C0CRITICAL"}', "application/json"))
    outcome = await notify(channel, conversation(shown_alert()))
    assert outcome == Retry("bad answer", ambiguous=True, remote={"doubt": NOW})


# Each call is paid for


async def test_an_attempt_makes_the_calls_that_are_paid_for(server: FakeSlack, channel: SlackChannel) -> None:
    talk, made = split(200), 0
    while True:
        message = channel.render(CRITICAL, talk, TEMPLATES)
        outcome = await channel.send(CRITICAL, talk, replace(message, paid=min(2, len(message.calls))))
        made += min(2, len(message.calls))
        assert len(server.calls) == made
        assert outcome.unpaid == ()
        if isinstance(outcome, Delivered):
            break
        assert isinstance(outcome, Retry)
        assert (outcome.unfinished, outcome.further, outcome.reached) == (True, True, True)
        talk = replace(talk, remote=outcome.remote or {})
    assert len(server.only.thread) + 1 == made > 3


async def test_an_edit_and_its_news_are_two_calls_of_their_kinds(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert("a")))
    talk = conversation(shown_alert("a", news=False), shown_alert("b"), version=2, remote=state)
    message = channel.render(CRITICAL, talk, TEMPLATES)
    assert message.calls == (Call.EDIT, Call.POST)
    first = await channel.send(CRITICAL, talk, replace(message, paid=1))
    assert isinstance(first, Retry)
    assert [method for method, _ in server.calls[1:]] == ["chat.update"]
    later = replace(talk, remote=first.remote or {})
    message = channel.render(CRITICAL, later, TEMPLATES)
    assert message.calls == (Call.POST,)
    assert isinstance(await channel.send(CRITICAL, later, replace(message, paid=1)), Delivered)


@pytest.mark.parametrize(
    ("fault", "remote_state", "unpaid"),
    [
        (error("invalid_blocks"), {}, (Call.POST,)),
        (None, {"doubt": NOW}, (Call.READ,)),
        (error("message_not_found"), {"channel": "C0CRITICAL", "ts": "1.0", "shown": 0}, (Call.POST,)),
    ],
)
async def test_calls_beside_the_plan_are_reported(
    server: FakeSlack,
    channel: SlackChannel,
    fault: Fault | None,
    remote_state: Mapping[str, Any],
    unpaid: tuple[Call, ...],
) -> None:
    server.fail(*([fault] if fault else []))
    outcome = await notify(channel, conversation(shown_alert(), remote=remote_state))
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == unpaid


async def test_an_edit_that_is_refused_and_its_reply_are_one_attempt(
    server: FakeSlack, channel: SlackChannel
) -> None:
    """Else each attempt would try the edit again, and the reply would never come."""
    state = await remote(channel, conversation(shown_alert()))
    server.edits_allowed = False
    talk = conversation(shown_alert(firing=False), version=2, remote=state)
    message = channel.render(CRITICAL, talk, TEMPLATES)
    outcome = await channel.send(CRITICAL, talk, replace(message, paid=1))
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == (Call.POST,)
