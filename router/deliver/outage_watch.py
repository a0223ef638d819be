"""Reports broken destinations in time, in tasks beside the dispatcher's loop."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import structlog

from router.clock import Clock
from router.deliver.lane import Lane
from router.deliver.self_alerts import SelfAlerts
from router.model import Millis
from router.store import StoreUnavailable

log = structlog.get_logger(__name__)


class OutageWatch:
    """Checks destinations at which nothing can be tried now, and reports those at which nothing has succeeded for too long."""

    def __init__(
        self,
        clock: Clock,
        self_alerts: SelfAlerts,
        alert_after: Callable[[str], Millis],
        counting_since: Callable[[], Awaitable[Millis]],
    ) -> None:
        """:param alert_after: by channel name: after how long without a successful delivery a destination is reported; 0:
            never
        :param counting_since: see :class:`router.deliver.Lanes`
        """
        self._clock = clock
        self._self_alerts = self_alerts
        self._alert_after = alert_after
        self._counting_since = counting_since
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def look(self, lane: Lane) -> None:
        """Report the destination of a lane if it is time, or make the dispatcher look at the lane when it is."""
        key = lane.destination.key
        trouble = self._self_alerts.trouble(key)
        if trouble is None or trouble.reported is not None or lane.is_paused_by_operator:
            return
        alert_after = self._alert_after(lane.destination.channel)
        at = self._self_alerts.report_at(key, alert_after)
        if at is not None and at > self._clock.now():
            lane.look_by(at)
        self.run_once(f"report of {key}", partial(self._report, key, alert_after))

    def forget_failures(self, destination: str) -> None:
        """Forget the failures of a destination at which nothing is due any more: what failed no longer has to be sent."""
        if self._self_alerts.trouble(destination) is not None:
            self.run_once(f"calm of {destination}", partial(self._self_alerts.forget_failures, destination))

    def cancel(self) -> list[asyncio.Task[None]]:
        """End the work that is under way, and return its tasks to wait for."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        return tasks

    def run_once(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Run the work in a task, unless a task with this name is under way."""
        if name in self._tasks:
            return
        self._tasks[name] = task = asyncio.create_task(_contained(name, work), name=name)
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _report(self, destination: str, alert_after: Millis) -> None:
        with suppress(StoreUnavailable):  # a step of the clock is no outage
            await self._counting_since()
        await self._self_alerts.report_if_due(destination, alert_after)


async def _contained(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception:
        log.exception("report failed unexpectedly", report=name)
