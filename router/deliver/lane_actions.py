"""Pauses and resumes destinations for people. What is asked of a lane that another replica serves reaches it through the database."""

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import structlog

from router.clock import Clock, wait_elapsed
from router.core.head import LeaseLost
from router.deliver.lane import Lane
from router.deliver.lane_news import LaneNews
from router.deliver.lane_table import LaneTable
from router.deliver.self_alerts import SelfAlerts
from router.deliver.served_lanes import LaneLeases, ServedLanes
from router.model import SECOND, Delivered, Millis
from router.store import PAUSE, RESUME, LaneRequest, OperatorPause, RequestClosed, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# How long a person who resumes a destination waits for the outcome.
_TRIAL_SECONDS = 25.0
# How long to wait for the answer of another replica. Clients give up after 30 s.
_ANSWER_WITHIN: Millis = 27 * SECOND
# If no replica serves the lane for this long (ms), an answer is not waited for any more. A takeover may just be under way.
_NOBODY_FOR: Millis = 3 * SECOND
_ASK_EVERY: Millis = SECOND
_NOT_TRIED = "the pause has ended; AlertRouterDestinationBroken ends with the next successful delivery"
_NO_HOLDER = "no replica serves the destination now"
_PAUSED_ANYWAY = f"{_NO_HOLDER}; the pause is stored, and the next replica that serves it sends nothing"
_NOT_CONFIRMED = "the replica that serves the destination has not confirmed it yet"
_PAUSED_SINCE = "a newer pause lasts; nothing is sent until it ends"
_TRIED_LATER = f"{_NO_HOLDER}; the next replica that serves it tries a delivery"
_NO_RESULT = f"no result within {_TRIAL_SECONDS:g} s; see the list of deliveries later"


class PauseAnswer(NamedTuple):
    """A destination is paused."""

    since: Millis
    """epoch ms"""
    reason: str = ""
    """What is to be known about it; empty: nothing more is sent from now on."""


