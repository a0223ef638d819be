"""Lays out Discord messages: escapes text, keeps Discord's limits, and distributes alerts over messages."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

from router.model import Conversation
from router.render import Templates
from router.render.view import AlertView
from router.render.words import clean, clip, line

# https://docs.discord.com/developers/resources/webhook#execute-webhook
MAX_CONTENT_CHARS = 2_000
# https://docs.discord.com/developers/resources/message#embed-object-embed-limits: a message has one embed of
# the 10 that are allowed, with two fields of 25. Their names are far below 256 characters, the footer far below 2,048.
MAX_TITLE_CHARS = 256
MAX_DESCRIPTION_CHARS = 4_096
MAX_FIELD_CHARS = 1_024
MAX_EMBED_CHARS = 6_000
# The most messages of a conversation. They fit a webhook's limit of five requests in two seconds.
MAX_MESSAGES = 4

# Limits of the texts that are in an embed once, so that there is always room for alerts.
_MAX_HEADLINE_CHARS, _MAX_SUMMARY_CHARS, _MAX_CONTEXT_CHARS = 300, 1_500, 500
_MAX_ALERT_CHARS = 600  # so that one alert doesn't fill the message
_REST_LINE_CHARS = 60  # reserved for the line that counts the other alerts
_NUMBER_CHARS = len(" · 2/3")

# Red, amber, blue and green; they are distinct on light and on dark backgrounds.
_MOST_URGENT_COLOR, _MIDDLE_COLOR, _LEAST_URGENT_COLOR, _RESOLVED_COLOR = (
    0xD5303E,
    0xE8912D,
    0x3A7BD5,
    0x2EB67D,
)

# https://support.discord.com/hc/en-us/articles/210298617: characters of markup and mentions. Addresses are matched
# first and stay as they are, because Discord applies no markup within them, and a backslash would break them.
_MARKUP = re.compile(r"((?<!\w)https?://[^\s<]+)|[\\*_~`|<>\[\]#@]")
# These characters would end the address of a linked text, so they are percent-encoded.
_LINKED = {ord(char): f"%{ord(char):02X}" for char in "()<>[]\\"}


def escape(text: str) -> str:
    """Return text with markup and mentions escaped. Addresses stay as they are.

    https://support.discord.com/hc/en-us/articles/210298617
    """
    return _MARKUP.sub(lambda match: match[1] or f"\\{match[0]}", clean(text))


def render(
    conversation: Conversation, templates: Templates, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the messages of a conversation. Only the first has the summary, labels, links and footer.

    :raises TemplateError: the template failed
    """

    def words(block: str, limit: int, values: Mapping[str, Any] = values) -> str:
        # If the cut leaves a backslash at the end, it escapes the ellipsis, which Discord shows unchanged.
        return clip(re.sub(r"\n{3,}", "\n\n", templates.render("discord.j2", block, values)), limit)

    alerts: list[AlertView] = values["alerts"]
    bare = templates.values(conversation)  # not escaped, for texts in which Discord applies no markup
    text = line(words("text", _MAX_HEADLINE_CHARS))
    title, summary = (
        line(words("title", MAX_TITLE_CHARS - _NUMBER_CHARS)),
        words("summary", _MAX_SUMMARY_CHARS),
    )
    footer = line(words("footer", _MAX_CONTEXT_CHARS, bare))
    fields = _fields(Labels=words("labels", MAX_FIELD_CHARS), Links=_links(bare["links"]))
    spent = (
        len(title) + _NUMBER_CHARS + len(footer) + sum(len(each["name"] + each["value"]) for each in fields)
    )
    room = min(MAX_DESCRIPTION_CHARS, MAX_EMBED_CHARS - spent) - len(summary) - 2

    def rows(shown: Iterable[AlertView]) -> Iterator[str]:
        return (words("alert", _MAX_ALERT_CHARS, {**values, "alert": alert}) for alert in shown)

    rooms = [room, *_rooms(MAX_DESCRIPTION_CHARS)[1:]]
    pages = _pages(rows(alerts), alerts, rooms)
    if len(pages) > 1:
        # A growing duration would change every message at every update, so it is left out.
        steady = (alert if alert.ended else replace(alert, lasted="") for alert in alerts)
        pages = _pages(rows(steady), alerts, rooms)
    messages: list[dict[str, Any]] = []
    for number, kept, part in pages:
        embed = {
            "title": title + number,
            "description": "\n".join(_counted(kept, part)),
            "color": _color(conversation, values, templates.levels),
        }
        if not messages:
            embed["description"] = f"{summary}\n\n{embed['description']}"
            embed |= {"fields": fields, "footer": {"text": footer}}
        plain = _listed(text + number, kept, part)
        messages.append(_message("" if messages else text, [embed], plain))
    return messages


