"""What a Telegram message looks like: HTML within Telegram's limits, and the same as plain text."""

import html
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from router.model import Conversation
from router.render import TemplateError, Templates
from router.render.view import AlertView
from router.render.words import clean, line

# https://core.telegram.org/bots/api#sendmessage: characters after entities parsing, in UTF-16 code units. A link counts as
# in the plain text, which has its address: so that the plain text fits as well.
MAX_UNITS = 4_096
# Before parsing: get_formatted_text in https://github.com/tdlib/telegram-bot-api (telegram-bot-api/Client.cpp).
MAX_BYTES = 32_768
STORM_ROOM = 2_500
"""Characters of names that a storm's message holds beside its other words."""

# Shares for what stands once, so that there is always room for alerts.
_HEADER_UNITS, _SUMMARY_UNITS, _LABELS_UNITS, _CONTEXT_UNITS, _LINKS_UNITS = 300, 1_000, 400, 300, 900
_ALERT_UNITS = 500  # and no alert takes it all
_REST_UNITS = 300  # room for the line that counts the rest
_MARK_UNITS = 60  # room for the words at the end of a cut text
_MAX_REST_NAMES, _MAX_REST_NAME_CHARS = 4, 40  # how many names that line gives, and how much of each

_Words = Callable[..., str]

# https://core.telegram.org/bots/api#html-style
_TOKEN_PATTERN = re.compile(r"<(?P<end>/?)(?P<tag>[a-z-]+)[^<>]*>|&(?:#?\w+);|.", re.DOTALL)
_LINK_PATTERN = re.compile(r'<a href="(?P<url>[^"<>]*)">(?P<label>[^<>]*)</a>')
_TAG_PATTERN = re.compile(r"</?[a-z-]+[^<>]*>")
# A name after an @ is a mention, which notifies people. An address is none, and has to stay as it is.
_MENTION_PATTERN = re.compile(r"(?P<url>(?<!\w)https?://[^\s<]+)|(?<!\w)@(?=\w)")
_NO_MENTION = "@\N{WORD JOINER}"


def escape(text: str) -> str:
    """Return text without markup and without mentions; it may stand in an attribute, too."""
    text = _MENTION_PATTERN.sub(lambda match: match["url"] or _NO_MENTION, clean(text))
    return html.escape(text, quote=False).replace('"', "&quot;")


def plain_text(markup: str) -> str:
    """Return what is sent if Telegram refuses the HTML; a link's address stands after its words."""
    return html.unescape(_TAG_PATTERN.sub("", _LINK_PATTERN.sub(r"\g<label>: \g<url>", markup)))


def units(markup: str) -> int:
    """Return the length of the plain text in UTF-16 code units."""
    return len(plain_text(markup).encode("utf-16-le", "surrogatepass")) // 2


def clipped(markup: str, limit: int, what: str) -> str:
    """Return markup of at most so many units. What is dropped is counted; no tag stays open, no entity is cut.

    :param what: names the text in the words that count what is dropped
    """
    if units(markup) <= limit and len(markup.encode()) <= limit * MAX_BYTES // MAX_UNITS:
        return markup
    room, size = limit - _MARK_UNITS, (limit - _MARK_UNITS) * MAX_BYTES // MAX_UNITS
    kept: list[str] = []
    opened: list[str] = []
    for token in _TOKEN_PATTERN.finditer(markup):
        text, name = token[0], token["tag"]
        # The address of a link is a part of the plain text.
        room -= units(text) if not name else len(text) if name == "a" else 0
        size -= len(text.encode()) + 2 * len(name or "")
        if room < 0 or size < 0:
            break
        kept.append(text)
        if name and token["end"]:
            opened = opened[:-1]
        elif name:
            opened.append(name)
    shown = "".join([*kept, *(f"</{name}>" for name in reversed(opened))])
    return f"{shown}… ({units(markup) - units(shown)} more characters of {what})"


def render(conversation: Conversation, templates: Templates) -> tuple[dict[str, Any], bool]:
    """Return the body of the message, and whether the template failed and it is the fallback.

    :returns: ``text`` (HTML), ``plain`` (should Telegram refuse that), ``replies`` (the same two of each)
    """
    values = templates.values(conversation, escape)
    layout, layout_fallback = (
        (_conversation, _facts) if conversation.storm is None else (_storm, _storm_facts)
    )
    is_update = bool(conversation.remote)

    def words(name: str, block: str, **more: Any) -> str:
        return re.sub(r"\n{3,}", "\n\n", templates.render(name, block, {**values, **more}))

    try:
        texts, fallback = layout(values, words, is_update=is_update), False
    except TemplateError:
        texts, fallback = layout_fallback(values, is_update=is_update), True
    first, *replies = [{"text": text, "plain": plain_text(text)} for text in texts]
    return {**first, "replies": replies}, fallback


def _conversation(values: Mapping[str, Any], words: _Words, *, is_update: bool) -> list[str]:
    """Return the message; in an update, then the news.

    :raises TemplateError: the template failed
    """

    def part(block: str, limit: int, **more: Any) -> str:
        return clipped(words("telegram.j2", block, **more), limit, f"the {block}")

    head = [line(part("header", _HEADER_UNITS)) or "Alert", part("summary", _SUMMARY_UNITS)]
    tail = [part("labels", _LABELS_UNITS), _links(values["links"]), part("context", _CONTEXT_UNITS)]
    room = MAX_UNITS - sum(units(each) + 2 for each in [*head, *tail])
    rows = (part("alert", _ALERT_UNITS, alert=alert) for alert in values["alerts"])
    text = "\n\n".join(filter(None, [*head, _listed(rows, values["alerts"], room), *tail]))
    news = part("thread", MAX_UNITS) if is_update else ""
    return [_bounded(text), *([news] if news else [])]


