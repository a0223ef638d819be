"""The dispatcher: one loop that claims as many deliveries for each lane as can begin there, and starts them."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

import structlog

from router.clock import STEP, Clock, offset
from router.core.head import LeaseLost
from router.decide import Policy
from router.deliver.agenda import Agenda
from router.deliver.delivery import Delivery
from router.deliver.lane import Lane
from router.deliver.lane_table import LaneTable
from router.deliver.outage_watch import OutageWatch
from router.deliver.running_deliveries import RunningDeliveries
from router.model import SECOND, Millis
from router.store import RETRY_AFTER_FAILED_WRITE, ClaimedDelivery, Permit, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# How long a stop waits, after its time has passed, for deliveries and the store to end. Then it cancels them, and waits
# as long again.
_EXTRA_SECONDS = 1.0
# In this share of its time, at the end, a stop begins nothing more, so that what is under way ends.
_SHARE_TO_END = 1 / 3
# Where deliveries began this lately, the next webhook probably makes another one due.
_LATELY: Millis = SECOND
# At how many lanes at most a webhook's claims are made ahead. Each takes part of a batch, also if it finds nothing.
_MAX_RECENT = 8


class Dispatcher:
    """Serves lanes until it is stopped. It looks at a lane only when something happened there, or its time has come."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        policy: Callable[[], Policy],
        lanes: LaneTable,
        agenda: Agenda[Lane],
        outages: OutageWatch,
        running: RunningDeliveries,
        make_delivery: Callable[[Lane, ClaimedDelivery], Delivery],
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._lanes = lanes
        self._agenda = agenda
        self._outages = outages
        self._running = running
        self._make_delivery = make_delivery
        self._offset = offset(clock)
        self._is_stopping = False
        """Only what is due now still begins."""
        self._is_cut_off = False
        """Nothing begins any more: claims that return are taken back."""
        self._claims: set[asyncio.Task[None]] = set()
        self._recent: dict[Lane, Millis] = {}
        """The lanes where deliveries began last, and when (monotonic clock); the latest is the last one."""
        self._serving: asyncio.Task[None] | None = None

    @property
    def is_alive(self) -> bool:
        return self._serving is not None and not self._serving.done()

    def start(self) -> None:
        """Begin to serve, unless it serves already."""
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve(), name="dispatcher")

    async def _serve(self) -> None:
        """Start due deliveries. Return after :meth:`stop`, when no delivery can start any more.

        A flag ends the loop. A cancellation could get lost: Python 3.11 swallows it if a wait ends at the same moment.
        """
        while True:
            self._agenda.changed.clear()
            for lane in self._lanes_to_look_at():
                self._look_at(lane)
                self._agenda.schedule(lane, lane.look_at)
            if self._is_cut_off or (self._is_stopping and all(lane.is_done for lane in self._lanes)):
                return
            times = (self._agenda.next_time(), self._lanes.next_call_at())
            await self._agenda.wait(min((at for at in times if at is not None), default=None))

    def _lanes_to_look_at(self) -> list[Lane]:
        self._lanes.wake_waiting()
        if abs(offset(self._clock) - self._offset) > STEP:
            self._offset = offset(self._clock)
            for lane in self._lanes:
                self._agenda.request(lane)
        return [lane for lane in self._agenda.take() if lane in self._lanes]

    def _look_at(self, lane: Lane) -> None:
        """Claim as many deliveries for a lane as can begin now. The store takes the claims of several lanes in one
        transaction.
        """
        key = lane.destination.key
        try:
            permit = lane.begin_claim()
            if permit is not None:
                self._begin_claim(lane, permit)
                return
            self._outages.look(lane)
            if lane.is_handed_over and lane.is_done:
                lane.nothing_under_way()
            elif lane.is_closing and lane.is_done:
                self._lanes.remove(lane)
        except Exception:  # the lane must go on: it is looked at again
            log.exception("lane failed unexpectedly", destination=key)
            lane.put_off_claims()

    async def claim_ahead(self) -> None:
        """Claim where deliveries began lately, in the batch of the next job, although nothing is due there yet: that job
        probably makes something due. Otherwise its delivery would begin one batch later. Return when these claims wait for
        the job.
        """
        if self._is_stopping or self._store.trouble is not None:
            return
        since = self._clock.elapsed() - _LATELY
        self._recent = {lane: at for lane, at in self._recent.items() if at >= since and lane in self._lanes}
        begun = False
        for lane in self._recent:
            try:
                permit = lane.begin_claim_ahead()
            except Exception:  # the webhook must be accepted all the same
                log.exception("claim ahead failed unexpectedly", destination=lane.destination.key)
                continue
            if permit is not None:
                self._begin_claim(lane, permit)
                begun = True
        if begun:
            await asyncio.sleep(0)

    def _begin_claim(self, lane: Lane, permit: Permit) -> None:
        task = asyncio.create_task(self._claim(lane, permit), name=f"claim for {lane.destination.key}")
        self._claims.add(task)
        task.add_done_callback(self._claims.discard)

    def _note_begun(self, lane: Lane) -> None:
        """Record that deliveries have begun at a lane."""
        self._recent.pop(lane, None)
        self._recent[lane] = self._clock.elapsed()
        if len(self._recent) > _MAX_RECENT:
            del self._recent[next(iter(self._recent))]

    async def _claim(self, lane: Lane, permit: Permit) -> None:
        """Begin what is due at a lane, the most urgent first."""
        key, begun = lane.destination.key, 0
        try:
            claimed = await self._store.claim_several(permit, self._policy(), self._clock.now())
        except StoreUnavailable:  # the store logs it, once for all lanes
            lane.claim_failed(permit, RETRY_AFTER_FAILED_WRITE)
        except LeaseLost:  # the lane is about to be removed
            lane.claim_failed(permit, RETRY_AFTER_FAILED_WRITE)
        except Exception:
            log.exception("claim failed unexpectedly", destination=key)
            lane.claim_failed(permit)
        else:
            if self._is_cut_off or lane not in self._lanes:
                await self._take_back(claimed.works)
                self._lanes.wake({key})  # another lane may serve the destination by now
                return
            for work in claimed.works:
                self._running.start(self._make_delivery(lane, work))
                begun += 1
            if begun:
                self._note_begun(lane)
            if lane.end_claim(claimed):
                self._outages.forget_failures(key)
        finally:
            if unused := permit.count - begun:
                lane.give_back(unused)

    def drop(self, lanes: Collection[Lane]) -> None:
        """Remove lanes at once, and cut off what is under way there. It counts as possibly sent."""
        for delivery, task in self._running.tasks().items():
            if delivery.lane in lanes:
                task.cancel()
        for lane in lanes:
            self._lanes.remove(lane)

    async def stop(self, within: Millis) -> None:
        """Send what is due, for at most ``within`` milliseconds; in the last third of that time, begin nothing more, so that what
        is under way ends. Take back what has not begun: it is due after the next start, as if it had not been claimed. What is
        cut off may have arrived, and is sent again.
        """
        if self._serving is None:
            return
        self._is_stopping = True
        self._agenda.changed.set()
        seconds_to_end = _SHARE_TO_END * within / SECOND
        await asyncio.wait([self._serving], timeout=within / SECOND - seconds_to_end)
        self._is_cut_off = True
        self._agenda.changed.set()
        if begun := [task for each, task in self._running.tasks().items() if each.has_begun]:
            await asyncio.wait(begun, timeout=seconds_to_end)
        late, claims = self._running.tasks(), set(self._claims)
        if late or claims:
            keys = sorted({delivery.destination.key for delivery in late})
            log.warning("stopping with deliveries under way", lanes=keys)
        for task in late.values():
            task.cancel()
        reports = self._outages.cancel()
        for lane in self._lanes:
            lane.closed.set()
        not_begun = [each.work for each in late if not each.has_begun]
        taken_back = asyncio.create_task(self._take_back(not_begun))
        ending = {self._serving, taken_back, *claims, *late.values(), *reports}
        while ending:  # a task that is stuck is cancelled; one that is still stuck then is left behind
            _, stuck = await asyncio.wait(ending, timeout=_EXTRA_SECONDS)
            ending = {task for task in stuck if task.cancelling() == 0}
            for task in stuck:
                task.cancel()

    async def _take_back(self, works: Sequence[ClaimedDelivery]) -> None:
        if not works:
            return
        with suppress(StoreUnavailable):  # then they count as interrupted after the next start
            await self._store.unclaim(works, self._policy(), self._clock.now())
