"""The Slack message of a storm, and the replies in its thread that name what is new.

The message shows the current state. When it is first posted, it names all groups that it covers. After that, it is
edited, and a reply in its thread names the new groups. Slack sends no notification for an edit, so a reply about new
firing alerts is also shown in the channel.
"""

from typing import Any

from router.channels.layout import MAX_TITLE_UNITS
from router.channels.slack_layout import MAX_MESSAGE_CHARS, MAX_SECTION_CHARS, packed, top_of
from router.channels.slack_mrkdwn import MRKDWN, shown
from router.model import Conversation
from router.render import Words

STORM_ROOM = 9_000
"""How many characters of group names a message, or a reply, holds in addition to its other text."""


def storm_message_of(words: Words, conversation: Conversation) -> dict[str, Any]:
    """Return the message of a storm, with the same keys as :func:`router.channels.slack_layout.message_of` returns.

    :raises TemplateError: the template failed
    """
    is_update = "ts" in conversation.remote
    # The title is in the message three times.
    storm = MRKDWN.storm(words, MAX_MESSAGE_CHARS - 3 * MAX_TITLE_UNITS, is_update=is_update)
    parts: list[dict[str, Any]] = [
        {"text": shown(storm.subject), "blocks": _blocks(each)} for each in storm.replies
    ]
    is_broadcast = bool(words.values["new_firing"])
    if parts and is_update and is_broadcast:
        parts[0]["broadcast"] = True
    return {
        **top_of(storm.title, words.values["color"], _blocks(storm.body)),
        "thread": None,
        "thread_blocks": [],
        "broadcast": is_broadcast,
        "parts": parts,
        "log": True,
    }


def _blocks(text: str) -> list[dict[str, Any]]:
    return packed(MRKDWN.pages(text, MAX_SECTION_CHARS))
