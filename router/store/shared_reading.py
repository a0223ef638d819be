"""Shares the result of a query that reads much between all who ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")
KEPT_SECONDS = 5.0
"""How long a large result is used, although the database has changed."""


class SharedReading(Generic[T]):
    """Keeps the last result of a query. At most one query runs at a time; whoever asks meanwhile gets its result.

    A result is used until the next commit; a large one for some seconds even then.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[T]],
        commits: Callable[[], int],
        is_large: Callable[[T], bool],
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        :param commits: returns a number that changes with each commit
        :param is_large: whether the query took so much that its result is kept longer
        :param seconds: a monotonic clock
        """
        self._read = read
        self._commits = commits
        self._is_large = is_large
        self._seconds = seconds
        self._running: asyncio.Task[T] | None = None
        self._last: tuple[T, int, float] | None = None

    async def get(self) -> T:
        """Return the result. :raises Exception: what the query raises"""
        if self._running is None:
            if self._last is not None and self._is_usable(*self._last):
                return self._last[0]
            self._running = asyncio.create_task(self._run())
        return await asyncio.shield(self._running)

    async def _run(self) -> T:
        commits = self._commits()
        try:
            found = await self._read()
            self._last = found, commits, self._seconds()
            return found
        finally:
            self._running = None

    def _is_usable(self, found: T, commits: int, at: float) -> bool:
        return commits == self._commits() or (self._is_large(found) and self._seconds() - at < KEPT_SECONDS)