def _facts(values: Mapping[str, Any], *, is_update: bool) -> list[str]:
    """Return what is sent when the template fails: the facts of each alert, without markup."""

    def row(alert: AlertView) -> str:
        facts = f"{alert.status}: {' '.join(map('='.join, alert.labels.items()))}"
        return "\n".join([facts, *(f"{name}: {note}" for name, note in alert.annotations.items())])

    alerts: list[AlertView] = values["alerts"]
    state = "Resolved" if values["status"] == "resolved" else values["level"].upper()
    counts = f"{len(values['firing'])} firing, {values['resolved_count']} resolved"
    text = clipped(f"{state}: {values['title']} ({counts})", _HEADER_UNITS, "the title")
    room = MAX_UNITS - units(text) - 2
    rows = (clipped(row(each), max(_ALERT_UNITS, room // (len(alerts) + 1)), "the alert") for each in alerts)
    whole = _bounded("\n\n".join(filter(None, [text, _listed(rows, alerts, room)])))
    return [whole, *([text] if is_update else [])]


def _storm(_values: Mapping[str, Any], words: _Words, *, is_update: bool) -> list[str]:
    """Return what stands; then the news, which the first message has itself.

    :raises TemplateError: the template failed
    """
    title, subject, summary, news, standing = (
        words("storm.txt.j2", each) for each in ("title", "subject", "summary", "news", "standing")
    )
    return _stormy(f"<b>{title}</b>", subject, summary, news, standing, is_update=is_update)


def _storm_facts(values: Mapping[str, Any], *, is_update: bool) -> list[str]:
    """Return what is sent when the template fails."""
    counts = f"{values['groups']} groups firing, {values['resolved']} resolved"
    subject = f"Alert storm{' is over' if values['over'] else ''}: {counts}"
    news = [
        f"{what}: {each.text}" for what in ("firing", "eased", "resolved") for each in values[f"new_{what}"]
    ]
    standing = [each.text for each in values["standing"]]
    return _stormy(subject, subject, "", "\n".join(news), "\n".join(standing), is_update=is_update)


def _stormy(
    title: str, subject: str, summary: str, news: str, standing: str, *, is_update: bool
) -> list[str]:
    head = "\n\n".join(
        filter(
            None,
            [clipped(title, _HEADER_UNITS, "the title"), clipped(summary, _SUMMARY_UNITS, "the summary")],
        )
    )
    subject = clipped(line(subject), _HEADER_UNITS, "the subject")
    if is_update:
        first, *more = [
            clipped(standing, MAX_UNITS - units(head) - 2, "the list"),
            *_pages(news, MAX_UNITS - _HEADER_UNITS - 2),
        ]
    else:
        first, *more = [*_pages(news, MAX_UNITS - units(head) - 2), ""]
    replies = [f"{subject}\n\n{each}" for each in more if each]
    return ["\n\n".join(filter(None, [head, first])), *replies]


def _pages(text: str, room: int) -> list[str]:
    """Return all of the text in pieces, of whole lines where they fit."""
    pages: list[str] = []
    for row in text.splitlines():
        for piece in _pieces(row, room):
            if pages and units(pages[-1]) + 1 + units(piece) <= room:
                pages[-1] += f"\n{piece}"
            else:
                pages.append(piece)
    return pages


def _pieces(row: str, room: int) -> Iterator[str]:
    """Yield all of a line in pieces that end at a word where that is near, and never within an entity."""
    if units(row) > room:
        row = escape(plain_text(row))  # a tag would be torn apart
    while units(row) > room:
        size = end = 0
        for token in _TOKEN_PATTERN.finditer(row):
            size += units(token[0])
            if size > room:
                break
            end = token.end()
        end = row.rfind(" ", end * 3 // 4, end) + 1 or end
        yield row[:end]
        row = row[end:]
    yield row


def _listed(rows: Iterator[str], alerts: Sequence[AlertView], room: int) -> str:
    """Return the rows that there is room for; the alerts that they leave out are counted and named."""
    kept: list[str] = []
    room -= _REST_UNITS
    for row in rows:
        room -= units(row) + 1
        if room < 0:
            break
        kept.append(row)
    rest = alerts[len(kept) :]
    if not rest:
        return "\n".join(kept)
    statuses = Counter(alert.status for alert in rest)
    counts = ", ".join(f"{count} {status}" for status, count in sorted(statuses.items()))
    names = Counter(alert.name for alert in rest).most_common()
    shown = [f"{count} {_short(name)}" for name, count in names[:_MAX_REST_NAMES]]
    more = [f"{len(names) - _MAX_REST_NAMES} other names"] if len(names) > _MAX_REST_NAMES else []
    return "\n".join([*kept, f"… and {len(rest)} more ({counts}): {', '.join([*shown, *more])}"])


def _short(name: str) -> str:
    text = plain_text(name)
    return name if len(text) <= _MAX_REST_NAME_CHARS else f"{escape(text[:_MAX_REST_NAME_CHARS])}…"


def _links(links: Sequence[tuple[str, str]]) -> str:
    """Return the links that there is room for, whole; the others are named."""
    kept: list[str] = []
    dropped: list[str] = []
    room = _LINKS_UNITS
    for name, address in links:
        markup = f'<a href="{address}">{name}</a>'
        size = max(units(markup), len(markup.encode()) // 4) + 3
        if size > room:
            dropped.append(name)
            continue
        room -= size
        kept.append(markup)
    if dropped:
        kept.append(f"too long to show: {', '.join(dropped)}")
    return " · ".join(kept)


def _bounded(text: str) -> str:
    return clipped(text, MAX_UNITS, "the message")
