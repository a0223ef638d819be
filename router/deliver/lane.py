"""A lane: what serves a destination, in order, at its pace. It knows how much may begin there now, and learns from what
came of it.
"""

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from router.channels.base import ChannelSpec
from router.clock import offset
from router.deliver.giving_up import Suspects
from router.deliver.lane_context import LaneContext
from router.deliver.retry_schedule import next_attempt, next_probe
from router.deliver.section import SectionLimiter
from router.deliver.token_bucket import TokenBucket
from router.model import (
    MINUTE,
    SECOND,
    Broken,
    Call,
    Delivered,
    Destination,
    Millis,
    Outcome,
    Rejected,
    Retry,
)
from router.store import Claimed, Limits, Permit, Work

if TYPE_CHECKING:
    from router.deliver.delivery import Delivery

Trial = asyncio.Future[Outcome | None]

# After so many criticals, one of the others goes that has waited longest.
_IN_A_ROW = 10
# For each delivery that may be sent at once, so many may be under way: the others wait to be recorded.
_UNRECORDED = 4
# How long a lane tells one by one whatever comes, after a storm's message was refused.
_WITHOUT_STORMS: Millis = 10 * MINUTE
# When a storm's next message follows one that had no room for all; criticals go in between.
_STORM_GOES_ON: Millis = 5 * SECOND


