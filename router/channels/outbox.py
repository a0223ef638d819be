"""The preview's outbox: it keeps messages and shows them instead of sending them."""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from router.channels import REGISTRY
from router.channels.base import Channel
from router.model import Conversation, Delivered, Destination, Message, Millis, Outcome
from router.render import Templates

# If there are more, the oldest ones are dropped.
_MAX_ENTRIES = 1_000
_MAX_EARLIER = 100


@dataclass(frozen=True, slots=True)
class Entry:
    """The current message of a conversation, as its reader sees it: a Slack message with its thread, an incident, a
    mail.
    """

    id: int
    at: Millis
    """When its first message was sent (epoch ms)."""
    updated_at: Millis
    """When its last message was sent (epoch ms)."""
    channel: str
    destination: str
    """The destination's key."""
    state: str
    """firing, resolved or digest"""
    level: str
    body: Mapping[str, Any]
    """The body of the last message, see :class:`router.model.Message`."""
    updates: int = 0
    """How often the first message was updated."""
    earlier: tuple[tuple[Millis, Mapping[str, Any]], ...] = ()
    """The messages before the last one, the oldest first: when each was sent (epoch ms), and its body. Only the newest
    100 are kept.
    """
    fallback: bool = False


@dataclass(slots=True)
class Outbox:
    """Keeps the newest entries, and notifies the preview pages of changes."""

    _entries: OrderedDict[tuple[str, ...], Entry] = field(default_factory=OrderedDict)
    _count: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _version: int = 0

    @property
    def entries(self) -> list[Entry]:
        """The entries, the newest first."""
        return sorted(self._entries.values(), key=lambda entry: (entry.updated_at, entry.id), reverse=True)

    async def file(self, destination: Destination, conversation: Conversation, message: Message) -> None:
        """Add an entry, or update the conversation's entry."""
        identity: tuple[str, ...] = (destination.key, conversation.token, str(conversation.episode))
        if not REGISTRY[message.channel].updates:
            identity = (*identity, str(conversation.version))
        before = self._entries.get(identity)
        entry = entry_of(self._count + 1, destination, conversation, message)
        if before is None:
            self._count += 1
        else:
            earlier = (*before.earlier, (before.updated_at, before.body))[-_MAX_EARLIER:]
            entry = replace(entry, id=before.id, at=before.at, updates=before.updates + 1, earlier=earlier)
        self._entries[identity] = entry
        while len(self._entries) > _MAX_ENTRIES:
            self._entries.popitem(last=False)
        await self.touch()

    async def touch(self) -> None:
        """Make the preview pages load the state again."""
        async with self._changed:
            self._version += 1
            self._changed.notify_all()

    async def changes(self) -> AsyncIterator[int]:
        """Yield the version number immediately, and again after each change."""
        while True:
            seen = self._version
            yield seen
            async with self._changed:
                while self._version == seen:
                    await self._changed.wait()


def entry_of(number: int, destination: Destination, conversation: Conversation, message: Message) -> Entry:
    """Return the entry of a message.

    :param number: the id of the entry
    """
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
        body=message.body,
        fallback=message.fallback,
    )


class PreviewChannel:
    """Renders messages with a real channel, and puts them into the outbox instead of sending them."""

    def __init__(self, channel: Channel, outbox: Outbox) -> None:
        self._channel = channel
        self._outbox = outbox

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        return self._channel.render(destination, conversation, templates)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        await self._outbox.file(destination, conversation, message)
        added = REGISTRY[message.channel].remote_after(message.body)
        return Delivered({**added, **conversation.remote, "preview": True})

    async def close(self) -> None:
        await self._channel.close()
