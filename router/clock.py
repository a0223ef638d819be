"""Time as a part that can be exchanged: the real clock, and one shifted for the preview.

The tests' own clock, which moves only when told, stands in ``tests/`` and has the same methods.
"""

import asyncio
import contextlib
import time
from typing import Protocol

from router.model import SECOND, Millis

# However long the wait, the clocks are compared after this many seconds.
_SLICE = 1.0
# NTP's small corrections are no steps.
STEP: Millis = SECOND


class Clock(Protocol):
    def now(self) -> Millis:
        """The wall clock: for what people read, and for what outlasts the process."""
        ...

    def elapsed(self) -> Millis:
        """Counts the milliseconds while the machine runs; nobody steps it: for pauses and paces."""
        ...

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        """Return when ``event`` is set or ``until`` has come (None: never), whichever is first.

        Returns as well when the wall clock was stepped: ``until`` may be near or far away now.
        """


def offset(clock: Clock) -> Millis:
    """The wall clock against the one that nobody steps: it changes by a step, and by nothing else."""
    return clock.now() - clock.elapsed()


async def rest(clock: Clock, event: asyncio.Event, until: Millis) -> None:
    """Return when ``event`` is set or ``until``, a moment of :meth:`Clock.elapsed`, has come. No step changes it."""
    while not event.is_set() and (left := until - clock.elapsed()) > 0:
        await clock.wait(event, clock.now() + left)


class SystemClock:
    """The wall clock, plus an offset that only the preview ever moves."""

    def __init__(self) -> None:
        self._offset: Millis = 0
        self._skipped: Millis = 0

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + self._offset

    def elapsed(self) -> Millis:
        # On Linux it stands still while the machine is suspended: a resume looks like a step of the wall clock.
        return time.monotonic_ns() // 1_000_000 + self._skipped

    def shift(self, by: Millis) -> None:
        """Forward, as if so much time had passed; back, as a step."""
        self._offset += by
        self._skipped += max(0, by)

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        before = offset(self)
        while not event.is_set() and abs(offset(self) - before) <= STEP:
            left = _SLICE if until is None else min(_SLICE, (until - self.now()) / 1_000)
            if left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), left)
