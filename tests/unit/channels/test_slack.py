"""The Slack channel against a Slack that refuses what Slack refuses, over real sockets."""

import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from router.channels import REGISTRY
from router.channels.drawing import SentMessage
from router.channels.slack import SlackChannel, SlackOptions, SlackSettings
from router.channels.slack_drawing import notification
from router.channels.slack_errors import (
    AMBIGUOUS,
    DESTINATION_BROKEN,
    EDIT_REFUSED,
    MESSAGE_GONE,
    PAYLOAD_BROKEN,
    TRANSIENT,
)
from router.channels.slack_mrkdwn import escape
from router.model import (
    HOUR,
    SECOND,
    Alert,
    Broken,
    Conversation,
    Delivered,
    Destination,
    Message,
    Rate,
    Rejected,
    Retry,
    ShownAlert,
    Status,
)
from router.render import Templates
from tests.examples import examples
from tests.unit.channels.drawings import inspected
from tests.unit.channels.slack_talk import (
    AMBER,
    BLUE,
    CRITICAL,
    GREEN,
    NOW,
    RED,
    TEMPLATES,
    blocks,
    buttons,
    connect,
    conversation,
    noted,
    notify,
    plain_message,
    remote,
    render,
    sections,
    shown_alert,
    whole,
    words,
)
from tests.unit.channels.talk import without_row
from tests.waiting import outwaited
from tests.world.fake_slack import (
    CLOSE,
    HANG,
    LOST_ANSWER,
    TOKEN,
    FakeSlack,
    Fault,
    Posted,
    Want,
    error,
    http,
    rate_limited,
)
from tests.world.slack_reader import read_mrkdwn

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def server() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as slack:
        yield slack


@pytest.fixture
async def channel(server: FakeSlack) -> AsyncIterator[SlackChannel]:
    channel = connect(server.url)
    yield channel
    await channel.close()


# What a reader sees


async def test_the_first_notification_is_one_message(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert("checkout"), shown_alert("cart", firing=False)))
    assert state == {"channel": "C0CRITICAL", "ts": server.only.ts, "shown": 1, "threaded": 1}
    server.expect(
        Want(
            "C0CRITICAL",
            (
                "🔴 CRITICAL: HighErrorRate on checkout (1 resolved) — Checkouts fail",
                "*Critical* · 1 firing · 1 resolved",
                "More than 5 %",
                "🔴 service=`checkout` · since 22:55 (5 min)",
                "✅ service=`cart`",
                "via oncall · 23:00 Europe/Berlin",
                "https://runbooks.example/HighErrorRate",
                "https://grafana.example/d/1",
                "https://prometheus.example/graph",
                "https://alertmanager.example/#/silences/new?filter=",
            ),
            RED,
        )
    )


@pytest.mark.parametrize(
    ("level", "color", "sign"), [("critical", RED, "🔴"), ("warning", AMBER, "🟠"), ("info", BLUE, "🔵")]
)
def test_color_and_emoji_follow_the_level(level: str, color: str, sign: str) -> None:
    message = render(conversation(shown_alert(level=level)))
    assert message.body["attachments"][0]["color"] == color
    assert words(message, "header") == [f"{sign} HighErrorRate on checkout"]
    assert message.body["text"].startswith(f"{sign} {level.upper()}: ")
    assert words(message, "section")[1].startswith(f"{sign} HighErrorRate")


def test_each_alert_has_the_emoji_of_its_own_level() -> None:
    mixed = conversation(shown_alert("a"), shown_alert("b", level="info"), shown_alert("c", firing=False))
    rows = words(render(mixed), "section")[1].splitlines()
    assert [row[0] for row in rows] == ["🔴", "🔵", "✅"]


def test_a_group_is_as_urgent_as_the_most_urgent_alert_that_fires() -> None:
    mixed = conversation(shown_alert(level="info"), shown_alert("cart", level="critical", firing=False))
    assert render(mixed).body["attachments"][0]["color"] == BLUE


def test_what_was_held_says_since_when() -> None:
    held = replace(shown_alert(), held_since=NOW - HOUR)
    assert "held since 22:00" in str(blocks(render(conversation(held)))[-1])


def test_alerts_that_alertmanager_hid_keep_it_firing_and_are_counted() -> None:
    message = render(conversation(shown_alert(firing=False), truncated=3))
    assert message.body["attachments"][0]["color"] == RED
    assert "3 more alerts not shown by Alertmanager (max_alerts)" in str(blocks(message)[-1])


def test_a_receiver_is_shown_as_it_was_named() -> None:
    quoted = conversation(shown_alert(), receiver=r"team\.web/ops \(EU\)")
    assert "via team.web/ops (EU)" in str(blocks(render(quoted))[-1])


def test_labels_in_title_scope_and_level_are_not_said_again() -> None:
    told_so = conversation(shown_alert(cluster="eu-1", job="api"), group_labels={"cluster": "eu-1"})
    assert words(render(told_so), "section")[-1] == "job=`api` service=`checkout`"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "//no.scheme", "ftp://a.example", "http://a b"])
