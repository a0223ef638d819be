"""Lays out Slack messages: blocks within Slack's limits. What exceeds them is in :mod:`router.channels.slack_replies`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from router.channels.layout import HEX_COLORS, MAX_TITLE_UNITS, by_status
from router.channels.slack_mrkdwn import (
    MRKDWN,
    block_of,
    blocks_of,
    context_of,
    names_emoji,
    plain_text,
    shown,
    unescape,
)
from router.channels.slack_plain import plain_of
from router.channels.slack_replies import AlertRow, numbered_replies
from router.model import Conversation
from router.render import Words
from router.render.view import AlertView
from router.render.words import clip, line

# https://docs.slack.dev/reference/block-kit/blocks/header-block
MAX_HEADER_CHARS = 150
# https://docs.slack.dev/reference/block-kit/blocks/section-block
MAX_SECTION_CHARS = 3_000
# https://docs.slack.dev/reference/block-kit/block-elements/button-element
MAX_URL_CHARS = 3_000
# Slack rejects a message of more than about 13,200 characters with msg_blocks_too_long. This limit is not documented.
# Sections are filled, so a message within this limit has far fewer than the 50 blocks that are allowed:
# https://docs.slack.dev/reference/block-kit/blocks
MAX_MESSAGE_CHARS = 12_000

# Limits of the texts that are in a message once, so that there is always room for alerts.
MAX_LABELS_CHARS, MAX_CONTEXT_CHARS, _MAX_LINKS_CHARS = 1_500, 500, 3_000
_MAX_ALERT_CHARS = 600  # so that one alert doesn't fill the message
_REST_LINE_CHARS = 80  # reserved for the line that counts the other alerts
_CUT_MARK = "… (full text in the thread)"

# https://docs.slack.dev/reference/block-kit/block-elements/button-element
_MAX_BUTTON_CHARS = 75

# Characters that look like angle brackets, but make no mention.
_ANGLES = {
    ord("<"): "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}",
    ord(">"): "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}",
}
_NOT_COUNTED = {"type", "action_id"}


def message_of(words: Words, conversation: Conversation) -> dict[str, Any]:
    """Return the message of an alert group. Its keys are:

    - ``text``, ``blocks``, ``attachments``: the message. ``blocks`` show the text if it is not literal as mrkdwn.
    - ``plain``: all of it as text without markup, for :func:`router.channels.slack_plain.plain_pages`
    - ``thread``, ``thread_blocks``: a reply with the news; None: no reply
    - ``broadcast``: whether the reply is also shown in the channel
    - ``parts``: the numbered replies, which have the full text of what is cut in the message

    :raises TemplateError: the template failed
    """
    cut: list[str] = []
    values = words.values

    def fitted(text: str, limit: int) -> str:
        if len(text) > limit:
            cut.append(text)
        return clipped(text, limit, _CUT_MARK)

    def row(alert: AlertView) -> str:
        return words("alert", alert=alert)

    text = line(clipped(words("text"), MAX_TITLE_UNITS))
    title = words("title")
    header = header_of(title)
    if len(plain_title(title)) > MAX_HEADER_CHARS:
        cut.append(title)
    head = [header, *_section(fitted(words("summary"), MAX_SECTION_CHARS))]
    buttons, too_long = buttons_of(values["links"])
    cut += too_long
    tail = [*_section(fitted(words("labels"), MAX_LABELS_CHARS)), *buttons]
    if footer := fitted(words("footer"), MAX_CONTEXT_CHARS):
        tail.append(context_of(footer))
    alerts: list[AlertView] = values["alerts"]
    # The text is sent three times: in the message, in its blocks, and as the fallback of the attachment.
    rows, rest = _shared_out(alerts, row, MAX_MESSAGE_CHARS - 3 * len(text) - sum(map(weight, head + tail)))
    blocks = [*head, *packed([*rows, *_more(alerts[len(rows) :])]), *tail]
    is_update = bool(conversation.remote)
    news = MRKDWN.clip(words("news"), MAX_SECTION_CHARS, "the news") if is_update else ""
    return {
        **top_of(text, values["color"], blocks),
        "thread": shown(news) or None,
        "thread_blocks": blocks_of(news),
        # Slack sends no notification for an edit, so the reply about new firing alerts is also shown in the channel.
        "broadcast": bool(values["new_firing"]),
        "parts": numbered_replies(conversation, cut, rest, row),
    }


def top_of(text: str, color: str, blocks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a message: its text, a coloured attachment with the blocks, and all of it as plain text.

    :param text: a line for notifications, which also stands above the attachment
    """
    attachment = {"color": HEX_COLORS[color], "blocks": [*blocks], "fallback": shown(text)}
    return {
        "text": shown(text),
        "blocks": blocks_of(text),
        "attachments": [attachment],
        "plain": plain_of(blocks, "" if blocks[0]["type"] == "header" else plain_text(text)),
    }