def render_fallback(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return messages with the plain facts. They are sent if the template fails."""
    alerts: list[AlertView] = values["alerts"]
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    counts = f"{len(values['firing'])} firing, {values['resolved_count']} resolved"
    text = clip(f"{state}: {values['title']} ({counts})", _MAX_HEADLINE_CHARS)
    rows = (
        clip(f"{alert.status}: {' '.join(map('='.join, alert.labels.items()))}", _MAX_ALERT_CHARS)
        for alert in alerts
    )
    pages = _pages(rows, alerts, _rooms(MAX_CONTENT_CHARS - len(text) - _NUMBER_CHARS))
    return [_message(_listed(text + number, kept, part), [], "") for number, kept, part in pages]


def _message(content: str, embeds: list[dict[str, Any]], plain: str) -> dict[str, Any]:
    """Return a message.

    :param plain: the text that is sent if Discord refuses the embeds
    """
    # https://docs.discord.com/developers/resources/message#allowed-mentions-object: no mention
    # notifies a person.
    return {"content": content, "embeds": embeds, "plain": plain, "allowed_mentions": {"parse": []}}


def _fields(**values: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value, "inline": False} for name, value in values.items() if value]


def _links(links: Iterable[tuple[str, str]]) -> str:
    """Return the links that fit a field, as markup. A link that does not fit is left out."""
    text = ""
    for name, address in links:
        more = f"{' · ' * bool(text)}[{name}](<{address.translate(_LINKED)}>)"
        if len(text) + len(more) <= MAX_FIELD_CHARS:
            text += more
    return text


def _rooms(limit: int) -> list[int]:
    """Return how many characters of rows each message holds. The last one reserves room for the line that counts the
    rest.
    """
    return [*[limit] * (MAX_MESSAGES - 1), limit - _REST_LINE_CHARS]


def _pages(
    rows: Iterable[str], alerts: Sequence[AlertView], rooms: Sequence[int]
) -> list[tuple[str, list[str], Sequence[AlertView]]]:
    """Distribute the rows of alerts over as many messages as needed, but at most one for each of ``rooms``.

    :param rooms: how many characters of rows each message holds
    :returns: for each message its number as text, its rows, and its alerts; the last message also has the alerts
        without a row
    """
    pages: list[list[str]] = [[]]
    left = rooms[0]
    for row in rows:
        left -= len(row) + 1
        if left < 0 and len(pages) == len(rooms):
            break
        if left < 0:
            left = rooms[len(pages)] - len(row) - 1
            pages.append([])
        pages[-1].append(row)
    bounds = [0, *accumulate(map(len, pages[:-1])), len(alerts)]
    return [
        (f" · {number}/{len(pages)}" if len(pages) > 1 else "", page, alerts[start:end])
        for number, (page, (start, end)) in enumerate(zip(pages, pairwise(bounds), strict=True), 1)
    ]


def _counted(rows: list[str], alerts: Sequence[AlertView]) -> list[str]:
    """Return the rows, with a line that counts the alerts without a row, if there are any."""
    rest = [alert.status for alert in alerts[len(rows) :]]
    if not rest:
        return rows
    counts = [f"{rest.count(status)} {status}" for status in ("firing", "resolved") if status in rest]
    return [*rows, f"… and {len(rest)} more ({', '.join(counts)})"]


def _listed(text: str, rows: Sequence[str], alerts: Sequence[AlertView]) -> str:
    """Return the message as plain text: the rows that fit, and a line that counts the others."""
    ends = accumulate((len(row) + 1 for row in rows), initial=len(text) + _REST_LINE_CHARS)
    fitting = sum(end <= MAX_CONTENT_CHARS for end in ends) - 1
    return "\n".join([text, *_counted(list(rows[:fitting]), alerts)])


def _color(conversation: Conversation, values: Mapping[str, Any], levels: tuple[str, ...]) -> int:
    if conversation.over:
        return _RESOLVED_COLOR
    if values["rank"] == 0:
        return _MOST_URGENT_COLOR
    return _LEAST_URGENT_COLOR if values["rank"] == len(levels) - 1 else _MIDDLE_COLOR