def test_a_button_opens_web_pages_only(address: str) -> None:
    odd = shown_alert()
    odd = replace(odd, alert=replace(odd.alert, annotations={"runbook_url": address}))
    assert [button["text"]["text"] for button in buttons(render(conversation(odd)))] == ["Source", "Silence"]
    assert f"runbook_url: {escape(address)}" in words(render(conversation(odd)), "section")[0]


def test_an_address_too_long_for_a_button_stands_in_the_thread() -> None:
    odd = shown_alert()
    odd = replace(odd, alert=replace(odd.alert, generator_url="https://a.example/" + "x" * 3_000))
    message = render(conversation(odd))
    assert [button["text"]["text"] for button in buttons(message)] == ["Runbook", "Dashboard", "Silence"]
    assert "Source: https://a.example/" + "x" * 2_000 in whole(message)


def test_a_button_opens_the_address_as_it_was_given() -> None:
    odd = shown_alert()
    odd = replace(odd, alert=replace(odd.alert, generator_url="https://a.example/?a=1&b=_x_&c=*y*"))
    assert "https://a.example/?a=1&b=_x_&c=*y*" in [
        button["url"] for button in buttons(render(conversation(odd)))
    ]


def test_the_name_of_a_button_is_within_its_limit() -> None:
    several = [
        shown_alert(f"{number}" + "x" * 200, alertname=f"Name{number}" + "y" * 80) for number in range(9)
    ]
    message = render(conversation(*several))
    assert [button["text"]["text"][:12] for button in buttons(message)][-1] == "Silence all "
    assert FakeSlack().refuses({"channel": "C0CRITICAL", **message.body}) is None


# Text made safe


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("<!channel> & <@U1>", "&lt;!channel&gt; &amp; &lt;@U1&gt;"),
        ('it\'s "quoted"', 'it\'s "quoted"'),
        ("&amp;", "&amp;amp;"),
        ("kube_pod_name on db1:9100 at 10:20:30", "kube_pod_name on db1:9100 at 10:20:30"),
        ("a\x00b\u202ec\r\nd", "a bc\nd"),
    ],
)
def test_only_what_slack_reads_as_markup_is_escaped(text: str, safe: str) -> None:
    assert escape(text) == safe


async def test_a_label_mentions_no_one(server: FakeSlack, channel: SlackChannel) -> None:
    evil = "<!channel> <@U123> <#C1>"
    state = await remote(channel, conversation(shown_alert(evil, alertname=evil), receiver=evil))
    more = conversation(
        shown_alert(evil, alertname=evil), shown_alert("cart", alertname=evil), remote=state, version=2
    )
    await remote(channel, more)
    server.expect(
        Want(
            "C0CRITICAL",
            ("\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}!channel", "&lt;@U123&gt;"),
            replies=("new:",),
        )
    )


def test_a_backtick_in_a_label_stays_one() -> None:
    message = render(conversation(shown_alert("a`b"), shown_alert("c")))
    assert "service=a`b" in words(message, "section")[1]
    assert {"type": "text", "text": "a`b", "style": {"code": True}} in blocks(message)[2]["elements"][0][
        "elements"
    ]


odd_text = st.text(max_size=40) | st.text("&<>`*_~|@!:\n\x00\u2028🙂", max_size=3_500) | st.sampled_from(["x" * 9_000, "&" * 4_000, "<!here>"])  # fmt: skip
labels = st.dictionaries(odd_text, odd_text, max_size=6)
instants = st.none() | st.integers(-(2**47), 2**48)
alerts = st.builds(
    ShownAlert,
    alert=st.builds(
        Alert, fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16), labels=labels,
        annotations=st.dictionaries(st.sampled_from(["summary", "description", "runbook_url", "message"]), odd_text),
        status=st.sampled_from(Status), starts_at=instants, ends_at=instants,
        generator_url=odd_text | st.integers(0, 4_000).map(lambda length: "https://a.example/" + "x" * length),
    ),
    level=st.sampled_from(["critical", "warning", "info", "unheard-of"]), news=st.booleans(), held_since=instants,
)  # fmt: skip
conversations = st.builds(
    lambda several, many, **fields: conversation(*several * many, **fields),
    st.lists(alerts, max_size=3), st.sampled_from([1, 1, 1, 20]), receiver=odd_text, group_labels=labels,
    external_url=odd_text | st.just("https://am.example"), truncated=st.integers(0, 10**6),
    remote=st.sampled_from([{}, {"channel": "C0CRITICAL", "ts": "1.1", "threaded": 0}]),
)  # fmt: skip


