"""Delivery: a lane a destination, and one dispatcher that starts what each of them has room for."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress

from router.channels.base import ChannelSpec
from router.clock import Clock
from router.deliver.attempt import LONGEST
from router.deliver.dispatcher import Dispatcher
from router.deliver.lane import Lane
from router.deliver.lane_context import LaneContext, RuntimeConfig
from router.deliver.self_alerts import SelfAlerts, Surroundings
from router.metrics import Metrics
from router.model import SECOND, Delivered, Destination, Millis
from router.store import Store, StoreUnavailable
from router.threads import Threads

# Large messages that are made at the same time.
_RENDERING = 2


async def _ever() -> Millis:
    return 0


# How long whoever resumes a destination waits for the outcome.
_TRIAL_SECONDS = 25.0
_UNTRIED = "the pause has ended; the report ends with the next successful delivery"


class Lanes:
    """All lanes of a service. A stuck one never delays another."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        channels: Mapping[str, ChannelSpec],
        current: Callable[[], RuntimeConfig],
        send_seconds: float = LONGEST,
        counting_since: Callable[[], Awaitable[Millis]] = _ever,
    ) -> None:
        """
        :param channels: by name
        :param send_seconds: how long one attempt may take
        :param counting_since: since when time has simply passed, see :class:`router.clock_watch.ClockWatch`
        """
        self._store = store
        self._clock = clock
        self._current = current
        self._channels = channels
        around = Surroundings(self._alike, self._at_rest, self._try_now, self.wake)
        self.self_alerts = SelfAlerts(store, clock, metrics, lambda: current().policy, around)
        self._context = LaneContext(
            store, clock, metrics, current, self.self_alerts, send_seconds, counting_since,
            Threads("render", _RENDERING), self.wake, asyncio.Event(),
        )  # fmt: skip
        self._dispatcher = Dispatcher(self._context, {each.section for each in channels.values()})
        self._serving: asyncio.Task[None] | None = None

    async def serve(self, destinations: Iterable[Destination]) -> None:
        """From now on, serve these and no others, within the limits in force; a lane that goes on keeps its pauses.

        :raises StoreUnavailable: what the last process said of broken destinations can't be read
        """
        wanted = {destination.key: destination for destination in destinations}
        await self.self_alerts.begin(wanted.keys())
        for name, limits in self._current().shared.items():
            self._dispatcher.sections[name].change(limits, self._clock.elapsed())
        lanes = self._dispatcher.lanes
        for key in lanes.keys() - wanted.keys():
            lanes[key].leave()
        for key, destination in wanted.items():
            if key not in lanes:
                kind = self._channels[destination.channel]
                section = self._dispatcher.sections[kind.section]
                lane = Lane(destination, kind, section, self._context, self._dispatcher.stir)
                lanes[key] = section.lanes[key] = lane
            lanes[key].change(destination)
        if self._serving is None:
            self._serving = asyncio.create_task(self._dispatcher.serve(), name="dispatcher")

    async def settled(self) -> None:
        """Returns when no delivery that is under way now is so any more."""
        lanes = list(self._dispatcher.lanes.values())
        await self._dispatcher.at_rest(lanes)
        for lane in lanes:
            if lane.leaving:
                await lane.left.wait()

    async def resume(self, destination: str) -> dict[str, str] | None:
        """End a destination's pause and its conversations' backoff, and try what is due next.

        :returns: the ``status`` (delivered, still broken, nothing was due to try, is being tried) and the
            ``reason``; None: it has no lane
        :raises StoreUnavailable: nothing was changed
        """
        lane = self._dispatcher.lanes.get(destination)
        if lane is None or lane.leaving:
            return None
        await self._store.resume(destination)
        try:
            outcome = await asyncio.wait_for(lane.try_now(), _TRIAL_SECONDS)
        except TimeoutError:
            reason = f"no result within {_TRIAL_SECONDS:g} s; see the list of deliveries later"
            return {"status": "is being tried", "reason": reason}
        match outcome:
            case None:
                reported = self.self_alerts.broken_since(destination) is not None
                return {"status": "nothing was due to try", "reason": _UNTRIED if reported else ""}
            case Delivered():
                return {"status": "delivered", "reason": ""}
        return {"status": "still broken", "reason": outcome.shown}

    def _alike(self, destination: str) -> frozenset[str]:
        """The destinations of the same section of ``channels:``."""
        lane = self._dispatcher.lanes.get(destination)
        if lane is None:
            return frozenset()
        return frozenset(key for key, each in lane.section.lanes.items() if not each.leaving)

    async def _at_rest(self, destinations: Collection[str]) -> None:
        lanes = self._dispatcher.lanes
        await self._dispatcher.at_rest(lanes[key] for key in destinations if key in lanes)

    async def _try_now(self, destinations: Collection[str]) -> None:
        for key in destinations:
            if (lane := self._dispatcher.lanes.get(key)) is not None:
                with suppress(StoreUnavailable):  # then they wait for their own next attempts
                    await self._store.resume(key)
                lane.resume()

    def wake(self, destinations: Iterable[str]) -> None:
        for key in destinations:
            if (lane := self._dispatcher.lanes.get(key)) is not None:
                lane.wake()

    def restart(self) -> None:
        """After a step of the clock: what is not reported yet counts from now, and every lane looks again."""
        self.self_alerts.restart()
        self.wake(list(self._dispatcher.lanes))

    def describe(self) -> list[dict[str, object]]:
        now, alive = self._clock.now(), self._serving is not None and not self._serving.done()
        return [
            {
                "destination": key,
                "channel": lane.destination.channel,
                "alive": alive,
                "paused_until": now + lane.paused_for if lane.paused_for else None,
                "pause_reason": lane.pause_reason if lane.paused_for else None,
                "broken_since": self.self_alerts.broken_since(key),
                "broken_reason": self.self_alerts.broken_reason(key),
                **self._limits(lane),
            }
            for key, lane in self._dispatcher.lanes.items()
            if not lane.leaving
        ]

    def _limits(self, lane: Lane) -> dict[str, object]:
        """As configured; None: no limit."""
        own, shared = lane.destination.limits, lane.section
        minutes = [rate.a_minute for rate in (own.rate, shared.bucket.rate) if rate is not None]
        return {
            "rate": None if own.rate is None else str(own.rate),
            "shared_rate": None if shared.bucket.rate is None else str(shared.bucket.rate),
            "a_minute": min(minutes) if minutes else None,
            "max_concurrency": own.max_concurrency,
            "storm_above": own.storm_above,
        }

    async def stop(self, within: Millis) -> None:
        """Let every lane finish what is due now, for at most ``within`` milliseconds. What has not begun by then waits for
        the next start; what is cut off is told again after it.
        """
        await self.self_alerts.stop()
        if self._serving is not None:
            await self._dispatcher.stop(self._serving, within / SECOND)
        self._context.rendering.shutdown()


__all__ = ["Lanes", "RuntimeConfig"]
