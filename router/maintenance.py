"""What goes on beside the webhooks. Every minute, the state and what is new in the ledger are checked. Every hour, what is
over is pruned, and all of the ledger are checked: a long history takes minutes, and the other checks wait for that.
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


class Maintenance:
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
        self.integrity: Integrity | None = None
        """The result of the last check; None: there was none yet."""
        # Moments of the clock that nobody steps.
        self._check_at: Millis = 0
        self._prune_at: Millis = 0

    async def run(self) -> None:
        never = asyncio.Event()
        while True:
            try:
                with suppress(StoreUnavailable):  # which the store says itself
                    await self._store.close_large(self._policy(), self._clock.now())
                await self._check()
                if self._clock.elapsed() >= self._prune_at:
                    await self._prune()
            except StoreUnavailable as error:
                log.warning("the ledger can't be kept now", error=str(error))
            except Exception:
                # It never dies: what it could not do is tried again.
                log.exception("upkeep failed unexpectedly")
            await self._clock.wait(never, self._clock.now() + MINUTE)

    async def _check(self) -> None:
        """Whatever came since the last time; all of the ledger after a start, a pruning, and once they are wrong."""
        last = self._balance if self._balance is not None and not self._balance.off else None
        found = await self._store.balance(last)
        if found.off and (last is not None or self._balance is None or found.off != self._balance.off):
            log.error("the ledger does not balance", off=found.off, changes=list(found.changes))
        self._balance = found
        self._check_at = self._clock.elapsed() + MINUTE
        self._metrics.imbalance(found.off)
        await self._check_integrity(whole=last is None)

    async def _check_integrity(self, *, whole: bool) -> None:
        """:param whole: the counters, too, which all of the history is looked at for"""
        before = self.integrity
        found = await self._store.integrity(self._clock.now(), None if whole else before)
        if found.contradicted.count and (before is None or before.contradicted != found.contradicted):
            log.error(
                "alerts are resolved here although their sender still reports them as firing",
                count=found.contradicted.count, first=list(found.contradicted.first),
            )  # fmt: skip
        if found.empty.count and (before is None or before.empty != found.empty):
            log.error(
                "conversations are open with nothing firing in them",
                count=found.empty.count, first=list(found.empty.first),
            )  # fmt: skip
        if found.miscounted.count and (before is None or before.miscounted != found.miscounted):
            log.error(
                "counters differ from what their rows add up to",
                count=found.miscounted.count, first=list(found.miscounted.first),
            )  # fmt: skip
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
            self._balance = None  # numbers may be given anew
        if pruned:
            log.info("pruned", rows=pruned)
        await self._check()
