"""A clock that moves only when told."""

import asyncio

from router.model import Millis


class ManualClock:
    """Stands still between :meth:`advance` calls; wakes whoever waits for a moment that has come."""

    def __init__(self, now: Millis) -> None:
        self._now = now
        self._moved = asyncio.Event()
        self._waiting = self._most = 0

    @property
    def at_rest(self) -> bool:
        """Everybody who has ever waited here at once does so now: at this moment there is nothing left to do."""
        return self._waiting == self._most

    def now(self) -> Millis:
        return self._now

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        latest = self._now
        while not event.is_set() and (until is None or until > self._now) and self._now >= latest:
            latest, moved = self._now, self._moved
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
        assert by >= 0
        self.set(self._now + by)

    def step_back(self, by: Millis) -> None:
        """As NTP does to a clock that was wrong."""
        self.set(self._now - by)

    def set(self, now: Millis) -> None:
        self._now = now
        self._waiting = 0  # each looks whether its moment has come
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
