"""Detects clock steps, suspends and downtime. This is the only place that compares clocks."""

import asyncio
from collections.abc import Callable

import structlog

from router.clock import STEP, Clock, offset, rest
from router.decide import Policy
from router.model import MINUTE, SECOND, Millis
from router.store import BEAT, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# A clock that was set forward by less makes nothing end early that matters.
_FORWARD: Millis = MINUTE


class ClockWatch:
    """Compares the wall clock with the monotonic clock, and with the last time that the store was writable.

    After a step back, everything that waits is decided again by the new time. After any step, and after the router
    could receive nothing (it was down, the machine was suspended, the store was not writable), all timeouts restart:
    alerts end as stale or gone, and deliveries are given up, only after the full time.
    """

    def __init__(self, store: Store, clock: Clock, policy: Callable[[], Policy]) -> None:
        self.count = 0
        """The number of steps so far."""
        self._store = store
        self._clock = clock
        self._policy = policy
        self._restarts: list[Callable[[], None]] = []
        self._offset = offset(clock)
        self._since: Millis | None = None
        self._beat_at: Millis = 0
        self._unwritten_since: Millis | None = None
        self._comparing = asyncio.Lock()

    def after_steps(self, restart: Callable[[], None]) -> None:
        """Call ``restart`` after each step, so that timers in memory begin again."""
        self._restarts.append(restart)

    async def serve(self) -> None:
        """Compare the clocks at an interval, for ever."""
        never = asyncio.Event()
        while True:
            try:
                await self.look()
            except StoreUnavailable:
                pass  # which the store says itself
            except Exception:
                log.exception("the clocks could not be compared")
            else:
                if abs(self._stepped) <= STEP:  # else it was while we looked
                    await self._clock.wait(never, self._clock.now() + BEAT)
                continue
            await rest(self._clock, never, self._clock.elapsed() + SECOND)

    @property
    def _stepped(self) -> Millis:
        """By how much, since that was last dealt with."""
        return offset(self._clock) - self._offset

    async def look(self) -> Millis:
        """Compare the clocks; whoever decides by the time that has passed does this first.

        :returns: since when time has simply passed, by the wall clock
        :raises StoreUnavailable: nothing is to be decided now
        """
        async with self._comparing:
            try:
                since = await self._look()
            except StoreUnavailable:
                if self._unwritten_since is None:
                    self._unwritten_since = self._clock.elapsed()
                raise
            self._unwritten_since = None
            return since

    async def _look(self) -> Millis:
        now, elapsed, by = self._clock.now(), self._clock.elapsed(), self._stepped
        unwritten = 0 if self._unwritten_since is None else elapsed - self._unwritten_since
        if self._since is None:
            self._since = await self._store.begin_counting(self._policy(), now)
        elif by < -STEP or max(by, unwritten) > _FORWARD:
            log.warning(
                "the clock was stepped, or the database could not be written; all timers restart",
                stepped_seconds=by / SECOND, unwritten_seconds=unwritten / SECOND,
            )  # fmt: skip
            self._since = await self._store.step(self._policy(), now, back=by < -STEP)
            self._note_step()
        elif elapsed >= self._beat_at:
            if await self._store.beat(self._policy(), now):
                self._note_step()
        else:
            self._offset += by
            return self._since
        self._offset += by
        self._beat_at = elapsed + BEAT
        return self._since

    def _note_step(self) -> None:
        self.count += 1
        for restart in self._restarts:
            restart()
