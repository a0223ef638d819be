"""A person waits for the outcome of a lane's next delivery, while two of its claims are under way."""

import asyncio
from typing import Any

import pytest

from router.deliver.lane import Lane
from router.deliver.shared_limiter import SharedLimiter
from router.model import Destination, LaneLimits, SharedLimits
from router.store import Claimed, Permit
from router.store.jobs import Idle
from tests.clock import ManualClock
from tests.world.made_up_channels import kind

NOTHING = Claimed((), Idle(None))


class Tried:
    """A lane with two claims under way that a person tries. No delivery is under way."""

    def __init__(self) -> None:
        def look(_lane: Lane) -> None:
            pass

        limits = LaneLimits(max_concurrency=8)
        self.shared: SharedLimiter[Lane] = SharedLimiter(look)
        self.shared.change(SharedLimits(max_concurrency=1), 0)
        self.clock = ManualClock(1_000)
        destination = Destination("odd:one", "odd", None, limits=limits)
        self.lane = Lane(destination, kind("odd", limits), self.shared, self.clock, look)

    async def begin(self) -> tuple[Permit, Permit, "asyncio.Task[Any]"]:
        """Return the permits of both claims, the one that was made ahead last; and the task of the person."""
        trying = asyncio.create_task(self.lane.try_now())
        await asyncio.sleep(0)
        claim = self.lane.begin_claim()
        assert claim is not None
        self.shared.change(SharedLimits(max_concurrency=2), 0)  # as if another lane had sent something
        ahead = self.lane.begin_claim_ahead()
        assert ahead is not None
        return claim, ahead, trying

    def end(self, permit: Permit, claimed: Claimed = NOTHING) -> bool:
        """End a claim as the dispatcher does. Return whether nothing is left to do."""
        is_over = self.lane.end_claim(claimed)
        self.lane.give_back(permit.count)
        return is_over


@pytest.mark.parametrize("ahead_first", [True, False])
async def test_the_claim_that_ends_last_says_that_nothing_is_due(ahead_first: bool) -> None:
    tried = Tried()
    claim, ahead, trying = await tried.begin()
    first, last = (ahead, claim) if ahead_first else (claim, ahead)
    assert not tried.end(first)
    await asyncio.sleep(0)
    assert not trying.done()
    tried.end(last)
    assert await trying is None


async def test_if_the_claim_that_ends_last_fails_there_is_another_one() -> None:
    tried = Tried()
    claim, ahead, trying = await tried.begin()
    tried.end(claim)
    tried.lane.claim_failed(ahead, 1_000)
    tried.lane.give_back(ahead.count)
    tried.clock.advance(1_000)
    again = tried.lane.begin_claim()
    assert again is not None
    tried.end(again)
    assert await trying is None


async def test_a_claim_ahead_that_fails_changes_nothing() -> None:
    tried = Tried()
    first = tried.lane.begin_claim()
    assert first is not None
    tried.end(first)
    ahead = tried.lane.begin_claim_ahead()
    assert ahead is not None
    tried.lane.claim_failed(ahead, 1_000)
    tried.lane.give_back(ahead.count)
    assert tried.lane.begin_claim() is None
    assert tried.lane.look_at is None
    tried.lane.wake()
    assert tried.lane.begin_claim() is not None


async def test_a_claim_that_left_out_a_large_message_concludes_nothing() -> None:
    tried = Tried()
    claim, ahead, trying = await tried.begin()
    tried.end(claim)
    assert not tried.end(ahead, Claimed((), Idle(2_000), skipped=True))
    await asyncio.sleep(0)
    assert not trying.done()
    trying.cancel()