class Lane:
    """Serves one destination. Its times are of the monotonic clock, except where the docstring says wall clock."""

    def __init__(
        self, destination: Destination, kind: ChannelSpec, section: "SectionLimiter[Lane]", context: LaneContext,
        stir: Callable[["Lane"], None],
    ) -> None:  # fmt: skip
        """:param stir: has the dispatcher look at it"""
        self.destination = destination
        self.kind = kind
        self.section = section
        self.bucket = TokenBucket(destination.limits.rate)
        self.under_way: set[Delivery] = set()
        self.claiming = False
        self.leaving = False
        """The rules do not name it any more: what is due now is its last."""
        self.left = asyncio.Event()
        """It is gone, or the rules name it again."""
        self.look_at: Millis | None = None
        """When to look at it though nothing happens; None: never."""
        self.pause_reason = ""
        self._context = context
        self._clock = context.clock
        self._stir = stir
        self._due_at: Millis | None = 0
        """When something may be due, by the wall clock; None: nothing will be, if nothing else happens."""
        self._no_storms_until: Millis = 0
        self._paused_until: Millis = 0
        self._rests_until: Millis = 0
        """Nothing can be claimed before."""
        self._failures = 0
        """Claims that failed in a row."""
        self._unpaid = 0
        """Places that have no delivery yet, or one whose first call counts in no rate yet."""
        self._recording = 0
        """Deliveries that are sent, and not recorded yet."""
        self._criticals = 0
        """How many went out in a row."""
        self.probes = 0
        """How many in a row found the destination broken."""
        self.trial: Trial | None = None
        """What somebody waits for who has mended the destination: what comes of the next delivery."""
        self.suspects = Suspects()

    # What may begin.

    def wake(self) -> None:
        """Something may be due."""
        self._due_at = 0
        self._stir(self)

    def due(self, at: Millis | None) -> None:
        """Something is due at that moment of the wall clock. :param at: None: nothing is"""
        if at is not None:
            self._due_at = at if self._due_at is None else min(at, self._due_at)
            self._stir(self)

    def change(self, destination: Destination) -> None:
        """The rules may have changed: what it is to tell, and how fast."""
        if self.leaving:
            self.leaving = False
            self.left.set()  # nobody need wait for that any more
        self.destination = destination
        self.bucket.change(destination.limits.rate, self._clock.elapsed())
        self.wake()

    def leave(self) -> None:
        """End, once nothing that is due now can begin any more."""
        self.leaving, self.left = True, asyncio.Event()
        self._stir(self)

    def pause(self, span: Millis, reason: str) -> None:
        """Nothing more goes out for so long."""
        self._paused_until, self.pause_reason = self._clock.elapsed() + span, reason

    def resume(self) -> None:
        """End a pause: somebody has mended what was broken."""
        self._paused_until = self.probes = 0
        self.wake()

    def look_by(self, at: Millis) -> None:
        """Look at it by that moment of the wall clock, and see whether anything is due then."""
        self._due_at = at if self._due_at is None else min(at, self._due_at)
        at -= offset(self._clock)
        self.look_at = at if self.look_at is None else min(at, self.look_at)

    @property
    def paused_for(self) -> Millis:
        """How long it still pauses; 0: it doesn't."""
        return max(0, self._paused_until - self._clock.elapsed())

    @property
    def is_done(self) -> bool:
        """Nothing is under way, and nothing can begin now but for its rate."""
        if self.under_way or self.claiming:
            return False
        if self._due_at is None or self._due_at > self._clock.now():
            return True
        return max(self._paused_until, self._rests_until) > self._clock.elapsed()

    def room(self) -> int:
        """How many deliveries may begin now. If none may, :attr:`look_at` says when that may change by itself."""
        self.look_at = None
        places = self._places
        if self.claiming or self._due_at is None or places <= 0:
            return 0
        now = self._clock.elapsed()
        due_at = self._due_at - offset(self._clock)
        at = max(due_at, self._paused_until, self._rests_until, self.bucket.ready_at(now))
        if at > now:
            self.look_at = at
            return 0
        return max(0, min(places, self.bucket.tokens(now) - self._unpaid))

    @property
    def _places(self) -> int:
        """One at a time while the destination is broken; and where there are storms: what a storm's message says must not
        change under it. Otherwise, a delivery that only waits to be recorded leaves its place to the next; but not
        without end, if the store is slow.
        """
        if self.kind.storm_every is not None or self.probes:
            return 1 - len(self.under_way)
        most = self.destination.limits.max_concurrency
        sending = len(self.under_way) - self._recording
        return min(most - sending, _UNRECORDED * most - len(self.under_way))

    # Claims.

    def begin_claim(self, places: int) -> Permit:
        """For so many deliveries."""
        now, kind, limits = self._clock.elapsed(), self.kind, None
        self.claiming, self._due_at = True, None
        self._unpaid += places
        if kind.storm_every is not None and now >= self._no_storms_until:
            above = self.destination.limits.storm_above
            limits = Limits(above, kind.storm_every, kind.storm_room, kind.edits)
        return Permit(self.destination, limits, places, others_first=self._criticals >= _IN_A_ROW)

    def end_claim(self, claimed: Claimed, trial: Trial | None) -> bool:
        """What a claim came to; what became due meanwhile stays so. Whether nothing is left to do here, and nothing failed.

        :param trial: somebody's wait for the next outcome, as it was when the claim began
        """
        self.claiming, self._failures = False, 0
        self.due(0 if claimed.idle is None else claimed.idle.until)
        self._stir(self)
        if claimed.idle is None or claimed.works or self.under_way:
            return False
        conclude(trial, None)
        return not claimed.idle.failing

    def give_back(self, places: int) -> None:
        """No delivery took these."""
        self._unpaid -= places
        self.section.give_back(places)

    def rest(self, span: Millis | None = None) -> None:
        """A claim failed; what is due stays so. :param span: None: longer each time"""
        self.claiming, self._due_at = False, 0
        self._failures += 1
        now = self._clock.elapsed()
        wait = next_attempt(self._failures, 0, random.random()) if span is None else span  # noqa: S311
        self._rests_until = now + wait
        self._stir(self)

    # Deliveries.

    def began(self, delivery: "Delivery") -> None:
        self.under_way.add(delivery)
        self._criticals = self._criticals + 1 if delivery.work.is_critical else 0

    def paid(self) -> None:
        """The first call of a delivery counts in the rates from now on, or it makes none."""
        self._unpaid -= 1
        self.section.paid()
        self.due(self._due_at)

    def sent(self) -> None:
        """A delivery has only to be recorded."""
        self._recording += 1
        self.section.sent()
        self.due(self._due_at)

    def ended(self, delivery: "Delivery") -> None:
        """After it was sent, whatever came of it."""
        self.under_way.discard(delivery)
        self._recording -= 1
        waits = self.trial is not None and not self.trial.done()
        if waits or self._context.self_alerts.trouble(self.destination.key) is not None:
            self._due_at = 0  # whether anything is left is for the next claim to say
        self._stir(self)

    def buckets(self, call: Call) -> tuple[TokenBucket, ...]:
        """Those that a call counts in."""
        shared = self.section.buckets(call)
        return (self.bucket, *shared) if call is Call.POST else shared

    # Outcomes.

    def learn(self, work: Work, outcome: Outcome, now: Millis) -> Millis:
        """What the outcome says of the destination as a whole. When the conversation may be tried again."""
        match outcome:
            case Broken():
                self.probes += 1
                self.pause(next_probe(self.probes), outcome.shown)
                if self.probes > 1:  # the next probe is something else, if there is anything else
                    return now + self.paused_for + SECOND
            case Retry(unfinished=True):
                self.bucket.accepted()
            case Retry():
                return self._put_off(outcome, work.conversation.attempt, now)
            case Delivered():
                self.probes = 0
                self.bucket.accepted()
                if outcome.rest:
                    self.pause(outcome.rest, "as much as it takes at once")
                if (storm := work.conversation.storm) is not None:
                    every = self.kind.storm_every or 0
                    return now + (min(every, _STORM_GOES_ON) if storm.more else every)
            case Rejected():
                if work.is_storm:
                    self._no_storms_until = self._clock.elapsed() + _WITHOUT_STORMS
        return now

    def _put_off(self, outcome: Retry, attempt: int, now: Millis) -> Millis:
        """When a conversation may be tried again, and the others of the destination or of the section."""
        attempts = 1 if outcome.further else attempt
        not_before = next_attempt(attempts, now, random.random(), outcome.after)  # noqa: S311
        if outcome.pause:
            self.pause(not_before - now, outcome.shown)
            self.bucket.refused(self._paused_until)
        if outcome.everywhere:
            for lane in self.section.lanes.values():
                lane.pause(max(not_before - now, lane.paused_for), outcome.shown)
        return not_before

    async def try_now(self) -> Outcome | None:
        """End a pause and try what is due next. What came of it; None: nothing is due."""
        if self.trial is None or self.trial.done():
            self.trial = asyncio.get_running_loop().create_future()
        self.resume()
        return await asyncio.shield(self.trial)


def conclude(trial: Trial | None, outcome: Outcome | None) -> None:
    """:param outcome: None: nothing was due, or it is not known"""
    if trial is not None and not trial.done():
        trial.set_result(outcome)