@settings(deadline=None)
@given(conversations)
def test_whatever_it_is_about_a_message_is_one_that_slack_takes(talk: Conversation) -> None:
    """Rendered by template, within every limit, mentioning nobody, JSON, and every alert shown or counted."""
    message = render(talk)
    assert not message.fallback
    slack = FakeSlack()
    assert slack.refuses({"channel": "C0CRITICAL", **message.body}) is None
    for text in plain_message(message):
        assert slack.refuses({"channel": "C0CRITICAL", "text": text}) is None
    assert len(message.body["thread"] or "") <= 4_000
    assert json.loads(json.dumps(message.body)) == message.body
    spoken = json.dumps(message.body, ensure_ascii=False)
    halves = re.compile("&(?!amp;|lt;|gt;)")
    assert not any(halves.search(text) for text in words(message, "section")), "an entity cut in half"
    assert "<!" not in spoken
    assert "<@" not in spoken


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 700), st.data())
def test_every_alert_is_shown_or_counted(number: int, length: int, data: st.DataObject) -> None:
    ended = data.draw(st.integers(0, number))
    several = [shown_alert(f"{index:04}" + "x" * length, firing=index >= ended) for index in range(number)]
    message = render(conversation(*several))
    for text in ("\n".join(words(message, "section")), message.body["plain"]):
        shown = sum(line.startswith(("🔴", "✅ service", "✅ High")) for line in text.splitlines()[1:])
        assert shown >= min(number, 2)
        assert shown + without_row(text) == number


def test_the_fullest_message_still_shows_alerts() -> None:
    """What stands once takes its share and no more; nor does one alert take it all."""
    several = [
        replace(each, alert=replace(
            each.alert,
            labels={**each.alert.labels, "long": f"{number}" + "&" * 3_000, "shared": "y" * 3_000},
            annotations={
                "summary": "s" * 5_000,
                "description": "&" * 5_000,
                "runbook_url": "https://a.example/" + "r" * 1_400,
                "dashboard_url": "https://a.example/" + "d" * 1_400,
            },
            generator_url="https://a.example/" + "g" * 2_900,
        ))
        for number, each in enumerate([shown_alert()] * 200)
    ]  # fmt: skip
    message = render(conversation(*several, receiver="r" * 5_000))
    assert 8_000 < letters(message) <= 12_000
    assert words(message, "section")[1].count("🔴") + words(message, "section")[2].count("🔴") >= 4
    assert message.body["plain"].count("🔴") >= 4


@pytest.mark.parametrize("length", range(40, 140))
def test_the_line_that_counts_the_rest_fits_as_well(length: int) -> None:
    several = [shown_alert(f"{number:03}" + "x" * length) for number in range(150)]
    message = render(conversation(*several))
    assert letters(message) <= 12_000
    assert without_row(message.body["plain"]) > 0
    assert max(map(len, plain_message(message))) <= 4_000


def letters(message: Message) -> int:
    """How many characters Slack counts."""
    texts = [
        text for block in blocks(message) for text in (block.get("text"), *block.get("elements", ())) if text
    ]
    plain = sum(
        len(each["text"]) if isinstance(each["text"], str) else len(each["text"]["text"]) for each in texts
    )
    return plain + sum(len(each.get("url", "")) for each in texts) + 2 * len(message.body["text"])


# Text is literal

_MARKED = st.lists(
    st.sampled_from(
        ["*", "_", "~", "`", "```", ">", "&gt;", ":", ":fire:", ":+1:", "a", "b1", "prod", " ", " ", ".", "(", ")", "\n",
         "<!here>", "<@U1>", "<https://e.example|x>", "é", "/", "*bold*", "_it_", "`rm -rf *`", "~/bin", "*.example.com"]
    ), max_size=14,
).map(lambda parts: " ".join("".join(parts).split(" ")).strip())  # fmt: skip


def read(message: Message) -> str:
    """What a reader sees of the message, with formats written out."""
    posted = Posted(
        "C0CRITICAL", "1", message.body["text"], message.body["blocks"], message.body["attachments"]
    )
    return posted.read


@examples(25)
@example("***``````", "a``````", "``````")
@given(_MARKED, _MARKED, _MARKED)
def test_a_reader_sees_the_text_as_it_is(summary: str, description: str, label: str) -> None:
    alert = noted(shown_alert(label), summary=f"S {summary} S", description=f"D {description}\n{label} D")
    talk = conversation(alert, shown_alert("other"), receiver=label, remote={"channel": "C", "ts": "1"})
    message = render(talk)
    seen = read(message)
    assert f"S {summary} S" in seen
    assert f"D {description}\n{label} D".replace("\n ", "\n") in seen.replace("\n ", "\n")
    assert " ".join(label.split()) in seen
    assert not re.search(r"\[(italic|strike|quote|emoji|user|broadcast)", seen)
    assert re.findall(r"\[bold:[^\]]*\]", seen) == ["[bold:Critical]"]
    plain = "\n".join(map(read_mrkdwn, plain_message(message)))
    assert f"S {summary} S" in plain
    assert f"D {description}\n{label} D".replace("\n ", "\n") in plain.replace("\n ", "\n")


