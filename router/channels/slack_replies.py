"""Lays out the numbered replies of a Slack message: the full text of what the message has no room for.

If all replies together are too short for that, the last ones name and count what is left.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any

from router.channels.slack_mrkdwn import MRKDWN, block_of
from router.model import Conversation
from router.render.view import AlertView

AlertRow = Callable[[AlertView], str]
"""Returns the row of an alert."""

# The message and its numbered replies.
MAX_MESSAGES = 20

# Limits of a numbered reply. They leave room for its number and for the line that counts what is not shown.
_SECTIONS_PER_REPLY, _REPLY_SECTION_CHARS, _UNSHOWN_CHARS = 4, 2_400, 500
_MAX_SECTIONS = (MAX_MESSAGES - 1) * _SECTIONS_PER_REPLY
# If not all rows fit, the last sections name the alerts without a row. A section ends with a whole name, so not all of it
# is used. The words around the names are a count of what is not shown, and the counts of ``TextFormat.others``.
_MAX_NAMES_SECTIONS = _MAX_SECTIONS // 3
_NAMES_SECTION_CHARS, _WORDS_AROUND_NAMES_CHARS = _REPLY_SECTION_CHARS - 100, 450


def numbered_replies(
    conversation: Conversation, cut: Sequence[str], alerts: Sequence[AlertView], row: AlertRow
) -> list[dict[str, Any]]:
    """Return the numbered replies, 2/n to n/n, each within the limits of a message.

    :param cut: texts that the message cuts
    :param alerts: alerts that the message cuts or leaves out
    """
    if conversation.remote.get("sealed", conversation.version) != conversation.version:
        # Earlier replies stay as they are; only new alerts are added.
        cut, alerts = (), [alert for alert in alerts if alert.news]
    sections = _sections_of(cut, alerts, row)
    count = min(MAX_MESSAGES - 1, -(-len(sections) // _SECTIONS_PER_REPLY))
    parts = []
    for number in range(count):
        last = None if number == count - 1 else (number + 1) * _SECTIONS_PER_REPLY
        position = f"{number + 2}/{count + 1}"
        texts = sections[number * _SECTIONS_PER_REPLY : last]
        texts[0] = f"*{position}*\n{texts[0]}"
        blocks = [block_of(text) for text in texts]
        parts.append({"text": f"Continued: {position}", "blocks": blocks})
    return parts


def _sections_of(cut: Sequence[str], alerts: Sequence[AlertView], row: AlertRow) -> list[str]:
    """Return the sections of all replies: the texts and a row for each alert. A text that is too long for one section
    continues in the next. If the sections are too few for all rows, the last ones name the alerts that have no row.
    """
    # A growing duration would change every reply at every update, so it is left out.
    rows = (row(alert if alert.ended else replace(alert, lasted="")) for alert in alerts)
    texts: list[str] = []

    def read() -> Iterable[str]:
        for text in chain(cut, rows):
            texts.append(text)
            yield text

    sections, placed, left = _filled(read(), lambda _: _MAX_SECTIONS)
    if not left and placed == len(cut) + len(alerts):
        return sections
    # The texts that were read are enough: with room for names, no more of them fit.
    reserved = _names_sections(alerts)
    sections, placed, left = _filled(
        texts, lambda number: _MAX_SECTIONS - reserved[max(0, number - len(cut))]
    )
    room = max(_UNSHOWN_CHARS, (_MAX_SECTIONS - len(sections)) * _NAMES_SECTION_CHARS)
    unshown = _unshown(left, cut[placed:], alerts[max(0, placed - len(cut)) :], room)
    return sections + _sections_of_names(unshown)


def _filled(texts: Iterable[str], limit: Callable[[int], int]) -> tuple[list[str], int, str]:
    """Put texts into sections until one does not fit.

    :param limit: returns how many sections there may be after a text, given its index; it never decreases
    :returns: the sections; how many texts are in them, at least in part; and what is missing of the last one of these
    """
    sections: list[str] = []
    placed = 0
    for number, text in enumerate(texts):
        left = _placed(text, sections, limit(number))
        if left:
            return (sections, number, "") if left == text else (sections, number + 1, left)
        placed = number + 1
    return sections, placed, ""


def _placed(text: str, sections: list[str], limit: int) -> str:
    """Add a text to the last section if it fits there whole, otherwise to new sections. Return what does not fit.

    :param limit: how many sections there may be
    """
    if sections and len(sections[-1]) + 1 + len(text) <= _REPLY_SECTION_CHARS:
        sections[-1] += "\n" + text
        return ""
    while text and len(sections) < limit:
        taken, text = MRKDWN.split(text, _REPLY_SECTION_CHARS)
        if taken.strip():
            sections.append(taken)
    return text


def _names_sections(alerts: Sequence[AlertView]) -> list[int]:
    """Return how many sections are kept for the names of the alerts from each index on; the last item is for no alert.

    A few names need no section: they fit in the line that counts the alerts, for which there is always room.
    """
    sizes = (len(MRKDWN.name_of(alert)) + 2 for alert in reversed(alerts))
    needed = [*accumulate(sizes, initial=_WORDS_AROUND_NAMES_CHARS)][::-1]
    return [
        0 if size <= _UNSHOWN_CHARS else min(_MAX_NAMES_SECTIONS, -(-size // _NAMES_SECTION_CHARS))
        for size in needed
    ]


def _unshown(left: str, cut: Sequence[str], alerts: Sequence[AlertView], room: int) -> str:
    """Return the lines that count what the replies leave out.

    :param left: the end of a text that was begun
    :param cut: other texts
    :param alerts: alerts, which are named as far as there is room
    :param room: how many characters the line about the alerts may have
    """
    characters = len(left) + sum(map(len, cut))
    counts = (
        [f"… not shown because the message is full: {characters} characters of text"] if characters else []
    )
    return "\n".join([*counts, *MRKDWN.others(alerts, room - len("".join(counts)))])


def _sections_of_names(text: str) -> list[str]:
    """Return a text with a list of names in sections. Each one ends with a whole name."""
    sections: list[str] = []
    for name in text.split(", "):
        if sections and len(sections[-1]) + len(", ,") + len(name) <= _REPLY_SECTION_CHARS:
            sections[-1] += ", " + name
        else:
            sections[-1:] = [*(f"{each}," for each in sections[-1:]), name]
    return sections