def _shared_out(alerts: Sequence[AlertView], row: AlertRow, room: int) -> tuple[list[str], list[AlertView]]:
    """Return the rows that fit the message, and the alerts that the replies show: those that the message cuts or leaves
    out.

    :param room: how many characters the rows may have
    """
    rows: list[str] = []
    cut: list[AlertView] = []
    room -= _REST_LINE_CHARS
    for alert in alerts:
        whole = row(alert)
        shown = clipped(whole, _MAX_ALERT_CHARS, _CUT_MARK)
        room -= len(shown) + 1
        if room < 0:
            break
        rows.append(shown)
        if len(whole) > _MAX_ALERT_CHARS:
            cut.append(alert)
    return rows, [*cut, *alerts[len(rows) :]]


def _more(rest: Sequence[AlertView]) -> list[str]:
    """Return the line that counts the alerts that are only in the thread; an empty list if there are none."""
    return [f"… and {len(rest)} more in the thread ({by_status(rest)})"] if rest else []


def packed(rows: list[str]) -> list[dict[str, Any]]:
    """Return rows as blocks, in as few sections as possible."""
    texts: list[str] = []
    for row in rows:
        if texts and len(texts[-1]) + 1 + len(row) <= MAX_SECTION_CHARS:
            texts[-1] += "\n" + row
        else:
            texts.append(row)
    return [block for text in texts for block in _section(text)]


def _section(text: str) -> list[dict[str, Any]]:
    return [block_of(text)] if text else []


def header_of(title: str) -> dict[str, Any]:
    """Return the header of a message."""
    title = clip(plain_title(title), MAX_HEADER_CHARS)
    # Without the flag, a word between colons stays text.
    text = {"type": "plain_text", "text": title, "emoji": not names_emoji(title)}
    return {"type": "header", "text": text}


def buttons_of(links: Iterable[tuple[str, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the block of buttons, and as text the links that are too long for a button."""
    elements: list[dict[str, Any]] = []
    too_long: list[str] = []
    left = _MAX_LINKS_CHARS
    for words, address in links:
        url, name = unescape(address), clip(plain_title(words), _MAX_BUTTON_CHARS)
        if len(url) > min(left, MAX_URL_CHARS):
            too_long.append(f"{name}: {address}")
            continue
        left -= len(url)
        text = {"type": "plain_text", "text": name, "emoji": False}
        elements.append({"type": "button", "text": text, "url": url, "action_id": f"open-{name.lower()}"})
    return ([{"type": "actions", "elements": elements}] if elements else []), too_long


def weight(node: Any) -> int:
    """Return how many characters of texts and addresses a block has."""
    if isinstance(node, Mapping):
        return sum(
            len(each) if isinstance(each, str) else weight(each)
            for key, each in node.items()
            if key not in _NOT_COUNTED
        )
    return sum(map(weight, node)) if isinstance(node, list) else 0


def clipped(text: str, limit: int, mark: str = "…") -> str:
    """Return text cut to a limit of characters, with a mark at its end. An entity such as ``&amp;`` is never split."""
    return text if len(text) <= limit else MRKDWN.split(text, limit - len(mark))[0].rstrip() + mark


def plain_title(text: str) -> str:
    """Return text for a field without markup, in which nothing looks like a mention."""
    return line(unescape(text).translate(_ANGLES))
