"""One delivery. It renders the message, waits for its rate, sends it, and records the outcome."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from router.channels.base import Channel
from router.clock import wait_elapsed
from router.core.head import LeaseLost
from router.deliver.attempt import send_once
from router.deliver.delivery_log import is_unfinished, log_delivery, status_of
from router.deliver.give_up import final_outcome
from router.deliver.kept_message import packed_message
from router.deliver.lane import Lane, conclude
from router.deliver.lane_context import LaneContext
from router.deliver.retry_schedule import next_attempt
from router.model import SECOND, Broken, Call, Delivered, Millis, Outcome, Rejected, Retry
from router.store import RETRY_AFTER_FAILED_WRITE, ClaimedDelivery, Idle, Recorded, StoreUnavailable

P = ParamSpec("P")
T = TypeVar("T")
log = structlog.get_logger(__name__)

# A message about this many alerts or more is rendered and packed in a thread.
_LARGE_MESSAGE_ALERTS = 100


class Delivery:
    """One attempt to bring a conversation up to date."""

    def __init__(self, context: LaneContext, lane: Lane, work: ClaimedDelivery) -> None:
        self.work = work
        self.destination = lane.destination
        self.has_begun = False
        """A part of it may have been sent."""
        self.lane = lane
        self._context = context
        self._clock = context.clock
        self._channel = lane.destination.channel
        self._sender: Channel | None = None
        """The channel that sends it."""
        self._duration: Millis | None = None
        """How long sending took (ms); None: nothing was sent."""
        self._outcome: Outcome | None = None
        """The outcome of the attempt; None: the attempt has not ended, or it was cut off."""
        self._log_fields = {"destination": lane.destination.key, "delivery": work.delivery}
        self._trial = lane.delivery_began(self)
        self._observer = context.telemetry.deliver(work, lane.destination, context.current().policy)

    async def run(self) -> None:
        """Send the message and record the outcome. Raises nothing."""
        try:
            outcome, message = await self._send()
            self.lane.delivery_sent(self)
            self._outcome = self.lane.reclassify(self.work, outcome)
            await self._handle(self._outcome, message)
        except (
            StoreUnavailable,
            LeaseLost,
        ):  # the service stops, or another replica takes over: it is sent again
            return
        except Exception:
            log.exception("delivery failed unexpectedly", **self._log_fields)

    def ended(self) -> None:
        """Free what it has taken of the lane. Call it once when :meth:`run` has ended, or was cancelled before it began."""
        has_trouble = self._context.self_alerts.trouble(self.destination.key) is not None
        self.lane.delivery_ended(self, claim_again=has_trouble)
        conclude(self._trial, self._outcome)
        self._observer.ended(self._outcome)

    # Sending.

    async def _send(self) -> tuple[Outcome, bytes | None]:
        """Return the outcome, and the message that was sent as JSON; None: nothing was sent."""
        current = self._context.current()
        self._sender = channel = current.channels.get(self._channel)
        try:
            if channel is None:
                gone = f"routes.yaml has no channel {self._channel} any more"
                return Retry(gone, pause=True), None
            message = await self._in_thread_if_large(
                channel.render, self.destination, self.work.conversation, current.templates
            )
            if message.fallback:
                self._context.metrics.fallback(self._channel)
            calls = message.calls
        except Exception as error:
            log.exception("channel raised", **self._log_fields)
            return Retry(f"internal: {type(error).__name__}"), None
        finally:
            # There is no await between here and the first call's rates.
            self.lane.first_call_counted(self)
        message_to_send = replace(message, paid=await self._wait_for_rate(calls))
        self.has_begun, began = True, self._clock.elapsed()
        with self._observer.sending():
            outcome = await send_once(
                channel, self.destination, self.work, message_to_send,
                partial(self._context.may_use, self.lane.grant), self._context.send_seconds,
            )  # fmt: skip
        self._duration = self._clock.elapsed() - began
        self._context.metrics.provider_call(self._channel, self._duration / SECOND)
        for call in outcome.unpaid:
            self._count_call(call)
        return outcome, await self._in_thread_if_large(
            packed_message, message, len(self.work.conversation.alerts)
        )

    async def _in_thread_if_large(self, make: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Render a large message in a worker thread, because thousands of alerts would stop the event loop for up to a second."""
        digest = self.work.conversation.digest
        alerts = len(self.work.conversation.alerts) + (0 if digest is None else digest.size)
        if alerts < _LARGE_MESSAGE_ALERTS:
            return make(*args, **kwargs)
        return await self._context.render_threads.run(make, *args, **kwargs)

    async def _wait_for_rate(self, calls: Sequence[Call]) -> int:
        """Wait until the first call is allowed, and count it and the calls that are allowed immediately after it.

        :returns: how many calls are counted: all for a storm's message, which is not sent in parts
        """
        clock, lane, never = self._clock, self.lane, asyncio.Event()
        for call in calls[:1]:
            for bucket in lane.buckets(call):
                at = bucket.reserve(clock.elapsed())
                if at > clock.elapsed():
                    await wait_elapsed(clock, never, at)
        for count, call in enumerate(calls[1:], 1):
            now = clock.elapsed()
            if not self.work.is_storm and any(each.ready_at(now) > now for each in lane.buckets(call)):
                return count
            self._count_call(call)
        return len(calls)

    def _count_call(self, call: Call) -> None:
        for bucket in self.lane.buckets(call):
            bucket.spend(self._clock.elapsed())

    # The outcome.

    async def _handle(self, outcome: Outcome, message: bytes | None) -> None:
        """Adapt the lane to the outcome, report the destination if it is broken, and record the outcome."""
        current, self_alerts, key = self._context.current(), self._context.self_alerts, self.destination.key
        now = self._clock.now()
        give_up_after = current.give_up_after.get(self._channel, 0)
        not_before = self.lane.apply_outcome(self.work, outcome, now)
        succeeded = isinstance(outcome, Delivered | Retry) and outcome.reached
        # If only some recipients lack the message, their refusal says nothing about the destination.
        is_late = isinstance(outcome, Retry) and bool(outcome.late)
        if not (succeeded or is_late or isinstance(outcome, Delivered)):
            with suppress(StoreUnavailable):  # a step of the clock is no outage
                await self._context.counting_since()
            await self_alerts.delivery_failed(key, outcome, current.alert_after.get(self._channel, 0))
        to_record = outcome
        if self.work.is_storm and isinstance(outcome, Rejected):
            to_record = Retry(f"a storm's message was refused: {outcome.reason}", words=outcome.words)
        if give_up_after and isinstance(to_record, Retry | Broken) and not is_unfinished(to_record):
            final = final_outcome(give_up_after, to_record)
            if self.work.is_storm:
                await self._drop_overdue_parts(final, give_up_after, now)
            elif await self._has_lasted(give_up_after, self.work.tried_since, now):
                to_record = final
        await self._record_safely(to_record, now, not_before, message)
        if succeeded:
            await self_alerts.delivery_succeeded(key)
        elif not isinstance(outcome, Delivered):
            await self._give_up_overdue(outcome, give_up_after, now)
            await self._resume_if_changed()

    async def _resume_if_changed(self) -> None:
        """If a load changed the channel or its options during the failed attempt, try with the new ones immediately."""
        channel, options = self._context.current().channels.get(self._channel), self.lane.destination.options
        if channel is not self._sender or options != self.destination.options:
            with suppress(StoreUnavailable):  # then the conversations wait for their own next attempts
                await self._context.store.resume(self.destination.key)
            self.lane.resume()

    async def _has_lasted(self, span: Millis, since: Millis, now: Millis) -> bool:
        """Return whether so much time has passed. A step of the clock, a time without a router, and a pause by an operator do
        not count.
        """
        since = max(since, self.lane.operator_pause_until)
        try:
            return now - max(since, await self._context.counting_since()) >= span
        except StoreUnavailable:  # then nothing is given up
            return False

    async def _give_up_overdue(
        self, failure: Retry | Broken | Rejected, give_up_after: Millis, now: Millis
    ) -> None:
        """If the destination has been broken for longer than the limit, give up all overdue conversations without an
        attempt for each.
        """
        broken_since = self._context.self_alerts.broken_since(self.destination.key)
        if not give_up_after or not self.lane.is_broken or broken_since is None:
            return
        if not await self._has_lasted(give_up_after, broken_since, now):
            return
        policy = self._context.current().policy
        final = final_outcome(give_up_after, Broken(failure.reason, words=failure.words))
        while True:
            work = await self._context.store.claim(
                self.destination, policy, now, overdue=give_up_after, grant=self.lane.grant
            )
            if isinstance(work, Idle):
                return
            await self._record(work, final, now, now)

    async def _drop_overdue_parts(
        self, final: Delivered | Rejected, give_up_after: Millis, now: Millis
    ) -> None:
        """Give up each conversation of a storm's message after its own time. The storm itself is never given up."""
        storm = self.work
        overdue = {
            part.id for part in storm.parts if await self._has_lasted(give_up_after, part.tried_since, now)
        }
        for part in storm.parts:
            if part.id in overdue:
                own = final
                if isinstance(final, Delivered):
                    own = replace(final, remote=part.conversation.remote)
                await self._record(part, own, now, now)
        self.work = replace(storm, parts=tuple(part for part in storm.parts if part.id not in overdue))

    async def _record_safely(
        self, outcome: Outcome, now: Millis, not_before: Millis, message: bytes | None
    ) -> None:
        """Record an outcome. If that raises, record a failure, because otherwise the message would be sent again and
        again without a pause.
        """
        try:
            recorded = await self._record(self.work, outcome, now, not_before, message)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("outcome not recorded", **self._log_fields)
            again = next_attempt(self.work.conversation.attempt, now, random.random())  # noqa: S311
            lost = Retry(f"internal: {type(error).__name__}", ambiguous=True)
            recorded = await self._record(self.work, lost, now, again)
        self.lane.note_due(recorded.next_at)

    async def _record(
        self,
        work: ClaimedDelivery,
        outcome: Outcome,
        now: Millis,
        not_before: Millis,
        message: bytes | None = None,
    ) -> Recorded:
        """Record an outcome, and wait for the store as long as it takes: nothing else of the conversation is sent
        before the outcome is stored.

        :raises StoreUnavailable: the service stops
        """
        is_logged = False
        while True:
            policy = self._context.current().policy  # it may have changed during the attempt
            at = self._clock.now()  # and so may the time
            try:
                recorded = await self._context.store.record(
                    work, outcome, policy, at, at + not_before - now, message
                )
            except StoreUnavailable as error:
                if not is_logged:
                    log.warning("outcome not recorded yet", **self._log_fields, reason=str(error))
                    is_logged = True
                if self._context.stopping.is_set():
                    raise
                await self._clock.wait(self._context.stopping, self._clock.now() + RETRY_AFTER_FAILED_WRITE)
            else:
                break
        self._count(work, outcome, recorded, now)
        self._context.wake(recorded.wake)
        self._context.recorded(self.destination.key)
        return recorded

    def _count(self, work: ClaimedDelivery, outcome: Outcome, recorded: Recorded, now: Millis) -> None:
        """Update the metrics, and log the outcome."""
        key, channel, metrics = self.destination.key, self._channel, self._context.metrics
        reason = "" if isinstance(outcome, Delivered) or is_unfinished(outcome) else outcome.reason
        metrics.delivery(channel, key, status_of(outcome), reason)
        if isinstance(outcome, Delivered) and work.may_have_arrived and not self.lane.spec.dedupes:
            metrics.possible_duplicate(channel, key)
        for at in recorded.accepted:
            metrics.delivered_after(channel, key, max(0, now - at) / SECOND)
        duration = self._duration if work.delivery == self.work.delivery else None
        tenants = self._context.current().policy.tenants
        log_delivery(self.destination, work, outcome, recorded, now, duration, tenants)
