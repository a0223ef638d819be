"""Fits the words of a mail into the size that mail programs show: what has no room is named, counted and attached.

A mail has two parts with the same facts, text and HTML. Each is rendered whole if it fits. Otherwise it is rendered with
fewer entries and shorter texts, until it fits. The rest is named in few words, and the complete text becomes a file.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import escape

from router.channels.email_cuts import cut, items_of
from router.channels.email_mime import ATTACHMENT, encoded_size
from router.channels.layout import TextFormat
from router.render import Words

# Gmail clips a mail near 102 KB: https://developers.google.com/workspace/gmail/ampemail/tips (and many senders' guides).
MAX_MAIL_BYTES = 100_000
"""The encoded size of headers, text and HTML. The attached file is not part of what a mail program clips."""
# https://www.postfix.org/postconf.5.html#message_size_limit: 10,240,000 bytes; in base64 this comes to 4,200,000.
MAX_ATTACHED_BYTES = 3_000_000
# https://www.rfc-editor.org/rfc/rfc5322#section-2.1.1: a line has at most 998 characters. Mail programs show fewer of
# a subject than these.
MAX_SUBJECT_CHARS = 250
HTML_SHARE = 0.65
"""The HTML's share of a mail; its markup takes room."""
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
    add: Callable[[str, list[str]], str]
    """Adds lines to a rendered part whose template does not show them."""
    clip: Callable[[str, int, list[str]], str]
    """Returns a part that does not fit although everything was cut, in at most so many bytes; empty: the mail goes
    without it. The lines stay."""
    max_alerts: int = _MAX_ALERTS


def _added_to_text(text: str, lines: list[str]) -> str:
    missing = [each for each in lines if each not in text]
    return "\n\n".join([text, *(["\n".join(missing)] if missing else [])])


def _added_to_html(html: str, lines: list[str]) -> str:
    missing = [f"<p>{each}</p>\n" for each in map(escape, lines) if each not in html]
    head, end, tail = html.rpartition("</body>")
    return f"{head}{''.join(missing)}{end}{tail}" if end else html + "".join(missing)


def _clipped(text: str, room: int, lines: list[str]) -> str:
    room = room * 57 // 78 - 200 - PLAIN.size("".join(lines))  # in base64, 57 bytes take 78
    return "\n\n".join([PLAIN.clip(text, room, "this mail"), *lines])


TEXT = PartFormat(encoded_size, _added_to_text, _clipped)
HTML = PartFormat(encoded_size, _added_to_html, lambda *_: "")
FILE = PartFormat(
    PLAIN.size,
    _added_to_text,
    lambda text, room, _: PLAIN.clip(text, room, "this file"),
    max_alerts=sys.maxsize,
)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a mail."""

    text: str
    is_whole: bool
    """False: entries or texts are cut."""


NO_PART = Part("", is_whole=True)


def fitted(
    words: Words, room: int, form: PartFormat, *, has_file: bool = False, is_whole: bool = True
) -> Part:
    """Return a part of a mail in ``room`` bytes.

    :param has_file: the mail has the attached file, and the part says so
    :param is_whole: the part may fit whole; False saves the try
    :raises TemplateError: the template failed
    """
    note = (
        [f"Not everything fits into this mail. The attached file {ATTACHMENT} has it all."]
        if has_file
        else []
    )
    count = entries = items_of(words.values)
    if "alerts" in words.values:
        entries = min(count, form.max_alerts)
    if is_whole and entries == count:
        text = form.add(words("body", cut=note), note)
        if form.size(text) <= room:
            return Part(text, is_whole=True)
    chars = max(_MIN_CHARS, min(_MAX_CHARS, room // (2 * max(1, count))))
    while True:
        text = _with_entries(words, room, form, entries, chars, note)
        if form.size(text) <= room:
            return Part(text, is_whole=False)
        if chars <= _MIN_CHARS:
            return Part(form.clip(text, room, note), is_whole=False)
        chars = max(_MIN_CHARS, chars // _SHORTER_TEXTS)


def _with_entries(
    words: Words, room: int, form: PartFormat, entries: int, chars: int, note: list[str]
) -> str:
    """Return a part with as many entries as fit. If none fits, the part without entries is returned, and is too large.

    :param entries: how many there may be
    :param chars: of each text
    """

    def rendered(entries: int) -> tuple[str, int]:
        values, others = cut(words.values, entries, chars, room // _NAMES_SHARE)
        text = form.add(words("body", **values, others=others, cut=note), [*others, *note])
        return text, form.size(text)

    text, least = rendered(0)
    while least < room and entries > 0:
        more, size = rendered(entries)
        if size <= room:
            return more
        entries = min(entries - 1, entries * (room - least) // max(1, size - least))
    return text
