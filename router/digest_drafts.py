"""Renders digests as they would be sent now."""

from collections.abc import Callable

from router.channels.outbox import entry_of
from router.clock import Clock
from router.deliver import RuntimeConfig
from router.model import Conversation, Destination
from router.store import Store
from router.store.shared_reading import SharedReading
from router.threads import Threads
from router.web.app_context import DigestDraft

# A digest of more alerts takes more than some milliseconds to load and to render.
_MANY_ALERTS = 20
_MAX_AGE_SECONDS = 1.0
"""How old a draft may be while nothing is committed here: another replica may change the database."""


class DigestDrafts:
    """Renders the next message of each digest, and keeps it until the next commit. A large one is kept some seconds
    longer, so that pages that are refreshed do not render it again and again.
    """

    def __init__(
        self, store: Store, clock: Clock, runtime: Callable[[], RuntimeConfig], threads: Threads
    ) -> None:
        self._store = store
        self._clock = clock
        self._runtime = runtime
        self._threads = threads
        self._drafts: dict[str, SharedReading[DigestDraft]] = {}

    async def draft(self, destination: Destination) -> DigestDraft:
        """Return a digest as it would be sent now. :raises StoreUnavailable: the database can't be read"""
        known = self._runtime().policy.destinations
        self._drafts = {key: draft for key, draft in self._drafts.items() if key in known}
        shared = self._drafts.get(destination.key)
        if shared is None:
            shared = self._drafts[destination.key] = SharedReading(
                lambda: self._render(destination.key),
                lambda: self._store.commits,
                lambda draft: draft.report.size > _MANY_ALERTS,
                max_age=_MAX_AGE_SECONDS,
            )
        return await shared.get()

    async def _render(self, key: str) -> DigestDraft:
        runtime = self._runtime()
        destination = runtime.policy.destinations[key]
        conversation = await self._store.digest(destination, runtime.policy, self._clock.now())
        return await self._threads.run(_rendered, runtime, destination, conversation)


def _rendered(runtime: RuntimeConfig, destination: Destination, conversation: Conversation) -> DigestDraft:
    assert conversation.digest is not None  # noqa: S101  (narrows the type)
    message = runtime.channels[destination.channel].render(destination, conversation, runtime.templates)
    return DigestDraft(conversation.digest, entry_of(0, destination, conversation, message))
