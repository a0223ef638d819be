"""The one Slack message of a storm."""

from collections.abc import Mapping
from typing import Any

from router.channels.slack_layout import BUDGET, SECTION, TEXT, clipped, color, packed
from router.model import Destination
from router.render import Templates
from router.render.words import line


def storm(destination: Destination, templates: Templates, values: Mapping[str, Any]) -> dict[str, Any]:
    """In the shape of any other message: edited as it changes, without a history in the thread.

    :raises TemplateError: the template failed
    """
    text = line(templates.render("storm.txt.j2", "subject", values))
    rows = clipped(templates.render("storm.txt.j2", "body", values), BUDGET - SECTION).splitlines()
    return _message(destination, text, rows, color(values, templates.levels))


def plain_storm(destination: Destination, values: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent when the template fails."""
    text = f"Alert storm: {values['groups']} groups firing, {values['total']} alerts"
    rows = [f"[{each['level']}] {each['title']}: {each['firing']} firing" for each in values["lines"]]
    return {
        **_message(destination, text, [], ""),
        "text": clipped("\n".join([text, *rows]), TEXT),
        "attachments": [],
    }


def _message(destination: Destination, text: str, rows: list[str], shade: str) -> dict[str, Any]:
    return {
        "channel": destination.options.channel,
        "text": clipped(text, TEXT),
        "plain": clipped("\n".join([text, *rows]), TEXT),
        "blocks": [],
        "attachments": [{"color": shade, "blocks": packed(rows), "fallback": text}],
        "thread": None,
        "broadcast": False,
        "parts": [],
    }
