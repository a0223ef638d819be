"""A limiter gives its slots to its lanes in turn."""

import pytest

from router.deliver.shared_limiter import SharedLimiter
from router.model import SECOND, Call, Rate, SharedLimits


@pytest.fixture
def looked_at() -> list[str]:
    return []


@pytest.fixture
def limiter(looked_at: list[str]) -> SharedLimiter[str]:
    return SharedLimiter(looked_at.append)


def test_without_limits_a_lane_takes_what_it_wants(limiter: SharedLimiter[str]) -> None:
    assert limiter.take("a", 50, 0) == 50


def test_a_freed_slot_is_offered_to_the_lane_that_waits_longest(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(max_concurrency=2), 0)
    assert [limiter.take(lane, 1, 0) for lane in "abcd"] == [1, 1, 0, 0]
    limiter.free()
    assert looked_at == ["c"]
    assert [limiter.take(lane, 1, 0) for lane in "dc"] == [0, 1]


def test_a_lane_that_stops_waiting_leaves_its_turn_to_the_next(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(max_concurrency=1), 0)
    assert [limiter.take(lane, 1, 0) for lane in "abc"] == [1, 0, 0]
    limiter.free()
    limiter.stop_waiting("b", 0)
    assert looked_at == ["b", "c"]
    assert limiter.take("c", 1, 0) == 1


def test_unused_slots_are_given_back(limiter: SharedLimiter[str]) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=4), max_concurrency=4), 0)
    assert limiter.take("a", 4, 0) == 4
    limiter.give_back(3)
    assert limiter.take("b", 9, 0) == 3


def test_deliveries_under_way_count_in_a_lower_limit(limiter: SharedLimiter[str]) -> None:
    limiter.change(SharedLimits(max_concurrency=3), 0)
    assert limiter.take("a", 3, 0) == 3
    limiter.change(SharedLimits(max_concurrency=1), 0)
    assert limiter.take("b", 1, 0) == 0
    limiter.free(2)
    assert limiter.take("b", 1, 0) == 0
    limiter.free()
    assert limiter.take("b", 1, 0) == 1


def test_a_waiting_lane_asks_again_when_the_time_of_the_next_slot_changes(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=1), max_concurrency=1), 0)
    assert [limiter.take(lane, 1, 0) for lane in "ab"] == [1, 0]
    limiter.first_calls_counted()
    limiter.buckets(Call.READ)[0].spend(0)
    looked_at.clear()
    limiter.free()
    assert limiter.startable(0) == 0
    assert looked_at == ["b"]


def test_a_delivery_counts_in_the_rate_before_its_first_call(limiter: SharedLimiter[str]) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=2)), 0)
    assert [limiter.take(lane, 1, 0) for lane in "abc"] == [1, 1, 0]
    assert limiter.take("c", 1, 10 * SECOND) == 0  # there are tokens; they are for those that have not paid
    for _ in range(2):
        limiter.buckets(Call.READ)[0].spend(10 * SECOND)
        limiter.first_calls_counted()
    assert limiter.take("c", 1, 11 * SECOND - 1) == 0
    assert limiter.take("c", 1, 11 * SECOND) == 1


def test_an_unused_slot_leaves_its_token(limiter: SharedLimiter[str], looked_at: list[str]) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=2)), 0)
    assert limiter.take("a", 2, 0) == 2
    assert limiter.take("b", 1, 0) == 0
    limiter.give_back(1)
    assert looked_at[-1] == "b"
    assert limiter.take("b", 1, 0) == 1


def test_a_removed_lane_leaves_its_turn_to_the_next(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(max_concurrency=1), 0)
    for lane in "abc":
        limiter.add(lane)
    assert [limiter.take(lane, 1, 0) for lane in "abc"] == [1, 0, 0]
    limiter.remove("a", 0)
    limiter.free()
    limiter.remove("b", 0)
    assert looked_at == ["b", "c"]
    assert limiter.take("c", 1, 0) == 1
