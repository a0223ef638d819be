"""A lane serves one destination, in order and at its rate. It knows how much can begin now, and adapts to outcomes."""

import asyncio
import random
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING

from router.channels.base import Channel, ChannelSpec
from router.clock import Clock, offset
from router.core.head import Grant
from router.deliver import lane_claims
from router.deliver.give_up import ContentSuspects
from router.deliver.lane_claims import LaneClaims
from router.deliver.lane_memory import LaneMemory
from router.deliver.lane_slots import LaneSlots
from router.deliver.retry_schedule import next_attempt, next_probe
from router.deliver.shared_limiter import SharedLimiter
from router.deliver.token_bucket import BucketMemory, TokenBucket
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
from router.store import Claimed, ClaimedDelivery, Limits, OperatorPause, Permit

if TYPE_CHECKING:
    from router.deliver.delivery import Delivery

Trial = asyncio.Future[Outcome | None]

# After so many critical deliveries in a row, the oldest of the others goes first.
_MAX_CRITICALS_IN_A_ROW = 10
# How long a lane sends no storm summary after one was refused. It then sends a message for each conversation.
_NO_STORMS_AFTER_REFUSAL: Millis = 10 * MINUTE
# How long after a storm's message that had no space for all conversations the next one follows. Critical conversations
# are sent in between.
_NEXT_STORM_MESSAGE: Millis = 5 * SECOND


