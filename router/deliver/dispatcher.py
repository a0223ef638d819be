"""The dispatcher: one loop that knows how much may begin at each lane, claims for all of them, and starts the sends."""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial

import structlog

from router.clock import STEP, offset
from router.deliver.delivery import Delivery
from router.deliver.lane import Lane, Trial
from router.deliver.lane_context import LaneContext
from router.deliver.section import SectionLimiter
from router.model import Millis
from router.store import RETRY_AFTER_FAILED_WRITE, Claimed, Permit, StoreUnavailable, Work

log = structlog.get_logger(__name__)

# Seconds that deliveries, and the store that takes back claims, have after the time of a stop.
_LAST_WORDS = 1.0
# Entries that are out of date, beside one for each lane, before they are removed.
_SPARE = 64


class Dispatcher:
    """Serves lanes until it is stopped. It looks at a lane only when something happened there, or its time has come."""

    def __init__(self, context: LaneContext, sections: Iterable[str]) -> None:
        """:param sections: of ``channels:``"""
        self.lanes: dict[str, Lane] = {}
        self.sections = {name: SectionLimiter(self.stir) for name in sections}
        self._context = context
        self._clock = context.clock
        self._offset = offset(context.clock)
        self._stirred: dict[Lane, None] = {}
        """Those to look at, in the order in which something happened."""
        self._order = itertools.count()
        self._agenda: list[tuple[Millis, int, Lane]] = []
        """A heap: when to look at lanes though nothing happens. Some entries are out of date."""
        self._wake = asyncio.Event()
        self._cut_off = False
        """Nothing begins any more: claims that come back are taken back."""
        self._under_way: dict[Delivery, asyncio.Task[None]] = {}
        self._claims: set[asyncio.Task[None]] = set()
        self._beside: dict[str, asyncio.Task[None]] = {}
        """By name: what is reported of destinations, or forgotten."""

    def stir(self, lane: Lane) -> None:
        """Something happened at a lane."""
        self._stirred[lane] = None
        self._wake.set()

    async def serve(self) -> None:
        """Start what is due. Returns after :meth:`stop`, when nothing more can begin.

        A flag ends it, not a cancellation: in Python 3.11 a wait that ends at the same moment swallows a cancellation.
        """
        while True:
            self._wake.clear()
            for lane in self._to_look_at():
                self._look(lane)
                if lane.look_at is not None:
                    heapq.heappush(self._agenda, (lane.look_at, next(self._order), lane))
            if self._cut_off or (self._context.stopping.is_set() and self._is_done):
                return
            await self._clock.wait(self._wake, self._next_look())

    @property
    def _is_done(self) -> bool:
        return all(lane.is_done for lane in self.lanes.values())

    def _to_look_at(self) -> list[Lane]:
        now, agenda = self._clock.elapsed(), self._agenda
        for section in self.sections.values():
            if section.waiting:
                section.offer(now)
        while agenda and agenda[0][0] <= now:
            lane = heapq.heappop(agenda)[2]
            self._stirred[lane] = None
        if abs(offset(self._clock) - self._offset) > STEP:
            self._offset = offset(self._clock)
            self._stirred.update(dict.fromkeys(self.lanes.values()))
        stirred, self._stirred = self._stirred, {}
        return [lane for lane in stirred if self.lanes.get(lane.destination.key) is lane]

    def _next_look(self) -> Millis | None:
        """By the wall clock."""
        now, agenda = self._clock.elapsed(), self._agenda
        if len(agenda) > 2 * len(self.lanes) + _SPARE:
            agenda[:] = (entry for entry in agenda if entry[0] == entry[2].look_at)
            heapq.heapify(agenda)
        while agenda and agenda[0][0] != agenda[0][2].look_at:
            heapq.heappop(agenda)
        times = [each.bucket.ready_at(now) for each in self.sections.values() if each.waiting]
        times = [at for at in times if at > now]  # else they wait for a place
        if agenda:
            times.append(agenda[0][0])
        return min(times) + offset(self._clock) if times else None

    def _look(self, lane: Lane) -> None:
        """Claim for a lane as much as may begin at once. What several lanes claim at a time is one transaction."""
        now, key = self._clock.elapsed(), lane.destination.key
        try:
            room = lane.room()
            if room and (places := lane.section.take(lane, room, now)):
                work = self._claim(lane, lane.begin_claim(places), lane.trial)
                task = asyncio.create_task(work, name=f"claim for {key}")
                self._claims.add(task)
                task.add_done_callback(self._claims.discard)
                return
            if not room and lane in lane.section.waiting:
                lane.section.leave(lane, now)
            self._watch(lane)
            if lane.leaving and lane.is_done:
                self._remove(lane)
        except Exception:  # a lane never dies: it is looked at again
            log.exception("lane failed unexpectedly", destination=key)
            lane.rest()

    async def _claim(self, lane: Lane, permit: Permit, trial: Trial | None) -> None:
        """Begin what is due there, the most urgent first. :param trial: that finds nothing, if the claim does"""
        key, claimed = lane.destination.key, Claimed(())
        try:
            policy = self._context.current().policy
            claimed = await self._context.store.claim_several(permit, policy, self._clock.now())
        except StoreUnavailable:  # the store has said so, once for all lanes
            lane.rest(RETRY_AFTER_FAILED_WRITE)
        except Exception:
            log.exception("claim failed unexpectedly", destination=key)
            lane.rest()
        else:
            if self._cut_off:
                await self._take_back(claimed.works)
                return
            for work in claimed.works:
                delivery = Delivery(lane, work, self._context)
                task = asyncio.create_task(delivery.run(), name=f"delivery {work.delivery} to {key}")
                self._under_way[delivery] = task
                task.add_done_callback(partial(self._ended, delivery))
            if lane.end_claim(claimed, trial) and self._context.self_alerts.trouble(key) is not None:
                self._do_beside(f"calm of {key}", partial(self._context.self_alerts.idle, key))
        finally:
            if unused := permit.count - len(claimed.works):
                lane.give_back(unused)

    def _ended(self, delivery: Delivery, _task: object) -> None:
        self._under_way.pop(delivery, None)

    def _watch(self, lane: Lane) -> None:
        """Report a destination in time, though nothing can be tried there now."""
        key, self_alerts = lane.destination.key, self._context.self_alerts
        trouble = self_alerts.trouble(key)
        if trouble is None or trouble.reported is not None:
            return
        alert_after = self._context.current().alert_after.get(lane.destination.channel, 0)
        at = self_alerts.report_at(key, alert_after)
        if at is not None and at > self._clock.now():
            lane.look_by(at)
        self._do_beside(f"report of {key}", partial(self._report, key, alert_after))

    async def _report(self, key: str, alert_after: Millis) -> None:
        with suppress(StoreUnavailable):  # a step of the clock is no outage
            await self._context.counting_since()
        await self._context.self_alerts.look(key, alert_after)

    def _do_beside(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """One of a name at a time."""
        if name in self._beside:
            return
        self._beside[name] = task = asyncio.create_task(_contained(name, work), name=name)
        task.add_done_callback(lambda _: self._beside.pop(name, None))

    def _remove(self, lane: Lane) -> None:
        self.lanes.pop(lane.destination.key, None)
        lane.look_at = None
        lane.section.lanes.pop(lane.destination.key, None)
        lane.left.set()

    async def at_rest(self, lanes: Iterable[Lane]) -> None:
        """Returns when no delivery that is under way now is so any more."""
        wanted = set(lanes)
        if tasks := [task for delivery, task in self._under_way.items() if delivery.lane in wanted]:
            await asyncio.wait(tasks)

    async def stop(self, serving: "asyncio.Task[None]", within: float) -> None:
        """Let what is due go out, for so many seconds. Then what has not begun is taken back: it is due after the next
        start, as if nobody had claimed it. What is cut off may have arrived, and is told again.
        """
        self._context.stopping.set()
        self._wake.set()
        await asyncio.wait([serving], timeout=within)
        self._cut_off = True
        self._wake.set()
        late, claims = dict(self._under_way), set(self._claims)
        if late or claims:
            keys = sorted({delivery.lane.destination.key for delivery in late})
            log.warning("stopping with deliveries under way", lanes=keys)
        for task in (*late.values(), *self._beside.values()):
            task.cancel()
        for lane in self.lanes.values():
            lane.left.set()
        taken_back = asyncio.create_task(self._take_back([each.work for each in late if not each.begun]))
        ending = {serving, taken_back, *claims, *late.values(), *self._beside.values()}
        while ending:  # one that is stuck is cancelled; one that is still stuck then is left behind
            _, stuck = await asyncio.wait(ending, timeout=_LAST_WORDS)
            ending = {task for task in stuck if task.cancelling() == 0}
            for task in stuck:
                task.cancel()

    async def _take_back(self, works: Sequence[Work]) -> None:
        if not works:
            return
        with suppress(StoreUnavailable):  # then they count as interrupted after the next start
            await self._context.store.unclaim(works, self._context.current().policy, self._clock.now())


async def _contained(name: str, work: Callable[[], Awaitable[None]]) -> None:
    try:
        await work()
    except Exception:
        log.exception("report failed unexpectedly", report=name)
