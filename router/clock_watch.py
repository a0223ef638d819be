"""Detects clock steps, suspends and downtime. This is the only place that compares clocks."""

import asyncio
from collections.abc import Callable

import structlog

from router.clock import STEP, Clock, offset, wait_elapsed
from router.decide import Policy
from router.model import MINUTE, SECOND, Millis
from router.store import BEAT, StoreUnavailable, Timekeeping

log = structlog.get_logger(__name__)

# A smaller step forward is ignored. It ends waits too early by less than this, which does no harm.
_FORWARD_STEP: Millis = MINUTE


class ClockWatch:
    """Compares the wall clock with the monotonic clock, and with the last time that the store was writable.

    After a step back, everything that waits is decided again by the new time. After any step, and after the router
    could receive nothing (it was down, the machine was suspended, the store was not writable), all timeouts restart:
    alerts end as stale or gone, and deliveries are given up, only after the full time.
    """

    def __init__(
        self, timekeeping: Timekeeping, clock: Clock, policy: Callable[[], Policy], *, is_shared: bool = False
    ) -> None:
        """:param is_shared: other replicas may run. Then what counts is whether any of them did, which the store knows."""
        self._is_shared = is_shared
        self.count = 0
        """The number of steps so far."""
        self._timekeeping = timekeeping
        self._clock = clock
        self._policy = policy
        self._restarts: list[Callable[[], None]] = []
        self._offset = offset(clock)
        self._counting_since: Millis | None = None
        self._beat_at: Millis = 0
        self._unwritten_since: Millis | None = None
        self._comparing = asyncio.Lock()

    def after_steps(self, restart: Callable[[], None]) -> None:
        """Call ``restart`` after each step, so that timers in memory begin again."""
        self._restarts.append(restart)

    async def serve(self) -> None:
        """Compare the clocks at an interval, without end."""
        never = asyncio.Event()
        while True:
            try:
                await self.look()
            except StoreUnavailable:
                pass  # the store logs it
            except Exception:
                log.exception("the clocks could not be compared")
            else:
                if abs(self._stepped_by) <= STEP:  # otherwise there was a step during the comparison
                    await self._clock.wait(never, self._clock.now() + BEAT)
                continue
            await wait_elapsed(self._clock, never, self._clock.elapsed() + SECOND)

    @property
    def _stepped_by(self) -> Millis:
        """The change of the offset since the last comparison that was written."""
        return offset(self._clock) - self._offset

    async def look(self) -> Millis:
        """Compare the clocks. Call this before a decision that depends on how much time has passed.

        :returns: since when time has passed without a step (wall clock)
        :raises StoreUnavailable: the caller must decide nothing now
        """
        async with self._comparing:
            try:
                since = await self._compare()
            except StoreUnavailable:
                if self._unwritten_since is None:
                    self._unwritten_since = self._clock.elapsed()
                raise
            self._unwritten_since = None
            return since

    async def _compare(self) -> Millis:
        now, elapsed, by = self._clock.now(), self._clock.elapsed(), self._stepped_by
        unwritten = 0 if self._unwritten_since is None else elapsed - self._unwritten_since
        if self._is_shared:
            if elapsed >= self._beat_at or by < -STEP or max(by, unwritten) > _FORWARD_STEP:
                has_run = self._unwritten_since is None and -STEP <= by <= _FORWARD_STEP
                await self._watch(now, has_run=has_run)
                self._beat_at = elapsed + BEAT
            self._offset += by
            assert self._counting_since is not None  # noqa: S101  (narrows the type)
            return self._counting_since
        if self._counting_since is None:
            self._counting_since = await self._timekeeping.begin_counting(self._policy(), now)
        elif by < -STEP or max(by, unwritten) > _FORWARD_STEP:
            log.warning(
                "the clock was stepped, or the database could not be written; all timers restart",
                steppedSeconds=by / SECOND, unwrittenSeconds=unwritten / SECOND,
            )  # fmt: skip
            self._counting_since = await self._timekeeping.step_clock(self._policy(), now, back=by < -STEP)
            self._note_step()
        elif elapsed >= self._beat_at:
            if await self._timekeeping.heartbeat(self._policy(), now):
                self._note_step()
        else:
            self._offset += by
            return self._counting_since
        self._offset += by
        self._beat_at = elapsed + BEAT
        return self._counting_since

    async def _watch(self, now: Millis, *, has_run: bool) -> None:
        before = self._counting_since
        since = await self._timekeeping.watch(
            self._policy(), now, has_run=has_run and before is not None, judging=before is not None
        )
        self._counting_since = since
        if before not in {None, since}:
            log.warning(
                "the clock was stepped, or no replica could write to the database; all timers restart"
            )
            self._note_step()

    def _note_step(self) -> None:
        self.count += 1
        for restart in self._restarts:
            restart()
