"""The regular work in the background: measures, checks, pruning, and the limits of the quarantine.

Every minute, the sizes of the database are measured, and the state and the new part of the ledger are checked. Every
hour, and a minute after the start, expired rows are pruned and the whole ledger is checked. Checking a long history takes minutes; meanwhile, the other
checks wait.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from router.clock import Clock
from router.decide import Policy
from router.metrics import Metrics
from router.model import HOUR, MINUTE, Millis, Retention
from router.store import Balance, Integrity, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# What each count of an integrity check means if it is not zero.
_FAULTS = {
    "contradicted": "alerts are resolved here although their sender still reports them as firing",
    "empty": "conversations are open with nothing firing in them",
    "miscounted": "counters differ from what their rows add up to",
}


class Maintenance:
    """Checks and prunes the store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        retention: Callable[[], Retention],
        policy: Callable[[], Policy],
    ) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._retention = retention
        self._policy = policy
        self._balance: Balance | None = None
        """The last result; None: the next check reads the whole ledger."""
        self.balance: Balance | None = None
        """The last result; None: there was none yet."""
        self.integrity: Integrity | None = None
        """The result of the last check; None: there was none yet."""
        # Times of the monotonic clock.
        self._check_at: Millis = 0
        self._prune_at: Millis = clock.elapsed() + MINUTE
        """The first time is a minute after the start, so that webhooks that waited for the start come first."""

    async def run(self) -> None:
        """Do the work every minute, without end."""
        never = asyncio.Event()
        while True:
            try:
                await self._measure()
                with suppress(StoreUnavailable):  # the store logs it
                    await self._store.close_large(self._policy(), self._clock.now())
                await self._check()
                if self._clock.elapsed() >= self._prune_at:
                    await self._prune()
            except StoreUnavailable as error:
                log.warning("maintenance is not possible now", reason=str(error))
            except Exception:  # the task must go on: it tries again
                log.exception("maintenance failed unexpectedly")
            await self._clock.wait(never, self._clock.now() + MINUTE)

    async def watch_quarantine(self) -> None:
        """Keep the quarantine within its limits, without end: every minute, and as soon as a limit is exceeded."""
        limits = self._store.quarantine_limits
        while True:
            try:
                dropped = await limits.trim(self._retention())
                if dropped:
                    self._metrics.quarantine_dropped(dropped)
                    log.warning(
                        "the quarantine reached its limit; the oldest bodies were dropped",
                        dropped=dropped,
                        **limits.describe(),
                    )
            except StoreUnavailable as error:
                log.warning("the quarantine can't be kept within its limits now", error=str(error))
            except Exception:  # the task must go on: it tries again
                log.exception("the quarantine can't be kept within its limits")
            await self._clock.wait(limits.full, self._clock.now() + MINUTE)

    async def _measure(self) -> None:
        """Show what the database takes on disk. If the database can't be read, the last values stay."""
        with suppress(StoreUnavailable):  # the check that follows logs it
            usage = await self._store.disk_usage()
            self._metrics.disk_usage(usage.files, usage.free)

    async def _check(self) -> None:
        """Check the part of the ledger that is new since the last check. Check all of it after a start, after pruning, and
        while it does not balance.
        """
        last = self._balance if self._balance is not None and not self._balance.off else None
        found = await self._store.balance(last)
        if found.off and (last is not None or self._balance is None or found.off != self._balance.off):
            log.error("the ledger does not balance", off=found.off, changes=list(found.changes))
        self._balance = self.balance = found
        self._check_at = self._clock.elapsed() + MINUTE
        self._metrics.imbalance(found.off)
        await self._check_integrity(is_whole=last is None)

    async def _check_integrity(self, *, is_whole: bool) -> None:
        """Check the integrity. :param is_whole: also compare the counters with the whole history"""
        before = self.integrity
        found = await self._store.integrity(self._clock.now(), None if is_whole else before)
        for name, meaning in _FAULTS.items():
            faults = getattr(found, name)
            if faults.count and (before is None or getattr(before, name) != faults):
                log.error(
                    "the store is inconsistent", fault=meaning, count=faults.count, first=list(faults.first)
                )
        self.integrity = found
        self._metrics.integrity(found.contradicted.count, found.empty.count, found.miscounted.count)

    async def _prune(self) -> None:
        now = self._clock.now()
        self._prune_at = self._clock.elapsed() + HOUR
        pruned = 0
        try:
            async for count in self._store.prune(self._retention(), now):
                pruned += count
                if self._clock.elapsed() >= self._check_at:
                    await self._check()
        finally:
            self._balance = None  # the ledger has fewer rows now
        if pruned:
            log.info("pruned", rows=pruned)
        await self._check()
