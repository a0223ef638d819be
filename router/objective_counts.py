"""Counts what objectives measure: webhooks in memory, and changes as the store settles them.

Answers to webhooks change no row, so they are added to the store every few seconds. A crash loses what was counted since
then. What can't be saved is kept in memory and tried again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog

from router.clock import Clock
from router.core.settled import BatchEvents, objective_results
from router.decide import Policy
from router.metrics import Metrics
from router.model import ANSWERED_WITHIN, HOUR, SECOND, Millis, Objective
from router.store import Store, StoreUnavailable

log = structlog.get_logger(__name__)

FLUSH_EVERY: Millis = 10 * SECOND
"""How often answers to webhooks are saved; a crash loses at most the answers of this time."""
_LAST_FLUSH_SECONDS = 1.0
_FIRST_ERROR = 500
_NOT_COUNTED = (401, 413, 415)
"""Answers to webhooks that are refused because of the sender."""


class ObjectiveCounts:
    """Counts events of objectives, for the metrics and the store."""

    def __init__(self, store: Store, clock: Clock, metrics: Metrics, policy: Callable[[], Policy]) -> None:
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._unsaved: dict[tuple[Millis, str, str], tuple[int, int]] = {}

    def answered(self, code: int, seconds: float) -> None:
        """Count the answer to a webhook. :param seconds: how long it took"""
        if code in _NOT_COUNTED:
            return
        hour = self._clock.now() // HOUR * HOUR
        in_time = round(seconds * SECOND) <= ANSWERED_WITHIN
        for objective, is_good in (
            (Objective.ACCEPTED, code < _FIRST_ERROR),
            (Objective.ANSWERED, in_time),
        ):
            key = hour, "", str(objective)
            good, bad = self._unsaved.get(key, (0, 0))
            self._unsaved[key] = good + is_good, bad + (not is_good)
            self._metrics.objective_event(objective, "", is_good=is_good)

    def saved(self, events: BatchEvents) -> None:
        """Show what a batch has saved in the metrics."""
        metrics, levels = self._metrics, self._policy().severity.levels
        if not metrics.enabled:
            return
        for each in events.settled:
            for objective, is_good in objective_results(each):
                metrics.objective_event(objective, each.tenant, is_good=is_good)
            if each.is_delivered:
                level = levels[min(each.urgency, len(levels) - 1)]
                metrics.delivered_late_by(level, each.late_by / SECOND)
        metrics.tenant_events(events.tenant_changes, events.tenant_fates)

    async def serve(self) -> None:
        """Save what is counted every few seconds, without end."""
        never = asyncio.Event()
        while True:
            await self._clock.wait(never, self._clock.now() + FLUSH_EVERY)
            try:
                await self.flush()
            except StoreUnavailable:  # the store logs it, once for all parts; the counts are kept
                continue
            except Exception:  # the task must go on: it tries again
                log.exception("answers to webhooks can't be counted")

    async def close(self) -> None:
        """Save what is left, if the store can be written."""
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(_LAST_FLUSH_SECONDS):
                await self.flush()

    async def flush(self) -> None:
        """Save what is counted. :raises StoreUnavailable: nothing was saved; it is kept"""
        taken, self._unsaved = self._unsaved, {}
        if not taken:
            return
        try:
            await self._store.add_events(taken)
        except Exception:  # not a cancellation: the write is queued and will be done
            for key, (good, bad) in taken.items():
                more = self._unsaved.get(key, (0, 0))
                self._unsaved[key] = good + more[0], bad + more[1]
            raise
