"""The work in the background, which only one replica does: the holder of a lease."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from contextvars import copy_context
from typing import Any

import structlog

from router.core.head import Grant
from router.core.leases import BACKGROUND
from router.replicas.lease_user import Held
from router.store import WORKS_BY

log = structlog.get_logger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]
"""Makes the coroutine of some work. It runs without end, until it is cancelled."""


class BackgroundWork:
    """Runs work as long as this process holds the lease of the background."""

    def __init__(self) -> None:
        self._loads: list[Callable[[], Awaitable[object]]] = []
        self._calls: list[Callable[[], object]] = []
        self._works: list[tuple[str, Work]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._ending: set[asyncio.Task[None]] = set()
        """Cancelled tasks that may not have ended yet."""

    def load_first(self, load: Callable[[], Awaitable[object]]) -> None:
        """Load what another replica has stored, each time before the work begins here."""
        self._loads.append(load)

    def call_first(self, call: Callable[[], object]) -> None:
        """Call a function each time before the work begins here."""
        self._calls.append(call)

    def add(self, name: str, work: Work) -> None:
        """Add work. :param name: of its task"""
        self._works.append((name, work))

    @property
    def tasks(self) -> Sequence[asyncio.Task[None]]:
        """The work that runs here, a task for each."""
        return self._tasks

    async def begin(self, grant: Grant | None = None) -> None:
        """Begin all work, after all that was begun before has ended.

        :param grant: of the lease. Once another replica has it, the store refuses all that the work here still writes. None:
            no other replica is possible
        :raises StoreUnavailable: what is stored can't be read; nothing has begun
        """
        await self._ended()
        for load in self._loads:
            await load()
        for call in self._calls:
            call()
        context = copy_context()
        context.run(WORKS_BY.set, grant)
        self._tasks = [
            asyncio.create_task(work(), name=name, context=context.copy()) for name, work in self._works
        ]
        for task in self._tasks:
            task.add_done_callback(_report)

    async def end(self) -> None:
        """Cancel all work, and return when it has ended."""
        self._cancel()
        await self._ended()

    def _cancel(self) -> None:
        tasks, self._tasks = self._tasks, []
        self._ending.update(tasks)
        for task in reversed(tasks):
            task.cancel()

    async def _ended(self) -> None:
        if self._ending:
            self._ending -= (await asyncio.wait(self._ending))[0]

    # Leases.

    def wants(self) -> Iterable[str]:
        """See :class:`router.replicas.lease_user.LeaseUser`."""
        return (BACKGROUND,)

    async def gained(self, held: Held) -> None:
        """See :class:`router.replicas.lease_user.LeaseUser`."""
        if held.name == BACKGROUND and not self._tasks:
            await self.begin(held.grant)

    async def release(self, name: str) -> bool:
        """See :class:`router.replicas.lease_user.LeaseUser`."""
        if name == BACKGROUND:
            await self.end()
        return True

    def lost(self, name: str) -> None:
        """See :class:`router.replicas.lease_user.LeaseUser`."""
        if name == BACKGROUND:
            self._cancel()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error(
            "work in the background has ended unexpectedly; it does not run until the router is restarted",
            task=task.get_name(),
            exc_info=error,
        )
