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


def test_who_asked_first_is_offered_what_is_given_back(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(max_concurrency=2), 0)
    assert [limiter.take(lane, 1, 0) for lane in "abcd"] == [1, 1, 0, 0]
    limiter.free()
    assert looked_at == ["c"]
    assert [limiter.take(lane, 1, 0) for lane in "dc"] == [0, 1]


def test_a_lane_that_needs_no_place_any_more_leaves_its_turn(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(max_concurrency=1), 0)
    assert [limiter.take(lane, 1, 0) for lane in "abc"] == [1, 0, 0]
    limiter.free()
    limiter.stop_waiting("b", 0)
    assert looked_at == ["b", "c"]
    assert limiter.take("c", 1, 0) == 1


def test_places_that_no_delivery_took_are_given_back(limiter: SharedLimiter[str]) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=4), max_concurrency=4), 0)
    assert limiter.take("a", 4, 0) == 4
    limiter.give_back(3)
    assert limiter.take("b", 9, 0) == 3


def test_a_lower_limit_counts_what_is_under_way(limiter: SharedLimiter[str]) -> None:
    limiter.change(SharedLimits(max_concurrency=3), 0)
    assert limiter.take("a", 3, 0) == 3
    limiter.change(SharedLimits(max_concurrency=1), 0)
    assert limiter.take("b", 1, 0) == 0
    limiter.free(2)
    assert limiter.take("b", 1, 0) == 0
    limiter.free()
    assert limiter.take("b", 1, 0) == 1


def test_who_waits_is_looked_at_when_only_the_moment_of_room_changes(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=1), max_concurrency=1), 0)
    assert [limiter.take(lane, 1, 0) for lane in "ab"] == [1, 0]
    limiter.first_calls_counted()
    limiter.buckets(Call.READ)[0].spend(0)
    looked_at.clear()
    limiter.free()
    assert limiter.room(0) == 0
    assert looked_at == ["b"]


def test_what_has_not_paid_yet_counts_in_the_rate(limiter: SharedLimiter[str]) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=2)), 0)
    assert [limiter.take(lane, 1, 0) for lane in "abc"] == [1, 1, 0]
    assert limiter.take("c", 1, 10 * SECOND) == 0  # there are tokens; they are for those that have not paid
    for _ in range(2):
        limiter.buckets(Call.READ)[0].spend(10 * SECOND)
        limiter.first_calls_counted()
    assert limiter.take("c", 1, 11 * SECOND - 1) == 0
    assert limiter.take("c", 1, 11 * SECOND) == 1


def test_a_place_that_no_delivery_took_leaves_its_token(
    limiter: SharedLimiter[str], looked_at: list[str]
) -> None:
    limiter.change(SharedLimits(Rate(1, SECOND, burst=2)), 0)
    assert limiter.take("a", 2, 0) == 2
    assert limiter.take("b", 1, 0) == 0
    limiter.give_back(1)
    assert looked_at[-1] == "b"
    assert limiter.take("b", 1, 0) == 1
