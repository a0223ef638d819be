"""What a reader sees of Slack's markup and blocks: a small model, which knows nothing of the router's.

It formats wherever Slack may: https://docs.slack.dev/messaging/formatting-message-text. Zero-width characters change
nothing (https://github.com/yhatt/jsx-slack/blob/main/docs/about-escape-and-exact-mode.md#exact-mode).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_INVISIBLE = re.compile("[\u200b\u200c\u200d\u2060\ufeff\u00ad]")
_FENCE = re.compile(r"```(.+?)```", re.DOTALL)
_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"<(https?:[^|>\n]+)(?:\|([^>\n]*))?>")
_EMOJI = re.compile(r":(?:[a-z0-9_'+-]*[a-z+-][a-z0-9_'+-]*|100|1234):")
_QUOTE = re.compile(r"^(?:>|&gt;) ?", re.MULTILINE)
_FORMATS = [
    (name, re.compile(rf"(?<![A-Za-z0-9]){mark}(?=\S)(.+?)(?<=\S){mark}(?![A-Za-z0-9])"))
    for name, mark in (("bold", r"\*"), ("italic", "_"), ("strike", "~"))
]


def read_mrkdwn(text: str) -> str:
    """Return what a reader sees. A format is written out, such as ``[bold:x]``; code is literal."""
    kept: list[str] = []

    def keep(literal: str) -> str:
        kept.append(_INVISIBLE.sub("", _decoded(literal)))
        return f"\x00{len(kept) - 1}\x01"

    text = _FENCE.sub(lambda match: keep(match[1].strip("\n")), text)
    text = _CODE.sub(lambda match: keep(match[1]), text)
    text = _LINK.sub(lambda match: keep(match[2] or match[1]), text)
    text = _QUOTE.sub("[quote]", text)
    text = _EMOJI.sub("[emoji]", text)
    for name, pattern in _FORMATS:
        text = pattern.sub(rf"[{name}:\1]", text)
    return re.sub("\x00(\\d+)\x01", lambda match: kept[int(match[1])], _INVISIBLE.sub("", _decoded(text)))


def read_text(text: str, *, mrkdwn: bool) -> str:
    """Return what a reader sees of the text of a message, where that is shown: in a notification, by a screen reader, and
    in a message without blocks.

    :param mrkdwn: the argument of chat.postMessage, https://docs.slack.dev/reference/methods/chat.postMessage
    """
    return read_mrkdwn(text) if mrkdwn else _decoded(text)


def read_block(block: Mapping[str, Any]) -> str:
    """Return what a reader sees of a block of a message."""
    return "\n".join(_lines(block))


def _lines(block: Mapping[str, Any]) -> Iterator[str]:
    match block["type"]:
        case "rich_text":
            for each in block["elements"]:
                mark = "[quote]" if each["type"] == "rich_text_quote" else ""
                yield mark + "".join(map(_rich, each["elements"]))
        case "section" | "header":
            yield _read(block["text"])
        case "context":
            yield from map(_read, block["elements"])
        case "actions":
            yield from (_read(each["text"]) for each in block["elements"])


def _read(text: Mapping[str, Any]) -> str:
    if text["type"] == "mrkdwn":
        return read_mrkdwn(text["text"])
    return _EMOJI.sub("[emoji]", text["text"]) if text.get("emoji", True) else str(text["text"])


def _rich(element: Mapping[str, Any]) -> str:
    match element["type"]:
        case "text" | "link":
            text = str(element.get("text") or element["url"])
            for name in element.get("style", {}):
                text = text if name == "code" else f"[{name}:{text}]"
            return text
    return f"[{element['type']}]"


def _decoded(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
