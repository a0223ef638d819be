"""Delivery: a lane a destination, each bringing its conversations up to date."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, suppress

import structlog

from router.channels.base import Kind
from router.clock import Clock
from router.deliver.attempt import LONGEST
from router.deliver.lane import Current, Lane
from router.deliver.operator import Operator, Surroundings
from router.deliver.slots import Slots
from router.deliver.token_bucket import TokenBucket
from router.metrics import Metrics
from router.model import Call, Delivered, Destination, Millis, SharedLimits
from router.store import Store, StoreUnavailable
from router.threads import Threads

log = structlog.get_logger(__name__)

# Large messages that are made at the same time.
_RENDERING = 2


async def _ever() -> Millis:
    return 0


# How long whoever resumes a destination waits for the outcome.
_TRIAL_SECONDS = 25.0
_UNTRIED = "the pause has ended; the report ends with the next successful delivery"


class _Shared:
    """What the lanes of one section of ``channels:`` share."""

    def __init__(self) -> None:
        self.bucket, self.edits, self.slots = TokenBucket(None), TokenBucket(None), Slots()

    def change(self, limits: SharedLimits, now: Millis) -> None:
        self.bucket.change(limits.rate, now)
        self.edits.change(limits.edit_rate, now)
        self.slots.change(limits.max_concurrency)


class Lanes:
    """All lanes of a service. A stuck one never delays another."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        kinds: Mapping[str, Kind],
        current: Callable[[], Current],
        send_seconds: float = LONGEST,
        counting_since: Callable[[], Awaitable[Millis]] = _ever,
    ) -> None:
        """
        :param kinds: the channels by name
        :param send_seconds: how long one attempt may take
        :param counting_since: since when time has simply passed, see :class:`router.steps.Steps`
        """
        self.store = store
        self.clock = clock
        self.metrics = metrics
        self.current = current
        self.send_seconds = send_seconds
        self.counting_since = counting_since
        self.rendering = Threads("render", _RENDERING)
        around = Surroundings(self._alike, self._at_rest, self._try_now, self.wake)
        self.operator = Operator(store, clock, metrics, lambda: current().policy, around)
        self._kinds = kinds
        self._shared = {each.section: _Shared() for each in kinds.values()}
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    async def serve(self, destinations: Iterable[Destination]) -> None:
        """From now on, serve these and no others, within the limits in force; a lane that goes on keeps its pauses.

        :raises StoreUnavailable: what the last process said of broken destinations can't be read
        """
        wanted = {destination.key: destination for destination in destinations}
        await self.operator.begin(wanted.keys())
        for section, limits in self.current().shared.items():
            self._shared[section].change(limits, self.clock.elapsed())
        for key in self._lanes.keys() - wanted.keys():
            self._lanes.pop(key).stop()
            self._leaving[key] = self._tasks.pop(key)
        for key, destination in wanted.items():
            if (lane := self._lanes.get(key)) is not None:
                lane.change(destination)
                continue
            lane = Lane(destination, self, self._kinds[destination.channel])
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
            await lane.at_rest()
        for key, task in list(self._leaving.items()):
            await asyncio.wait([task])
            self._leaving.pop(key, None)

    def shared_buckets(self, channel: str, call: Call) -> tuple[TokenBucket, ...]:
        shared = self._shared[self._kinds[channel].section]
        return (shared.edits, shared.bucket) if call is Call.EDIT else (shared.bucket,)

    def pause(self, channel: str, span: Millis, reason: str) -> None:
        """Of every lane of the section."""
        for lane in self._lanes.values():
            if self._kinds[lane.destination.channel].section == self._kinds[channel].section:
                lane.pause(max(span, lane.paused_for), reason)

    def connection(self, channel: str) -> AbstractAsyncContextManager[object]:
        return self._shared[self._kinds[channel].section].slots.hold()

    async def resume(self, destination: str) -> dict[str, str] | None:
        """End a destination's pause and its conversations' backoff, and try what is due next.

        :returns: the ``status`` (delivered, still broken, nothing was due to try, is being tried) and the
            ``reason``; None: it has no lane
        :raises StoreUnavailable: nothing was changed
        """
        lane = self._lanes.get(destination)
        if lane is None:
            return None
        await self.store.resume(destination)
        try:
            outcome = await asyncio.wait_for(lane.try_now(), _TRIAL_SECONDS)
        except TimeoutError:
            reason = f"no result within {_TRIAL_SECONDS:g} s; see the list of deliveries later"
            return {"status": "is being tried", "reason": reason}
        match outcome:
            case None:
                reported = self.operator.broken_since(destination) is not None
                return {"status": "nothing was due to try", "reason": _UNTRIED if reported else ""}
            case Delivered():
                return {"status": "delivered", "reason": ""}
        return {"status": "still broken", "reason": outcome.shown}

    def _alike(self, destination: str) -> frozenset[str]:
        """The destinations of the same section of ``channels:``."""
        lane = self._lanes.get(destination)
        section = None if lane is None else self._kinds[lane.destination.channel].section
        return frozenset(
            key
            for key, each in self._lanes.items()
            if self._kinds[each.destination.channel].section == section
        )

    async def _at_rest(self, destinations: Collection[str]) -> None:
        for lane in [self._lanes[key] for key in destinations if key in self._lanes]:
            await lane.at_rest()

    async def _try_now(self, destinations: Collection[str]) -> None:
        for key in destinations:
            if (lane := self._lanes.get(key)) is not None:
                with suppress(StoreUnavailable):  # then they wait for their own next attempts
                    await self.store.resume(key)
                lane.resume()

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
                "paused_until": now + lane.paused_for if lane.paused_for else None,
                "pause_reason": lane.pause_reason if lane.paused_for else None,
                "broken_since": self.operator.broken_since(key),
                "broken_reason": self.operator.broken_reason(key),
                **self._limits(lane),
            }
            for key, lane in self._lanes.items()
        ]

    def _limits(self, lane: Lane) -> dict[str, object]:
        """As configured; None: no limit."""
        own, shared = lane.destination.limits, self._shared[self._kinds[lane.destination.channel].section]
        minutes = [rate.a_minute for rate in (own.rate, shared.bucket.rate) if rate is not None]
        return {
            "rate": None if own.rate is None else str(own.rate),
            "shared_rate": None if shared.bucket.rate is None else str(shared.bucket.rate),
            "a_minute": min(minutes) if minutes else None,
            "max_concurrency": own.max_concurrency,
            "storm_above": own.storm_above,
        }

    async def stop(self, within: Millis) -> None:
        """Let every lane finish what is due now, for at most ``within`` milliseconds; what is cut off then is
        told after the next start.
        """
        for lane in self._lanes.values():
            lane.stop()
        await self.operator.stop()
        tasks = [*self._tasks.values(), *self._leaving.values()]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=within / 1_000)
        if late:
            log.warning("stopping with deliveries under way", lanes=sorted(task.get_name() for task in late))
        for task in late:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.rendering.shutdown()


__all__ = ["Current", "Lanes"]
