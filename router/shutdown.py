"""The end of the service: what to close, in which order, and within which time."""

import asyncio
import math
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog

from router.model import SECOND, Millis
from router.store import Store
from router.telemetry import Telemetry

log = structlog.get_logger(__name__)

# The least time that the store has to close, and then the reports to be sent.
_MIN_CLOSE_SECONDS = 0.5


class Shutdown:
    """Ends what was begun, in reverse order, and within the time of a stop."""

    def __init__(self, drain: Millis) -> None:
        self.stack = AsyncExitStack()
        self._drain = drain
        self._deadline: float | None = None

    def has_begun(self) -> bool:
        return self._deadline is not None

    def run_until_stop(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run some work in a task that the stop cancels."""
        self.stack.push_async_callback(_cancel, asyncio.create_task(work, name=name))

    async def close_store(self, store: Store) -> None:
        """Close the store within the time that is left."""
        await store.close(self._left())

    async def close_telemetry(self, telemetry: Telemetry) -> None:
        """Send the reports that wait, within the time that is left."""
        await telemetry.close(self._left())

    def _left(self) -> float:
        """Return the time that is left (seconds)."""
        left = math.inf if self._deadline is None else self._deadline - time.monotonic()
        return max(_MIN_CLOSE_SECONDS, left)

    async def run(self) -> None:
        """Close everything. A cancellation of the caller's task, before or meanwhile, does not keep anything open.

        The closing runs in a task of its own. In a task that was cancelled, a time limit that expires raises CancelledError
        instead of TimeoutError (https://github.com/python/cpython/issues/102780; aiohttp's own limits do so in every
        version). That would end the close of the part that waits, for example of the database.

        :raises asyncio.CancelledError: the caller's task was cancelled meanwhile; everything is closed
        """
        self._deadline = time.monotonic() + self._drain / SECOND
        closing, cancelled = asyncio.create_task(self.stack.aclose(), name="shutdown"), None
        while not closing.done():
            try:
                await asyncio.wait({closing})  # which does not cancel it
            except asyncio.CancelledError as error:
                cancelled = error
        closing.result()
        log.info("stopped")
        if cancelled is not None:
            raise cancelled


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
