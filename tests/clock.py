"""A clock that moves only when told."""

import asyncio
from typing import Any
from weakref import WeakSet

from router.model import Millis


class ManualClock:
    """Stands still between :meth:`advance` calls; wakes whoever waits for a moment that has come."""

    def __init__(self, now: Millis) -> None:
        self._now = now
        self._elapsed = 0
        self._moved = asyncio.Event()
        self._known: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._asleep: set[asyncio.Task[Any]] = set()

    @property
    def at_rest(self) -> bool:
        """Everybody who has ever waited here does so now, or has ended: at this moment there is nothing left to do."""
        awake = (each for each in self._known if each not in self._asleep and not each.done())
        return all(each is asyncio.current_task() for each in awake)

    def is_asleep(self, task: asyncio.Task[Any]) -> bool:
        """It waits here."""
        return task in self._asleep

    def now(self) -> Millis:
        return self._now

    def elapsed(self) -> Millis:
        return self._elapsed

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._known.add(task)
        before = self._now - self._elapsed
        while (
            not event.is_set()
            and (until is None or until > self._now)
            and self._now - self._elapsed == before
        ):
            moved = self._moved
            self._asleep.add(task)
            waits = [asyncio.ensure_future(each.wait()) for each in (event, moved)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._asleep.discard(task)
                for each in waits:
                    each.cancel()

    def advance(self, by: Millis) -> None:
        """Time passes."""
        assert by >= 0
        self._elapsed += by
        self._move(by)

    def step(self, by: Millis) -> None:
        """No time passes, and the wall clock is set: by NTP, or because the machine was suspended."""
        self._move(by)

    def step_back(self, by: Millis) -> None:
        """As NTP does to a clock that was wrong."""
        self.step(-by)

    def _move(self, by: Millis) -> None:
        self._now += by
        self._asleep.clear()  # each looks whether its moment has come
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