class Lane:
    """Serves one destination. Its times are of the monotonic clock, except where the docstring says wall clock."""

    def __init__(
        self, destination: Destination, spec: ChannelSpec, shared: "SharedLimiter[Lane]", clock: Clock,
        request_look: Callable[["Lane"], None],
    ) -> None:  # fmt: skip
        """:param request_look: makes the dispatcher look at this lane"""
        self.destination = destination
        self.spec = spec
        self.is_closing = False
        """Whether the rules no longer name the destination. Then only what is due now is still sent."""
        self.closed = asyncio.Event()
        """Set when a closing lane is removed, or when the rules name its destination again."""
        self.look_at: Millis | None = None
        """When to look at it although nothing happens; None: never."""
        self.pause_reason = ""
        self.is_rate_limited = False
        """Whether the provider asked for the last pause, because it takes no more at the moment."""
        self.operator_pause: OperatorPause | None = None
        """The pause by an operator that lasts; None: no operator pauses it."""
        self.operator_pause_until: Millis = 0
        """When the last pause by an operator ended (wall clock). What waited until then was not tried, and is not overdue."""
        self.grant: Grant | None = None
        """The lease by which it is served; None: no other process serves."""
        self._handed_over: asyncio.Event | None = None
        """Set when nothing is under way any more; None: no other replica is to serve the destination."""
        self._large_under_way = 0
        """How many deliveries of large conversations are under way."""
        self.may_be_repaired = False
        """The channel or its options have changed since the conversations' backoff began, so they are to be tried immediately."""
        self._channel: Channel | None = None
        """The channel in force."""
        self._shared = shared
        self._bucket = TokenBucket(destination.limits.rate)
        self._clock = clock
        self._request_look = request_look
        self._slots = LaneSlots()
        self._claims = LaneClaims()
        self._due_at: Millis | None = 0
        """When something may be due, by the wall clock; None: nothing will be, unless something happens."""
        self._no_storms_until: Millis = 0
        self._paused_until = self._paused_since = 0
        self._criticals = 0
        """How many critical deliveries started in a row."""
        self._probes = 0
        """Attempts in a row that found the destination broken."""
        self._trial: Trial | None = None
        """Gets the outcome of the next delivery, if a person has resumed the destination and waits for the result."""
        self._claim_trial: Trial | None = None
        """The trial as it was when the present claim began."""
        self._suspects = ContentSuspects()
        shared.add(self)

    # The state.

    @property
    def paused_for(self) -> Millis:
        """How long it still pauses (ms); 0: it does not pause."""
        return max(0, self._paused_until - self._clock.elapsed())

    @property
    def is_paused_by_operator(self) -> bool:
        return self.operator_pause is not None

    @property
    def is_broken(self) -> bool:
        """The last attempt found the destination broken."""
        return self._probes > 0

    @property
    def relies_on_notices(self) -> bool:
        """Whether it could begin a delivery, but knows of none that is due now."""
        return not self._claims.under_way and self._knows_of_none

    @property
    def _knows_of_none(self) -> bool:
        """Whether it serves, and knows of nothing that is due now. A claim under way may still find something."""
        if self.is_paused_by_operator or self.is_handed_over or self.paused_for:
            return False
        return self._due_at is None or self._due_at > self._clock.now()

    @property
    def _is_tried(self) -> bool:
        """Whether a person waits for the outcome of the next delivery."""
        return self._trial is not None and not self._trial.done()

    @property
    def is_done(self) -> bool:
        """Whether no delivery is under way and none can begin, because nothing is due or the lane is paused.

        A delivery that only waits for the rate can begin.
        """
        if self._claims.under_way or not self._slots.is_idle:
            return False
        if self.is_handed_over:
            return True
        if self._due_at is None or self._due_at > self._clock.now() or self.is_paused_by_operator:
            return True
        return max(self._paused_until, self._claims.off_until) > self._clock.elapsed()

    def peers(self) -> Collection["Lane"]:
        """Return the lanes that share limits with this one, this one included."""
        return self._shared.lanes

    # Changes from outside.

    def wake(self) -> None:
        """Record that something is possibly due now."""
        self.note_due(0)

    def note_due(self, at: Millis | None) -> None:
        """Record that something is due at that time of the wall clock. :param at: None: nothing is due"""
        if at is not None:
            self._due_at = at if self._due_at is None else min(at, self._due_at)
            self._request_look(self)

    def change(self, destination: Destination, channel: Channel | None) -> None:
        """Apply the rules in force. They may have changed what is due and the rate.

        If they also changed how the destination is notified, for example the token, set :attr:`may_be_repaired`.

        :param channel: the channel in force; None: routes.yaml has never had a section for it
        """
        if self._channel is not None and (
            channel is not self._channel or destination.options != self.destination.options
        ):
            self.may_be_repaired = True
        self._channel = channel
        if self.is_closing:
            self.is_closing = False
            self.closed.set()
        self.destination = destination
        self._bucket.change(destination.limits.rate, self._clock.elapsed())
        self.wake()

    def close(self) -> None:
        """Let the lane be removed as soon as nothing that is due now can begin any more."""
        if not self.is_closing:
            self.is_closing, self.closed = True, asyncio.Event()
        self._request_look(self)

    def remember(self) -> LaneMemory:
        """Return what another replica needs to go on."""
        now, wall = self._clock.elapsed(), offset(self._clock)
        bucket = self._bucket.remember(now)
        pauses, no_storms = self._paused_until > now, self._no_storms_until > now
        return LaneMemory(
            paused_until=self._paused_until + wall if pauses else 0,
            paused_since=self._paused_since + wall if pauses else 0,
            pause_reason=self.pause_reason if pauses else "",
            is_rate_limited=pauses and self.is_rate_limited,
            probes=self._probes,
            criticals=self._criticals,
            no_storms_until=self._no_storms_until + wall if no_storms else 0,
            full_at=now + bucket.full_in + wall if bucket.full_in else 0,
            slowdown=bucket.slowdown,
        )

    def recall(self, memory: LaneMemory, *, may_be_repaired: bool) -> None:
        """Go on as another replica has left the lane.

        :param may_be_repaired: try a broken destination immediately
        """
        now, wall = self._clock.elapsed(), offset(self._clock)
        self._probes, self._criticals = memory.probes, memory.criticals
        self._no_storms_until = memory.no_storms_until - wall
        self._bucket.recall(BucketMemory(max(0, memory.full_at - wall - now), memory.slowdown), now)
        if memory.is_rate_limited or not may_be_repaired:
            self._paused_until, self._paused_since = memory.paused_until - wall, memory.paused_since - wall
            self.pause_reason, self.is_rate_limited = memory.pause_reason, memory.is_rate_limited

    def begin_empty(self) -> None:
        """Begin without tokens: another replica may just have used up the rate."""
        self._bucket.drain(self._clock.elapsed())

    @property
    def busy_for(self) -> Millis:
        """How long the oldest delivery under way has lasted (ms); 0: none is under way."""
        return self._slots.busy_for(self._clock.elapsed())

    @property
    def is_handed_over(self) -> bool:
        """Another replica is to serve the destination: nothing begins here any more."""
        return self._handed_over is not None

    def hand_over(self) -> asyncio.Event:
        """Begin nothing more. Return an event that is set as soon as nothing is under way."""
        if self._handed_over is None:
            self._handed_over = asyncio.Event()
            self._request_look(self)
        return self._handed_over

    def nothing_under_way(self) -> None:
        """Let the lane pass on, if it is handed over."""
        if self._handed_over is not None:
            self._handed_over.set()

    def take_back(self) -> None:
        """Go on after :meth:`hand_over`."""
        self._handed_over = None
        self.wake()

    def removed(self) -> None:
        """Mark the lane as removed."""
        self.look_at = None
        self._shared.remove(self, self._clock.elapsed())
        self.closed.set()
        self.nothing_under_way()

    def pause(self, span: Millis, reason: str, *, is_rate_limit: bool = False) -> None:
        """Send nothing for this long.

        :param reason: for people
        :param is_rate_limit: the provider asked for the pause, because it takes no more at the moment
        """
        now = self._clock.elapsed()
        if self._paused_until <= now:
            self._paused_since = now
        self._paused_until, self.pause_reason = now + span, reason
        self.is_rate_limited = is_rate_limit

    def pause_by_operator(self, pause: OperatorPause) -> None:
        """Send nothing until :meth:`end_operator_pause`."""
        self.operator_pause = pause

    def end_operator_pause(self, now: Millis) -> None:
        """Send again. :param now: wall clock"""
        if self.is_paused_by_operator:
            self.operator_pause, self.operator_pause_until = None, now
            self.wake()

    def resume(self) -> None:
        """End a pause, but not one by an operator. Call it when the destination has possibly been repaired."""
        self._paused_until = self._probes = 0
        self.wake()

    async def try_now(self) -> Outcome | None:
        """End a pause, try what is due next, and return its outcome; None: nothing is due."""
        if self._trial is None or not self._is_tried:
            self._trial = asyncio.get_running_loop().create_future()
        self.resume()
        return await asyncio.shield(self._trial)

    def look_by(self, at: Millis) -> None:
        """Make the dispatcher look at the lane at that time of the wall clock at the latest, and check whether anything is due."""
        self._due_at = at if self._due_at is None else min(at, self._due_at)
        at -= offset(self._clock)
        self.look_at = at if self.look_at is None else min(at, self.look_at)

    # Claims.

    def begin_claim(self) -> Permit | None:
        """Return the permit for as many deliveries as can begin now. None: none can; :attr:`look_at` is then the time at
        which that may change by itself.
        """
        now, startable = self._clock.elapsed(), self._startable()
        if not startable:
            self._shared.stop_waiting(self, now)
            return None
        slots = self._shared.take(self, startable, now)
        if not slots:
            return None
        self._due_at = None
        return self._make_permit(slots)

    def begin_claim_ahead(self) -> Permit | None:
        """Return a permit for one delivery before anything is due, see :attr:`router.store.Permit.ahead`. None: no delivery could
        begin, or something is due already, and another claim takes it.
        """
        now = self._clock.elapsed()
        if not self._knows_of_none or self._ready_at(now) > now:
            return None
        if not self._within_rate(self._free_slots(lane_claims.MOST), now):
            return None
        if not self._shared.take(self, 1, now):
            self._shared.stop_waiting(self, now)
            return None
        return replace(self._make_permit(1), ahead=True)

    def _make_permit(self, slots: int) -> Permit:
        self._claim_trial = self._trial
        self._slots.take(slots)
        limits, spec = None, self.spec
        if spec.storm_every is not None and self._clock.elapsed() >= self._no_storms_until:
            above = self.destination.limits.storm_above
            limits = Limits(above, spec.storm_every, spec.storm_room, spec.edits)
        others_first = self._criticals >= _MAX_CRITICALS_IN_A_ROW
        # The other claim may just begin a large one.
        skips_large = self._large_under_way > 0 or self._claims.under_way > 0
        self._claims.began()
        return Permit(
            self.destination,
            limits,
            slots,
            others_first=others_first,
            skips_large=skips_large,
            grant=self.grant,
        )

    def _startable(self) -> int:
        """Return how many deliveries can begin by the limits of the lane itself. If none can, set :attr:`look_at`."""
        self.look_at = None
        slots = self._free_slots(most_claims=1)
        if self._due_at is None or slots <= 0:
            return 0
        now = self._clock.elapsed()
        at = max(self._due_at - offset(self._clock), self._ready_at(now))
        if at > now:
            self.look_at = at
            return 0
        return self._within_rate(slots, now)

    def _free_slots(self, most_claims: int) -> int:
        """Return how many more deliveries the concurrency allows. The rate may allow fewer.

        :param most_claims: how many claims may then be under way, this one included
        """
        if self._claims.under_way >= most_claims or self.is_paused_by_operator or self.is_handed_over:
            return 0
        # While a destination is broken, one delivery probes it. Where storms are possible, the state that a storm's message
        # shows must not change during a delivery.
        one_at_a_time = self.spec.storm_every is not None or self.is_broken
        return self._slots.free(self.destination.limits.max_concurrency, one_at_a_time=one_at_a_time)

    def _ready_at(self, now: Millis) -> Millis:
        """Return when its pause is over, it may claim, and its rate allows a delivery."""
        return max(self._paused_until, self._claims.off_until, self._bucket.ready_at(now))

    def _within_rate(self, slots: int, now: Millis) -> int:
        """Return how many of these slots the rate allows."""
        return max(0, min(slots, self._bucket.tokens(now) - self._slots.uncounted))

    def end_claim(self, claimed: Claimed) -> bool:
        """Apply the result of a claim. What became due during the claim stays due.

        :returns: whether nothing is left to do here, and nothing waits only because an attempt failed
        """
        self._claims.ended()
        self._claims.succeeded()
        self._large_under_way += sum(work.is_large for work in claimed.works)
        self.note_due(0 if claimed.idle is None else claimed.idle.until)
        self._request_look(self)
        if claimed.idle is None or claimed.works or claimed.skipped:
            return False
        if self._claims.under_way or not self._slots.is_idle:
            return False
        conclude(self._claim_trial, None)
        return not claimed.idle.failing

    def give_back(self, slots: int) -> None:
        """Return slots that no delivery used."""
        self._slots.give_back(slots)
        self._shared.give_back(slots)

    def claim_failed(self, permit: Permit, wait: Millis | None = None) -> None:
        """Record that a claim has failed: claim again later. If the claim was made ahead, nothing is known to be due, and the
        next webhook tries again.

        :param wait: how long to wait (ms); None: a time that grows with each failure
        """
        self._claims.ended()
        if permit.ahead and not self._is_tried:
            self._request_look(self)
        else:
            self.put_off_claims(wait)

    def put_off_claims(self, wait: Millis | None = None) -> None:
        """Claim again later. :param wait: see :meth:`claim_failed`"""
        self._due_at = 0
        self._claims.put_off(self._clock.elapsed(), random.random(), wait)  # noqa: S311
        self._request_look(self)

    # Deliveries.

    def delivery_began(self, delivery: "Delivery") -> Trial | None:
        """Record that a delivery begins. Return the trial that waits for its outcome; None: there is no trial."""
        self._slots.began(delivery, self._clock.elapsed())
        self._criticals = self._criticals + 1 if delivery.work.is_critical else 0
        return self._trial

    def first_call_counted(self, delivery: "Delivery") -> None:
        """Record that the first call of a delivery is counted in the rates, or that the delivery makes no call."""
        if self._slots.first_call_counted(delivery):
            self._shared.first_calls_counted()
            self.note_due(self._due_at)

    def delivery_sent(self, delivery: "Delivery") -> None:
        """Free the slot of a delivery that is sent and only has to be recorded."""
        if self._slots.sent(delivery):
            self._shared.free()
            self.note_due(self._due_at)

    def delivery_ended(self, delivery: "Delivery", *, claim_again: bool) -> None:
        """Record the end of a delivery: its outcome is saved, or saving it has failed, or it was cut off at any moment.

        :param claim_again: make another claim even if nothing seems to be due; its result says whether anything is left
            to do
        """
        self.first_call_counted(delivery)
        self.delivery_sent(delivery)
        self._slots.ended(delivery)
        self._large_under_way -= delivery.work.is_large
        if claim_again or delivery.work.is_large or self._is_tried:
            self._due_at = 0
        self._request_look(self)

    def buckets(self, call: Call) -> tuple[TokenBucket, ...]:
        """Return the token buckets from which a call of this kind takes a token: the lane's own and the shared ones."""
        shared = self._shared.buckets(call)
        takes_own = call is Call.POST or (call is Call.EDIT and self.destination.limits.counts_edits)
        return (self._bucket, *shared) if takes_own else shared

    # Outcomes.

    def reclassify(self, work: ClaimedDelivery, outcome: Outcome) -> Outcome:
        """Return the outcome as it counts, see :meth:`router.deliver.give_up.ContentSuspects.reclassify`."""
        return self._suspects.reclassify(work.id, outcome)

    def apply_outcome(self, work: ClaimedDelivery, outcome: Outcome, now: Millis) -> Millis:
        """Adapt pauses and rates to an outcome. Return when the conversation may be tried again (wall clock)."""
        match outcome:
            case Broken():
                self._probes += 1
                self.pause(next_probe(self._probes), outcome.shown)
                if self._probes > 1:  # so that the next probe is another conversation, if there is one
                    return now + self.paused_for + SECOND
            case Retry(unfinished=True):
                self._bucket.accepted()
            case Retry():
                return self._put_off(outcome, work.conversation.attempt, now)
            case Delivered():
                self._probes = 0
                self._bucket.accepted()
                if outcome.rest:
                    self.pause(outcome.rest, "the provider takes no more at the moment", is_rate_limit=True)
                if (storm := work.conversation.storm) is not None:
                    every = self.spec.storm_every or 0
                    return now + (min(every, _NEXT_STORM_MESSAGE) if storm.more else every)
            case Rejected():
                if work.is_storm:
                    self._no_storms_until = self._clock.elapsed() + _NO_STORMS_AFTER_REFUSAL
        return now

    def _put_off(self, outcome: Retry, attempt: int, now: Millis) -> Millis:
        """Return when the conversation may be tried again (wall clock). If the outcome asks for it, pause the lane, or all
        lanes that share limits with it.
        """
        attempts = 1 if outcome.further else attempt
        not_before = next_attempt(attempts, now, random.random(), outcome.after)  # noqa: S311
        if outcome.pause:
            # Only a channel that routes.yaml no longer has makes a lane wait without a provider that asks for it.
            self.pause(not_before - now, outcome.shown, is_rate_limit=self._channel is not None)
            self._bucket.refused(self._paused_until)
        if outcome.everywhere:
            for lane in self._shared.lanes:
                lane.pause(max(not_before - now, lane.paused_for), outcome.shown, is_rate_limit=True)
        return not_before


def conclude(trial: Trial | None, outcome: Outcome | None) -> None:
    """Answer the person who waits for a trial. :param outcome: None: nothing was due, or the outcome is not known"""
    if trial is not None and not trial.done():
        trial.set_result(outcome)
