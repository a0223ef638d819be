"""The preview's outbox: it keeps messages and shows them instead of sending them."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from router.channels.base import Channel
from router.model import Conversation, Delivered, Destination, Message, Millis, Outcome
from router.render import Templates

# Beyond that, the oldest entries are dropped.
_MAX_ENTRIES = 1_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A message as its reader sees it now: a Slack message with its thread, an incident with its events, a mail."""

    id: int
    at: Millis
    updated_at: Millis
    channel: str
    destination: str
    state: str
    """firing, resolved or digest"""
    level: str
    edits: int
    body: Mapping[str, Any]
    replies: tuple[Mapping[str, Any], ...] = ()
    """Slack: the replies, as {at, text}. PagerDuty and webhooks: the earlier messages, as {at, body}."""
    fallback: bool = False


@dataclass(slots=True)
class Outbox:
    """Keeps entries, and wakes the pages when they change."""

    _entries: OrderedDict[tuple[str, ...], Entry] = field(default_factory=OrderedDict)
    _count: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _version: int = 0

    @property
    def entries(self) -> list[Entry]:
        """All entries, the newest first."""
        return sorted(self._entries.values(), key=lambda entry: (entry.updated_at, entry.id), reverse=True)

    async def file(self, destination: Destination, conversation: Conversation, message: Message) -> None:
        """Keep a message: as a new entry, or as the new state of the conversation's entry."""
        mail = message.channel in {"email", "digest"}
        identity: tuple[str, ...] = (destination.key, conversation.token, str(conversation.episode))
        if mail:
            identity = (*identity, str(conversation.version))
        before = self._entries.get(identity)
        entry = entry_of(self._count + 1, destination, conversation, message)
        if before is None:
            self._count += 1
        else:
            replies = before.replies
            if message.channel == "slack":
                texts = [message.body["thread"]] if message.body.get("thread") else []
                if message.body.get("log"):
                    texts += [_reply_text(part) for part in message.body["parts"]]
                replies = (*replies, *({"at": conversation.now, "text": text} for text in texts))
            if message.channel in {"pagerduty", "webhook"}:
                replies = (*replies, {"at": before.updated_at, "body": before.body})
            entry = replace(entry, id=before.id, at=before.at, edits=before.edits + 1, replies=replies)
        self._entries[identity] = entry
        while len(self._entries) > _MAX_ENTRIES:
            self._entries.popitem(last=False)
        await self.touch()

    async def touch(self) -> None:
        """Wake the pages, which then look again."""
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def changes(self) -> AsyncIterator[int]:
        """Yield a number immediately, and another after each change."""
        while True:
            seen = self._version
            yield seen
            async with self._changed:
                while self._version == seen:
                    await self._changed.wait()


def entry_of(number: int, destination: Destination, conversation: Conversation, message: Message) -> Entry:
    """Return the entry of a message that is sent for the first time."""
    firing = conversation.firing or conversation.alerts
    state = "digest" if conversation.digest is not None else "resolved" if conversation.over else "firing"
    return Entry(
        id=number,
        at=conversation.now,
        updated_at=conversation.now,
        channel=message.channel,
        destination=destination.key,
        state=state,
        level=firing[0].level if firing else "",
        edits=0,
        body=message.body,
        fallback=message.fallback,
    )


class PreviewChannel:
    """Renders as the real channel does, and keeps each message in the outbox instead of sending it."""

    def __init__(self, channel: Channel, outbox: Outbox) -> None:
        self._channel = channel
        self._outbox = outbox

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        return self._channel.render(destination, conversation, templates)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        await self._outbox.file(destination, conversation, message)
        remote = dict(conversation.remote)
        if message.channel == "email":
            remote.setdefault("first", message.body["message_id"])
        return Delivered({**remote, "preview": True})

    async def close(self) -> None:
        await self._channel.close()


def _reply_text(part: Mapping[str, Any]) -> str:
    """Return the text of a Slack reply."""
    return "\n".join(block["text"]["text"] for block in part["blocks"])
