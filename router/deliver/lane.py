"""A lane: the one worker that serves a destination, in order, at its pace."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from router.channels.base import Channel, Kind
from router.clock import Clock
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

    def wake(self, destinations: frozenset[str]) -> None: ...

    def turn(self, channel: str, now: Millis) -> Millis:
        """When the section's common pace lets one more delivery go; it counts as gone."""

    def connection(self, channel: str) -> AbstractAsyncContextManager[object]:
        """Held while the provider is talked to: a section may have only so many at once."""


class Lane:
    """Serves one destination until told to stop; after that, until nothing is due."""

    def __init__(self, destination: Destination, pace: Pace, depot: Depot, kind: Kind) -> None:
        self.destination = destination
        self.pace = pace
        self._kind = kind
        self._no_storms_until: Millis = 0
        self.paused_until: Millis = 0
        self.pause_reason = ""
        self.at_rest = asyncio.Lock()
        """Held while a delivery is under way."""
        self._probes = 0
        self._depot = depot
        self._wake = asyncio.Event()
        self._never = asyncio.Event()
        self._stopping = False
        self._paused_at: Millis = 0
        self._trial: asyncio.Future[Outcome | None] | None = None
        self._suspects = Suspects()

    def wake(self) -> None:
        self._wake.set()

    def resume(self) -> None:
        """End a pause: somebody has mended what was broken."""
        self.paused_until = self._probes = 0
        self._wake.set()

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
            if clock.now() < self._paused_at:  # the clock was stepped back since
                self.paused_until = 0
            if self.paused_until > clock.now():
                if self._stopping:
                    return
                await clock.wait(self._wake, await self._watched(self.paused_until))
                continue
            await clock.wait(self._never, self.pace.ready_at(clock.now()))
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
        await operator.look(self.destination.key, alert_after)
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
        self.pace.spend(clock.now())
        await clock.wait(self._never, self._depot.turn(self.destination.channel, clock.now()))
        outcome = self._suspects.weigh(work.id, await self._send(work, current))
        now = clock.now()
        patience = current.give_up_after.get(self.destination.channel, 0)
        not_before = self._learn(work, outcome, now)
        through = isinstance(outcome, Delivered) or (isinstance(outcome, Retry) and bool(outcome.late))
        if not (through or isinstance(outcome, Delivered)):
            await operator.failed(self.destination.key, outcome, self._alert_after)
        booked = outcome
        if work.is_storm and isinstance(outcome, Rejected):
            self._no_storms_until = now + _WITHOUT_STORMS
            booked = Retry(f"a storm's message was refused: {outcome.reason}", words=outcome.words)
        if patience and isinstance(booked, Retry | Broken):
            end = given_up(patience, booked)
            if work.is_storm:
                work = await self._without_overdue(work, end, patience, now)
            elif now - work.tried_since >= patience:
                booked = end
        await self._book(work, booked, now, not_before)
        if through:
            await operator.got_through(self.destination.key)
        elif not isinstance(outcome, Delivered):
            await self._give_up_all(outcome, patience, now)
        return outcome, 0

    def _limits(self) -> Limits | None:
        left = self._no_storms_until - self._depot.clock.now()
        if self._kind.storm_every is None or 0 < left <= _WITHOUT_STORMS:  # more: the clock was stepped back
            return None
        return Limits(self.pace.a_minute, self._kind.storm_every, self._kind.edits)

    def _learn(self, work: Work, outcome: Outcome, now: Millis) -> Millis:
        """What the outcome says of the destination as a whole. When the conversation may be tried again."""
        match outcome:
            case Broken():
                self._probes += 1
                self._pause(now + next_probe(self._probes), outcome.shown)
                if self._probes > 1:  # the next probe is something else, if there is anything else
                    return self.paused_until + SECOND
            case Retry():
                # What got further than before is not failing for the n-th time.
                further = outcome.remote is not None and outcome.remote != work.conversation.remote
                attempts = 1 if further else work.conversation.attempt
                not_before = next_attempt(attempts, now, random.random(), outcome.after)  # noqa: S311
                if outcome.pause:
                    self._pause(not_before, outcome.shown)
                    self.pace.refused(not_before)
                return not_before
            case Delivered():
                self._probes = 0
                self.pace.accepted()
                if work.is_storm:
                    return now + (self._kind.storm_every or 0)
            case Rejected():
                pass
        return now

    def _pause(self, until: Millis, reason: str) -> None:
        self._paused_at = self._depot.clock.now()
        self.paused_until, self.pause_reason = until, reason

    async def _give_up_all(self, failure: Retry | Broken | Rejected, patience: Millis, now: Millis) -> None:
        """A destination that has been broken for that long: what is overdue need not each be tried."""
        broken_since = self._depot.operator.broken_since(self.destination.key)
        if not patience or not self._probes or broken_since is None or now - broken_since < patience:
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
        overdue = {part.id for part in storm.parts if now - part.tried_since >= patience}
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
        return await asyncio.to_thread(channel.render, *given)

    async def _record(self, work: Work, outcome: Outcome, now: Millis, not_before: Millis) -> None:
        """What was sent must get on the books: nothing else of this lane goes out before."""
        said = False
        while True:
            policy = self._depot.current().policy  # they may have changed while it was on its way
            try:
                recorded = await self._depot.store.record(work, outcome, policy, now, not_before)
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
