"""A start that waits for its database: meanwhile the service listens, says that it lives, and refuses webhooks."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from router.model import SECOND
from router.store import Store, StoreUnavailable
from router.web import BACKLOG, BoundedRunner

log = structlog.get_logger(__name__)

_AGAIN_SECONDS = 4.0
"""How long it waits between two attempts. A migration that meets a locked table holds up other replicas for two seconds in each."""
_LOG_SECONDS = 60.0


class DatabaseWait:
    """Opens the store, and waits for it if it can't be used yet.

    :param listen: host and port
    :param make_runner: makes a server that refuses all but the probes
    :param on_wait: called before each pause
    """

    def __init__(
        self, listen: tuple[str, int], make_runner: Callable[[], BoundedRunner], on_wait: Callable[[], None]
    ) -> None:
        self._listen = listen
        self._make_runner = make_runner
        self._on_wait = on_wait
        self._runner: BoundedRunner | None = None
        self._next_line = 0.0
        """When the next line may be logged (seconds of the monotonic clock)."""

    async def open(self, open_store: Callable[[], Awaitable[Store]]) -> Store:
        """Return the open store. It listens from the first failure until :meth:`end`.

        :raises StoreUnavailable: no waiting helps
        :raises OSError: the address is taken
        """
        began = time.monotonic()
        while True:
            try:
                store = await open_store()
            except StoreUnavailable as error:
                if not error.passes:
                    raise
                await self._pause(str(error))
            else:
                break
        if self._runner is not None:
            duration = round((time.monotonic() - began) * SECOND)
            log.warning("the start goes on", database=store.location, durationMs=duration)
        return store

    async def _pause(self, reason: str) -> None:
        if self._runner is None:
            self._runner = self._make_runner()
            await self._runner.setup()
            await web.TCPSite(self._runner, *self._listen, backlog=BACKLOG).start()
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _LOG_SECONDS
            log.error("the start waits for the database; webhooks are refused", reason=reason)
        self._on_wait()
        await asyncio.sleep(_AGAIN_SECONDS)

    async def end(self) -> None:
        """Listen no more, so that the service itself can listen."""
        if self._runner is not None:
            await self._runner.cleanup()
