"""The Slack message of a storm, and the reply that names what is new.

The message shows the present. When it is first posted, it names all groups that it tells of; later, a reply in its thread
does. A reply that tells of new alerts is shown in the channel as well, because an edit notifies nobody.
"""

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from router.channels.slack_layout import BUDGET, SECTION, TEXT, clipped, color, packed, split
from router.model import Conversation, Destination
from router.render import Templates
from router.render.words import line

STORM_ROOM = 9_000
"""Characters of names: what a message and what one reply hold beside their other words."""
# What stands in a message beside the names, and the subject, which is there twice.
_SUBJECT, _SUMMARY = 300, 1_500
_MORE = 100  # line ends, and room to spare


def storm(
    destination: Destination, conversation: Conversation, templates: Templates, values: Mapping[str, Any]
) -> dict[str, Any]:
    """In the shape of any other message.

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
    """What is sent when the template fails."""
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
    text = clipped(line(title), _SUBJECT)
    summary = clipped(summary, _SUMMARY)
    first = "ts" not in conversation.remote
    names = _sections(news)
    if first:
        shown, names = _first(names, BUDGET - 2 * len(text) - len(summary))
    else:
        room = BUDGET - 2 * _SUBJECT - _SUMMARY - _MORE
        shown = _sections(clipped(standing, room, "… (the others are named in the thread)"))
    plain = "\n".join(filter(None, [text, summary, *shown]))
    parts = _replies(clipped(line(subject), _SUBJECT), names)
    if parts and not first and values["new_firing"]:
        parts[0]["broadcast"] = True
    return {
        "channel": destination.options.channel,
        "text": text,
        # A post holds ten times as much text as an edit.
        "plain": plain if first else clipped(plain, TEXT),
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
    """All of the text, in pieces that a section holds."""
    pieces: list[str] = []
    while text.strip():
        piece, text = split(text, SECTION)
        pieces.append(piece.strip())
    return pieces


def _first(sections: list[str], room: int) -> tuple[list[str], list[str]]:
    """Those that there is room for, and the others."""
    count = 0
    while count < len(sections) and (room := room - len(sections[count])) >= 0:
        count += 1
    return sections[:count], sections[count:]


def _replies(text: str, sections: Sequence[str]) -> list[dict[str, Any]]:
    """As many as hold all of it: one, but for templates with more words than the shipped ones."""
    per_reply = (BUDGET - _SUBJECT) // SECTION
    numbered = groupby(enumerate(sections), key=lambda each: each[0] // per_reply)
    return [{"text": text, "blocks": packed([section for _, section in some])} for _, some in numbered]