@pytest.mark.parametrize(
    "text",
    ["*.example.com and *.example.org", "~/bin and ~/lib", "kube_pod_status_phase _dmarc.example.com", "a * b * c",
     "db1:9100 and db2:9100 at 10:20:30", "rm -rf /var/log/*", "https://a.example/x_y_z?q=a*b"],
)  # fmt: skip
def test_harmless_marks_stay_in_a_section_unchanged(text: str) -> None:
    (summary, *_) = blocks(render(conversation(noted(shown_alert(), summary=text))))[1:]
    assert summary["type"] == "section"
    assert text in summary["text"]["text"]


@pytest.mark.parametrize(
    "text", ["`kubectl -n *prod* get pods`", "*db-1.example.com*", ":fire: _x_", "> quoted"]
)
def test_what_would_format_is_copied_exactly(text: str) -> None:
    """Nothing is inserted: a host name or a command that is copied from Slack works."""
    (summary, *_) = blocks(render(conversation(noted(shown_alert(), summary=text))))[1:]
    assert summary["type"] == "rich_text"
    assert "".join(each["text"] for part in summary["elements"] for each in part["elements"]).endswith(
        f"\n{text}"
    )


def test_the_markup_of_a_template_still_counts(tmp_path: Path) -> None:
    shipped = (ROOT / "templates" / "slack.j2").read_text()
    more = (
        "{{ summary }}\n> _quoted_ ~x~ :bell: <!here> <@U1> <https://e.example|{{ summary }}> ```\npre\n```"
    )
    (tmp_path / "slack.j2").write_text(shipped.replace("{{ summary }}\n", f"{more}\n", 1))
    own = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    channel = SlackChannel(SlackSettings(token=SecretStr(TOKEN)))
    message = channel.render(CRITICAL, conversation(noted(shown_alert(), summary="*a*")), own)
    assert not message.fallback
    parts = blocks(message)[1]["elements"]
    assert [part["type"] for part in parts] == [
        "rich_text_section",
        "rich_text_quote",
        "rich_text_preformatted",
    ]
    kinds = [each.get("style") or each["type"] for each in parts[1]["elements"] if each.get("text") != " "]
    assert kinds == [{"italic": True}, {"strike": True}, "emoji", "broadcast", "user", "link"]
    assert parts[1]["elements"][-2]["text"] == "*a*" or parts[1]["elements"][-1]["text"] == "*a*"


async def test_news_and_their_text_are_literal(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert("a")))
    await remote(
        channel,
        conversation(shown_alert("a", news=False), shown_alert("*b* :fire:"), remote=state, version=2),
    )
    (reply,) = server.only.thread
    assert reply.read == "🔴 new: *b* :fire:"
    server.expect(Want("C0CRITICAL", replies=("new: *b* :fire:",)))


_FORMATTED = "*x*_y_~z~ :fire: `c`"


@pytest.mark.parametrize("name", [_FORMATTED, "a <!here> & *b*", "> quoted :+1:"])
async def test_a_notification_is_literal(server: FakeSlack, channel: SlackChannel, name: str) -> None:
    state = await remote(channel, conversation(shown_alert(alertname=name), group_labels={"alertname": name}))
    assert name in server.only.notification
    late = shown_alert(name, alertname=name)
    await remote(channel, conversation(late, group_labels={"alertname": name}, remote=state, version=2))
    (reply,) = server.only.thread
    assert name in reply.notification
    assert name in server.only.read


def test_the_preview_of_a_notification_is_literal() -> None:
    body = render(conversation(shown_alert(alertname=_FORMATTED))).body
    assert _FORMATTED in notification(body)


async def test_numbered_replies_say_that_their_text_has_no_markup(
    server: FakeSlack, channel: SlackChannel
) -> None:
    long = noted(shown_alert(_FORMATTED), summary=f"{_FORMATTED} " * 400)
    await remote(channel, conversation(long))
    assert server.only.thread
    assert not any(each.mrkdwn for each in server.only.thread)


async def test_the_text_of_a_template_keeps_its_markup(tmp_path: Path, server: FakeSlack) -> None:
    """A text that has no blocks is shown itself."""
    shipped = (ROOT / "templates" / "slack.j2").read_text()
    start = "{% block text %}"
    assert start in shipped
    (tmp_path / "slack.j2").write_text(shipped.replace(start, f"{start}*Team A* ", 1))
    own = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    channel = connect(server.url)
    talk = conversation(shown_alert())
    await channel.send(CRITICAL, talk, channel.render(CRITICAL, talk, own))
    await channel.close()
    assert server.only.notification.startswith("[bold:Team A] ")


async def test_an_edit_has_no_argument_that_disables_markup(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert(alertname=_FORMATTED)))
    ended = shown_alert(alertname=_FORMATTED, firing=False)
    await remote(channel, conversation(ended, remote=state, version=2))
    assert ["mrkdwn" in body for method, body in server.calls if method == "chat.update"] == [False]
    assert _FORMATTED in server.only.read


# The course of a conversation


async def test_a_change_edits_the_message_and_adds_a_reply(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert("checkout")))
    grown = conversation(shown_alert("checkout", news=False), shown_alert("cart"), remote=state, version=2)
    assert await remote(channel, grown) == {**state, "shown": 2, "threaded": 2}
    server.expect(Want("C0CRITICAL", ("2 firing", "service=`cart`"), RED, ("🔴 new: cart",)))
    assert (server.only.edits, server.only.broadcasts) == (1, 1)


