"""Lays out messages for Slack's incoming webhooks: there is no thread, so what a message can't hold is counted and named."""

from collections.abc import Iterable
from typing import Any

from router.channels.layout import MAX_TITLE_UNITS
from router.channels.slack_layout import (
    MAX_CONTEXT_CHARS,
    MAX_HEADER_CHARS,
    MAX_LABELS_CHARS,
    MAX_MESSAGE_CHARS,
    MAX_SECTION_CHARS,
    buttons_of,
    header_of,
    packed,
    plain_title,
    top_of,
    weight,
)
from router.channels.slack_mrkdwn import MRKDWN, context_of
from router.render import Words
from router.render.words import line

STORM_ROOM = 4_000
"""How many characters of group names a message of a storm holds in addition to its other text. Entities may make them
longer."""
_MAX_SUMMARY_CHARS = 1_500
_MIN_STANDING_CHARS = 300


def message_of(words: Words) -> dict[str, Any]:
    """Return the message of an alert group, with ``text``, ``blocks``, ``attachments``, and ``plain`` as in
    :func:`router.channels.slack_layout.message_of`.

    :raises TemplateError: the template failed
    """
    values = words.values
    text = MRKDWN.clip(line(words("text")), MAX_TITLE_UNITS, "the title")
    title = words("title")
    long_title = title if len(plain_title(title)) > MAX_HEADER_CHARS else ""
    news = "" if values["first"] else MRKDWN.clip(words("news"), _MAX_SUMMARY_CHARS, "the news")
    head = [
        header_of(title),
        *packed(_fitting([long_title, news])),
        *packed(_fitting([MRKDWN.clip(words("summary"), MAX_SECTION_CHARS, "the summary")])),
    ]
    buttons, too_long = buttons_of(values["links"])
    names = ", ".join(each.partition(": ")[0] for each in too_long)
    labels = MRKDWN.clip(words("labels"), MAX_LABELS_CHARS, "the labels")
    left_out = f"Links left out, too long: {names}" if names else ""
    tail = [*packed(_fitting([labels, left_out])), *buttons]
    if footer := MRKDWN.clip(words("footer"), MAX_CONTEXT_CHARS, "the footer"):
        tail.append(context_of(footer))
    # The text is sent three times: in the message, in its blocks, and as the fallback of the attachment.
    room = MAX_MESSAGE_CHARS - 3 * len(text) - sum(map(weight, head + tail))
    rows = MRKDWN.rows(words, values["alerts"], room)
    return top_of(text, values["color"], [*head, *packed(_fitting(rows)), *tail])


def storm_message_of(words: Words) -> dict[str, Any]:
    """Return the message of a storm: it names every group that is new, and what else fires as far as there is room.

    :raises TemplateError: the template failed
    """
    values = words.values
    title = MRKDWN.clip(line(words("subject")), MAX_TITLE_UNITS, "the title")
    summary = MRKDWN.clip(words("summary"), _MAX_SUMMARY_CHARS, "the summary")
    texts = ["\n\n".join(filter(None, [summary, words("news")]))]
    room = MAX_MESSAGE_CHARS - 3 * len(title) - len(texts[0])
    if (
        values["standing"]
        and values["groups"] > values["new_counts"]["firing"]
        and room > _MIN_STANDING_CHARS
    ):
        texts.append(MRKDWN.clip(words("standing"), room, f"a list of {values['groups']} groups"))
    return top_of(title, values["color"], packed(_fitting(texts)))


def _fitting(texts: Iterable[str]) -> list[str]:
    """Return texts in pieces that fit a section."""
    return [page for text in texts for page in MRKDWN.pages(text, MAX_SECTION_CHARS)]
