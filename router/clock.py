"""Time as a part that can be replaced: the real clock, which the preview can shift.

The tests' own clock in ``tests/`` has the same methods, and moves only when a test moves it.
"""

import asyncio
import contextlib
import time
from typing import Protocol

from router.model import SECOND, Millis

# During a long wait, the clocks are compared at this interval.
_COMPARE_SECONDS = 1.0
_OBSERVED_WITHIN_SECONDS = 0.1
_JITTER: Millis = 5
STEP: Millis = SECOND
"""The smallest change of the difference between the two clocks that counts as a step. A smaller one is a correction by
NTP.
"""


class Clock(Protocol):
    """The wall clock and the monotonic clock."""

    def now(self) -> Millis:
        """Return the time of the wall clock: for people, and for what outlasts the process."""
        ...

    def elapsed(self) -> Millis:
        """Return the time of the monotonic clock, which never steps: for pauses and rates."""
        ...

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        """Return when ``event`` is set, or at the time ``until`` of the wall clock (None: never), if that is earlier.

        It also returns after a step of the wall clock, because ``until`` may be near or far away now.
        """


def offset(clock: Clock) -> Millis:
    """Return the difference between the wall clock and the monotonic clock. Only a step changes it."""
    return clock.now() - clock.elapsed()


async def wait_elapsed(clock: Clock, event: asyncio.Event, until: Millis) -> None:
    """Return when ``event`` is set, or at the time ``until`` of the monotonic clock. A step changes nothing."""
    while not event.is_set() and (left := until - clock.elapsed()) > 0:
        await clock.wait(event, clock.now() + left)


class DatabaseClock:
    """A wall clock that follows a database's, so that all replicas have one time. The machine's wall clock does not matter."""

    def __init__(self) -> None:
        self._offset: Millis = time.time_ns() // 1_000_000 - self.elapsed()

    def now(self) -> Millis:
        return self.elapsed() + self._offset

    def elapsed(self) -> Millis:
        return time.monotonic_ns() // 1_000_000

    def observe(self, now: Millis, began: float, ended: float) -> None:
        """Follow the database's time, unless the answer took so long that it says little.

        :param now: what the database answered (epoch ms)
        :param began: when it was asked, and when the answer came (seconds, ``time.monotonic``)
        """
        if ended - began <= _OBSERVED_WITHIN_SECONDS:
            found = now - round((began + ended) / 2 * 1_000)
            if abs(found - self._offset) > _JITTER:
                self._offset = found

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        await wait_by(self, event, until)


class SystemClock:
    """The clocks of the machine, plus an offset that only the preview changes."""

    def __init__(self) -> None:
        self._offset: Millis = 0
        self._skipped: Millis = 0

    def now(self) -> Millis:
        return time.time_ns() // 1_000_000 + self._offset

    def elapsed(self) -> Millis:
        # On Linux it stands still while the machine is suspended: a resume looks like a step of the wall clock.
        return time.monotonic_ns() // 1_000_000 + self._skipped

    def shift(self, by: Millis) -> None:
        """Move both clocks forward, as if the time had passed; or the wall clock back, as a step."""
        self._offset += by
        self._skipped += max(0, by)

    async def wait(self, event: asyncio.Event, until: Millis | None) -> None:
        await wait_by(self, event, until)


class BootClock(SystemClock):
    """The clocks of the machine. The monotonic one also counts the time in which the machine was suspended, if it can."""

    def elapsed(self) -> Millis:
        boot = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # Linux has it
        return time.clock_gettime_ns(boot) // 1_000_000


async def wait_by(clock: Clock, event: asyncio.Event, until: Millis | None) -> None:
    """Wait in real time, as :meth:`Clock.wait` says."""
    before = offset(clock)
    while not event.is_set() and abs(offset(clock) - before) <= STEP:
        seconds = _COMPARE_SECONDS
        if until is not None:
            seconds = min(seconds, (until - clock.now()) / SECOND)
        if seconds <= 0:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()
