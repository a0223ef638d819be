"""A clock that moves only when told."""

import asyncio

from router.model import Millis


class ManualClock:
    """Stands still between :meth:`advance` calls; wakes whoever waits for a moment that has come."""

    def __init__(self, now: Millis) -> None:
        self._now = now
        self._elapsed = 0
        self._moved = asyncio.Event()
        self._waiting = self._most = 0

    @property
    def at_rest(self) -> bool:
        """Everybody who has ever waited here at once does so now: at this moment there is nothing left to do."""
        return self._waiting == self._most

    def now(self) -> Millis:
        return self._now

    def elapsed(self) -> Millis:
        return self._elapsed

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        before = self._now - self._elapsed
        while (
            not event.is_set()
            and (until is None or until > self._now)
            and self._now - self._elapsed == before
        ):
            moved = self._moved
            self._waiting += 1
            self._most = max(self._most, self._waiting)
            waits = [asyncio.ensure_future(each.wait()) for each in (event, moved)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                if moved is self._moved:
                    self._waiting -= 1
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
        self._waiting = 0  # each looks whether its moment has come
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