async def test_an_end_is_a_reply_in_the_thread(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert("checkout"), shown_alert("cart")))
    part = conversation(
        shown_alert("checkout", news=False), shown_alert("cart", firing=False), remote=state, version=2
    )
    await remote(channel, part)
    server.expect(Want("C0CRITICAL", ("1 firing · 1 resolved",), RED, ("✅ resolved: cart after 5 min",)))  # fmt: skip
    assert server.only.broadcasts == 0


async def test_the_end_turns_the_message_green(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert()))
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=2))
    server.expect(
        Want("C0CRITICAL", ("✅ Resolved: HighErrorRate",), GREEN, ("✅ All resolved after 5 min",))
    )


async def test_an_edit_without_news_says_nothing_in_the_thread(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    await remote(channel, conversation(shown_alert(news=False), remote=state, version=2))
    server.expect(Want("C0CRITICAL", replies=()))
    assert server.only.edits == 1


async def test_many_news_are_counted_in_the_thread(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert("first")))
    several = [shown_alert(f"cart-{number}") for number in range(15)]
    await remote(channel, conversation(shown_alert("first", news=False), *several, remote=state, version=2))
    assert server.only.replies[0].count("🔴 new:") == 10
    assert server.only.replies[0].endswith("… and 5 more new")


async def test_an_end_of_which_nothing_is_known_to_be_posted_is_posted(
    server: FakeSlack, channel: SlackChannel
) -> None:
    await remote(channel, conversation(shown_alert(firing=False), attempt=2))
    server.expect(Want("C0CRITICAL", ("✅ Resolved",), GREEN))


async def test_a_channel_given_by_name_is_edited_by_its_id(server: FakeSlack, channel: SlackChannel) -> None:
    named = Destination("slack:#critical", "slack", SlackOptions(channel="#critical"))
    outcome = await notify(channel, conversation(shown_alert()), named)
    assert isinstance(outcome, Delivered)
    assert outcome.remote["channel"] == "C0CRITICAL"
    changed = conversation(shown_alert(firing=False), remote=outcome.remote, version=2)
    assert isinstance(await notify(channel, changed, named), Delivered)
    server.expect(Want("C0CRITICAL", ("✅ Resolved",), GREEN, ("✅ All resolved",)))


async def test_a_removed_message_is_posted_again_and_updated_there(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.delete(server.only)
    state = await remote(channel, conversation(shown_alert(news=False), remote=state, version=2))
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=3))
    server.expect(Want("C0CRITICAL", ("✅",), GREEN, ("✅ All resolved",)))


async def test_a_locked_thread_makes_a_new_message(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.fail(error("restricted_action_thread_locked", "chat.postMessage"))
    await remote(channel, conversation(shown_alert(news=False), shown_alert("cart"), remote=state, version=2))
    assert len(server.messages) == 2
    assert [each.replies for each in server.messages.values()] == [[], []]


async def test_a_message_gone_and_no_post_possible_is_posted_later(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.delete(server.only)
    server.fail(error("message_not_found", "chat.update"), http(503))
    ended = conversation(shown_alert(firing=False), remote=state, version=2)
    outcome = await notify(channel, ended)
    assert outcome == Retry("http 503", ambiguous=True, remote={"doubt": NOW})
    await remote(channel, replace(ended, remote={"doubt": NOW}))
    server.expect(Want("C0CRITICAL", ("✅",), GREEN))


# Retries


async def test_a_retry_does_not_repeat_the_thread(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert()))
    ended = conversation(shown_alert(firing=False), remote=state, version=2)
    done = await remote(channel, ended)
    await remote(channel, replace(ended, remote=done, attempt=2))
    assert len(server.only.replies) == 1


async def test_a_retry_after_a_failed_reply_posts_it(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert()))
    ended = conversation(shown_alert(firing=False), remote=state, version=2)
    server.fail(error("service_unavailable", "chat.postMessage"))
    failed = await notify(channel, ended)
    state = {**state, "shown": 2}
    told_it = Retry("service_unavailable", ambiguous=True, remote=state, further=True)
    assert failed == told_it, "the message was talk"
    await remote(channel, replace(ended, remote=state, attempt=2))
    assert server.only.edits == 1
    server.expect(Want("C0CRITICAL", color=GREEN, replies=("✅ All resolved",)))


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (rate_limited(30), Retry("ratelimited", after=30 * SECOND, pause=True)),
        (http(429, "slow down"), Retry("ratelimited", pause=True)),
        (http(429, "slow down", Retry_After="Fri, 21 Nov"), Retry("ratelimited", pause=True)),
        (http(429, "slow down", Retry_After="inf"), Retry("ratelimited", pause=True)),
        (error("ratelimited"), Retry("ratelimited", pause=True)),
        (http(500, "<html>oops"), Retry("http 500", ambiguous=True)),
        (http(502, "", "text/plain"), Retry("http 502", ambiguous=True)),
        (http(503, "{", "application/json"), Retry("http 503", ambiguous=True)),
        (http(403, "<html>proxy says no"), Retry("http 403")),
        (http(200, "<html>sign in here"), Retry("bad answer", ambiguous=True)),
        (http(200, "ok", "text/plain"), Retry("bad answer", ambiguous=True)),
        (http(200, "{", "application/json"), Retry("bad answer", ambiguous=True)),
        (http(200, "[]", "application/json"), Retry("bad answer", ambiguous=True)),
        (http(200, "[1]", "application/json"), Retry("bad answer", ambiguous=True)),
        (http(200, "null", "application/json"), Retry("bad answer", ambiguous=True)),
        (http(200, '{"ok":false,"error":7}', "application/json"), Retry("bad answer", ambiguous=True)),
        (error("internal_error"), Retry("internal_error", ambiguous=True)),
        (error("fatal_error"), Retry("fatal_error", ambiguous=True)),
        (error("service_unavailable"), Retry("service_unavailable")),
        (CLOSE, Retry("connection failed", ambiguous=True)),
    ],
    ids=str,
)
async def test_a_failure_is_tried_again(
    server: FakeSlack, channel: SlackChannel, fault: Fault, outcome: Retry
) -> None:
    server.fail(fault)
    state = {"doubt": NOW} if outcome.ambiguous else {}
    assert await notify(channel, conversation(shown_alert())) == replace(outcome, remote=state)
    assert len(server.calls) == 1, "one attempt a send; the lanes retry"
    await remote(channel, conversation(shown_alert(), remote=state, attempt=2))
    server.expect(Want("C0CRITICAL"))


