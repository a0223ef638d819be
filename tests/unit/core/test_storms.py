"""More due than a minute holds: one message, kept up to date, and single ones again afterwards."""

from dataclasses import replace

import pytest

from router.model import HOUR, SECOND, Delivered, Destination, Rejected, Retry, Status
from router.store import Idle, Limits, Work
from tests.unit.core.world import NOON, POLICY, SLACK, TEAM, World, alert

LIMITS = Limits(a_minute=8, every=5 * SECOND)
DELIVERED = Delivered({"ts": "1"})


@pytest.fixture
def world() -> World:
    return World()


def groups(world: World, names: range, level: str = "warning", status: Status = Status.FIRING) -> None:
    for number in names:
        world.post(alert(f"Down{number}", level, status), group=f"g{number}")
    world.now += 10 * SECOND  # past the inhibit wait


def storm(world: World, limits: Limits = LIMITS, at: Destination = TEAM) -> Work:
    """The storm's work; it takes its parts along."""
    work = world.work_of(at, limits)
    assert work.is_storm
    return work


def single(world: World, limits: Limits = LIMITS, at: Destination = TEAM) -> Work:
    work = world.work_of(at, limits)
    assert not work.is_storm
    return work


def shown(work: Work) -> tuple[int, int, bool]:
    seen = work.conversation.storm
    assert seen is not None
    return seen.groups, seen.alerts, seen.over


def test_as_much_as_a_minute_holds_is_no_storm(world: World) -> None:
    groups(world, range(8))
    single(world)


def test_everything_is_told_in_one_message(world: World) -> None:
    groups(world, range(60))
    work = storm(world)
    assert len(work.parts) == 60
    assert shown(work) == (60, 60, False)
    world.finish(work, DELIVERED, not_before=world.now + LIMITS.every)
    assert world.fates(TEAM) == ["delivered"] * 60
    world.assert_balanced()


def test_the_message_is_brought_up_to_date_and_then_closes_the_storm(world: World) -> None:
    groups(world, range(20))
    work = storm(world)
    world.finish(work, DELIVERED, not_before=world.now + LIMITS.every)
    groups(world, range(20, 40))
    groups(world, range(5), status=Status.RESOLVED)
    again = storm(world)
    assert again.id == work.id
    assert again.conversation.remote == {"ts": "1"}
    assert shown(again)[0] == 35
    world.finish(again, DELIVERED, not_before=world.now + LIMITS.every)
    world.now += LIMITS.every
    last = storm(world)
    assert last.parts == ()
    assert shown(last) == (35, 35, True)
    world.finish(last, DELIVERED, not_before=world.now + LIMITS.every)
    world.assert_balanced()
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    groups(world, range(30, 31), status=Status.RESOLVED)
    single(world)


def test_until_its_next_word_the_storm_waits(world: World) -> None:
    groups(world, range(20))
    until = world.now + 60 * SECOND
    world.finish(storm(world), DELIVERED, not_before=until)
    groups(world, range(20, 40))
    assert world.begin(TEAM, LIMITS) == Idle(until)


def test_criticals_that_fit_have_their_own_messages(world: World) -> None:
    world.policy = replace(POLICY, receivers={**POLICY.receivers, "team": (SLACK,)})
    for number in range(20):
        world.post(alert(f"Down{number}", "critical" if number < 3 else "warning"), group=f"g{number}")
    world.now += 10 * SECOND
    work = storm(world, at=SLACK)
    assert len(work.parts) == 17
    world.finish(work, Retry("http 503"), not_before=world.now + 60 * SECOND)
    world.assert_balanced()
    alone = single(world, at=SLACK)
    assert [each.level for each in alone.conversation.alerts] == ["critical"]


def test_a_storm_that_fails_is_tried_again_with_the_same_version(world: World) -> None:
    groups(world, range(20))
    work = storm(world)
    world.finish(work, Retry("timeout", ambiguous=True, remote={"doubt": 1}))
    again = storm(world)
    assert (again.id, again.conversation.version) == (work.id, work.conversation.version)
    assert again.conversation.remote == {"doubt": 1}
    assert again.conversation.attempt == 2
    world.finish(again, DELIVERED, not_before=world.now + LIMITS.every)
    assert world.fates(TEAM) == ["delivered"] * 20
    world.assert_balanced()


def test_what_ends_before_the_storms_word_arrived_is_moot(world: World) -> None:
    groups(world, range(20))
    work = storm(world)
    groups(world, range(5), status=Status.RESOLVED)
    world.finish(work, Retry("http 503"))
    world.assert_balanced()
    assert len(storm(world).parts) == 15
    assert world.fates(TEAM).count("moot") == 10


def test_a_storm_that_is_given_up_leaves_dead_letters(world: World) -> None:
    groups(world, range(20))
    world.finish(storm(world), Rejected("given up after 1d: http 503"))
    assert len(world.letters()) == 20
    world.assert_balanced()
    assert world.now > NOON
    assert isinstance(world.begin(TEAM, LIMITS), Idle)


def test_what_is_inhibited_by_the_time_it_is_due_makes_no_storm(world: World) -> None:
    for number in range(60):
        node = replace(alert("Node", "warning"), fingerprint=f"node-{number}")
        world.post(node, group=f"g{number}")
    world.now += 2 * SECOND
    world.post(alert("Node", "critical"), group="c")
    world.now += 10 * SECOND
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    assert world.fates(TEAM) == ["inhibited"] * 60
    assert not [row for row in world.state.conversations if row.subject == "storm"]
    world.assert_balanced()


def test_a_storm_that_nobody_was_told_of_ends_without_a_word(world: World) -> None:
    groups(world, range(20))
    work = storm(world)
    world.finish(work, Retry("a storm's message was refused"))
    world.deliver(TEAM)
    world.now += HOUR
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    groups(world, range(20, 40))
    assert storm(world).id != work.id


def test_what_has_a_message_of_its_own_is_told_by_it_where_messages_are_edited(world: World) -> None:
    limits = replace(LIMITS, edits=True)
    groups(world, range(6))
    world.deliver(TEAM)
    groups(world, range(6), status=Status.RESOLVED)
    groups(world, range(10, 30))
    work = storm(world, limits)
    assert len(work.parts) == 20
    world.finish(work, Delivered({"ts": "storm"}), not_before=world.now + 60 * SECOND)
    groups(world, range(40, 60))
    for _ in range(6):  # in between, one by one
        alone = single(world, limits)
        assert [each.alert.status for each in alone.conversation.alerts] == [Status.RESOLVED]
        world.finish(alone, DELIVERED)
        world.assert_balanced()
    assert isinstance(world.begin(TEAM, limits), Idle)


def test_what_a_storm_took_along_is_due_again_after_a_restart(world: World) -> None:
    groups(world, range(60))
    storm(world)
    world.assert_balanced()
    world.restart()
    world.assert_balanced()
    work = storm(world)
    assert len(work.parts) == 60
    assert all(part.may_have_arrived for part in work.parts)
