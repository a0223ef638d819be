"""Lays out Discord messages: escapes text, keeps Discord's limits, and distributes alerts over messages."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from router.channels.layout import HEX_COLORS, MAX_TITLE_UNITS, TextFormat
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


MARKDOWN = TextFormat(escape, re.compile(r"\\."))


def messages_of(words: Words, bare: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages of a conversation. Only the first has the summary, labels, links and footer.

    :param bare: the variables, not escaped, for the texts in which Discord applies no markup
    :raises TemplateError: the template failed
    """
    alerts: list[AlertView] = words.values["alerts"]
    text, title, summary, footer, labels = (
        MARKDOWN.clip(some, limit, f"the {what}")
        for what, some, limit in (
            ("text", line(words("text")), MAX_TITLE_UNITS),
            ("title", line(words("title")), MAX_TITLE_CHARS - _NUMBER_CHARS),
            ("summary", words("summary"), _MAX_SUMMARY_CHARS),
            ("footer", line(words("footer", **bare)), MAX_TITLE_UNITS),
            ("labels", words("labels"), MAX_FIELD_CHARS),
        )
    )
    fields = _fields(Labels=labels, Links=_links(bare["links"]))
    spent = (
        len(title) + _NUMBER_CHARS + len(footer) + sum(len(each["name"] + each["value"]) for each in fields)
    )
    first = min(MAX_DESCRIPTION_CHARS, MAX_EMBED_CHARS - spent) - len(summary) - 2
    pages = _pages(words, alerts, first)
    if len(pages) > 1:
        # A growing duration would change every message at every update, so it is left out.
        alerts = [alert if alert.ended else replace(alert, lasted="") for alert in alerts]
        pages = _pages(words, alerts, first)
    messages: list[dict[str, Any]] = []
    for number, (rows, shown) in enumerate(pages, 1):
        position = f" · {number}/{len(pages)}" if len(pages) > 1 else ""
        embed = {
            "title": title + position,
            "description": "\n".join(rows),
            "color": int(HEX_COLORS[words.values["color"]].removeprefix("#"), 16),
        }
        plain = [text + position]
        if number == 1:
            embed["description"] = f"{summary}\n\n{embed['description']}"
            embed |= {"fields": fields, **({"footer": {"text": footer}} if footer else {})}
            plain.append(MARKDOWN.clip(summary, MAX_CONTENT_CHARS // 4, "the summary"))
        room = MAX_CONTENT_CHARS - sum(len(each) + 1 for each in plain)
        plain += MARKDOWN.rows(lambda alert: words("alert", alert=alert), shown, room)
        messages.append(_message("" if number > 1 else text, [embed], "\n".join(plain)))
    return messages


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


def _pages(words: Words, alerts: list[AlertView], first: int) -> list[tuple[list[str], list[AlertView]]]:
    """Distribute the rows of alerts over as few messages as hold them, at most :data:`MAX_MESSAGES`.

    :param first: how many characters of rows the first message holds
    :returns: the rows and the alerts of each message; the last one counts and names the alerts that have no row
    """
    pages: list[tuple[list[str], list[AlertView]]] = [([], [])]
    left, most = first, max(_MAX_ALERT_CHARS, first // max(1, len(alerts)))
    for number, alert in enumerate(alerts):
        row = MARKDOWN.clip(words("alert", alert=alert), most, "the alert")
        if (left := left - len(row) - 1) < 0:
            left = MAX_DESCRIPTION_CHARS - len(row) - 1
            if len(pages) == MAX_MESSAGES - 1:
                rest = alerts[number:]
                rows = MARKDOWN.rows(lambda alert: words("alert", alert=alert), rest, MAX_DESCRIPTION_CHARS)
                return [*pages, (rows, rest)]
            pages.append(([], []))
        pages[-1][0].append(row)
        pages[-1][1].append(alert)
    return pages
