"""The Slack message of a storm, and the replies in its thread that name what is new.

The message shows the current state. When it is first posted, it names all groups that it covers. After that, it is
edited, and a reply in its thread names the new groups. Slack sends no notification for an edit, so a reply about new
firing alerts is also shown in the channel.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from router.channels.slack_layout import (
    MAX_MESSAGE_CHARS,
    MAX_SECTION_CHARS,
    MAX_TEXT_CHARS,
    clipped,
    color,
    packed,
    split,
)
from router.model import Conversation, Destination
from router.render import Templates
from router.render.words import line

STORM_ROOM = 9_000
"""How many characters of group names a message, or a reply, holds in addition to its other text."""
# The limits of the other text of a message. The subject is in the message twice.
_MAX_SUBJECT_CHARS, _MAX_SUMMARY_CHARS = 300, 1_500
_SPARE_CHARS = 100  # for line ends, and a reserve


def render_storm(
    destination: Destination, conversation: Conversation, templates: Templates, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the message of a storm, with the same keys as :func:`router.channels.slack_layout.render` returns.

    :raises TemplateError: the template failed
    """

    def words(block: str) -> str:
        return templates.render("storm.txt.j2", block, values)

    shade = color(values, templates.levels)
    return _message(destination, conversation, values, [words(each) for each in _BLOCKS], shade)


_BLOCKS = ("title", "subject", "summary", "news", "standing")


def render_storm_fallback(
    destination: Destination, conversation: Conversation, values: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the message of a storm without its template. It is sent if the template fails."""
    counts = f"{values['groups']} groups firing, {values['resolved']} resolved"
    news = [
        f"{what}: {each.text}" for what in ("firing", "eased", "resolved") for each in values[f"new_{what}"]
    ]
    subject = f"Alert storm{' is over' if values['over'] else ''}: {counts}"
    standing = [each.text for each in values["standing"]]
    return _message(
        destination, conversation, values, [subject, subject, "", "\n".join(news), "\n".join(standing)], ""
    )


def _message(
    destination: Destination, conversation: Conversation, values: Mapping[str, Any], words: Sequence[str], shade: str
) -> dict[str, Any]:  # fmt: skip
    title, subject, summary, news, standing = words
    text = clipped(line(title), _MAX_SUBJECT_CHARS)
    summary = clipped(summary, _MAX_SUMMARY_CHARS)
    first = "ts" not in conversation.remote
    names = _sections(news)
    if first:
        shown, names = _first(names, MAX_MESSAGE_CHARS - 2 * len(text) - len(summary))
    else:
        room = MAX_MESSAGE_CHARS - 2 * _MAX_SUBJECT_CHARS - _MAX_SUMMARY_CHARS - _SPARE_CHARS
        shown = _sections(clipped(standing, room, "… (the others are named in the thread)"))
    plain = "\n".join(filter(None, [text, summary, *shown]))
    parts = _replies(clipped(line(subject), _MAX_SUBJECT_CHARS), names)
    if parts and not first and values["new_firing"]:
        parts[0]["broadcast"] = True
    return {
        "channel": destination.options.channel,
        "text": text,
        # Slack accepts ten times as much text in a post as in an edit.
        "plain": plain if first else clipped(plain, MAX_TEXT_CHARS),
        "blocks": [],
        "attachments": [
            {"color": shade, "blocks": packed([each for each in (summary, *shown) if each]), "fallback": text}
        ],
        "thread": None,
        "broadcast": bool(values["new_firing"]),
        "parts": parts,
        "log": True,
    }


def _sections(text: str) -> list[str]:
    """Return the whole text, split into pieces that each fit a section."""
    pieces: list[str] = []
    while text.strip():
        piece, text = split(text, MAX_SECTION_CHARS)
        pieces.append(piece.strip())
    return pieces


def _first(sections: list[str], room: int) -> tuple[list[str], list[str]]:
    """Return the first sections that fit, and the others.

    :param room: how many characters there is room for
    """
    count = 0
    while count < len(sections) and (room := room - len(sections[count])) >= 0:
        count += 1
    return sections[:count], sections[count:]


def _replies(text: str, sections: Sequence[str]) -> list[dict[str, Any]]:
    """Return as many replies as all sections need. With the shipped templates, that is one."""
    per_reply = (MAX_MESSAGE_CHARS - _MAX_SUBJECT_CHARS) // MAX_SECTION_CHARS
    numbered = groupby(enumerate(sections), key=lambda each: each[0] // per_reply)
    return [{"text": text, "blocks": packed([section for _, section in some])} for _, some in numbered]
