"""Draws a Slack message: its blocks, Slack's mrkdwn as far as messages use it, and the thread below."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from router.channels.drawing import SentMessage, barred, joined, link, links, replaced, tag, thread
from router.channels.drawing_text import text_of
from router.channels.slack_mrkdwn import markup_argument

_EMOJI = {
    "fire": "🔥", "white_check_mark": "✅", "warning": "⚠️", "red_circle": "🔴", "large_orange_circle": "🟠",
    "large_blue_circle": "🔵", "large_green_circle": "🟢", "rotating_light": "🚨", "bell": "🔔",
}  # fmt: skip
# https://docs.slack.dev/messaging/formatting-message-text
_MRKDWN = re.compile(
    r"""```(?P<block>[\s\S]+?)``` | `(?P<code>[^`\n]+)` | <(?P<url>https?:[^|<>]+)(?:\|(?P<label>[^<>]*))?>
    | \*(?P<bold>[^*\n]+)\* | (?<!\w)_(?P<italic>[^_\n]+)_(?!\w) | ~(?P<strike>[^~\n]+)~ | :(?P<emoji>[a-z0-9_+-]+):""",
    re.VERBOSE | re.ASCII,
)
_NESTING = {"bold": "strong", "italic": "em", "strike": "s"}
_RICH_STYLES = {**_NESTING, "code": "code"}


def draw(message: SentMessage) -> Markup:
    body = message.body
    attachments = body.get("attachments") or []
    parts = []
    # The text also stands above the attachments. Where their header says the same, the drawing leaves it out.
    if not any(block["type"] == "header" for each in attachments for block in each.get("blocks") or []):
        text = tag("p", mrkdwn(body.get("text", "")), class_="text")
        parts += [*map(_block, body["blocks"])] if body.get("blocks") else [text]
    parts += (barred(each.get("color") or "", *map(_block, each.get("blocks") or [])) for each in attachments)
    replies = thread([*_replies(message)], "in the thread")
    return joined([*parts, replies])


def notification(body: Mapping[str, Any]) -> str:
    """Return the text that Slack shows in notifications. Beside blocks, it is sent without markup."""
    text = str(body.get("text", ""))
    return text_of(mrkdwn(text)) if markup_argument(body).get("mrkdwn", True) else _unescaped(text)


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


def _block(block: Mapping[str, Any]) -> Markup:  # noqa: PLR0911  (one a kind of block)
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
        case "rich_text":
            return tag("div", *map(_container, block["elements"]))
        case "divider":
            return Markup("<hr>")
        case other:
            return tag("p", f"({other})", class_="quiet")


def _container(container: Mapping[str, Any]) -> Markup:
    """https://docs.slack.dev/reference/block-kit/blocks/rich-text-block"""
    quote = {"class_": "quiet"} if container["type"] == "rich_text_quote" else {"class_": "text"}
    name = "pre" if container["type"] == "rich_text_preformatted" else "p"
    return tag(name, *map(_element, container["elements"]), **({} if name == "pre" else quote))


def _element(element: Mapping[str, Any]) -> str:
    match element["type"]:
        case "text":
            text: str = element["text"]
        case "link":
            text = link(element.get("text") or element["url"], element["url"])
        case "emoji":
            text = _EMOJI.get(element["name"], f":{element['name']}:")
        case other:
            text = next((f"@{value}" for key, value in element.items() if key != "type"), other)
    for style in element.get("style", {}):
        text = tag(_RICH_STYLES[style], text)
    return text


def _replies(message: SentMessage) -> Iterator[tuple[str, Markup]]:
    """Yield the replies of the thread: when each was sent, and what it says. The first message has no news."""
    several = [*message.earlier, message]
    for number, each in enumerate(several):
        if number and each.body.get("thread"):
            blocks = each.body.get("thread_blocks")
            yield each.at, joined(map(_block, blocks)) if blocks else mrkdwn(each.body["thread"])
        if each.body.get("log") or number == len(several) - 1:  # other numbered replies show the present only
            for part in each.body.get("parts") or []:
                yield each.at, joined(_bare(block) for block in part["blocks"])


def _bare(block: Mapping[str, Any]) -> Markup:
    """Return a block of a reply, which needs no paragraph around its text."""
    return mrkdwn(f"{block['text']['text']}\n") if block["type"] == "section" else _block(block)
