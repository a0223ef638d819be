"""One delivery. It renders the message, waits for its rate, sends it, and records the outcome."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import ParamSpec, TypeVar

import structlog

from router.clock import rest
from router.deliver.attempt import send_once
from router.deliver.giving_up import given_up
from router.deliver.kept_message import packed_message
from router.deliver.lane import Lane, conclude
from router.deliver.lane_context import LaneContext
from router.deliver.retry_schedule import next_attempt
from router.model import SECOND, Broken, Call, Delivered, Millis, Outcome, Rejected, Retry
from router.render.words import counted
from router.store import RETRY_AFTER_FAILED_WRITE, Idle, Recorded, StoreUnavailable, Work

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)

# From so many alerts on, a message is a large one.
_LARGE = 100
# Recipients that a line of the log names; the rest is counted.
_NAMED = 10


class Delivery:
    """One attempt to bring a conversation up to date."""

    def __init__(self, lane: Lane, work: Work, context: LaneContext) -> None:
        self.lane = lane
        self.work = work
        self.begun = False
        """Something of it may have been sent."""
        self._context = context
        self._clock = context.clock
        self._destination = lane.destination
        self._channel = lane.destination.channel
        self._named = {"destination": lane.destination.key, "delivery": work.delivery}
        self._trial = lane.trial
        self._never = asyncio.Event()
        lane.began(self)

    async def run(self) -> None:
        outcome = None
        try:
            try:
                outcome, message = await self._send()
            finally:
                self.lane.sent()
            outcome = self.lane.suspects.weigh(self.work.id, outcome)
            await self._conclude(outcome, message)
        except StoreUnavailable:  # it stops; what was sent may go out again
            return
        except Exception:
            log.exception("delivery failed unexpectedly", **self._named)
        finally:
            self.lane.ended(self)
            conclude(self._trial, outcome)

    # Sending.

    async def _send(self) -> tuple[Outcome, bytes | None]:
        """What came of it, and what was sent, as JSON; None: nothing was."""
        current = self._context.current()
        channel = current.channels.get(self._channel)
        try:
            if channel is None:
                gone = f"routes.yaml has no channel {self._channel} any more"
                return Retry(gone, pause=True), None
            message = await self._beside_if_large(
                channel.render, self._destination, self.work.conversation, current.templates
            )
            if message.fallback:
                self._context.metrics.fallback(self._channel)
            calls = message.calls
        except Exception as error:
            log.exception("channel raised", **self._named)
            return Retry(f"internal: {type(error).__name__}"), None
        finally:
            self.lane.paid()  # from here to the first call's rates nothing comes between
        paid = replace(message, paid=await self._pay(calls))
        self.begun = True
        outcome = await send_once(channel, self._destination, self.work, paid, self._context.send_seconds)
        for call in outcome.unpaid:
            self._spend(call)
        return outcome, await self._beside_if_large(
            packed_message, message, len(self.work.conversation.alerts)
        )

    async def _beside_if_large(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A large message is made beside the loop: thousands of alerts take a good part of a second."""
        digest = self.work.conversation.digest
        if len(self.work.conversation.alerts) + (0 if digest is None else digest.size) < _LARGE:
            return make(*args, **kwargs)
        return await self._context.rendering.run(make, *args, **kwargs)

    async def _pay(self, calls: Sequence[Call]) -> int:
        """Wait until the first call may go, then pay for it and for those that may go right behind it. Returns how many:
        all of a storm's message, which is not sent in parts.
        """
        clock, lane = self._clock, self.lane
        for call in calls[:1]:
            for bucket in lane.buckets(call):
                at = bucket.reserve(clock.elapsed())
                if at > clock.elapsed():
                    await rest(clock, self._never, at)
        for paid, call in enumerate(calls[1:], 1):
            now = clock.elapsed()
            if not self.work.is_storm and any(each.ready_at(now) > now for each in lane.buckets(call)):
                return paid
            self._spend(call)
        return len(calls)

    def _spend(self, call: Call) -> None:
        for bucket in self.lane.buckets(call):
            bucket.spend(self._clock.elapsed())

    # What came of it.

    async def _conclude(self, outcome: Outcome, message: bytes | None) -> None:
        current, self_alerts, key = self._context.current(), self._context.self_alerts, self._destination.key
        now = self._clock.now()
        patience = current.give_up_after.get(self._channel, 0)
        not_before = self.lane.learn(self.work, outcome, now)
        through = isinstance(outcome, Delivered | Retry) and outcome.reached
        # Late recipients who are refused once more say nothing of the destination.
        late = isinstance(outcome, Retry) and bool(outcome.late)
        if not (through or late or isinstance(outcome, Delivered)):
            with suppress(StoreUnavailable):  # a step of the clock is no outage
                await self._context.counting_since()
            await self_alerts.failed(key, outcome, current.alert_after.get(self._channel, 0))
        booked = outcome
        if self.work.is_storm and isinstance(outcome, Rejected):
            booked = Retry(f"a storm's message was refused: {outcome.reason}", words=outcome.words)
        unfinished = isinstance(booked, Retry) and booked.unfinished
        if patience and isinstance(booked, Retry | Broken) and not unfinished:
            end = given_up(patience, booked)
            if self.work.is_storm:
                await self._without_overdue(end, patience, now)
            elif await self._lasted(patience, self.work.tried_since, now):
                booked = end
        await self._book(booked, now, not_before, message)
        if through:
            await self_alerts.got_through(key)
        elif not isinstance(outcome, Delivered):
            await self._give_up_all(outcome, patience, now)

    async def _lasted(self, patience: Millis, since: Millis, now: Millis) -> bool:
        """Whether it has failed for so long; a step of the clock, or a time without a router, doesn't count."""
        try:
            return now - max(since, await self._context.counting_since()) >= patience
        except StoreUnavailable:  # then nothing is given up
            return False

    async def _give_up_all(self, failure: Retry | Broken | Rejected, patience: Millis, now: Millis) -> None:
        """A destination that has been broken for that long: what is overdue need not each be tried."""
        broken_since = self._context.self_alerts.broken_since(self._destination.key)
        if not patience or not self.lane.probes or broken_since is None:
            return
        if not await self._lasted(patience, broken_since, now):
            return
        policy = self._context.current().policy
        end = given_up(patience, Broken(failure.reason, words=failure.words))
        while True:
            work = await self._context.store.claim(self._destination, policy, now, overdue=patience)
            if isinstance(work, Idle):
                return
            await self._record(work, end, now, now)

    async def _without_overdue(self, end: Delivered | Rejected, patience: Millis, now: Millis) -> None:
        """What a storm's message took along is given up each after its own time; the storm itself never is."""
        storm = self.work
        overdue = {part.id for part in storm.parts if await self._lasted(patience, part.tried_since, now)}
        for part in storm.parts:
            if part.id in overdue:
                own = replace(end, remote=part.conversation.remote) if isinstance(end, Delivered) else end
                await self._record(part, own, now, now)
        self.work = replace(storm, parts=tuple(part for part in storm.parts if part.id not in overdue))

    async def _book(self, outcome: Outcome, now: Millis, not_before: Millis, message: bytes | None) -> None:
        """An outcome that can't be recorded counts as a failure: else it would be told again at once, and again."""
        try:
            recorded = await self._record(self.work, outcome, now, not_before, message)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("outcome not recorded", **self._named)
            again = next_attempt(self.work.conversation.attempt, now, random.random())  # noqa: S311
            lost = Retry(f"internal: {type(error).__name__}", ambiguous=True)
            recorded = await self._record(self.work, lost, now, again)
        self.lane.due(recorded.next_at)

    async def _record(
        self, work: Work, outcome: Outcome, now: Millis, not_before: Millis, message: bytes | None = None
    ) -> Recorded:
        """What was sent must get on the ledger: the conversation goes out no more before."""
        said = False
        while True:
            policy = self._context.current().policy  # they may have changed while it was on its way
            at = self._clock.now()  # and so may the time
            try:
                recorded = await self._context.store.record(
                    work, outcome, policy, at, at + not_before - now, message
                )
            except StoreUnavailable as error:
                if not said:
                    log.warning("outcome not recorded yet", **self._named, error=str(error))
                    said = True
                if self._context.stopping.is_set():
                    raise
                await self._clock.wait(self._context.stopping, self._clock.now() + RETRY_AFTER_FAILED_WRITE)
            else:
                break
        self._count(work, outcome, recorded, now)
        self._context.wake(recorded.wake)
        return recorded

    def _count(self, work: Work, outcome: Outcome, recorded: Recorded, now: Millis) -> None:
        key, channel, metrics = self._destination.key, self._channel, self._context.metrics
        unfinished = isinstance(outcome, Retry) and outcome.unfinished
        name = "unfinished" if unfinished else type(outcome).__name__.lower()
        failure = {} if isinstance(outcome, Delivered) else {"reason": outcome.reason, "words": outcome.words}
        metrics.delivery(channel, key, name, "" if unfinished else failure.get("reason", ""))
        if isinstance(outcome, Delivered) and work.may_have_arrived and not self.lane.kind.dedupes:
            metrics.possible_duplicate(channel, key)
        for at in recorded.accepted:
            metrics.delivered_after(channel, key, max(0, now - at) / SECOND)
        level = log.info if isinstance(outcome, Delivered) or unfinished else log.warning
        level(
            name, destination=key, delivery=work.delivery, conversation=work.conversation.token[:8],
            version=work.conversation.version, send_once=work.conversation.attempt,
            **{name: said for name, said in failure.items() if said},
        )  # fmt: skip
        if isinstance(outcome, Delivered | Retry) and outcome.refused:
            left_out = [f"{each.recipient}: {each.shown}" for each in outcome.refused]
            log.warning("recipients refused", destination=key, refused=counted(left_out, _NAMED, "; "))
