"""A message without its layout, for when Slack refuses that: first without buttons, then as text with everything."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from router.channels.layout import TextFormat
from router.channels.slack_mrkdwn import block_of, entities, escape, fenced, text_of

# https://docs.slack.dev/reference/methods/chat.update#errors: msg_too_long. It is the same for posts, which are edited
# later: https://docs.slack.dev/reference/methods/chat.postMessage#truncating recommends it, too.
MAX_TEXT_CHARS = 4_000
# https://docs.slack.dev/reference/block-kit/blocks/section-block
_MAX_SECTION_CHARS = 3_000
# Room for the marks of a code block.
_FENCE_CHARS = 100
_NOTE = "(Plain text, because Slack refused the layout of this message.)"


_ESCAPED = TextFormat(entities, re.compile(r"&[a-z]+;"))


def plain_of(blocks: Sequence[Mapping[str, Any]], title: str = "") -> str:
    """Return all words of blocks, without markup but with entities, and why they are plain. The links come last, so that they are the
    first to go into the thread.

    :param title: a first line, if the blocks have none
    """
    texts = [text_of(each) for each in blocks if each["type"] != "actions"]
    links = [text_of(each) for each in blocks if each["type"] == "actions"]
    title, *rest = [title, *texts] if title else texts
    return entities("\n\n".join(filter(None, [f"{title}\n{_NOTE}", *rest, *links])))


def plain_pages(plain: str) -> list[str]:
    """Return the texts of a plain message and of the replies that continue it.

    :param plain: the plain text of :func:`plain_of`
    """
    pages = _ESCAPED.pages(plain, MAX_TEXT_CHARS - _FENCE_CHARS)
    return [fenced(each) for each in pages]


def has_buttons(message: Mapping[str, Any]) -> bool:
    """Return whether an attachment of a message has buttons."""
    return any(
        block["type"] == "actions" for each in message.get("attachments", ()) for block in each["blocks"]
    )


def without_buttons(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its links as text instead of buttons: one wrong button makes Slack refuse the message."""
    attachments = [
        {**each, "blocks": [*chain.from_iterable(map(_linked, each["blocks"]))]}
        for each in message["attachments"]
    ]
    return {**message, "attachments": attachments}


def _linked(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if block["type"] != "actions":
        return [block]
    return [block_of(each) for each in _ESCAPED.pages(escape(text_of(block)), _MAX_SECTION_CHARS)]
