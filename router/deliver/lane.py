"""A lane: the one worker that serves a destination, in order, at its pace."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from router.channels.base import Channel, Kind
from router.clock import Clock, rest
from router.decide import Policy
from router.deliver.attempt import attempt
from router.deliver.giving_up import Suspects, given_up
from router.deliver.operator import Operator
from router.deliver.schedule import next_attempt, next_probe
from router.deliver.sent import sent
from router.deliver.token_bucket import TokenBucket
from router.metrics import Metrics
from router.model import (
    MINUTE,
    SECOND,
    Broken,
    Call,
    Delivered,
    Destination,
    Message,
    Millis,
    Outcome,
    Rejected,
    Retry,
    SharedLimits,
)
from router.render import Templates
from router.render.words import counted
from router.store import Idle, Limits, Recorded, Store, StoreUnavailable, Work
from router.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)

# How long a lane rests when the store can't be written.
_STORE_REST: Millis = 2 * SECOND
# From so many alerts on, a message is a large one.
_LARGE = 100
# Recipients that a line of the log names; the rest is counted.
_NAMED = 10
# After so many criticals, one of the others goes that has waited longest.
_IN_A_ROW = 10
# For each delivery that may be sent at once, so many may be under way: the others wait to be recorded.
_UNRECORDED = 4
# How long a lane tells one by one whatever comes, after a storm's message was refused.
_WITHOUT_STORMS: Millis = 10 * MINUTE
# When a storm's next message follows one that had no room for all; criticals go in between.
_STORM_GOES_ON: Millis = 5 * SECOND


@dataclass(frozen=True, slots=True)
class Current:
    """The rules, templates and channels in force; replaced as a whole."""

    policy: Policy
    templates: Templates
    channels: Mapping[str, Channel]
    """By name: of each kind that there are settings for."""
    give_up_after: Mapping[str, Millis]
    """By channel name: how long something is tried; 0: for ever."""
    alert_after: Mapping[str, Millis] = field(default_factory=dict)
    """By channel name: how long nothing may get through before that is reported; 0: any time."""
    shared: Mapping[str, SharedLimits] = field(default_factory=dict)
    """By section of ``channels:``."""


class Depot(Protocol):
    """What a lane needs of its surroundings."""

    store: Store
    clock: Clock
    metrics: Metrics
    current: Callable[[], Current]
    operator: Operator
    send_seconds: float
    """How long one attempt may take."""
    counting_since: Callable[[], Awaitable[Millis]]
    """Since when time has simply passed: no step of the clock has anything given up."""
    rendering: Threads

    def wake(self, destinations: frozenset[str]) -> None: ...

    def shared_buckets(self, channel: str, call: Call) -> tuple[TokenBucket, ...]:
        """Those of the section that a call counts in."""

    def pause(self, channel: str, span: Millis, reason: str) -> None:
        """Of every lane of the section."""

    def connection(self, channel: str) -> AbstractAsyncContextManager[object]:
        """Held while the provider is talked to: a section may have only so many at once."""


class Lane:
    """Serves one destination until told to stop; after that, until nothing is due."""

    def __init__(self, destination: Destination, depot: Depot, kind: Kind) -> None:
        self.destination = destination
        self.bucket = TokenBucket(destination.limits.rate)
        self._kind = kind
        # Moments of the clock that nobody steps.
        self._no_storms_until: Millis = 0
        self._paused_until: Millis = 0
        self.pause_reason = ""
        self._under_way: set[asyncio.Task[None]] = set()
        self._recording: set[asyncio.Task[Any]] = set()
        """Those of them that have been sent."""
        self._freed = asyncio.Event()
        """One of them has been sent, or is recorded."""
        self._criticals = 0
        """How many went out in a row."""
        self._probes = 0
        self._depot = depot
        self._wake = asyncio.Event()
        self._never = asyncio.Event()
        self._stopping = False
        self._trial: asyncio.Future[Outcome | None] | None = None
        self._suspects = Suspects()

    def wake(self) -> None:
        self._wake.set()

    def change(self, destination: Destination) -> None:
        """The rules may have changed: what it is to tell, and how fast."""
        self.destination = destination
        self.bucket.change(destination.limits.rate, self._depot.clock.elapsed())
        self._wake.set()

    def pause(self, span: Millis, reason: str) -> None:
        """Nothing more goes out for so long."""
        self._paused_until, self.pause_reason = self._depot.clock.elapsed() + span, reason

    def resume(self) -> None:
        """End a pause: somebody has mended what was broken."""
        self._paused_until = self._probes = 0
        self._wake.set()

    @property
    def paused_for(self) -> Millis:
        """How long it still pauses; 0: it doesn't."""
        return max(0, self._paused_until - self._depot.clock.elapsed())

    async def try_now(self) -> Outcome | None:
        """End a pause and try what is due next. What came of it; None: nothing is due."""
        if self._trial is None or self._trial.done():
            self._trial = asyncio.get_running_loop().create_future()
        self.resume()
        return await asyncio.shield(self._trial)

    def stop(self) -> None:
        """Tell what is due now, then end."""
        self._stopping = True
        self._wake.set()

    async def serve(self) -> None:
        try:
            await self._serve()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _serve(self) -> None:
        clock = self._depot.clock
        failures = 0
        while True:
            self._wake.clear()
            if self.paused_for:
                if self._stopping:
                    await self.at_rest()
                    return
                now = clock.now()
                look_at = await self._watched(now + self.paused_for)
                await rest(clock, self._wake, clock.elapsed() + max(0, (look_at or now) - now))
                continue
            await self._rest_until_ready()
            self._freed.clear()
            if not self._room:
                await self._freed.wait()
                continue
            try:
                until = await self._begin()
                failures = 0
            except StoreUnavailable:  # the store has said so, once for all lanes
                until = clock.now() + _STORE_REST
            except Exception:
                # A lane never dies: what it could not do stays due, and is tried again.
                log.exception("delivery failed unexpectedly", destination=self.destination.key)
                failures += 1
                until = next_attempt(failures, clock.now(), random.random())  # noqa: S311
            if until == 0:
                continue
            if self._stopping:
                if not self._under_way:
                    return
                await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                continue
            await clock.wait(self._wake, await self._watched(until))

    @property
    def _room(self) -> int:
        """How many deliveries may begin. One at a time while the destination is broken; and where there are storms: what
        a storm's message says must not change under it. Otherwise, one that only waits to be recorded leaves its place to
        the next; but not without end, if the store is slow.
        """
        if self._kind.storm_every is not None or self._probes:
            return max(0, 1 - len(self._under_way))
        most = self.destination.limits.max_concurrency
        sending = len(self._under_way) - len(self._recording)
        return max(0, min(most - sending, _UNRECORDED * most - len(self._under_way)))

    async def at_rest(self) -> None:
        """Returns when no delivery that is under way now is so any more."""
        if self._under_way:
            await asyncio.wait(set(self._under_way))

    async def _rest_until_ready(self) -> None:
        """Until the rate allows a call; a reload may change it meanwhile."""
        clock = self._depot.clock
        while (at := self.bucket.ready_at(clock.elapsed())) > clock.elapsed():
            self._wake.clear()
            await rest(clock, self._wake, at)

    async def _watched(self, until: Millis | None) -> Millis | None:
        """Whether it is time to report the destination, though nothing can be tried now. When to look again."""
        operator, alert_after = self._depot.operator, self._alert_after
        try:
            await self._compare_clocks()
            await operator.look(self.destination.key, alert_after)
        except Exception:  # a lane never dies
            log.exception("report failed unexpectedly", destination=self.destination.key)
        at = operator.report_at(self.destination.key, alert_after)
        return until if at is None or at <= self._depot.clock.now() else min(at, until or at)

    @property
    def _alert_after(self) -> Millis:
        return self._depot.current().alert_after.get(self.destination.channel, 0)

    async def _begin(self) -> Millis | None:
        """Claim what may go now, and begin to send it. 0: there may be more; else when to look again."""
        store, clock, operator = self._depot.store, self._depot.clock, self._depot.operator
        current, trial = self._depot.current(), self._trial
        found = await store.claim_several(
            self.destination, current.policy, clock.now(), limits=self._limits(),
            count=min(self._room, self.bucket.tokens(clock.elapsed())), others_first=self._criticals >= _IN_A_ROW,
        )  # fmt: skip
        if isinstance(found, Idle):
            if not self._under_way:
                if trial is not None and not trial.done():
                    trial.set_result(None)
                if not found.failing:
                    await operator.idle(self.destination.key)
            return found.until
        for work in found:
            self._criticals = self._criticals + 1 if work.is_critical else 0
            task = asyncio.create_task(
                self._carry(work, current), name=f"delivery {work.delivery} to {self.destination.key}"
            )
            self._under_way.add(task)
            task.add_done_callback(self._ended)
        return 0

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._recording.discard(task)
        self._freed.set()
        self._wake.set()

    async def _carry(self, work: Work, current: Current) -> None:
        """One delivery: render, send, record."""
        trial, outcome = self._trial, None
        try:
            outcome = await self._deliver(work, current)
        except StoreUnavailable:  # it stops; what was sent may go out again
            return
        except Exception:
            log.exception("delivery failed unexpectedly", destination=self.destination.key)
        finally:
            if trial is not None and not trial.done():
                trial.set_result(outcome)

    async def _deliver(self, work: Work, current: Current) -> Outcome:
        clock, operator = self._depot.clock, self._depot.operator
        outcome, message = await self._send(work, current)
        outcome = self._suspects.weigh(work.id, outcome)
        if (task := asyncio.current_task()) in self._under_way:
            self._recording.add(task)
            self._freed.set()
        now = clock.now()
        patience = current.give_up_after.get(self.destination.channel, 0)
        not_before = self._learn(work, outcome, now)
        through = isinstance(outcome, Delivered | Retry) and outcome.reached
        # Late recipients who are refused once more say nothing of the destination.
        late = isinstance(outcome, Retry) and bool(outcome.late)
        if not (through or late or isinstance(outcome, Delivered)):
            await self._compare_clocks()
            await operator.failed(self.destination.key, outcome, self._alert_after)
        booked = outcome
        if work.is_storm and isinstance(outcome, Rejected):
            self._no_storms_until = clock.elapsed() + _WITHOUT_STORMS
            booked = Retry(f"a storm's message was refused: {outcome.reason}", words=outcome.words)
        unfinished = isinstance(booked, Retry) and booked.unfinished
        if patience and isinstance(booked, Retry | Broken) and not unfinished:
            end = given_up(patience, booked)
            if work.is_storm:
                work = await self._without_overdue(work, end, patience, now)
            elif await self._lasted(patience, work.tried_since, now):
                booked = end
        await self._book(work, booked, now, not_before, message)
        if through:
            await operator.got_through(self.destination.key)
        elif not isinstance(outcome, Delivered):
            await self._give_up_all(outcome, patience, now)
        return outcome

    async def _compare_clocks(self) -> None:
        """Before a destination is reported for what it did not take for so long: a step of the clock is no outage."""
        with suppress(StoreUnavailable):  # the store has said so, once for all lanes
            await self._depot.counting_since()

    async def _lasted(self, patience: Millis, since: Millis, now: Millis) -> bool:
        """Whether it has failed for so long; a step of the clock, or a time without a router, doesn't count."""
        try:
            return now - max(since, await self._depot.counting_since()) >= patience
        except StoreUnavailable:  # then nothing is given up
            return False

    def _limits(self) -> Limits | None:
        if self._kind.storm_every is None or self._depot.clock.elapsed() < self._no_storms_until:
            return None
        kind = self._kind
        return Limits(self.destination.limits.storm_above, kind.storm_every or 0, kind.storm_room, kind.edits)

    def _learn(self, work: Work, outcome: Outcome, now: Millis) -> Millis:
        """What the outcome says of the destination as a whole. When the conversation may be tried again."""
        match outcome:
            case Broken():
                self._probes += 1
                self.pause(next_probe(self._probes), outcome.shown)
                if self._probes > 1:  # the next probe is something else, if there is anything else
                    return now + self.paused_for + SECOND
            case Retry(unfinished=True):
                self.bucket.accepted()
            case Retry():
                return self._put_off(outcome, work.conversation.attempt, now)
            case Delivered():
                self._probes = 0
                self.bucket.accepted()
                if outcome.rest:
                    self.pause(outcome.rest, "as much as it takes at once")
                if (storm := work.conversation.storm) is not None:
                    every = self._kind.storm_every or 0
                    return now + (min(every, _STORM_GOES_ON) if storm.more else every)
            case Rejected():
                pass
        return now

    def _put_off(self, outcome: Retry, attempt: int, now: Millis) -> Millis:
        """When a conversation may be tried again, and the others of the destination or of the section."""
        attempts = 1 if outcome.further else attempt
        not_before = next_attempt(attempts, now, random.random(), outcome.after)  # noqa: S311
        if outcome.pause:
            self.pause(not_before - now, outcome.shown)
            self.bucket.refused(self._paused_until)
        if outcome.everywhere:
            self._depot.pause(self.destination.channel, not_before - now, outcome.shown)
        return not_before

    async def _give_up_all(self, failure: Retry | Broken | Rejected, patience: Millis, now: Millis) -> None:
        """A destination that has been broken for that long: what is overdue need not each be tried."""
        broken_since = self._depot.operator.broken_since(self.destination.key)
        if not patience or not self._probes or broken_since is None:
            return
        if not await self._lasted(patience, broken_since, now):
            return
        policy = self._depot.current().policy
        end = given_up(patience, Broken(failure.reason, words=failure.words))
        while True:
            work = await self._depot.store.claim(self.destination, policy, now, overdue=patience)
            if isinstance(work, Idle):
                return
            await self._record(work, end, now, now)

    async def _without_overdue(
        self, storm: Work, end: Delivered | Rejected, patience: Millis, now: Millis
    ) -> Work:
        """What a storm's message took along is given up each after its own time; the storm itself never is."""
        overdue = {part.id for part in storm.parts if await self._lasted(patience, part.tried_since, now)}
        for part in storm.parts:
            if part.id in overdue:
                own = replace(end, remote=part.conversation.remote) if isinstance(end, Delivered) else end
                await self._record(part, own, now, now)
        return replace(storm, parts=tuple(part for part in storm.parts if part.id not in overdue))

    async def _send(self, work: Work, current: Current) -> tuple[Outcome, bytes | None]:
        """What came of it, and what was sent, as JSON; None: nothing was."""
        channel = current.channels.get(self.destination.channel)
        if channel is None:
            gone = f"routes.yaml has no channel {self.destination.channel} any more"
            return Retry(gone, pause=True), None
        try:
            message = await self._rendered(channel, work, current)
            if message.fallback:
                self._depot.metrics.fallback(self.destination.channel)
        except Exception as error:
            log.exception("channel raised", destination=self.destination.key, delivery=work.delivery)
            return Retry(f"internal: {type(error).__name__}"), None
        paid = replace(message, paid=await self._pay(message.calls, all_at_once=work.is_storm))
        async with self._depot.connection(self.destination.channel):
            outcome = await attempt(channel, self.destination, work, paid, self._depot.send_seconds)
        for call in outcome.unpaid:
            self._spend(call)
        return outcome, await self._beside_if_large(work, sent, message, len(work.conversation.alerts))

    async def _pay(self, calls: Sequence[Call], *, all_at_once: bool) -> int:
        """Wait until the first call may go, then pay for it and for those that may go right behind it. Returns how many.

        :param all_at_once: pay for all: a storm's message is not sent in parts
        """
        clock = self._depot.clock
        for call in calls[:1]:
            for bucket in self._depot.shared_buckets(self.destination.channel, call):
                await rest(clock, self._never, bucket.reserve(clock.elapsed()))
            if call is Call.POST:
                self.bucket.spend(clock.elapsed())
        for paid, call in enumerate(calls[1:], 1):
            now = clock.elapsed()
            if not all_at_once and any(each.ready_at(now) > now for each in self._buckets(call)):
                return paid
            self._spend(call)
        return len(calls)

    def _buckets(self, call: Call) -> tuple[TokenBucket, ...]:
        """Those that a call counts in."""
        own = (self.bucket,) if call is Call.POST else ()
        return (*own, *self._depot.shared_buckets(self.destination.channel, call))

    def _spend(self, call: Call) -> None:
        for bucket in self._buckets(call):
            bucket.spend(self._depot.clock.elapsed())

    async def _book(
        self, work: Work, outcome: Outcome, now: Millis, not_before: Millis, message: bytes | None
    ) -> None:
        """An outcome that can't be recorded counts as a failure: else it would be told again at once, and again."""
        try:
            await self._record(work, outcome, now, not_before, message)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("outcome not recorded", destination=self.destination.key, delivery=work.delivery)
            again = next_attempt(work.conversation.attempt, now, random.random())  # noqa: S311
            await self._record(work, Retry(f"internal: {type(error).__name__}", ambiguous=True), now, again)

    async def _rendered(self, channel: Channel, work: Work, current: Current) -> Message:
        given = self.destination, work.conversation, current.templates
        return await self._beside_if_large(work, channel.render, *given)

    async def _beside_if_large(
        self, work: Work, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """A large message is made beside the loop: thousands of alerts take a good part of a second."""
        if len(work.conversation.alerts) < _LARGE:
            return make(*args, **kwargs)
        return await self._depot.rendering.run(make, *args, **kwargs)

    async def _record(
        self, work: Work, outcome: Outcome, now: Millis, not_before: Millis, message: bytes | None = None
    ) -> None:
        """What was sent must get on the books: nothing else of this lane goes out before."""
        said = False
        while True:
            policy = self._depot.current().policy  # they may have changed while it was on its way
            at = self._depot.clock.now()  # and so may the time
            try:
                recorded = await self._depot.store.record(
                    work, outcome, policy, at, at + not_before - now, message
                )
            except StoreUnavailable as error:
                if not said:
                    log.warning(
                        "outcome not recorded yet", destination=self.destination.key, error=str(error)
                    )
                    said = True
                if self._stopping:
                    raise
                await self._depot.clock.wait(self._never, self._depot.clock.now() + _STORE_REST)
            else:
                break
        self._count(work, outcome, recorded, now)
        self._depot.wake(recorded.wake)

    def _count(self, work: Work, outcome: Outcome, recorded: Recorded, now: Millis) -> None:
        key, channel = self.destination.key, self.destination.channel
        unfinished = isinstance(outcome, Retry) and outcome.unfinished
        name = "unfinished" if unfinished else type(outcome).__name__.lower()
        failure = {} if isinstance(outcome, Delivered) else {"reason": outcome.reason, "words": outcome.words}
        self._depot.metrics.delivery(channel, key, name, "" if unfinished else failure.get("reason", ""))
        if isinstance(outcome, Delivered) and work.may_have_arrived and not self._kind.dedupes:
            self._depot.metrics.possible_duplicate(channel, key)
        for at in recorded.accepted:
            self._depot.metrics.delivered_after(channel, key, max(0, now - at) / SECOND)
        level = log.info if isinstance(outcome, Delivered) or unfinished else log.warning
        level(
            name, destination=key, delivery=work.delivery, conversation=work.conversation.token[:8],
            version=work.conversation.version, attempt=work.conversation.attempt,
            **{name: said for name, said in failure.items() if said},
        )  # fmt: skip
        if isinstance(outcome, Delivered | Retry) and outcome.refused:
            left_out = [f"{each.recipient}: {each.shown}" for each in outcome.refused]
            log.warning("recipients refused", destination=key, refused=counted(left_out, _NAMED, "; "))
