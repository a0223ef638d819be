"""Lanes of made-up channels on a real store. A test says what a channel does with each message."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from router.channels.base import Channel, ChannelSettings, ChannelSpec, DestinationOptions
from router.clock import Clock
from router.decide import Policy, Route, Severity
from router.deliver import Lanes, RuntimeConfig
from router.metrics import Metrics
from router.model import (
    Alert,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    SharedLimits,
    Status,
    Webhook,
)
from router.render import Templates
from router.store import Store
from router.store.writer import BatchObserver
from tests.clock import ManualClock

NOON: Millis = 1_795_435_200_000


ODD, CALM = (Destination(f"{name}:one", name, None) for name in ("odd", "calm"))


_LIMITS, _SHARED = LaneLimits(), SharedLimits()


POLICY = Policy(
    severity=Severity(), root=Route("route", "all"), receivers={"all": (ODD, CALM)}, fingerprint="1"
)


def kind(
    name: str, limits: LaneLimits = _LIMITS, shared: SharedLimits = _SHARED, **other: Any
) -> ChannelSpec:
    return ChannelSpec(
        name, name, ChannelSettings, DestinationOptions, lambda _: Fake(), limits, {}, shared, **other
    )


Send = Callable[[], Awaitable[Any]]


async def delivered() -> Outcome:
    return Delivered()


@dataclass
class Fake:
    """Does with its first messages what the test says, and delivers the messages after them."""

    odd: list[Send] = field(default_factory=list)
    renders: list[Callable[[], Any]] = field(default_factory=list)
    delivered: list[tuple[str, ...]] = field(default_factory=list)
    """For each delivered message, the status of each of its alerts."""
    tries: int = 0

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:
        return self.renders.pop(0)() if self.renders else Message(destination.channel, {})

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        self.tries += 1
        outcome: Outcome = await (self.odd.pop(0) if self.odd else delivered)()
        if isinstance(outcome, Delivered):
            self.delivered.append(tuple(each.alert.status for each in conversation.alerts))
        return outcome

    async def close(self) -> None:
        pass


@dataclass
class LanesHarness:
    """Running lanes of two destinations: the channel of ``odd`` does what the test says; ``calm`` delivers."""

    store: Store
    clock: ManualClock
    odd: Fake
    calm: Fake
    lanes: Lanes
    policy: Policy = POLICY

    async def fire(self, name: str = "Down", status: Status = Status.FIRING, count: int = 1) -> None:
        """Accept a group with so many alerts."""
        alerts = tuple(
            Alert(
                f"{name}-{number}",
                {"alertname": name, "severity": "critical", "n": str(number)},
                {},
                status,
                NOON,
            )
            for number in range(count)
        )
        webhook = Webhook("hook", name, {}, "", 0, alerts)
        receipt = await self.store.accept(webhook, "default", b"{}", self.policy, self.clock.now())
        self.lanes.wake(receipt.wake)

    async def until(self, outcome: str, count: int, destination: Destination = ODD) -> None:
        """Return when a destination has so many attempts with this outcome."""
        while (await self.store.pages.status())["deliveries"].get(destination.key, {}).get(
            outcome, 0
        ) < count:
            await self.store.ready()

    @property
    def alive(self) -> bool:
        return all(lane["alive"] for lane in self.lanes.describe())


@asynccontextmanager
async def open_lanes(
    path: Path, odd: Fake, *, send_seconds: float = 60, odd_kind: ChannelSpec | None = None, policy: Policy = POLICY,
    observe: BatchObserver = lambda _seconds, _jobs: None, clock: Clock | None = None,
) -> AsyncIterator[LanesHarness]:  # fmt: skip
    store = await Store.open(f"sqlite:///{path}/router.db", observe)
    manual, calm = ManualClock(NOON), Fake()
    channels: dict[str, Channel] = {"odd": odd, "calm": calm}
    kinds = {"odd": odd_kind or kind("odd"), "calm": kind("calm")}
    shared = {name: each.shared for name, each in kinds.items()}
    templates = Templates(levels=("critical",), timezone="UTC")
    current = RuntimeConfig(policy, templates, channels, {}, shared=shared)
    lanes = Lanes(
        store=store, clock=clock or manual, metrics=Metrics(), channels=kinds, current=lambda: current,
        send_seconds=send_seconds,
    )  # fmt: skip
    destinations = policy.destinations.values()
    await lanes.serve(replace(each, limits=kinds[each.channel].limits) for each in destinations)
    try:
        yield LanesHarness(store, manual, odd, calm, lanes, policy)
    finally:
        await lanes.stop(5_000)
        await store.close()


def returning(anything: Any) -> Send:
    async def send() -> Any:
        return anything

    return send
