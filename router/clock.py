"""Time as a part that can be exchanged: the real clock, and one shifted for the preview.

The tests' own clock, which moves only when told, stands in ``tests/`` and has the same two methods.
"""

import asyncio
import contextlib
import time
from typing import Protocol

from router.model import SECOND, Millis

# However long the wait, the wall clock is read again after this many seconds: it may have been stepped
# (NTP), or stood still while the machine was suspended.
_SLICE = 1.0
# NTP's small corrections are no steps.
STEP: Millis = SECOND


class Clock(Protocol):
    def now(self) -> Millis: ...

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        """Return when ``event`` is set or ``until`` has come (None: never), whichever is first.

        Returns as well when the clock has been stepped back: by it, ``until`` may be far away now.
        """


class SystemClock:
    """The wall clock, plus an offset that only the preview ever moves."""

    def __init__(self) -> None:
        self._offset: Millis = 0

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + self._offset

    def shift(self, by: Millis) -> None:
        self._offset += by

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        latest = self.now()
        while not event.is_set():
            latest, before = self.now(), latest
            if latest < before - STEP:
                return
            left = _SLICE if until is None else min(_SLICE, (until - latest) / 1_000)
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), left)