class LaneActions:
    """Acts on lanes, here or by a request to the replica that serves them."""

    def __init__(
        self, *, store: Store, clock: Clock, leases: LaneLeases, served: ServedLanes, table: LaneTable,
        self_alerts: SelfAlerts,
    ) -> None:  # fmt: skip
        self._store = store
        self._clock = clock
        self._leases = leases
        self._served = served
        self._table = table
        self._self_alerts = self_alerts
        self._real_clock: Clock = clock
        self._news: LaneNews | None = None
        self._pauses: Mapping[str, OperatorPause] = {}
        """The pauses of all destinations, as they were last read."""
        self._waiting: dict[int, asyncio.Event] = {}
        """The requests of this process that wait for an answer, by number."""
        self._answering: dict[int, tuple[Lane, asyncio.Task[None]]] = {}
        """The requests that this process is about to answer, by number."""
        self._changed: Callable[[], None] = lambda: None

    def share(self, news: LaneNews, real_clock: Clock, changed: Callable[[], None]) -> None:
        """Ask the replica that serves a lane from now on.

        :param real_clock: for waiting, also where tests move the service's clock
        :param changed: is called when other replicas are to know of a change, or this one is to look at the requests
        """
        self._news, self._real_clock, self._changed = news, real_clock, changed

    async def pause(self, destination: str, by: str) -> PauseAnswer | None:
        """See :meth:`router.deliver.Lanes.pause`."""
        if (begun := await self._begin_pause(destination, by)) is not None:
            return PauseAnswer(begun.since)
        if (lease := self._lease_elsewhere(destination)) is None:
            return None
        pause, number = await self._store.pauses.begin_elsewhere(destination, by, self._clock.now())
        self._pauses = {**self._pauses, destination: pause}
        self._changed()
        answer, has_holder = await self._answer_to(number, lease)
        if answer is not None:
            return PauseAnswer(pause.since)
        # Whoever serves the destination next reads the pause.
        await self._store.lane_requests.close(destination, number)
        return PauseAnswer(pause.since, _NOT_CONFIRMED if has_holder else _PAUSED_ANYWAY)

    async def _begin_pause(
        self, destination: str, by: str, request: int | None = None
    ) -> OperatorPause | None:
        """Pause a lane. Return None if it is not here, or not any more.

        :param request: see :meth:`router.store.operator_pauses.OperatorPauses.begin`
        """
        async with self._served.changing:
            if (lane := self._table.open(destination)) is None:
                return None
            try:
                pause = await self._store.pauses.begin(
                    destination, by, self._clock.now(), lane.grant, request
                )
            except LeaseLost:  # the lane is about to be removed
                return None
            lane.pause_by_operator(pause)
        self._changed()
        log.warning("an operator paused a destination", destination=destination, user=pause.by)
        return pause

    async def resume(self, destination: str) -> dict[str, str] | None:
        """See :meth:`router.deliver.Lanes.resume`."""
        if (lane := await self._end_pause(destination)) is not None:
            return await self._try(lane)
        if (lease := self._lease_elsewhere(destination)) is None:
            return None
        number = await self._store.lane_requests.ask(destination, RESUME, "", self._clock.now())
        self._changed()
        answer, has_holder = await self._answer_to(number, lease)
        if answer is not None:
            return {"status": str(answer["status"]), "reason": str(answer["reason"])}
        # A holder that has not answered yet is still to try it.
        now, pauses = self._clock.now(), self._store.pauses
        if await pauses.end_unanswered(destination, number, now, closes=not has_holder) is not None:
            return {"status": "nothing was due to try", "reason": _PAUSED_SINCE}
        await self._store.resume(destination)
        if not has_holder:
            await self._store.lanes.forget(destination, lease)
        return {"status": "is being tried", "reason": _NO_RESULT if has_holder else _TRIED_LATER}

    async def _end_pause(self, destination: str, request: int | None = None) -> Lane | None:
        """End the pause of a lane, and its conversations' backoff. Return the lane; None: see :meth:`_begin_pause`."""
        async with self._served.changing:
            if (lane := self._table.open(destination)) is None:
                return None
            now = self._clock.now()
            try:
                await self._store.pauses.end(destination, now, lane.grant, request)
            except LeaseLost:  # the lane is about to be removed
                return None
            await self._store.resume(destination)
            lane.end_operator_pause(now)
        return lane

    async def _try(self, lane: Lane) -> dict[str, str]:
        """Try what is due next in a lane. Return the outcome, see :meth:`router.deliver.Lanes.resume`."""
        key = lane.destination.key
        try:
            trial = asyncio.ensure_future(lane.try_now())
            self._changed()
            async with asyncio.timeout(_TRIAL_SECONDS):
                outcome = await trial
        except TimeoutError:
            return {"status": "is being tried", "reason": _NO_RESULT}
        match outcome:
            case None:
                is_reported = self._self_alerts.broken_since(key) is not None
                return {"status": "nothing was due to try", "reason": _NOT_TRIED if is_reported else ""}
            case Delivered():
                return {"status": "delivered", "reason": ""}
        return {"status": "still broken", "reason": outcome.shown}

    # Requests to others.

    def _lease_elsewhere(self, destination: str) -> str | None:
        """Return the lease by which another replica serves a destination; None: there is no such destination."""
        wanted = None if self._news is None else self._leases.wanted.get(destination)
        return None if wanted is None else self._leases.lease_of(wanted.channel)

    async def _answer_to(self, number: int, lease: str) -> tuple[dict[str, Any] | None, bool]:
        """Wait for the answer to a request; None: there is none. Also return whether a replica holds the lease, or may be about to."""
        clock, event = self._real_clock, asyncio.Event()
        began = held_at = clock.elapsed()
        self._waiting[number] = event
        try:
            while True:
                event.clear()
                answer = await self._store.lane_requests.answer_to(number)
                now = clock.elapsed()
                has_holder = self._has_holder(lease)
                if answer is not None:
                    return json.loads(answer) if answer else None, has_holder
                if has_holder:
                    held_at = now
                if not has_holder and now - held_at >= _NOBODY_FOR:
                    return None, False
                if now - began >= _ANSWER_WITHIN:
                    return None, True
                await wait_elapsed(clock, event, now + _ASK_EVERY)
        finally:
            del self._waiting[number]

    def _has_holder(self, lease: str) -> bool:
        holder = None if self._news is None else self._news.holders().get(lease)
        return holder is not None and holder.name is not None

    def look_for_answers(self) -> None:
        """Let those who wait look for their answers now."""
        for each in self._waiting.values():
            each.set()

    # Requests of others.

    async def answer_requests(self) -> None:
        """Begin to answer what is asked of the lanes here. :raises StoreUnavailable: the requests can't be read"""
        for request in await self._store.lane_requests.unanswered(self._clock.now()):
            lane = self._table.open(request.destination)
            if lane is not None and request.id not in self._answering:
                task = asyncio.create_task(self._answer(request), name=f"answer request {request.id}")
                self._answering[request.id] = lane, task
                task.add_done_callback(partial(self._answered, request.id))

    def _answered(self, number: int, _: asyncio.Task[None]) -> None:
        del self._answering[number]

    async def _answer(self, request: LaneRequest) -> None:
        try:
            # There is no await before the lock, which is first come, first served: so requests are carried out in their order.
            answer = await self._carry_out(request)
            if answer is not None:
                await self._store.lane_requests.answer(request.id, json.dumps(answer), self._clock.now())
                self.look_for_answers()
        except StoreUnavailable:  # it is tried again with the next look
            return
        except RequestClosed:
            return
        except Exception:
            log.exception("a request to a lane failed unexpectedly", destination=request.destination)

    async def _carry_out(self, request: LaneRequest) -> dict[str, Any] | None:
        """Do what is asked. Return the answer; None: the lane is not here any more, and its next holder does it."""
        if request.action == PAUSE:
            pause = await self._begin_pause(request.destination, request.actor, request.id)
            return None if pause is None else {"since": pause.since}
        lane = await self._end_pause(request.destination, request.id)
        return None if lane is None else dict(await self._try(lane))

    def stop_lost(self) -> None:
        """Stop to answer for lanes that are gone. Their next holder answers."""
        for lane, task in self._answering.values():
            if lane not in self._table:
                task.cancel()

    async def stop(self) -> None:
        """Answer nothing more. The next holder of the lanes answers what is still asked."""
        tasks = [task for _, task in self._answering.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Pauses by operators.

    def pause_of(self, destination: str) -> OperatorPause | None:
        """Return the pause by an operator that lasts at a lane of another replica; None: there is none."""
        pause = self._pauses.get(destination)
        return None if pause is None or pause.until is not None else pause

    async def follow_pauses(self) -> None:
        """Apply the pauses that other replicas have stored. :raises StoreUnavailable: they can't be read"""
        async with self._served.changing:
            self._pauses = pauses = await self._store.pauses.read()
            for lane in self._table:
                pause = pauses.get(lane.destination.key)
                if pause is None:
                    continue
                if pause.until is None:
                    lane.pause_by_operator(pause)
                else:
                    lane.end_operator_pause(pause.until)
