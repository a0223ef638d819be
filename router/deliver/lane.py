"""A lane: the one worker that serves a destination, in order, at its pace."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from router.channels.base import Channel, Kind
from router.clock import Clock, rest
from router.decide import Policy
from router.deliver.attempt import attempt
from router.deliver.giving_up import Suspects, given_up
from router.deliver.operator import Operator
from router.deliver.pace import Pace
from router.deliver.schedule import next_attempt, next_probe
from router.metrics import Metrics
from router.model import (
    MINUTE,
    SECOND,
    Broken,
    Delivered,
    Destination,
    Message,
    Millis,
    Outcome,
    Rejected,
    Retry,
)
from router.render import Templates
from router.render.words import counted
from router.store import Idle, Limits, Recorded, Store, StoreUnavailable, Work
from router.threads import Threads

log = structlog.get_logger(__name__)

# How long a lane rests when the store can't be written.
_STORE_REST: Millis = 2 * SECOND
# From so many alerts on, a message is a large one.
_LARGE = 100
# Recipients that a line of the log names; the rest is counted.
_NAMED = 10
# How long a lane tells one by one whatever comes, after a storm's message was refused.
_WITHOUT_STORMS: Millis = 10 * MINUTE


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

    def turn(self, channel: str, calls: int) -> Millis:
        """When the section's common pace lets a delivery of so many calls go, as a moment of ``clock.elapsed()``; it
        counts as gone.
        """

    def pause(self, channel: str, span: Millis, reason: str) -> None:
        """Of every lane of the section."""

    def connection(self, channel: str) -> AbstractAsyncContextManager[object]:
        """Held while the provider is talked to: a section may have only so many at once."""


class Lane:
    """Serves one destination until told to stop; after that, until nothing is due."""

    def __init__(self, destination: Destination, pace: Pace, depot: Depot, kind: Kind) -> None:
        self.destination = destination
        self.pace = pace
        self._kind = kind
        # Moments of the clock that nobody steps.
        self._no_storms_until: Millis = 0
        self._paused_until: Millis = 0
        self.pause_reason = ""
        self.at_rest = asyncio.Lock()
        """Held while a delivery is under way."""
        self._probes = 0
        self._depot = depot
        self._wake = asyncio.Event()
        self._never = asyncio.Event()
        self._stopping = False
        self._trial: asyncio.Future[Outcome | None] | None = None
        self._suspects = Suspects()

    def wake(self) -> None:
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
        clock = self._depot.clock
        failures = 0
        while True:
            self._wake.clear()
            if self.paused_for:
                if self._stopping:
                    return
                now = clock.now()
                look_at = await self._watched(now + self.paused_for)
                await rest(clock, self._wake, clock.elapsed() + max(0, (look_at or now) - now))
                continue
            await rest(clock, self._never, self.pace.ready_at(clock.elapsed()))
            try:
                async with self.at_rest:
                    until = await self._step()
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
                return
            await clock.wait(self._wake, await self._watched(until))

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

    async def _step(self) -> Millis | None:
        """One delivery: claim, render, send, record. 0: there may be more; else when to look again."""
        trial = self._trial
        outcome, until = await self._deliver()
        if trial is not None and not trial.done():
            trial.set_result(outcome)
        return until

    async def _deliver(self) -> tuple[Outcome | None, Millis | None]:
        store, clock, operator = self._depot.store, self._depot.clock, self._depot.operator
        current = self._depot.current()
        work = await store.claim(self.destination, current.policy, clock.now(), limits=self._limits())
        if isinstance(work, Idle):
            if not work.failing:
                await operator.idle(self.destination.key)
            return None, work.until
        outcome = self._suspects.weigh(work.id, await self._send(work, current))
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
        if patience and isinstance(booked, Retry | Broken):
            end = given_up(patience, booked)
            if work.is_storm:
                work = await self._without_overdue(work, end, patience, now)
            elif await self._lasted(patience, work.tried_since, now):
                booked = end
        await self._book(work, booked, now, not_before)
        if through:
            await operator.got_through(self.destination.key)
        elif not isinstance(outcome, Delivered):
            await self._give_up_all(outcome, patience, now)
        return outcome, 0

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
        return Limits(self.pace.a_minute, self._kind.storm_every, self._kind.edits)

    def _learn(self, work: Work, outcome: Outcome, now: Millis) -> Millis:
        """What the outcome says of the destination as a whole. When the conversation may be tried again."""
        match outcome:
            case Broken():
                self._probes += 1
                self.pause(next_probe(self._probes), outcome.shown)
                if self._probes > 1:  # the next probe is something else, if there is anything else
                    return now + self.paused_for + SECOND
            case Retry():
                attempts = 1 if outcome.further else work.conversation.attempt
                not_before = next_attempt(attempts, now, random.random(), outcome.after)  # noqa: S311
                if outcome.pause:
                    self.pause(not_before - now, outcome.shown)
                    self.pace.refused(self._paused_until)
                if outcome.everywhere:
                    self._depot.pause(self.destination.channel, not_before - now, outcome.shown)
                return not_before
            case Delivered():
                self._probes = 0
                self.pace.accepted()
                if outcome.rest:
                    self.pause(outcome.rest, "as much as it takes at once")
                if work.is_storm:
                    return now + (self._kind.storm_every or 0)
            case Rejected():
                pass
        return now

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

    async def _send(self, work: Work, current: Current) -> Outcome:
        channel = current.channels.get(self.destination.channel)
        if channel is None:
            return Retry(f"routes.yaml has no channel {self.destination.channel} any more", pause=True)
        try:
            message = await self._rendered(channel, work, current)
            if message.fallback:
                self._depot.metrics.fallback(self.destination.channel)
        except Exception as error:
            log.exception("channel raised", destination=self.destination.key, delivery=work.delivery)
            return Retry(f"internal: {type(error).__name__}")
        clock = self._depot.clock
        self.pace.spend(clock.elapsed(), message.calls)
        await rest(clock, self._never, self._depot.turn(self.destination.channel, message.calls))
        async with self._depot.connection(self.destination.channel):
            return await attempt(channel, self.destination, work, message, self._depot.send_seconds)

    async def _book(self, work: Work, outcome: Outcome, now: Millis, not_before: Millis) -> None:
        """An outcome that can't be recorded counts as a failure: else it would be told again at once, and again."""
        try:
            await self._record(work, outcome, now, not_before)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("outcome not recorded", destination=self.destination.key, delivery=work.delivery)
            again = next_attempt(work.conversation.attempt, now, random.random())  # noqa: S311
            await self._record(work, Retry(f"internal: {type(error).__name__}", ambiguous=True), now, again)

    async def _rendered(self, channel: Channel, work: Work, current: Current) -> Message:
        """A large message is made beside the loop: thousands of alerts take a good part of a second."""
        given = self.destination, work.conversation, current.templates
        if len(work.conversation.alerts) < _LARGE:
            return channel.render(*given)
        return await self._depot.rendering.run(channel.render, *given)

    async def _record(self, work: Work, outcome: Outcome, now: Millis, not_before: Millis) -> None:
        """What was sent must get on the books: nothing else of this lane goes out before."""
        said = False
        while True:
            policy = self._depot.current().policy  # they may have changed while it was on its way
            at = self._depot.clock.now()  # and so may the time
            try:
                recorded = await self._depot.store.record(work, outcome, policy, at, at + not_before - now)
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
        name = type(outcome).__name__.lower()
        failure = {} if isinstance(outcome, Delivered) else {"reason": outcome.reason, "words": outcome.words}
        self._depot.metrics.delivery(channel, key, name, failure.get("reason", ""))
        if isinstance(outcome, Delivered) and work.may_have_arrived and not self._kind.dedupes:
            self._depot.metrics.possible_duplicate(channel, key)
        for at in recorded.accepted:
            self._depot.metrics.delivered_after(channel, key, max(0, now - at) / SECOND)
        level = log.info if isinstance(outcome, Delivered) else log.warning
        level(
            name, destination=key, delivery=work.delivery, conversation=work.conversation.token[:8],
            version=work.conversation.version, attempt=work.conversation.attempt,
            **{name: said for name, said in failure.items() if said},
        )  # fmt: skip
        if isinstance(outcome, Delivered | Retry) and outcome.refused:
            left_out = [f"{each.recipient}: {each.shown}" for each in outcome.refused]
            log.warning("recipients refused", destination=key, refused=counted(left_out, _NAMED, "; "))
