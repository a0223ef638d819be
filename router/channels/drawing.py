"""Draws a message as safe HTML for the preview and the pages. Everything is escaped unless it is Markup already.

The pages' Content-Security-Policy forbids inline styles and scripts: drawings use only classes of ``style.css``.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape
from pydantic import TypeAdapter

_WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_COLOR = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
_NOTHING = Markup()


@dataclass(frozen=True, slots=True)
class SentMessage:
    """A message, as a channel's ``draw`` is given it."""

    body: Mapping[str, Any]
    """See :class:`router.model.Message`."""
    at: str = ""
    """When it was sent, as text for people; empty: unknown."""
    earlier: tuple["SentMessage", ...] = ()
    """The messages of the same conversation before it, the oldest first. Theirs is empty."""
    frame: Markup = _NOTHING
    """The frame that shows the message's own HTML; empty: it has none."""


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """Return an element. ``class_`` stands for ``class``; ``data_head`` for ``data-head``."""
    if name == "pre":  # it may scroll, and a keyboard scrolls only what has the focus
        attributes = {"tabindex": "0", **attributes}
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items())
    written = _NOTHING.join(Markup(' {}="{}"').format(key, value) for key, value in given)
    return Markup("<{}{}>{}</{}>").format(name, written, joined(children), name)


def joined(parts: Iterable[str]) -> Markup:
    """Return parts one after the other; plain text is escaped."""
    return _NOTHING.join(map(escape, parts))


def link(text: str, address: str) -> Markup:
    """Return a link that opens a new tab. An address that is not of the web becomes ``#``."""
    safe = address if _WEB_ADDRESS.match(address) else "#"
    return tag("a", text, href=safe, rel="noopener noreferrer", target="_blank")


def links(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Return a row of links that look like buttons. :param pairs: text and address of each"""
    return tag("div", *(link(text, address) for text, address in pairs), class_="links")


def barred(color: str, *children: str) -> Markup:
    """Return a coloured bar beside its children. :param color: ``#rrggbb``; anything else gives a grey bar"""
    edge = _NOTHING
    if _COLOR.fullmatch(color):
        # An attribute of SVG, because the policy of the pages allows no style.
        edge = Markup(
            '<svg class="edge" aria-hidden="true"><rect width="100%" height="100%" fill="{}"/></svg>'
        ).format(color)
    return tag("div", edge, *children, class_="bar")


def badge(text: str, css: str) -> Markup:
    """Return a small coloured word. :param css: the class that colours it, such as ``firing``"""
    return tag("span", text, class_=f"tag {css}")


def details(title: str, *children: str, is_raw: bool = False) -> Markup:
    """Return a section that is closed until the reader opens it.

    :param is_raw: it repeats as data what is shown already; the text of the drawing leaves it out
    """
    css = {"class_": "raw"} if is_raw else {}
    return tag("details", tag("summary", title), *children, **css)


def thread(replies: Sequence[tuple[str, str]], where: str = "") -> Markup:
    """Return the replies below a message; nothing if there are none.

    :param replies: when each was sent, and what it says
    :param where: stands after their count, such as "in the thread"
    """
    if not replies:
        return _NOTHING
    count = f"{len(replies)} {'reply' if len(replies) == 1 else 'replies'}{where and ' '}{where}"
    rows = (tag("p", tag("span", f"{at}  ", class_="quiet"), text) for at, text in replies)
    return tag("div", tag("p", count, class_="quiet"), *rows, class_="thread")


def pretty_json(value: Any) -> Markup:
    """Return JSON as preformatted text."""
    return tag("pre", indented_json(value))


_ANYTHING: TypeAdapter[Any] = TypeAdapter(Any)


def indented_json(value: Any) -> str:
    """Return JSON for people. A body may have a megabyte, and Python's own module takes long for that."""
    try:
        return _ANYTHING.dump_json(value, indent=2).decode()
    except ValueError:  # half of a character
        return json.dumps(value, indent=2, ensure_ascii=False)


def draw_json(message: SentMessage) -> Markup:
    """Draw any message as its JSON."""
    return pretty_json(message.body)


def replaced(
    text: str,
    pattern: re.Pattern[str],
    make: Callable[[re.Match[str]], str],
    plain: Callable[[str], str] = str,
) -> Markup:
    """Return text with each match of a pattern replaced by what ``make`` returns.

    :param plain: applied to the text between matches
    """
    parts, last = [], 0
    for match in pattern.finditer(text):
        parts += [plain(text[last : match.start()]), make(match)]
        last = match.end()
    return joined([*parts, plain(text[last:])])
