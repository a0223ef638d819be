"""Keeps text literal in Slack: what an alert says is never formatted, and it is copied from Slack exactly.

Slack's markup (mrkdwn) has no escape for its marks. Zero-width characters do not help: a mark beside one still formats
(https://github.com/yhatt/jsx-slack/blob/main/docs/about-escape-and-exact-mode.md#exact-mode uses that), and they would be
copied with a host name or a command. So nothing is inserted. :func:`escape` replaces the marks that could format by
stand-ins, which lets :func:`block_of` tell the marks of an alert from those of a template. A text that Slack would show as
it is meant stays mrkdwn; another one becomes a rich_text block, which states its formats
(https://docs.slack.dev/reference/block-kit/blocks/rich-text-block), or a code block where there are no blocks.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from router.channels.layout import TextFormat
from router.render.words import clean

Element = dict[str, Any]

# Noncharacters, which no text has: https://www.unicode.org/faq/private_use.html#noncharacters
_MARKS = "*_~`:"
_STAND_INS = {ord(mark): chr(0xFDD1 + number) for number, mark in enumerate(_MARKS)}
_MARK_OF = {ord(stand_in): chr(mark) for mark, stand_in in _STAND_INS.items()}
_NONCHARACTERS = dict.fromkeys(range(0xFDD0, 0xFDF0), " ")
_HAS_STAND_IN = re.compile("[" + "".join(map(chr, _MARK_OF)) + "]")
# No emoji has a number as its name, apart from two. So the colons of a time are text.
_EMOJI = r"(?:(?=[0-9_']*[a-z+-])[a-z0-9_+'-]+|100|1234)"
# A mark formats at the edge of a word only. A colon formats where it is beside the name of an emoji.
_CAN_FORMAT = re.compile(rf"`|[*_~](?![A-Za-z0-9])|(?<![A-Za-z0-9])[*_~]|:(?={_EMOJI}(?::|$))", re.MULTILINE)
_WEB_ADDRESS = re.compile(r"(?<![^\s(])https?://[^\s<>|`]*[^\s<>|`.,;:!?)\]}'\"]")

# https://docs.slack.dev/messaging/formatting-message-text. The same as Slack or more: whatever may format counts.
_FENCED = re.compile(r"```(.+?)```", re.DOTALL)
_OPAQUE = re.compile(r"`[^`\n]+`|<[^<>\n]+>")
_QUOTED_LINE = re.compile(r"^(?:>|&gt;) ?", re.MULTILINE)
_TOKEN = re.compile(
    rf"""`(?P<code>[^`\n]+)` | <(?P<angle>[^<>\n]+)> | :(?P<emoji>{_EMOJI}): | (?<![A-Za-z0-9])(?P<mark>[*_~])(?=\S)""",
    re.VERBOSE,
)
_CLOSER = re.compile(r"(?<=\S)[*_~](?![A-Za-z0-9])")
_STYLES = {"*": "bold", "_": "italic", "~": "strike"}
# https://docs.slack.dev/messaging/formatting-message-text#advanced
_FENCE = re.compile("`{3,}")  # would end a code block
_MENTIONS = (
    (re.compile(r"@([UW]\w+)(?:\|.*)?"), "user", "user_id"),
    (re.compile(r"#(C\w+)(?:\|.*)?"), "channel", "channel_id"),
    (re.compile(r"!(here|channel|everyone)(?:\|.*)?"), "broadcast", "range"),
    (re.compile(r"!subteam\^(\w+)(?:\|.*)?"), "usergroup", "usergroup_id"),
)


def escape(text: str) -> str:
    """Return text for a template: Slack shows it as it is, after :func:`block_of` or :func:`shown`.

    Slack's three special characters become entities, which also disables mentions:
    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    text = entities(clean(text).translate(_NONCHARACTERS))
    return _CAN_FORMAT.sub(lambda match: match[0].translate(_STAND_INS), text)


def entities(text: str) -> str:
    """Return text with entities for Slack's three special characters."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shown(text: str) -> str:
    """Return text with the marks themselves instead of their stand-ins."""
    return text.translate(_MARK_OF)


