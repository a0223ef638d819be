"""A replica that lost its lease and comes back late: what it records changes nothing, whatever its attempts were about."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from router.model import DAY, SECOND, Broken, Delivered, Outcome, Rejected, Retry, Status
from router.store import ClaimedDelivery, Limits
from tests.unit.core.world import DAILY, SLACK, World, alert
from tests.unit.store.large import large_from
from tests.unit.store.sqlite_world import contents, in_sqlite

LIMITS = Limits(above=1, every=5 * SECOND)
OUTCOMES: tuple[Outcome, ...] = (
    Delivered({"ts": "late"}), Retry("late"), Retry("late", ambiguous=True), Broken("late"), Rejected("late"),
)  # fmt: skip


def one(world: World) -> ClaimedDelivery:
    world.post(alert("A", "critical"))
    return world.work_of(SLACK)


def an_end(world: World) -> ClaimedDelivery:
    world.finish(one(world), Delivered({"ts": "1"}))
    world.post(alert("A", "critical", Status.RESOLVED))
    return world.work_of(SLACK)


def a_storm(world: World) -> ClaimedDelivery:
    for number in range(3):
        world.post(alert(f"A{number}", "critical"), group=f"g{number}")
    work = world.work_of(SLACK, LIMITS)
    assert work.parts
    return work


def a_large_group(world: World) -> ClaimedDelivery:
    world.post(*(alert(f"A{number}", "critical") for number in range(5)))
    work = world.work_of(SLACK)
    assert not work.notices or len(work.notices) > 3
    return work


def a_digest(world: World) -> ClaimedDelivery:
    world.post(alert("A", "info"))
    world.now += DAY
    return world.work_of(DAILY)


SITUATIONS = (one, an_end, a_storm, a_large_group, a_digest)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    large_from(monkeypatch, 3)
    with in_sqlite() as database:
        yield World(database=database)


def stored(world: World) -> dict[str, list[Any]]:
    """Return all rows but the log of deliveries."""
    found = contents(world.state)
    del found["deliveries"]
    return found


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_late_outcome_changes_nothing_after_a_takeover(
    situation: Callable[[World], ClaimedDelivery], outcome: Outcome, world: World
) -> None:
    late = situation(world)
    world.restart()  # as the next holder of the lease begins
    before = stored(world)
    world.finish(late, outcome)
    assert stored(world) == before
    world.assert_balanced()


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_late_outcome_leaves_the_new_attempt_under_way(
    situation: Callable[[World], ClaimedDelivery], world: World
) -> None:
    late = situation(world)
    world.restart()
    place = DAILY if situation is a_digest else SLACK
    new = world.work_of(place, LIMITS if situation is a_storm else None)
    before = stored(world)
    world.finish(late, Delivered({"ts": "late"}))
    world.take_back(late)
    assert stored(world) == before
    world.finish(new, Delivered({"ts": "new"}))
    world.assert_balanced()
    assert not isinstance(world.begin(place), ClaimedDelivery)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_an_outcome_that_is_recorded_twice_counts_once(
    situation: Callable[[World], ClaimedDelivery], outcome: Outcome, world: World
) -> None:
    """The answer to the first commit was lost, so the router records again."""
    work = situation(world)
    world.finish(work, outcome)
    before = contents(world.state)
    world.finish(work, outcome)
    assert contents(world.state) == before
