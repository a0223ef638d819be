"""Slack's incoming webhooks: each change is a message, nothing is cut in silence, and mistakes are named."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from router.channels import REGISTRY, destination_as_json, destination_from_json
from router.channels.slack import SlackSettings
from router.channels.slack_webhook import SlackWebhookChannel, SlackWebhookOptions
from router.channels.slack_webhook_layout import STORM_ROOM
from router.config import Config, ConfigError, loads
from router.model import (
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
from router.render.folding import key_of, room_of
from tests.examples import examples
from tests.unit.channels.slack_talk import GREEN, NOW, RED, TEMPLATES, conversation, noted, shown_alert
from tests.unit.channels.talk import without_row
from tests.world.fake_slack import FakeSlack, Posted, Want
from tests.world.fake_slack_webhook import SECRET, FakeSlackWebhook, refusal

URL = f"https://hooks.slack.com/services/T0/B0/{SECRET}"


@pytest.fixture
async def slack() -> AsyncIterator[FakeSlackWebhook]:
    async with FakeSlackWebhook() as slack:
        yield slack


@pytest.fixture
async def channel() -> AsyncIterator[SlackWebhookChannel]:
    channel = SlackWebhookChannel(SlackSettings())
    yield channel
    await channel.close()


def place(url: str = URL, **options: Any) -> Destination:
    given = SlackWebhookOptions(webhook_url=SecretStr(url), **options)
    return Destination(given.key("team"), "slack_webhook", given)


def render(talk: Conversation, templates: Templates = TEMPLATES) -> Message:
    return SlackWebhookChannel(SlackSettings()).render(place(), talk, templates)


def posted(message: Message) -> Posted:
    body = message.body
    return Posted("C0WEBHOOK", "1", body["text"], body["blocks"], body["attachments"])


async def notify(channel: SlackWebhookChannel, slack: FakeSlackWebhook, talk: Conversation) -> Outcome:
    there = place(slack.url)
    return await channel.send(there, talk, channel.render(there, talk, TEMPLATES))


# What a reader sees


async def test_each_change_is_a_message_that_says_what_is_new(
    slack: FakeSlackWebhook, channel: SlackWebhookChannel
) -> None:
    first = await notify(channel, slack, conversation(shown_alert("a")))
    assert first == Delivered({"posted": True})
    state = {"posted": True}
    await notify(
        channel, slack, conversation(shown_alert("a", news=False), shown_alert("b"), remote=state, version=2)
    )
    ended = [shown_alert(name, firing=False) for name in "ab"]
    await notify(channel, slack, conversation(*ended, remote=state, version=3))
    slack.expect(
        Want(
            "C0WEBHOOK", ("🔴 HighErrorRate on a", "*Critical* · 1 firing", "https://runbooks.example/"), RED
        ),
        Want("C0WEBHOOK", ("🔴 new: b", "2 firing", "service=`a`", "service=`b`"), RED),
        Want("C0WEBHOOK", ("✅ Resolved: HighErrorRate", "✅ All resolved: 2 alerts", "2 resolved"), GREEN),
    )
    assert "new:" not in slack.messages[0].shown
    assert all(call["unfurl_links"] is call["unfurl_media"] is False for call in slack.calls)


async def test_another_channel_is_named_in_the_message(
    slack: FakeSlackWebhook, channel: SlackWebhookChannel
) -> None:
    there = place(slack.url, channel="#ops")
    talk = conversation(shown_alert())
    assert await channel.send(there, talk, channel.render(there, talk, TEMPLATES)) == Delivered(
        {"posted": True}
    )
    assert slack.messages[0].channel == "#ops"


@examples(15)
@given(st.integers(1, 300), st.integers(0, 700), st.sampled_from(["x", "&", "*a* ", "`b` "]), st.data())
def test_every_alert_is_shown_or_named_within_the_limits(
    number: int, length: int, piece: str, data: st.DataObject
) -> None:
    ended = data.draw(st.integers(0, number))
    several = [
        shown_alert(f"n{index:04}" + piece * (length // len(piece)), firing=index >= ended)
        for index in range(number)
    ]
    message = render(conversation(*several))
    assert FakeSlack().refuses({"channel": "C0CRITICAL", **message.body}, posting=True) is None
    text = posted(message).read
    rows = len(re.findall(r"^(?:🔴|✅) (?:service=|HighErrorRate ·)", text, re.MULTILINE))
    assert rows >= min(number, 2)
    before, mark, others = text.partition("\n… and ")
    others = re.split(r"\n(?:Links left out|Runbook)", others)[0]
    others = others.replace("\n", " ")  # names may go on in another section
    assert rows + without_row(before + mark + others) == number


def test_what_is_cut_is_counted() -> None:
    alert = noted(shown_alert(), summary="s", description="d " * 4_000, owner="o" * 9_000)
    alert = replace(alert, alert=replace(alert.alert, generator_url="https://a.example/" + "x" * 3_100))
    message = render(conversation(alert))
    text = posted(message).read
    assert re.search(r"… \(\d+ more characters of the summary\)", text)
    assert "Links left out, too long: Source" in text
    assert FakeSlack().refuses({"channel": "C0CRITICAL", **message.body}, posting=True) is None


def test_text_is_literal_here_too() -> None:
    text = posted(
        render(conversation(noted(shown_alert("*x*"), summary="run `rm *` :fire: *now* <!here>")))
    ).read
    assert "run `rm *` :fire: *now* <!here>" in text


async def test_a_notification_is_literal_here_too(
    slack: FakeSlackWebhook, channel: SlackWebhookChannel
) -> None:
    name = "*x*_y_~z~ :fire: `c`"
    talk = conversation(shown_alert(alertname=name), group_labels={"alertname": name})
    await notify(channel, slack, talk)
    assert name in slack.messages[0].notification
    slack.fail(*[refusal("invalid_attachments")] * 2)
    await notify(channel, slack, talk)
    assert slack.messages[1].attachments == []
    assert name in slack.messages[1].read
    assert slack.messages[1].mrkdwn  # the code block is markup


def test_a_broken_template_sends_the_plain_facts(tmp_path: Path) -> None:
    (tmp_path / "slack.j2").write_text("{% block text %}{{ nonsense.x }}{% endblock %}")
    broken = Templates(levels=TEMPLATES.levels, timezone="UTC", directory=tmp_path)
    message = render(conversation(shown_alert(), shown_alert("cart")), broken)
    assert message.fallback
    assert "service=cart" in posted(message).read


# Storms


def lines(text: str) -> tuple[StormLine, ...]:
    """As many groups as a message of a storm takes along."""
    found: list[StormLine] = []
    room = STORM_ROOM
    while True:
        line = StormLine(
            {"alertname": "HostDown", "instance": f"n{len(found)}{text}"}, "critical", 1, "https://am.example"
        )
        room -= room_of(line, begins=key_of(line) not in map(key_of, found[:1]))
        if room < 0:
            return tuple(found)
        found.append(line)


@pytest.mark.parametrize("text", ["", ".example.com:9100", "&<>" * 20, "ü🙂 " * 60, "*" * 50, "x" * 1_000])
@pytest.mark.parametrize("remote", [{}, {"posted": True}])
def test_a_storm_names_every_new_group_in_one_message(text: str, remote: dict[str, Any]) -> None:
    groups = lines(text)
    for news in (
        StormNews(firing=groups),
        StormNews(resolved=groups),
        StormNews(groups[::3], groups[1::3], groups[2::3]),
    ):
        view = StormView(9_000, 9_000, (*groups, *groups), over=False, resolved=len(news.resolved), news=news)
        message = render(conversation(storm=view, version=2, remote=remote))
        assert not message.fallback
        assert FakeSlack().refuses({"channel": "C0CRITICAL", **message.body}, posting=True) is None
        assert {int(each) for each in re.findall(r"\bn(\d+)", posted(message).read)} == set(
            range(len(groups))
        )


# Answers


async def test_a_refused_message_goes_without_buttons_and_then_as_text(
    slack: FakeSlackWebhook, channel: SlackWebhookChannel
) -> None:
    slack.fail(refusal("invalid_attachments"))
    outcome = await notify(channel, slack, conversation(shown_alert()))
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == (Call.POST,)
    assert "Runbook: https://runbooks.example/HighErrorRate" in slack.messages[0].read
    slack.fail(*[refusal("invalid_attachments")] * 2)
    outcome = await notify(channel, slack, conversation(shown_alert()))
    assert isinstance(outcome, Delivered)
    assert outcome.unpaid == (Call.POST,) * 2
    words = (
        "(Plain text, because Slack refused",
        "More than 5 % of requests",
        "service=checkout",
        "Silence: https://",
    )
    assert [word for word in words if word not in slack.messages[1].text] == []
    assert slack.messages[1].attachments == []


async def test_a_message_refused_as_text_too_is_rejected(
    slack: FakeSlackWebhook, channel: SlackWebhookChannel
) -> None:
    slack.fail(*[refusal("invalid_payload")] * 3)
    outcome = await notify(channel, slack, conversation(shown_alert()))
    assert outcome == Rejected("http 400: message refused")
    assert outcome.shown == "http 400: message refused: invalid_payload"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("no_service", 404),
        ("no_team", 404),
        ("invalid_token", 403),
        ("channel_is_archived", 410),
        ("user_not_found", 400),
    ],
)
async def test_a_webhook_that_is_gone_is_broken_at_the_first_call(
    slack: FakeSlackWebhook, channel: SlackWebhookChannel, code: str, status: int
) -> None:
    slack.fail(refusal(code, status))
    assert await notify(channel, slack, conversation(shown_alert())) == Broken(f"http {status}: {code}")
    assert len(slack.calls) == 1


async def test_too_many_messages_wait(channel: SlackWebhookChannel) -> None:
    async with FakeSlackWebhook(seconds=lambda: 0.0) as slack:
        await notify(channel, slack, conversation(shown_alert()))
        outcome = await notify(channel, slack, conversation(shown_alert(), episode=2))
        assert outcome == Retry("http 429: too many requests", after=SECOND, pause=True)


# Configuration


def config(text: str, *, checking: bool = False) -> Config:
    rules = f"{text}route: {{receiver: team}}\n"
    return loads(rules, name="routes.yaml", folder=Path(), environ={}, now=NOW, checking=checking)


def test_a_webhook_needs_no_section() -> None:
    found = config(f"receivers:\n  team:\n    - slack: {{webhook_url: '{URL}', name: ops}}\n")
    (destination,) = found.policy.destinations.values()
    assert (destination.channel, destination.key[:10]) == ("slack_webhook", "slack:ops-")
    assert SECRET not in destination.key
    assert REGISTRY["slack_webhook"].settings_in(found.settings) is not None
    assert REGISTRY["slack"].settings_in(found.settings) is None
    assert destination_from_json(destination.key, destination_as_json(destination)) == destination


def test_a_bot_and_a_webhook_stand_in_one_file() -> None:
    text = f"""
