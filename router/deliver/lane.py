"""A lane: the one worker that serves a destination, in order, at its pace."""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import structlog

from router.channels.base import Channel
from router.clock import Clock
from router.decide import Policy
from router.deliver.pace import Pace
from router.deliver.schedule import next_attempt
from router.metrics import Metrics
from router.model import SECOND, Broken, Delivered, Destination, Millis, Outcome, Retry
from router.render import Templates
from router.store import Idle, Store, StoreUnavailable, Work

log = structlog.get_logger(__name__)

# How long a lane rests when the store can't be written.
_STORE_REST: Millis = 2 * SECOND


@dataclass(frozen=True, slots=True)
class Current:
    """The rules, templates and channels in force; replaced as a whole."""

    policy: Policy
    templates: Templates
    channels: Mapping[str, Channel]
    """By name: of each kind that there are settings for."""


class Depot(Protocol):
    """What a lane needs of its surroundings."""

    store: Store
    clock: Clock
    metrics: Metrics
    current: Callable[[], Current]


class Lane:
    """Serves one destination until told to stop; after that, until nothing is due."""

    def __init__(self, destination: Destination, pace: Pace, depot: Depot) -> None:
        self.destination = destination
        self.paused_until: Millis = 0
        self.pause_reason = ""
        self.at_rest = asyncio.Lock()
        """Held while a delivery is under way."""
        self._pace = pace
        self._depot = depot
        self._wake = asyncio.Event()
        self._never = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Tell what is due now, then end."""
        self._stopping = True
        self._wake.set()

    async def serve(self) -> None:
        clock = self._depot.clock
        while True:
            self._wake.clear()
            if self.paused_until > clock.now():
                if self._stopping:
                    return
                await clock.wait(self._wake, self.paused_until)
                continue
            await clock.wait(self._never, self._pace.ready_at(clock.now()))
            try:
                async with self.at_rest:
                    until = await self._step()
            except StoreUnavailable as error:
                log.warning("store unavailable", destination=self.destination.key, error=str(error))
                until = clock.now() + _STORE_REST
            except Exception:
                # A lane never dies: what it could not do stays due, and is tried again.
                log.exception("delivery failed unexpectedly", destination=self.destination.key)
                until = clock.now() + _STORE_REST
            if until == 0:
                continue
            if self._stopping:
                return
            await clock.wait(self._wake, until)

    async def _step(self) -> Millis | None:
        """One delivery: claim, render, send, record. 0: there may be more; else when to look again."""
        store, clock = self._depot.store, self._depot.clock
        current = self._depot.current()
        work = await store.claim(self.destination, current.policy, clock.now())
        if isinstance(work, Idle):
            return work.until
        self._pace.spend(clock.now())
        outcome = await self._send(work, current)
        now = clock.now()
        not_before = now
        if isinstance(outcome, Broken):
            outcome = Retry(outcome.reason, pause=True, remote=outcome.remote)
        if isinstance(outcome, Retry):
            not_before = next_attempt(work.conversation.attempt, now, random.random(), outcome.after)  # noqa: S311
            if outcome.pause:
                self.paused_until, self.pause_reason = not_before, outcome.reason
        accepted = await self._record(work, outcome, now, not_before)
        self._count(work, outcome, accepted, now)
        return 0

    async def _send(self, work: Work, current: Current) -> Outcome:
        channel = current.channels.get(self.destination.channel)
        if channel is None:
            return Retry(f"routes.yaml has no channel {self.destination.channel} any more", pause=True)
        try:
            message = channel.render(self.destination, work.conversation, current.templates)
            if message.fallback:
                self._depot.metrics.fallback(self.destination.channel)
            return await channel.send(self.destination, work.conversation, message)
        except Exception as error:
            log.exception("channel raised", destination=self.destination.key, delivery=work.delivery)
            return Retry(f"internal: {type(error).__name__}", ambiguous=True)

    async def _record(
        self, work: Work, outcome: Outcome, now: Millis, not_before: Millis
    ) -> tuple[Millis, ...]:
        """What was sent must get on the books: nothing else of this lane goes out before."""
        while True:
            policy = self._depot.current().policy  # they may have changed while it was on its way
            try:
                return await self._depot.store.record(work, outcome, policy, now, not_before)
            except StoreUnavailable as error:
                log.warning("outcome not recorded yet", destination=self.destination.key, error=str(error))
                if self._stopping:
                    raise
                await self._depot.clock.wait(self._never, self._depot.clock.now() + _STORE_REST)

    def _count(self, work: Work, outcome: Outcome, accepted: tuple[Millis, ...], now: Millis) -> None:
        key, channel = self.destination.key, self.destination.channel
        name = type(outcome).__name__.lower()
        reason = "" if isinstance(outcome, Delivered) else outcome.reason
        self._depot.metrics.delivery(channel, key, name, reason)
        for at in accepted:
            self._depot.metrics.delivered_after(channel, key, (now - at) / SECOND)
        level = log.info if isinstance(outcome, Delivered) else log.warning
        level(
            name, destination=key, delivery=work.delivery, conversation=work.conversation.token[:8],
            version=work.conversation.version, attempt=work.conversation.attempt, **({"reason": reason} if reason else {}),
        )  # fmt: skip
