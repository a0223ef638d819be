"""A claim returns whether its lane has more to send, and when; a record returns this for what it changed."""

import pytest

from router.model import HOUR, SECOND, Delivered, Retry, Status
from router.store import Claimed, Permit, Recorded
from tests.unit.core.memory import at_once
from tests.unit.core.world import SLACK, World, alert


@pytest.fixture
def world(either_world: World) -> World:
    return either_world


def claim(world: World, count: int) -> Claimed:
    return at_once(world.store.claim_several(Permit(SLACK, count=count), world.policy, world.now))


def until(claimed: Claimed) -> int | None:
    assert claimed.idle is not None
    return claimed.idle.until


def record(world: World, claimed: Claimed, outcome: Delivered | Retry, not_before: int = 0) -> Recorded:
    (work,) = claimed.works
    return at_once(world.store.record(work, outcome, world.policy, world.now, not_before))


def criticals(world: World, count: int) -> None:
    for number in range(count):
        world.post(alert(f"A{number}", "critical"), group=f"g{number}")


@pytest.mark.parametrize("count", [5, 6, 50])
def test_a_claim_of_all_that_is_due_knows_that_nothing_is_left(world: World, count: int) -> None:
    criticals(world, 5)
    claimed = claim(world, count)
    assert len(claimed.works) == 5
    assert until(claimed) is None


@pytest.mark.parametrize("count", [1, 4, 8, 11])
def test_a_claim_of_a_part_says_that_there_is_more(world: World, count: int) -> None:
    criticals(world, 12)
    claimed = claim(world, count)
    assert (len(claimed.works), claimed.idle) == (count, None)


def test_a_claim_says_when_the_next_is_due(world: World) -> None:
    criticals(world, 2)
    record(world, claim(world, 1), Retry("http 503"), world.now + HOUR)
    claimed = claim(world, 5)
    assert len(claimed.works) == 1
    assert until(claimed) == world.now + HOUR
    assert until(claim(world, 5)) == world.now + HOUR


def test_a_record_says_that_nothing_more_is_due(world: World) -> None:
    criticals(world, 1)
    assert record(world, claim(world, 1), Delivered({"ts": "1"})).next_at is None


def test_a_record_says_when_the_next_attempt_is(world: World) -> None:
    criticals(world, 1)
    again = world.now + 30 * SECOND
    assert record(world, claim(world, 1), Retry("http 503"), again).next_at == again


@pytest.mark.parametrize("status", Status)
def test_a_record_says_that_news_came_meanwhile(world: World, status: Status) -> None:
    criticals(world, 1)
    claimed = claim(world, 1)
    world.post(alert("A0", "critical", status), alert("B", "critical"), group="g0")
    found = record(world, claimed, Delivered({"ts": "1"})).next_at
    assert found is not None
    assert found <= world.now
