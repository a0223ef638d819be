"""The calls that a Slack message needs. It is apart from the attempt, so that rendering does not import the SDK."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from router.channels.base import content_hash
from router.channels.slack_plain import plain_pages
from router.model import Call, Conversation

EMPTY_REPLY = {"text": "Nothing is left for this reply: the message above has it all.", "blocks": []}


def calls_of(conversation: Conversation, body: Mapping[str, Any]) -> tuple[Call, ...]:
    """Return the calls that a message needs if none fails, in their order."""
    remote, version = conversation.remote, conversation.version
    parts = parts_of(remote, conversation, body)
    sealed = "sealed" in remote
    calls: list[Call] = []
    if "ts" not in remote:
        return (Call.POST, *[Call.POST] * len(parts))
    if remote.get("shown") != version and not sealed:
        calls.append(Call.EDIT)
    if remote.get("threaded") != version and (sealed or body["thread"]):
        calls.append(Call.POST)
    known = [str(sha256) for _, sha256 in remote.get("parts", ())]
    if sealed or body.get("log"):  # a new version has numbered replies of its own
        known = [] if remote.get("threaded") != version else known
    if sealed:
        return (*calls, *[Call.POST] * (len(parts) - len(known)))
    surplus = [EMPTY_REPLY] * (len(known) - len(parts))
    for part, before in zip_longest([*parts, *surplus], known):
        if content_hash(part) != before:
            calls.append(Call.POST if before is None else Call.EDIT)
    return tuple(calls)


def parts_of(
    remote: Mapping[str, Any], conversation: Conversation, body: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return the replies: those that continue a message that is plain text now, and the numbered ones."""
    if remote.get("plain") != conversation.version:
        return [*body["parts"]]
    _, *rest = plain_pages(body["plain"])
    return [*({"text": each, "blocks": []} for each in rest), *body["parts"]]