channels:
  slack: {{token: xoxb-fake, rate: 2/s}}
receivers:
  team:
    - slack: {{channel: C0CRITICAL}}
    - slack: {{webhook_url: '{URL}'}}
    - slack: {{webhook_url: '{URL}', channel: '#other'}}
"""
    found = config(text)
    assert [each.channel for each in found.policy.destinations.values()] == ["slack", *["slack_webhook"] * 2]
    assert len(found.policy.destinations) == 3


@pytest.mark.parametrize(
    "section", ["slack: {}", "slack:", "slack: {give_up_after: 2h}", "slack: {token: null}"]
)
def test_a_bot_without_a_token_is_an_error(section: str) -> None:
    text = f"channels:\n  {section}\nreceivers:\n  team:\n    - slack: {{channel: C0CRITICAL}}\n"
    with pytest.raises(ConfigError, match=r"5:7: slack has no credentials; add `token` to channels.slack"):
        config(text)


def test_check_notes_once_what_a_webhook_lacks() -> None:
    two = "".join(f"    - slack: {{webhook_url: '{URL}{number}'}}\n" for number in "12")
    problems = config(f"receivers:\n  team:\n{two}", checking=True).problems
    (note,) = problems
    assert str(note).startswith(
        "routes.yaml:3:7: note: an incoming webhook can't edit messages or reply to them"
    )
    assert (note.is_note, note.severity) == (True, "note")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hooks.slack.com/services/T0/B0/x", "is no web address"),
        ("https://hooks.slack.com/workflows/T0/A0/1/x", "belongs to a workflow"),
        ("https://hooks.slack.com/triggers/T0/1/x", "belongs to a workflow"),
        ("https://user:password@hooks.slack.com/services/x", "is no web address"),
    ],
)
def test_an_address_that_takes_no_messages_is_refused(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        SlackWebhookOptions(webhook_url=SecretStr(url))


def test_a_mistake_of_a_webhook_is_reported_at_its_place() -> None:
    text = f"receivers:\n  team:\n    - slack: {{webhook_url: '{URL}', chanel: C0}}\n"
    with pytest.raises(ConfigError) as error:
        config(text)
    assert "chanel" in str(error.value)
    assert "routes.yaml:3:" in str(error.value)
    text = f"receivers:\n  team:\n    - slack: {{webhook_url: '{URL}', on_failure: nowhere}}\n"
    with pytest.raises(ConfigError, match=r"routes.yaml:3:1[0-9]+: "):
        config(text)
