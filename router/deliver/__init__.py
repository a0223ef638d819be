"""Delivery: a lane a destination, each bringing its conversations up to date."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

from router.channels.base import Channel
from router.clock import Clock
from router.deliver.lane import Current, Lane
from router.deliver.pace import Pace
from router.metrics import Metrics
from router.model import Destination, Millis
from router.store import Store

log = structlog.get_logger(__name__)


class Lanes:
    """All lanes of a service. A stuck one never delays another."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        channels: Mapping[str, Channel],
        paces: Mapping[str, tuple[float, int]],
        current: Callable[[], Current],
    ) -> None:
        """:param paces: by channel name: deliveries a second in the long run, and at once"""
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.current = current
        self._channels = channels
        self._paces = paces
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, destinations: Iterable[Destination]) -> None:
        for destination in destinations:
            pace = Pace(*self._paces[destination.channel])
            lane = Lane(destination, self._channels[destination.channel], pace, self)
            self._lanes[destination.key] = lane
            self._tasks[destination.key] = asyncio.create_task(lane.serve(), name=f"lane {destination.key}")

    def wake(self, destinations: Iterable[str]) -> None:
        for key in destinations:
            if (lane := self._lanes.get(key)) is not None:
                lane.wake()

    def describe(self) -> list[dict[str, object]]:
        now = self.clock.now()
        return [
            {
                "destination": key,
                "channel": lane.destination.channel,
                "alive": not self._tasks[key].done(),
                "paused_until": lane.paused_until if lane.paused_until > now else None,
                "pause_reason": lane.pause_reason if lane.paused_until > now else None,
            }
            for key, lane in self._lanes.items()
        ]

    async def stop(self, within: Millis) -> None:
        """Let every lane finish what is due now, for at most ``within`` milliseconds; what is cut off then is
        told after the next start.
        """
        for lane in self._lanes.values():
            lane.stop()
        tasks = list(self._tasks.values())
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=within / 1_000)
        if late:
            log.warning("stopping with deliveries under way", lanes=sorted(task.get_name() for task in late))
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["Current", "Lanes"]
