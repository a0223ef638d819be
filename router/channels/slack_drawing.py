"""Draws a Slack message: its blocks, Slack's mrkdwn as far as messages use it, and the thread below."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, barred, joined, link, links, replaced, tag, thread
from router.channels.drawing_text import text_of

_EMOJI = {
    "fire": "🔥", "white_check_mark": "✅", "warning": "⚠️", "red_circle": "🔴", "large_orange_circle": "🟠",
    "large_blue_circle": "🔵", "large_green_circle": "🟢", "rotating_light": "🚨", "bell": "🔔",
}  # fmt: skip
# https://docs.slack.dev/messaging/formatting-message-text
_MRKDWN = re.compile(
    r"""```(?P<block>[\s\S]+?)``` | `(?P<code>[^`\n]+)` | <(?P<url>https?:[^|>]+)(?:\|(?P<label>[^>]*))?>
    | \*(?P<bold>[^*\n]+)\* | (?<!\w)_(?P<italic>[^_\n]+)_(?!\w) | ~(?P<strike>[^~\n]+)~ | :(?P<emoji>[a-z0-9_+-]+):""",
    re.VERBOSE | re.ASCII,
)
_NESTING = {"bold": "strong", "italic": "em", "strike": "s"}


def draw(message: SentMessage) -> Markup:
    body = message.body
    attachments = body.get("attachments") or []
    parts = [] if attachments else [tag("p", mrkdwn(body.get("text", "")), class_="text")]
    parts += map(_block, body.get("blocks") or [])
    parts += (barred(each.get("color") or "", *map(_block, each.get("blocks") or [])) for each in attachments)
    replies = thread([(at, mrkdwn(text)) for at, text in _replies(message)], "in the thread")
    return joined([*parts, replies])


def notification(body: Mapping[str, Any]) -> str:
    """Return the text that Slack shows in notifications."""
    return text_of(mrkdwn(body.get("text", "")))


def mrkdwn(text: str) -> Markup:
    """Return Slack's markup as HTML. https://docs.slack.dev/messaging/formatting-message-text"""
    return replaced(text, _MRKDWN, _marked, _unescaped)


def _marked(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if match["url"]:
        return link(_unescaped(match["label"] or match["url"]), _unescaped(match["url"]))
    if kind in _NESTING:
        return tag(_NESTING[kind], mrkdwn(match[kind]))
    if kind == "emoji":
        return _EMOJI.get(match["emoji"], match[0])
    return tag("pre" if kind == "block" else "code", _unescaped(match[kind]))


def _unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _text(text: Mapping[str, Any]) -> str:
    return mrkdwn(text["text"]) if text["type"] == "mrkdwn" else text["text"]


def _block(block: Mapping[str, Any]) -> Markup:
    match block["type"]:
        case "header":
            return tag("h2", _text(block["text"]))
        case "section":
            parts = [tag("p", _text(block["text"]))] if block.get("text") else []
            if fields := block.get("fields"):
                cells = (tag("div", _text(field), class_="text") for field in fields)
                parts.append(tag("div", *cells, class_="fields"))
            return tag("div", *parts)
        case "context":
            return tag("p", *map(_text, block["elements"]), class_="quiet")
        case "actions":
            return links((button["text"]["text"], button["url"]) for button in block["elements"])
        case "divider":
            return Markup("<hr>")
        case other:
            return tag("p", f"({other})", class_="quiet")


def _replies(message: SentMessage) -> Iterator[tuple[str, str]]:
    """Yield the replies of the thread: when each was sent, and its text. The first message has no news."""
    several = [*message.earlier, message]
    for number, each in enumerate(several):
        if number and each.body.get("thread"):
            yield each.at, each.body["thread"]
        if each.body.get("log") or number == len(several) - 1:  # other numbered replies show the present only
            for part in each.body.get("parts") or []:
                yield each.at, "\n".join(block["text"]["text"] for block in part["blocks"])
