"""The work in the background, which only one replica does: the holder of a lease."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from router.core.leases import BACKGROUND
from router.replicas.membership import Held

Work = Callable[[], Coroutine[Any, Any, None]]
"""Makes the coroutine of some work. It runs without end, until it is cancelled."""


class BackgroundWork:
    """Runs work as long as this process holds the lease of the background."""

    def __init__(self) -> None:
        self._loads: list[Callable[[], Awaitable[object]]] = []
        self._works: list[tuple[str, Work]] = []
        self._tasks: list[asyncio.Task[None]] = []

    def load_first(self, load: Callable[[], Awaitable[object]]) -> None:
        """Load what another replica has stored, each time before the work begins here."""
        self._loads.append(load)

    def add(self, name: str, work: Work) -> None:
        """:param name: of the task"""
        self._works.append((name, work))

    @property
    def is_running(self) -> bool:
        return bool(self._tasks)

    async def begin(self) -> None:
        """Begin all work. :raises StoreUnavailable: what is stored can't be read; nothing has begun"""
        for load in self._loads:
            await load()
        self._tasks = [asyncio.create_task(work(), name=name) for name, work in self._works]

    async def end(self) -> None:
        """Cancel all work, and return when it has ended."""
        tasks, self._tasks = self._tasks, []
        for task in reversed(tasks):
            task.cancel()
        for task in reversed(tasks):
            with suppress(asyncio.CancelledError):
                await task

    # Leases.

    def wants(self) -> Iterable[str]:
        return (BACKGROUND,)

    async def gained(self, held: Held) -> None:
        if held.name == BACKGROUND and not self._tasks:
            await self.begin()

    async def give_up(self, name: str) -> None:
        if name == BACKGROUND:
            await self.end()

    def lost(self, name: str) -> None:
        if name == BACKGROUND:
            tasks, self._tasks = self._tasks, []
            for task in tasks:
                task.cancel()
