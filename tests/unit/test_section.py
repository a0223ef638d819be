"""A section gives its slots to its lanes in turn."""

import pytest

from router.deliver.section import SectionLimiter
from router.model import SECOND, Call, Rate, SharedLimits


@pytest.fixture
def stirred() -> list[str]:
    return []


@pytest.fixture
def section(stirred: list[str]) -> SectionLimiter[str]:
    return SectionLimiter(stirred.append)


def test_without_limits_a_lane_takes_what_it_wants(section: SectionLimiter[str]) -> None:
    assert section.take("a", 50, 0) == 50


def test_who_asked_first_is_offered_what_is_given_back(
    section: SectionLimiter[str], stirred: list[str]
) -> None:
    section.change(SharedLimits(max_concurrency=2), 0)
    assert [section.take(lane, 1, 0) for lane in "abcd"] == [1, 1, 0, 0]
    section.free()
    assert stirred == ["c"]
    assert [section.take(lane, 1, 0) for lane in "dc"] == [0, 1]


def test_a_lane_that_needs_no_place_any_more_leaves_its_turn(
    section: SectionLimiter[str], stirred: list[str]
) -> None:
    section.change(SharedLimits(max_concurrency=1), 0)
    assert [section.take(lane, 1, 0) for lane in "abc"] == [1, 0, 0]
    section.free()
    section.stop_waiting("b", 0)
    assert stirred == ["b", "c"]
    assert section.take("c", 1, 0) == 1


def test_places_that_no_delivery_took_are_given_back(section: SectionLimiter[str]) -> None:
    section.change(SharedLimits(Rate(1, SECOND, burst=4), max_concurrency=4), 0)
    assert section.take("a", 4, 0) == 4
    section.give_back(3)
    assert section.take("b", 9, 0) == 3


def test_a_lower_limit_counts_what_is_under_way(section: SectionLimiter[str]) -> None:
    section.change(SharedLimits(max_concurrency=3), 0)
    assert section.take("a", 3, 0) == 3
    section.change(SharedLimits(max_concurrency=1), 0)
    assert section.take("b", 1, 0) == 0
    section.free(2)
    assert section.take("b", 1, 0) == 0
    section.free()
    assert section.take("b", 1, 0) == 1


def test_who_waits_is_looked_at_when_only_the_moment_of_room_changes(
    section: SectionLimiter[str], stirred: list[str]
) -> None:
    section.change(SharedLimits(Rate(1, SECOND, burst=1), max_concurrency=1), 0)
    assert [section.take(lane, 1, 0) for lane in "ab"] == [1, 0]
    section.first_calls_counted()
    section.buckets(Call.READ)[0].spend(0)
    stirred.clear()
    section.free()
    assert section.room(0) == 0
    assert stirred == ["b"]


def test_what_has_not_paid_yet_counts_in_the_rate(section: SectionLimiter[str]) -> None:
    section.change(SharedLimits(Rate(1, SECOND, burst=2)), 0)
    assert [section.take(lane, 1, 0) for lane in "abc"] == [1, 1, 0]
    assert section.take("c", 1, 10 * SECOND) == 0  # there are tokens; they are for those that have not paid
    for _ in range(2):
        section.buckets(Call.READ)[0].spend(10 * SECOND)
        section.first_calls_counted()
    assert section.take("c", 1, 11 * SECOND - 1) == 0
    assert section.take("c", 1, 11 * SECOND) == 1


def test_a_place_that_no_delivery_took_leaves_its_token(
    section: SectionLimiter[str], stirred: list[str]
) -> None:
    section.change(SharedLimits(Rate(1, SECOND, burst=2)), 0)
    assert section.take("a", 2, 0) == 2
    assert section.take("b", 1, 0) == 0
    section.give_back(1)
    assert stirred[-1] == "b"
    assert section.take("b", 1, 0) == 1
