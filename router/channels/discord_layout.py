"""What a Discord message looks like: text made safe, Discord's limits, and alerts spread over messages."""

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
CONTENT = 2_000
# https://docs.discord.com/developers/resources/message#embed-object-embed-limits: we make one embed of the 10
# and two fields of the 25, and stay far below the 256 characters of their names and the 2,048 of the footer.
TITLE = 256
DESCRIPTION = 4_096
FIELD_VALUE = 1_024
TOTAL = 6_000
# A conversation takes no more than these: they fit a webhook's window of five requests in two seconds.
MESSAGES = 4

# Shares of the total for what stands once, so that there is always room for alerts.
_HEADLINE, _SUMMARY, _CONTEXT = 300, 1_500, 500
_ALERT = 600  # and no alert takes it all
_MORE = 60  # room for the line that counts the rest
_NUMBER = len(" · 2/3")

# Red, amber, blue and green, told apart in light and dark.
_MOST_URGENT, _MIDDLE, _LEAST_URGENT, _RESOLVED = 0xD5303E, 0xE8912D, 0x3A7BD5, 0x2EB67D

# https://support.discord.com/hc/en-us/articles/210298617: what marks text up, or looks like a mention. An
# address is no place for either, and a backslash would break it.
_MARKUP = re.compile(r"((?<!\w)https?://[^\s<]+)|[\\*_~`|<>\[\]#@]")
# An address stands between these where text is linked.
_LINKED = {ord(char): f"%{ord(char):02X}" for char in "()<>[]\\"}


def escape(text: str) -> str:
    """Text without markup and without mentions; addresses stay as they are.

    https://support.discord.com/hc/en-us/articles/210298617
    """
    return _MARKUP.sub(lambda match: match[1] or f"\\{match[0]}", clean(text))


def layout(
    conversation: Conversation, templates: Templates, values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The messages of a conversation; the first says what stands once. :raises TemplateError: it failed"""

    def words(block: str, limit: int, values: Mapping[str, Any] = values) -> str:
        # Where an escape is cut in half, it escapes the ellipsis, which shows as itself.
        return clip(re.sub(r"\n{3,}", "\n\n", templates.render("discord.j2", block, values)), limit)

    alerts: list[AlertView] = values["alerts"]
    bare = templates.values(conversation)  # for what Discord shows as it stands
    text = line(words("text", _HEADLINE))
    title, summary = line(words("title", TITLE - _NUMBER)), words("summary", _SUMMARY)
    footer = line(words("footer", _CONTEXT, bare))
    fields = _fields(Labels=words("labels", FIELD_VALUE), Links=_links(bare["links"]))
    spent = len(title) + _NUMBER + len(footer) + sum(len(each["name"] + each["value"]) for each in fields)
    room = min(DESCRIPTION, TOTAL - spent) - len(summary) - 2

    def rows(shown: Iterable[AlertView]) -> Iterator[str]:
        return (words("alert", _ALERT, {**values, "alert": alert}) for alert in shown)

    rooms = [room, *_rooms(DESCRIPTION)[1:]]
    pages = _pages(rows(alerts), alerts, rooms)
    if len(pages) > 1:
        # A duration that grows would change every message at every update.
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


def bare_facts(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is sent when the template fails: the facts, without dress."""
    alerts: list[AlertView] = values["alerts"]
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    counts = f"{len(values['firing'])} firing, {values['resolved_count']} resolved"
    text = clip(f"{state}: {values['title']} ({counts})", _HEADLINE)
    rows = (
        clip(f"{alert.status}: {' '.join(map('='.join, alert.labels.items()))}", _ALERT) for alert in alerts
    )
    pages = _pages(rows, alerts, _rooms(CONTENT - len(text) - _NUMBER))
    return [_message(_listed(text + number, kept, part), [], "") for number, kept, part in pages]


def _message(content: str, embeds: list[dict[str, Any]], plain: str) -> dict[str, Any]:
    """:param plain: what is sent if Discord refuses the embeds"""
    # https://docs.discord.com/developers/resources/message#allowed-mentions-object: nobody is mentioned
    return {"content": content, "embeds": embeds, "plain": plain, "allowed_mentions": {"parse": []}}


def _fields(**values: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value, "inline": False} for name, value in values.items() if value]


def _links(links: Iterable[tuple[str, str]]) -> str:
    """Those that fit, whole."""
    text = ""
    for name, address in links:
        more = f"{' · ' * bool(text)}[{name}](<{address.translate(_LINKED)}>)"
        if len(text) + len(more) <= FIELD_VALUE:
            text += more
    return text


def _rooms(limit: int) -> list[int]:
    """Of each message; the last may have to count what is beyond it."""
    return [*[limit] * (MESSAGES - 1), limit - _MORE]


def _pages(
    rows: Iterable[str], alerts: Sequence[AlertView], rooms: Sequence[int]
) -> list[tuple[str, list[str], Sequence[AlertView]]]:
    """The alerts' rows over as many messages as they take, and no more than there are rooms.

    :returns: of each message its number, its rows and its alerts; the last has those without a row as well
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
    """The rows of the first alerts; what they leave out is counted, never dropped in silence."""
    rest = [alert.status for alert in alerts[len(rows) :]]
    if not rest:
        return rows
    counts = [f"{rest.count(status)} {status}" for status in ("firing", "resolved") if status in rest]
    return [*rows, f"… and {len(rest)} more ({', '.join(counts)})"]


def _listed(text: str, rows: Sequence[str], alerts: Sequence[AlertView]) -> str:
    """The rows that fit plain content beside the line that counts the rest."""
    ends = accumulate((len(row) + 1 for row in rows), initial=len(text) + _MORE)
    fitting = sum(end <= CONTENT for end in ends) - 1
    return "\n".join([text, *_counted(list(rows[:fitting]), alerts)])


def _color(conversation: Conversation, values: Mapping[str, Any], levels: tuple[str, ...]) -> int:
    if conversation.over:
        return _RESOLVED
    if values["rank"] == 0:
        return _MOST_URGENT
    return _LEAST_URGENT if values["rank"] == len(levels) - 1 else _MIDDLE