def unescape(text: str) -> str:
    """Return text as the alert has it: without stand-ins and entities."""
    return shown(text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


# An entity is one character, and a mark within a word formats nothing while it is there.
MRKDWN = TextFormat(escape, re.compile(r"&[a-z]+;|\w[*_~]\w"))


def names_emoji(text: str) -> bool:
    """Return whether Slack could show a part of a text as an emoji."""
    return re.search(f":{_EMOJI}:", text) is not None


def is_literal(text: str) -> bool:
    """Return whether Slack's markup shows a text as it is meant: no mark of an alert formats anything."""
    if "&gt;" in text and re.search(r"^&gt;", text, re.MULTILINE):
        return False
    return not _HAS_STAND_IN.search(text) or _elements(shown(text)) == _elements(text)


def block_of(text: str) -> Element:
    """Return a block with a text: a section if that is literal, otherwise rich text."""
    if is_literal(text):
        return {"type": "section", "text": {"type": "mrkdwn", "text": shown(text)}}
    return {"type": "rich_text", "elements": _elements(text)}


def context_of(text: str) -> Element:
    """Return a block with a small quiet text. It can't have rich text, so a text that is not literal has no markup."""
    plain = {"type": "plain_text", "text": plain_text(text), "emoji": False}
    element = {"type": "mrkdwn", "text": shown(text)} if is_literal(text) else plain
    return {"type": "context", "elements": [element]}


def blocks_of(text: str) -> list[Element]:
    """Return blocks that show a message of text alone; none if its text is literal without them."""
    return [] if is_literal(text) else [block_of(text)]


def markup_argument(message: Mapping[str, Any]) -> dict[str, bool]:
    """Return the argument ``mrkdwn`` of a message to post: no markup counts in its text if it has blocks.

    Slack then shows the blocks, but notifications and screen readers have the text, in which the marks of an alert would
    format. Without blocks the text itself is shown: its markup is that of a template, or a code block.

    https://docs.slack.dev/reference/methods/chat.postMessage, and for incoming webhooks
    https://api.slack.com/reference/messaging/payload
    """
    return {"mrkdwn": False} if message.get("blocks") else {}


def plain_text(text: str) -> str:
    """Return what a reader sees of a text, without markup and entities; a link has its address."""
    return "\n".join(_plain(each) for each in _elements(text))


def fenced(text: str) -> str:
    """Return text for a message that has no blocks. If Slack would format it, it becomes a code block.

    :param text: without markup, and with entities
    """
    if not _QUOTED_LINE.search(text) and _is_bare(_elements(text)):
        return text
    text = _FENCE.sub(lambda match: "\N{ZERO WIDTH SPACE}".join(match[0]), text)
    return f"```\n{text}\n```"


def _is_bare(containers: Iterable[Element]) -> bool:
    """Return whether nothing but text and its web addresses is there."""
    return all(
        container["type"] == "rich_text_section"
        and all(each["type"] in {"text", "link"} and "style" not in each for each in container["elements"])
        for container in containers
    )


def text_of(block: Mapping[str, Any]) -> str:
    """Return what a reader sees of a block, without markup; a link has its address."""
    match block:
        case {"type": "rich_text"}:
            return "\n".join(map(_plain, block["elements"]))
        case {"type": "actions"}:
            return "\n".join(f"{each['text']['text']}: {each['url']}" for each in block["elements"])
        case {"type": "context", "elements": texts} | {"text": texts}:
            several = texts if isinstance(texts, list) else [texts]
            plain = (
                each["text"] if each["type"] == "plain_text" else plain_text(each["text"]) for each in several
            )
            return " ".join(plain)
    return ""


def _plain(container: Mapping[str, Any]) -> str:
    return "".join(map(_plain_element, container["elements"]))


def _plain_element(element: Mapping[str, Any]) -> str:
    match element["type"]:
        case "text":
            return str(element["text"])
        case "link":
            return f"{element['text']}: {element['url']}" if "text" in element else str(element["url"])
        case "emoji":
            return f":{element['name']}:"
    return next(f"@{value}" for key, value in element.items() if key != "type")


def _elements(text: str) -> list[Element]:
    """Return the parts of a rich_text block that show a text."""
    found: list[Element] = []
    for number, piece in enumerate(_FENCED.split(text)):
        if number % 2:
            inner = _text(unescape(piece.strip("\n")), {})
            found.append({"type": "rich_text_preformatted", "elements": [inner]})
        else:
            found += _paragraphs(piece.strip("\n") if number else piece)
    return found


def _paragraphs(text: str) -> Iterable[Element]:
    """Yield the quotes of a text, and the parts between them. Only a bare ``>`` of a template begins a quote."""
    lines: list[str] = []
    is_quote = False
    for each in [*text.split("\n"), None]:
        quoted = each is not None and each.startswith(">")
        if lines and (each is None or quoted != is_quote):
            elements = _spans("\n".join(lines), {})
            if elements:
                yield {"type": "rich_text_quote", "elements": elements} if is_quote else _section(elements)
            lines = []
        is_quote = quoted
        if each is not None:
            lines.append(each[1:].removeprefix(" ") if quoted else each)


def _section(elements: list[Element]) -> Element:
    return {"type": "rich_text_section", "elements": elements}


def _spans(text: str, style: Mapping[str, bool]) -> list[Element]:
    """Return the elements of a text. :param style: the formats around it; a format is not nested in itself"""
    opaque = [each.span() for each in _OPAQUE.finditer(text)]
    starts = [start for start, _ in opaque]
    closers: dict[str, list[int]] = {mark: [] for mark in _STYLES}
    for match in _CLOSER.finditer(text):
        before = bisect_right(starts, match.start()) - 1
        if before < 0 or opaque[before][1] <= match.start():
            closers[match[0]].append(match.start())
    found: list[Element] = []
    done = position = 0
    while (token := _TOKEN.search(text, position)) is not None:
        elements, end = _token(text, token, closers, style)
        if elements:
            found += [*_some_text(text[done : token.start()], style), *elements]
            done = end
        position = end
    return [*_split_mentions(_merged([*found, *_some_text(text[done:], style)]))]


def _token(
    text: str, token: re.Match[str], closers: Mapping[str, list[int]], style: Mapping[str, bool]
) -> tuple[list[Element], int]:
    """Return the elements of a token, and where it ends; no elements: it is text."""
    if code := token["code"]:
        return [_text(unescape(code), {**style, "code": True})], token.end()
    if angle := token["angle"]:
        return [_angle(angle, style)], token.end()
    if name := token["emoji"]:
        return [{"type": "emoji", "name": name}], token.end()
    mark, start = token["mark"], token.start() + 1
    places = closers[mark]
    at = bisect_right(places, start)
    if _STYLES[mark] in style or at == len(places) or text.find("\n", start, places[at]) >= 0:
        return [], start
    return _spans(text[start : places[at]], {**style, _STYLES[mark]: True}), places[at] + 1


def _angle(inner: str, style: Mapping[str, bool]) -> Element:
    for pattern, kind, key in _MENTIONS:
        if (match := pattern.fullmatch(inner)) is not None:
            return {"type": kind, key: match[1]}
    address, bar, words = inner.partition("|")
    if address.startswith(("http://", "https://", "mailto:")):
        link = {"type": "link", "url": unescape(address), **({"style": dict(style)} if style else {})}
        return {**link, "text": unescape(words)} if bar and words else link
    return _text(unescape(words or inner), style)  # such as a date with its fallback


def _some_text(text: str, style: Mapping[str, bool]) -> list[Element]:
    """Return the elements of a text without marks. Slack makes links of its web addresses, but not in rich text."""
    text = unescape(text)
    found: list[Element] = []
    done = 0
    for match in _WEB_ADDRESS.finditer(text):
        link = {"type": "link", "url": match[0], **({"style": dict(style)} if style else {})}
        found += [_text(text[done : match.start()], style), link]
        done = match.end()
    return [each for each in [*found, _text(text[done:], style)] if each.get("text") != ""]


def _text(text: str, style: Mapping[str, bool]) -> Element:
    return {"type": "text", "text": text, **({"style": dict(style)} if style else {})}


def _split_mentions(elements: Iterable[Element]) -> Iterable[Element]:
    """Yield elements so that none has the text of a mention. A reader sees no difference."""
    for each in elements:
        if each["type"] == "text":
            yield from ({**each, "text": piece} for piece in re.split(r"(?<=<)(?=[!@#])", each["text"]))
        else:
            yield each


def _merged(elements: Iterable[Element]) -> list[Element]:
    """Return elements in which texts of one style that follow each other are one."""
    found: list[Element] = []
    for (kind, _), several in groupby(elements, key=lambda each: (each["type"], each.get("style"))):
        if kind == "text":
            first, *rest = several
            found.append({**first, "text": "".join(each["text"] for each in [first, *rest])})
        else:
            found += several
    return found
