"""Slack conversations to render and send, and what is read off them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from router.channels.slack import SlackChannel, SlackOptions, SlackSettings
from router.channels.slack_plain import plain_pages
from router.model import (
    MINUTE,
    Alert,
    Conversation,
    Delivered,
    Destination,
    Message,
    Outcome,
    ShownAlert,
    Status,
)
from router.render import Templates
from tests.world.fake_slack import TOKEN

TEMPLATES = Templates(levels=("critical", "warning", "info"), timezone="Europe/Berlin")
CRITICAL = Destination("slack:C0CRITICAL", "slack", SlackOptions(channel="C0CRITICAL"))
RED, AMBER, BLUE, GREEN = "#d5303e", "#e8912d", "#3a7bd5", "#2eb67d"
NOW = 1_763_762_400_000  # Fri 21 Nov 2025 23:00 in Berlin


def shown_alert(
    service: str = "checkout",
    *,
    firing: bool = True,
    news: bool = True,
    level: str = "critical",
    **labels: str,
) -> ShownAlert:
    alert = Alert(
        fingerprint=hashlib.sha256(repr((service, sorted(labels.items()))).encode()).hexdigest()[:16],
        labels={"alertname": "HighErrorRate", "severity": level, "service": service, **labels},
        annotations={
            "summary": "Checkouts fail",
            "description": "More than 5 % of requests ended in a 5xx.",
            "runbook_url": "https://runbooks.example/HighErrorRate",
            "dashboard_url": "https://grafana.example/d/1",
        },
        status=Status.FIRING if firing else Status.RESOLVED,
        starts_at=NOW - 5 * MINUTE,
        ends_at=None if firing else NOW,
        generator_url="https://prometheus.example/graph",
    )
    return ShownAlert(alert, level, news=news)


def conversation(*alerts: ShownAlert, remote: Mapping[str, Any] | None = None, **fields: Any) -> Conversation:
    plain = Conversation(
        destination=CRITICAL.key, token="0" * 32, episode=1, version=1, now=NOW, receiver="oncall",
        group_labels={"alertname": "HighErrorRate"}, external_url="https://alertmanager.example",
        alerts=alerts, remote=remote or {},
    )  # fmt: skip
    return replace(plain, **fields)


def noted(each: ShownAlert, **annotations: str) -> ShownAlert:
    return replace(each, alert=replace(each.alert, annotations=annotations))


def connect(url: str, token: str = TOKEN, **more: Any) -> SlackChannel:
    return SlackChannel(SlackSettings(token=SecretStr(token), api_url=url), **more)


def render(talk: Conversation, destination: Destination = CRITICAL) -> Message:
    return SlackChannel(SlackSettings(token=SecretStr(TOKEN))).render(destination, talk, TEMPLATES)


async def notify(channel: SlackChannel, talk: Conversation, destination: Destination = CRITICAL) -> Outcome:
    return await channel.send(destination, talk, channel.render(destination, talk, TEMPLATES))


async def remote(channel: SlackChannel, talk: Conversation) -> Mapping[str, Any]:
    outcome = await notify(channel, talk)
    assert isinstance(outcome, Delivered), outcome
    return outcome.remote


def blocks(message: Message) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = message.body["attachments"][0]["blocks"]
    return found


def words(message: Message, kind: str) -> list[str]:
    """The texts of the headers, or of the sections; rich text counts as a section."""
    kinds = {kind} | ({"rich_text"} if kind == "section" else set())
    return [_text(block) for block in blocks(message) if block["type"] in kinds]


def _text(block: Mapping[str, Any]) -> str:
    if block["type"] != "rich_text":
        return str(block["text"]["text"])
    texts = (each.get("text") or each["url"] for part in block["elements"] for each in part["elements"])
    return "".join(texts).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def buttons(message: Message) -> list[dict[str, Any]]:
    elements = [each for block in blocks(message) for each in block.get("elements", ())]
    return [each for each in elements if each["type"] == "button"]


def whole(message: Message) -> str:
    """All words of the message and of its numbered replies; what goes on in another section is whole again."""
    parts = [text for part in message.body["parts"] for text in sections(part)]
    return (
        "\n".join(words(message, "section"))
        + "\n"
        + "".join(re.sub(r"^\*\d+/\d+\*\n", "", text) for text in parts)
    )


def sections(part: Mapping[str, Any]) -> list[str]:
    return [_text(block) for block in part["blocks"]]


def plain_message(message: Message) -> list[str]:
    """The texts of the message and of its replies, if Slack refuses the layout."""
    return plain_pages(message.body["plain"])
