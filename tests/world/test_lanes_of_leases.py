"""Lanes are served only as long as their lease is held, whatever happens while they are opened."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from router.clock import SystemClock
from router.core.head import Grant
from router.core.leases import Renewal, lanes_lease
from router.decide import Policy
from router.deliver import Lanes
from router.deliver.lane import Lane
from router.model import (
    SECOND,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    Rate,
    SharedLimits,
)
from router.replicas import Held
from router.store import Claimed, Permit, Store
from router.store.operator_pauses import OperatorPauses
from router.store.stored_lanes import StoredLanes
from tests.world.made_up_channels import Fake, LanesHarness, kind, open_lanes
from tests.world.test_dispatcher import MANY, is_idle


@dataclass(frozen=True)
class Alone:
    """In place of the membership: a replica that has not renewed its session yet."""

    name: str = "replica-1"
    session: str = "session-1"
    renewal: Renewal | None = None

    def renew_soon(self) -> None:
        """Do nothing: the test grants and takes the leases."""


def served(lanes: Lanes) -> list[object]:
    """Return the destinations that this process serves."""
    return [each["destination"] for each in lanes.describe() if each["is_here"]]


async def test_a_lease_lost_while_its_lanes_open_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, load = asyncio.Event(), asyncio.Event(), OperatorPauses.load

    async def slow(pauses: OperatorPauses) -> Any:
        begun.set()
        await go_on.wait()
        return await load(pauses)

    async with open_lanes(tmp_path, Fake()) as harness:
        lanes = harness.lanes
        lanes.share(Alone(), SystemClock())
        held = Held(lanes_lease("odd"), Grant(lanes_lease("odd"), 1))
        await lanes.gained(held)
        assert served(lanes) == ["odd:one"]
        lanes.lost(held.name)
        monkeypatch.setattr(OperatorPauses, "load", slow)
        opening = asyncio.create_task(lanes.gained(held))
        await begun.wait()
        lanes.lost(held.name)
        go_on.set()
        await opening
        assert served(lanes) == []


async def test_a_lease_released_before_its_lanes_open_publishes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, load, published = asyncio.Event(), OperatorPauses.load, []
    held = Held(lanes_lease("odd"), Grant(lanes_lease("odd"), 1))

    async def without_end(_: OperatorPauses) -> Any:
        opening.set()
        await asyncio.Event().wait()

    async def publish(_: StoredLanes, states: Mapping[Grant, object], *more: object) -> frozenset[Grant]:
        published.append(frozenset(states))
        return frozenset(states)

    monkeypatch.setattr(StoredLanes, "publish", publish)
    async with open_lanes(tmp_path, Fake()) as harness:
        lanes = harness.lanes
        lanes.share(Alone(), SystemClock())
        monkeypatch.setattr(OperatorPauses, "load", without_end)
        gaining = asyncio.create_task(lanes.gained(held))
        await opening.wait()
        gaining.cancel()  # the lease is to pass on
        await asyncio.wait({gaining})
        assert await lanes.release(held.name)
        assert published == []
        monkeypatch.setattr(OperatorPauses, "load", load)
        await lanes.gained(held)
        assert await lanes.release(held.name)
        assert published == [{held.grant}]


@dataclass
class LongSends(Fake):
    """Each of its sends lasts until the test ends it, or until it is cancelled."""

    under_way: set[asyncio.Event] = field(default_factory=set)

    async def send(self, destination: Destination, conversation: Any, message: Message) -> Outcome:
        end = asyncio.Event()
        self.under_way.add(end)
        try:
            await end.wait()
        finally:
            self.under_way.discard(end)
        return Delivered({"ts": "1"})


MOMENTS = ("a claim is not answered", "deliveries have not begun", "messages are sent", "never")
"""When the lease is lost."""


@dataclass
class Leased:
    """Five lanes of one section, of which two messages may be sent at the same time, and the lease by which they are served."""

    harness: LanesHarness
    sends: LongSends
    fence: int = 0
    lost_when: str = "never"

    async def serve(self) -> None:
        """Gain the lease when a message is due at each lane. Return when nothing more begins."""
        self.fence += 1
        await self.harness.fire(f"Down-{self.fence}")
        self.harness.clock.advance(SECOND)
        name = lanes_lease("odd")
        await self.harness.lanes.gained(Held(name, Grant(name, self.fence)))
        for _ in range(3):  # the deliveries that were claimed last have begun
            await self.harness.store.ready()
            while not is_idle(self.harness.clock):
                await self.harness.store.ready()

    def lose(self, moment: str) -> None:
        if moment == self.lost_when:
            self.lost_when = "never"
            self.harness.lanes.lost(lanes_lease("odd"))


async def test_a_section_has_all_its_slots_after_any_losses_of_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, end_claim = Store.claim_several, Lane.end_claim

    async def claimed(store: Store, permit: Permit, policy: Policy, now: Millis) -> Claimed:
        found = await claim(store, permit, policy, now)
        leased.lose("a claim is not answered")
        return found

    def claim_ended(lane: Lane, claimed: Claimed) -> bool:
        leased.lose("deliveries have not begun")
        return end_claim(lane, claimed)

    monkeypatch.setattr(Store, "claim_several", claimed)
    monkeypatch.setattr(Lane, "end_claim", claim_ended)
    sends = LongSends()
    shared = SharedLimits(Rate(2, SECOND, burst=2), max_concurrency=2)
    odd = kind("odd", LaneLimits(max_concurrency=8), shared)
    async with open_lanes(tmp_path, sends, odd_kind=odd, policy=MANY) as harness:
        leased = Leased(harness, sends)
        harness.lanes.share(Alone(), SystemClock())
        for leased.lost_when in random.Random(1).choices(MOMENTS, k=40):
            lost_when = leased.lost_when
            await leased.serve()
            leased.lose("messages are sent")
            await leased.serve()
            assert len(sends.under_way) == 2, f"after a loss when {lost_when}"
            for end in sends.under_way:
                end.set()
