"""Lays out Discord messages: escapes text, keeps Discord's limits, and distributes alerts over messages."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from router.channels.layout import HEX_COLORS, MAX_TITLE_UNITS, TextFormat, all_links
from router.render import Words
from router.render.view import AlertView
from router.render.words import clean, line

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

_MAX_SUMMARY_CHARS = 1_500  # so that there is always room for alerts
_MAX_ALERT_CHARS = 600  # so that one alert doesn't fill the message
_NUMBER_CHARS = len(" · 2/3")
_TOO_LONG_CHARS = 120
"""Room for the words about links that are too long to show."""

# https://support.discord.com/hc/en-us/articles/210298617: characters of markup and mentions. Addresses are matched
# first and stay as they are, because Discord applies no markup within them, and a backslash would break them.
_MARKUP = re.compile(r"((?<!\w)https?://[^\s<]+)|[\\*_~`|<>\[\]#@]", re.IGNORECASE)
# An escaped character comes first, so that an escaped bracket begins no link. No part of a link matches the beginning of
# another one: a search takes time in proportion to the text.
_LINK = re.compile(r"\\.|\[(?P<label>(?:\\.|[^\[\]\\\n])+)\]\(<(?P<url>https?:[^<>\s]+)>\)")
# These characters would end the address of a linked text, so they are percent-encoded.
_LINKED = {ord(char): f"%{ord(char):02X}" for char in "()<>[]\\"}


def escape(text: str) -> str:
    """Return text with markup and mentions escaped. Addresses stay as they are.

    https://support.discord.com/hc/en-us/articles/210298617
    """
    return _MARKUP.sub(lambda match: match[1] or f"\\{match[0]}", clean(text))


def _untagged(text: str) -> str:
    """Return text with the address of each link after its words."""
    return _LINK.sub(lambda match: f"{match['label']}: {match['url']}" if match["url"] else match[0], text)


MARKDOWN = TextFormat(
    escape, re.compile(r"\\."), untagged=_untagged, link=lambda name, address: f"[{name}](<{address.translate(_LINKED)}>)",
)  # fmt: skip


def messages_of(words: Words, bare: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a conversation. Only the first has the summary, labels, links and footer.

    :param bare: the variables, not escaped, for the texts in which Discord applies no markup
    :raises TemplateError: the template failed
    """
    words = words.but(alerts=[_with_links(alert) for alert in words.values["alerts"]])
    text, title, footer, labels = (
        MARKDOWN.clip(some, limit, f"the {what}")
        for what, some, limit in (
            ("text", line(words("text")), MAX_TITLE_UNITS),
            ("title", line(words("title")), MAX_TITLE_CHARS - _NUMBER_CHARS),
            ("footer", line(words("footer", **bare)), MAX_TITLE_UNITS),
            ("labels", words("labels"), MAX_FIELD_CHARS),
        )
    )
    fields = _fields(
        Labels=labels, Links=MARKDOWN.links(all_links(words.values), MAX_FIELD_CHARS - _TOO_LONG_CHARS)
    )
    spent = (
        len(title) + _NUMBER_CHARS + len(footer) + sum(len(each["name"] + each["value"]) for each in fields)
    )
    room = min(MAX_DESCRIPTION_CHARS, MAX_EMBED_CHARS - spent) - 2
    alerts: list[AlertView] = words.values["alerts"]
    summary = MARKDOWN.summary(words, MARKDOWN.summary_room(words, alerts, room, _MAX_SUMMARY_CHARS))
    pages = _pages(words, alerts, room - len(summary))
    if len(pages) > 1:
        # A growing duration would change every message at every update, so it is left out.
        alerts = [alert if alert.ended else replace(alert, lasted="") for alert in alerts]
        pages = _pages(words, alerts, room - len(summary))
    messages: list[dict[str, Any]] = []
    for number, (rows, shown) in enumerate(pages, 1):
        position = f" · {number}/{len(pages)}" if len(pages) > 1 else ""
        title = title if number == 1 else _constant_title(words)
        embed: dict[str, Any] = {
            "title": title + position,
            "description": "\n".join(rows),
            "color": int(HEX_COLORS[words.values["color"]].removeprefix("#"), 16),
        }
        if number == 1:
            embed["description"] = f"{summary}\n\n{embed['description']}".strip()
            embed |= {"fields": fields, **({"footer": {"text": footer}} if footer else {})}
        plain = _plain(words.but(alerts=shown), title, position, is_first=number == 1)
        messages.append(_message("" if number > 1 else text, [embed], plain))
    return messages


def _constant_title(words: Words) -> str:
    """Return the title of a later message. It never changes: otherwise each update would edit all messages."""
    values = words.values
    name = values["group_labels"].get("alertname") or values["scope"] or "Alerts"
    return MARKDOWN.short(name, MAX_TITLE_CHARS - _NUMBER_CHARS)


def _with_links(alert: AlertView) -> AlertView:
    """Return the alert with addresses that can be those of linked texts."""
    links = tuple((name, address.translate(_LINKED)) for name, address in alert.own_links)
    return replace(alert, own_links=links)


def _plain(words: Words, title: str, position: str, *, is_first: bool) -> str:
    """Return the text that is sent if Discord refuses the embed: as much of a message as its 2,000 characters hold.

    :param words: with the alerts of the message
    :param position: of the message among several
    """
    if is_first:
        first_line, newline, rest = MARKDOWN.whole(words, MAX_CONTENT_CHARS - len(position)).partition("\n")
        return f"{first_line}{position}{newline}{rest}"
    head = title + position
    rows = MARKDOWN.rows(words, words.values["alerts"], MAX_CONTENT_CHARS - len(head) - 1)
    return "\n".join([head, *rows])


def _message(content: str, embeds: list[dict[str, Any]], plain: str) -> dict[str, Any]:
    """Return a message.

    :param plain: the text that is sent if Discord refuses the embeds
    """
    # https://docs.discord.com/developers/resources/message#allowed-mentions-object: no mention
    # notifies a person.
    return {"content": content, "embeds": embeds, "plain": plain, "allowed_mentions": {"parse": []}}


def _fields(**values: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value, "inline": False} for name, value in values.items() if value]


def _pages(words: Words, alerts: list[AlertView], first: int) -> list[tuple[list[str], list[AlertView]]]:
    """Distribute the rows of alerts over as few messages as hold them, at most :data:`MAX_MESSAGES`.

    :param first: how many characters of rows the first message holds
    :returns: the rows and the alerts of each message; the last one counts and names the alerts that have no row
    """
    pages: list[tuple[list[str], list[AlertView]]] = [([], [])]
    left, most = first, max(_MAX_ALERT_CHARS, first // max(1, len(alerts)))
    for number, alert in enumerate(alerts):
        row = MARKDOWN.alert(words, alert, most)
        if (left := left - len(row) - 1) < 0:
            left = MAX_DESCRIPTION_CHARS - len(row) - 1
            if len(pages) == MAX_MESSAGES - 1:
                rest = alerts[number:]
                rows = MARKDOWN.rows(words, rest, MAX_DESCRIPTION_CHARS)
                return [*pages, (rows, rest)]
            pages.append(([], []))
        pages[-1][0].append(row)
        pages[-1][1].append(alert)
    return pages