async def test_a_lost_answer_is_ambiguous(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(LOST_ANSWER)
    outcome = await notify(channel, conversation(shown_alert()))
    assert outcome == Retry("connection failed", ambiguous=True, remote={"doubt": NOW})
    server.expect(Want("C0CRITICAL"))


async def test_a_slack_that_does_not_answer_is_given_up(server: FakeSlack) -> None:
    server.fail(HANG)
    channel = connect(server.url, timeout=10)  # real time: it is moved to its end
    outcome = await outwaited(
        notify(channel, conversation(shown_alert())), server.until(lambda: bool(server.calls))
    )
    assert outcome == Retry("timeout", ambiguous=True, remote={"doubt": NOW})
    await channel.close()


async def test_a_refused_connection_is_not_ambiguous() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        channel = connect(f"http://127.0.0.1:{taken.getsockname()[1]}/api")
        assert await notify(channel, conversation(shown_alert())) == Retry("connection failed", remote={})
        await channel.close()


@pytest.mark.parametrize("trouble", sorted(DESTINATION_BROKEN))
async def test_what_only_a_person_can_repair_is_broken(
    server: FakeSlack, channel: SlackChannel, trouble: str
) -> None:
    server.trouble["C0CRITICAL"] = trouble
    assert await notify(channel, conversation(shown_alert())) == Broken(trouble, {})
    assert len(server.calls) == 1


async def test_an_unknown_channel_is_named_in_words(server: FakeSlack, channel: SlackChannel) -> None:
    nowhere = Destination("slack:C0NOWHERE", "slack", SlackOptions(channel="C0NOWHERE"))
    assert await notify(channel, conversation(shown_alert()), nowhere) == Broken("channel_not_found", {})


def test_a_code_means_one_thing() -> None:
    tables = (TRANSIENT, AMBIGUOUS, PAYLOAD_BROKEN, MESSAGE_GONE, EDIT_REFUSED, DESTINATION_BROKEN)
    assert sum(map(len, tables)) == len(frozenset().union(*tables))


@pytest.mark.parametrize("code", sorted(TRANSIENT - {"ratelimited", "rate_limited"}))
async def test_what_passes_is_tried_again(server: FakeSlack, channel: SlackChannel, code: str) -> None:
    server.fail(error(code))
    assert await notify(channel, conversation(shown_alert())) == Retry(code, remote={})


async def test_a_break_after_the_message_arrived_keeps_it_known(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    ended = conversation(shown_alert(firing=False), remote=state, version=2)
    server.fail(*[error("restricted_action", "chat.postMessage")] * 2)
    state = {**state, "shown": 2}
    assert await notify(channel, ended) == Broken("restricted_action", state, ambiguous=True)
    assert await notify(channel, replace(ended, remote=state)) == Broken("restricted_action", state)
    await remote(channel, replace(ended, remote=state))
    server.expect(Want("C0CRITICAL", color=GREEN, replies=("✅ All resolved",)))


async def test_where_there_are_no_threads_the_news_stand_in_the_channel(
    server: FakeSlack, channel: SlackChannel
) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.fail(error("restricted_action_non_threadable_channel", "chat.postMessage"))
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=2))
    server.expect(Want("C0CRITICAL", color=GREEN), Want("C0CRITICAL", ("✅ All resolved",)))


