"""Shares the result of a query that reads much between all who ask for it."""

import asyncio
import math
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
        is_large: Callable[[T], bool] = lambda _: False,
        seconds: Callable[[], float] = time.monotonic,
        max_age: float = math.inf,
    ) -> None:
        """
        :param commits: returns a number that changes with each commit
        :param is_large: whether the query took so much that its result is kept longer
        :param seconds: a monotonic clock
        :param max_age: how long a result is used although nothing was committed (seconds), because another process may
            change the database
        """
        self._read = read
        self._commits = commits
        self._is_large = is_large
        self._seconds = seconds
        self._max_age = max_age
        self._running: asyncio.Task[T] | None = None
        self._began = 0
        """The number of commits when the running query began."""
        self._last: tuple[T, int, float] | None = None

    async def get(self) -> T:
        """Return the result. :raises Exception: what the query raises"""
        commits = self._commits()
        while True:
            if self._running is None:
                if self._last is not None and self._is_usable(*self._last):
                    return self._last[0]
                self._began = self._commits()
                self._running = asyncio.create_task(self._run(self._began))
                return await asyncio.shield(self._running)
            began = self._began
            found = await asyncio.shield(self._running)
            # A query that began before the last commit may not have seen it.
            if began == commits or self._is_large(found):
                return found

    async def _run(self, commits: int) -> T:
        try:
            found = await self._read()
            self._last = found, commits, self._seconds()
            return found
        finally:
            self._running = None

    def _is_usable(self, found: T, commits: int, at: float) -> bool:
        age = self._seconds() - at
        is_current = commits == self._commits() and age < self._max_age
        return is_current or (age < KEPT_SECONDS and self._is_large(found))
