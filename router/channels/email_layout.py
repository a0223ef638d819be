"""Fits the words of a mail into the size that mail programs show: what has no room is named, counted and attached.

A mail has two parts with the same facts, text and HTML. Each is rendered whole if it fits. Otherwise it is rendered with
fewer entries and shorter texts, until it fits. The rest is named in few words, and the complete text becomes a file.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import escape

from router.channels.email_cuts import cut, items_of
from router.channels.email_mime import ATTACHMENT, encoded_size
from router.channels.layout import TextFormat
from router.render import EmptyBlockError, Words

# Gmail clips a mail near 102 KB. Google documents no limit; senders have measured it:
# https://www.spamresource.com/2022/01/what-is-gmail-clipping-and-what-to-do.html
MAX_MAIL_BYTES = 100_000
"""The encoded size of headers, text and HTML. The attached file is not part of what a mail program clips."""
# https://www.postfix.org/postconf.5.html#message_size_limit: 10,240,000 bytes; in base64 this comes to 4,200,000.
MAX_ATTACHED_BYTES = 3_000_000
# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters. Mail programs show fewer of
# a subject than these.
MAX_SUBJECT_CHARS = 250
HTML_SHARE = 0.65
"""The HTML's share of a mail; its markup takes room."""
FILE_NOTE = f"Not everything fits into this mail. The attached file {ATTACHMENT} has it all."
_MAX_ALERTS = 400
"""Alerts of a part at most; more than fit into the size of a mail."""
_MAX_CHARS, _MIN_CHARS = 4_000, 125
"""Characters of each text of a part that is cut: at first, and at least."""
_SHORTER_TEXTS = 2
_NAMES_SHARE = 2
"""The names of the alerts without an entry may take half of a part."""

PLAIN = TextFormat(escape=str, atom=re.compile(r"[^\W_]+"), size=lambda text: len(text.encode()))
"""Text without markup, measured in bytes of UTF-8."""


@dataclass(frozen=True, slots=True)
class PartFormat:
    """How one part of a mail is measured and completed."""

    size: Callable[[str], int]
    """Returns the bytes of a rendered part."""
    add: Callable[[str, Sequence[str]], str]
    """Adds lines to a rendered part whose template does not show them."""
    clip: Callable[[str, int, Sequence[str]], str]
    """Returns a part that does not fit although everything was cut, in at most so many bytes; empty: the mail goes
    without it. The lines stay."""
    max_alerts: int = _MAX_ALERTS
    escape: Callable[[str], str] = str
    """Returns a text as a template shows it."""


def _added_to_text(text: str, lines: Sequence[str]) -> str:
    missing = [each for each in lines if each not in text]
    return "\n\n".join([text, *(["\n".join(missing)] if missing else [])])


def _added_to_html(html: str, lines: Sequence[str]) -> str:
    missing = [f"<p>{each}</p>\n" for each in map(escape, lines) if each not in html]
    head, end, tail = html.rpartition("</body>")
    return f"{head}{''.join(missing)}{end}{tail}" if end else html + "".join(missing)


def _clipped(text: str, room: int, lines: Sequence[str]) -> str:
    room = room * 57 // 78 - 200 - PLAIN.size("".join(lines))  # in base64, 57 bytes take 78
    return "\n\n".join([PLAIN.clip(text, room, "this mail"), *lines])


TEXT = PartFormat(encoded_size, _added_to_text, _clipped)
HTML = PartFormat(encoded_size, _added_to_html, lambda *_: "", escape=escape)
FILE = PartFormat(
    PLAIN.size,
    _added_to_text,
    lambda text, room, _: PLAIN.clip(text, room, "this file"),
    max_alerts=sys.maxsize,
)


def whole(words: Words, room: int, form: PartFormat, note: Sequence[str] = ()) -> str | None:
    """Return a part of a mail with everything in it; None: it does not fit into ``room`` bytes.

    :param note: lines that say what else the mail has
    :raises TemplateError: the template failed
    """
    if len(words.values.get("alerts", ())) > form.max_alerts:
        return None
    body = words("body", cut=note)
    text = form.add(body, [*_uncounted(body, words.values, form), *note])
    return text if form.size(text) <= room else None


def fitted(
    words: Words, room: int, form: PartFormat, note: Sequence[str] = (), *, may_be_whole: bool = True
) -> str:
    """Return a part of a mail in ``room`` bytes. What has no room is named or counted.

    :param may_be_whole: False saves the try
    :raises TemplateError: the template failed
    """
    if may_be_whole and (text := whole(words, room, form, note)) is not None:
        return text
    count = items_of(words.values)
    entries = min(count, form.max_alerts) if "alerts" in words.values else count
    chars = max(_MIN_CHARS, min(_MAX_CHARS, room // (2 * max(1, count))))
    while True:
        text = _with_entries(words, room, form, entries, chars, note)
        if form.size(text) <= room:
            return text
        if chars <= _MIN_CHARS:
            return form.clip(text, room, note)
        chars = max(_MIN_CHARS, chars // _SHORTER_TEXTS)


def _uncounted(body: str, values: Mapping[str, Any], form: PartFormat) -> list[str]:
    """Return lines that count a digest's alerts without an entry, if the template does not show them."""
    return [
        f"{section.title}: and {each}"
        for section in values.get("sections", ())
        for each in section.others
        if form.escape(each) not in body
    ]


def _with_entries(
    words: Words, room: int, form: PartFormat, entries: int, chars: int, note: Sequence[str]
) -> str:
    """Return a part with as many entries as fit. If none fits, the part without entries is returned, and is too large.

    :param entries: how many there may be
    :param chars: of each text
    """

    def rendered(entries: int) -> tuple[str, int]:
        values, others = cut(words.values, entries, chars, room // _NAMES_SHARE)
        try:
            body = words("body", **values, others=others, cut=note)
        except EmptyBlockError:
            if entries:
                raise
            body = ""  # a template may have nothing but the entries
        uncounted = _uncounted(body, {**words.values, **values}, form)
        text = form.add(body, [*uncounted, *others, *note])
        return text, form.size(text)

    text, least = rendered(0)
    while least < room and entries > 0:
        more, size = rendered(entries)
        if size <= room:
            return more
        entries = min(entries - 1, entries * (room - least) // max(1, size - least))
    return text