async def test_a_wrong_token_stands_in_no_outcome_and_no_log(
    server: FakeSlack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    channel = connect(server.url, "xoxb-wrong-secret")
    outcome = await notify(channel, conversation(shown_alert()))
    await channel.close()
    assert outcome == Broken("invalid_auth", {})
    assert "wrong-secret" not in caplog.text
    assert "wrong-secret" not in repr(channel._settings)


async def test_the_pace_of_a_channel_is_slacks(channel: SlackChannel) -> None:
    """A second message within a second is refused with the time to wait."""
    async with FakeSlack(seconds=lambda: 0.0) as strict:
        channel = connect(strict.url)
        await remote(channel, conversation(shown_alert()))
        outcome = await notify(channel, conversation(shown_alert(), episode=2))
        assert outcome == Retry("ratelimited", after=SECOND, pause=True, remote={})
        await channel.close()
    assert REGISTRY["slack"].limits.rate == Rate(1, SECOND, burst=3)


# Payloads that Slack refuses


WITHOUT_METADATA = sorted(code for code in PAYLOAD_BROKEN if "metadata" not in code)


@pytest.mark.parametrize("code", WITHOUT_METADATA)
async def test_a_refused_message_goes_without_its_buttons(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    server.fail(error(code))
    await remote(channel, conversation(shown_alert(), shown_alert("cart")))
    server.expect(
        Want(
            "C0CRITICAL",
            (
                "🔴 HighErrorRate \N{MULTIPLICATION SIGN} 2: checkout, cart",
                "Runbook: https://runbooks.example/HighErrorRate",
            ),
            RED,
        )
    )
    kinds = [block["type"] for block in server.only.attachments[0]["blocks"]]
    assert "actions" not in kinds
    assert len(server.calls) == 2


@pytest.mark.parametrize("code", WITHOUT_METADATA)
async def test_a_message_refused_twice_goes_as_text_with_everything(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    server.fail(*[error(code)] * 2)
    alert = shown_alert(zone="/var", team="dba")
    notes = {**alert.alert.annotations, "impact": "checkout stops when full", "value": "3.1"}
    await remote(channel, conversation(replace(alert, alert=replace(alert.alert, annotations=notes))))
    words = (
        "🔴 HighErrorRate on checkout", "(Plain text, because Slack refused the layout of this message.)",
        "Checkouts fail", "More than 5 % of requests ended in a 5xx.", "impact: checkout stops when full", "value: 3.1",
        "zone=/var", "team=dba", "since 22:55 (5 min)", "via oncall",
        "Runbook: https://runbooks.example/HighErrorRate", "Dashboard: https://grafana.example/d/1",
        "Source: https://prometheus.example/graph", "Silence: https://alertmanager.example/#/silences/new",
    )  # fmt: skip
    server.expect(Want("C0CRITICAL", words))
    assert server.only.attachments == []
    assert len(server.calls) == 3


async def test_a_plain_message_continues_in_the_thread(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(*[error("invalid_attachments")] * 2)
    several = [shown_alert(f"{number:03}" + "x" * 100) for number in range(60)]
    state = await remote(channel, conversation(*several))
    whole = "\n".join([server.only.text, *server.only.replies])
    assert len(server.only.replies) > 1
    assert [number for number in range(60) if f"service={number:03}" not in whole] == []
    assert whole.rindex("service=") < whole.index("Runbook: https://"), "the links are the first to leave"
    later = conversation(*several, remote=state, version=2)
    server.fail(*[error("invalid_attachments", "chat.update")] * 2)
    replies = len(server.only.replies)
    state = await remote(channel, later)
    assert len(server.only.replies) == replies + 1, "the news; the others are edited"
    await remote(channel, conversation(*several, remote=state, version=3))
    assert server.only.color == RED
    assert server.only.replies[-1].startswith("🔴 new") or "Nothing is left" in str(server.only.replies)


async def test_a_plain_message_continues_in_a_later_attempt(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(*[error("invalid_attachments")] * 2)
    talk = conversation(*(shown_alert(f"{number:03}" + "x" * 100) for number in range(60)))
    message = channel.render(CRITICAL, talk, TEMPLATES)
    outcome = await channel.send(CRITICAL, talk, replace(message, paid=1))
    assert isinstance(outcome, Retry)
    assert (outcome.unfinished, server.only.replies) == (True, [])
    await remote(channel, replace(talk, remote=outcome.remote or {}))
    whole = "\n".join([server.only.text, *server.only.replies])
    assert [number for number in range(60) if f"service={number:03}" not in whole] == []


async def test_plain_text_is_literal_as_well(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(*[error("invalid_blocks")] * 2)
    await remote(channel, conversation(noted(shown_alert(), summary="run `rm *` in *prod* & ```x``` <now>")))
    assert "run `rm *` in *prod* & ```x``` <now>" in server.only.read
    assert server.only.mrkdwn  # the code block is markup


async def test_an_edit_that_slack_refuses_becomes_text_too(server: FakeSlack, channel: SlackChannel) -> None:
    state = await remote(channel, conversation(shown_alert()))
    server.fail(*[error("msg_too_long", "chat.update")] * 2)
    await remote(channel, conversation(shown_alert(firing=False), remote=state, version=2))
    server.expect(Want("C0CRITICAL", ("✅ Resolved: HighErrorRate",), replies=("✅ All resolved",)))
    assert server.only.attachments == []


@pytest.mark.parametrize("code", sorted(code for code in PAYLOAD_BROKEN if "metadata" in code))
async def test_metadata_that_slack_refuses_are_left_out(
    server: FakeSlack, channel: SlackChannel, code: str
) -> None:
    server.fail(error(code))
    await remote(channel, conversation(shown_alert()))
    assert (server.only.metadata, server.only.color) == ({}, RED)


async def test_text_that_slack_refuses_as_well_is_rejected(server: FakeSlack, channel: SlackChannel) -> None:
    server.fail(error("invalid_blocks"), error("invalid_blocks"), error("no_text"))
    assert await notify(channel, conversation(shown_alert())) == Rejected("no_text")


async def test_a_broken_template_sends_the_plain_facts(
    server: FakeSlack, channel: SlackChannel, tmp_path: Path
) -> None:
    (tmp_path / "slack.j2").write_text("{% block text %}{{ nonsense.x }}{% endblock %}")
    broken = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    about = conversation(shown_alert("<!here>"), shown_alert("cart", firing=False))
    message = channel.render(CRITICAL, about, broken)
    assert message.fallback
    assert isinstance(await channel.send(CRITICAL, about, message), Delivered)
    server.expect(Want("C0CRITICAL", ("CRITICAL: HighErrorRate on &lt;!here&gt; (1 resolved) (1 firing, 1 resolved)", "service=&lt;!here&gt;", "resolved: alertname=HighErrorRate")))  # fmt: skip


def test_a_broken_template_counts_what_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "slack.j2").write_text("{% block alert %}{{ nonsense }}{% endblock %}")
    broken = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    many = conversation(*(shown_alert(f"{number}" + "x" * 200) for number in range(100)))
    body = SlackChannel(SlackSettings(token=SecretStr(TOKEN))).render(CRITICAL, many, broken).body
    shown = str(body["attachments"]).count("firing: ")
    assert 0 < shown < 100
    assert sum(text.count("firing: ") for part in body["parts"] for text in sections(part)) == 100 - shown
    assert FakeSlack().refuses({"channel": "C0CRITICAL", **body}) is None


# Surroundings


async def test_a_closed_channel_can_be_used_again(server: FakeSlack, channel: SlackChannel) -> None:
    await remote(channel, conversation(shown_alert()))
    await channel.close()
    await channel.close()
    await remote(channel, conversation(shown_alert(), episode=2))
    assert len(server.messages) == 2


def test_the_registry_knows_it() -> None:
    kind = REGISTRY["slack"]
    settings = kind.settings.model_validate({"token": "xoxb-secret"})
    assert "secret" not in repr(settings)
    assert kind.options.model_validate({"channel": "C1"}).key("any") == "slack:C1"
    assert not kind.options.model_validate({"channel": "C1"}).per_alert
    assert isinstance(kind.make(kind.settings.model_validate(kind.placeholder)), SlackChannel)


async def test_the_fake_fails_on_missing_and_on_unexpected_messages(
    server: FakeSlack, channel: SlackChannel
) -> None:
    await remote(channel, conversation(shown_alert()))
    for wanted in (
        [],
        [Want("C0WARNINGS")],
        [Want("C0CRITICAL", replies=("more",))],
        [Want("C0CRITICAL")] * 2,
    ):
        with pytest.raises(AssertionError, match=r"missing|unexpected"):
            server.expect(*wanted)
    server.only.text = "<!channel>"
    with pytest.raises(AssertionError, match="mentions"):
        server.expect(Want("C0CRITICAL"))


def test_a_thread_shows_the_news_of_each_update() -> None:
    def body(number: int) -> dict[str, Any]:
        return {"text": f"text {number}", "thread": f"news {number}", "thread_blocks": [], "parts": []}

    earlier = tuple(SentMessage(body(number), at=f"Fri 10:0{number}") for number in (1, 2))
    text = inspected(REGISTRY["slack"].draw(SentMessage(body(3), "Fri 10:03", earlier))).text
    assert "2 replies in the thread" in text
    assert "news 1" not in text  # the first message has no thread
    assert text.index("text 3") < text.index("Fri 10:02  news 2") < text.index("Fri 10:03  news 3")


def test_each_update_of_a_storm_keeps_its_own_replies() -> None:
    def body(name: str) -> dict[str, Any]:
        block = {"type": "section", "text": {"type": "mrkdwn", "text": name}}
        return {"text": "Storm", "thread": None, "log": True, "parts": [{"text": "", "blocks": [block]}]}

    text = inspected(REGISTRY["slack"].draw(SentMessage(body("two"), "", (SentMessage(body("one")),)))).text
    assert "2 replies in the thread" in text
    assert (text.count("one"), text.count("two")) == (1, 1)
