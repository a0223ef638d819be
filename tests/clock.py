"""A clock that moves only when the test moves it."""

import asyncio
from typing import Any
from weakref import WeakSet

from router.model import Millis


class ManualClock:
    """Stands still between :meth:`advance` calls; wakes the tasks that wait for a time that has come."""

    def __init__(self, now: Millis) -> None:
        self._now = now
        self._elapsed = 0
        self._known: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._asleep: dict[asyncio.Task[Any], tuple[Millis | None, asyncio.Event]] = {}
        """Until when each task sleeps, and what wakes it."""

    @property
    def at_rest(self) -> bool:
        """Every task that has ever waited here does so now, or has ended: nothing is left to do at this time."""
        awake = (each for each in self._known if each not in self._asleep and not each.done())
        return all(each is asyncio.current_task() for each in awake)

    def knows(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task has ever waited here. A task that was just created has not: :attr:`at_rest` does not mind it."""
        return task in self._known

    def is_asleep(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task waits here."""
        return task in self._asleep

    def now(self) -> Millis:
        return self._now

    def elapsed(self) -> Millis:
        return self._elapsed

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._known.add(task)
        if event.is_set() or (until is not None and until <= self._now):
            return
        woken = asyncio.Event()
        self._asleep[task] = until, woken
        waits = [asyncio.ensure_future(each.wait()) for each in (event, woken)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._asleep.pop(task, None)
            for each in waits:
                each.cancel()

    def advance(self, by: Millis) -> None:
        """Time passes."""
        assert by >= 0
        self._elapsed += by
        self._now += by
        for task, (until, woken) in list(self._asleep.items()):
            if until is not None and until <= self._now:
                del self._asleep[task]
                woken.set()

    def step(self, by: Millis) -> None:
        """Set the wall clock while no time passes, as NTP does, or as after a suspend. All tasks that wait are woken."""
        self._now += by
        for _, woken in self._asleep.values():
            woken.set()
        self._asleep.clear()

    def step_back(self, by: Millis) -> None:
        """Set the wall clock back, as NTP does to a clock that was ahead."""
        self.step(-by)
