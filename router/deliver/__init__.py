"""Delivery: a lane a destination, each bringing its conversations up to date."""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import structlog

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
        paces: Mapping[str, tuple[float, int]],
        current: Callable[[], Current],
    ) -> None:
        """:param paces: by channel name: deliveries a second in the long run, and at once"""
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.current = current
        self._paces = paces
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def serve(self, destinations: Iterable[Destination]) -> None:
        """From now on, serve these and no others; a lane that goes on keeps its pace and its pauses."""
        wanted = {destination.key: destination for destination in destinations}
        for key in self._lanes.keys() - wanted.keys():
            self._lanes.pop(key).stop()
            self._leaving[key] = self._tasks.pop(key)
        for key, destination in wanted.items():
            if (lane := self._lanes.get(key)) is not None:
                lane.destination = destination
                lane.wake()  # the rules may have changed what it is to tell
                continue
            lane = Lane(destination, Pace(*self._paces[destination.channel]), self)
            self._lanes[key] = lane
            self._tasks[key] = asyncio.create_task(self._after(key, lane), name=f"lane {key}")

    async def _after(self, key: str, lane: Lane) -> None:
        """One lane a destination: the one that left may still have something under way."""
        before = self._leaving.pop(key, None)
        if before is not None:
            await asyncio.wait([before])
        await lane.serve()

    async def settled(self) -> None:
        """Returns when no delivery that is under way now is so any more."""
        for lane in list(self._lanes.values()):
            async with lane.at_rest:
                pass
        for key, task in list(self._leaving.items()):
            await asyncio.wait([task])
            self._leaving.pop(key, None)

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
        tasks = [*self._tasks.values(), *self._leaving.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=within / 1_000)
        if late:
            log.warning("stopping with deliveries under way", lanes=sorted(task.get_name() for task in late))
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


__all__ = ["Current", "Lanes"]
