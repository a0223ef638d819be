"""More due than a minute holds: one message, kept up to date, and single ones again afterwards."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from router.model import HOUR, SECOND, Delivered, Outcome, Rejected, Retry, Status
from router.store.record import parts, record
from router.store.storm import Limits, claim_in_storm, gather, sift, surges, view
from router.store.work import Idle, Work
from tests.unit.store.test_history import NOON, POLICY, SLACK, TEAM, World, a_world, alert

LIMITS = Limits(a_minute=8, every=5 * SECOND)


@pytest.fixture
def world() -> Iterator[World]:
    with a_world() as world:
        yield world


def groups(world: World, names: range, level: str = "warning", status: Status = Status.FIRING) -> None:
    for number in names:
        world.post(alert(f"Down{number}", level, status), group=f"g{number}")
    world.now += 10 * SECOND  # past the inhibit wait


def claimed(world: World) -> Work | Idle | None:
    return claim_in_storm(world.tx, TEAM.key, LIMITS, POLICY, world.now)


def storm(world: World) -> tuple[Work, list[Work]]:
    """The storm's work, and what it takes along."""
    work = claimed(world)
    assert isinstance(work, Work)
    found: list[Work] = []
    after = -1
    while after:
        more, after = gather(world.tx, work, LIMITS, POLICY, world.now, after)
        found += more
    return work, found


def finish(world: World, work: Work, found: list[Work], outcome: Outcome, not_before: int) -> None:
    parts(world.tx, found, outcome, POLICY, world.now, not_before)
    record(world.tx, work, outcome, POLICY, world.now, not_before)
    world.assert_balanced()


def shown(world: World, work: Work) -> tuple[int, int, bool]:
    seen = view(world.tx, work, POLICY)
    return seen.groups, seen.alerts, seen.over


def test_as_much_as_a_minute_holds_is_no_storm(world: World) -> None:
    groups(world, range(8))
    assert claimed(world) is None


def test_everything_is_told_in_one_message(world: World) -> None:
    groups(world, range(30))
    work, found = storm(world)
    assert len(found) == 30
    assert shown(world, work) == (30, 30, False)
    finish(world, work, found, Delivered({"ts": "1"}), world.now + LIMITS.every)
    assert world.fates(TEAM) == ["delivered"] * 30


def test_the_message_is_brought_up_to_date_and_then_closes_the_storm(world: World) -> None:
    groups(world, range(20))
    work, found = storm(world)
    finish(world, work, found, Delivered({"ts": "1"}), world.now + LIMITS.every)
    groups(world, range(20, 40))
    groups(world, range(5), status=Status.RESOLVED)
    again, found = storm(world)
    assert again.id == work.id
    assert again.conversation.remote == {"ts": "1"}
    assert shown(world, again)[0] == 35
    finish(world, again, found, Delivered({"ts": "1"}), world.now + LIMITS.every)
    world.now += LIMITS.every
    last, found = storm(world)
    assert found == []
    assert shown(world, last) == (35, 35, True)
    finish(world, last, found, Delivered({"ts": "1"}), world.now + LIMITS.every)
    assert claimed(world) is None
    groups(world, range(30, 31), status=Status.RESOLVED)
    single = world.begin(TEAM)
    assert isinstance(single, Work)
    assert not single.is_storm


def test_until_its_next_word_the_storm_waits(world: World) -> None:
    groups(world, range(20))
    work, found = storm(world)
    until = world.now + 60 * SECOND
    finish(world, work, found, Delivered({"ts": "1"}), until)
    groups(world, range(20, 40))
    assert claimed(world) == Idle(until)


def test_criticals_that_fit_have_their_own_messages(world: World) -> None:
    policy = world.policy = replace(POLICY, receivers={**POLICY.receivers, "team": (SLACK,)})
    for number in range(20):
        world.post(alert(f"Down{number}", "critical" if number < 3 else "warning"), group=f"g{number}")
    world.now += 10 * SECOND
    work = claim_in_storm(world.tx, SLACK.key, LIMITS, policy, world.now)
    assert isinstance(work, Work)
    found, _ = gather(world.tx, work, LIMITS, policy, world.now, -1)
    assert len(found) == 17
    finish(world, work, found, Retry("http 503"), world.now + 60 * SECOND)
    single = claim_in_storm(world.tx, SLACK.key, LIMITS, policy, world.now)
    assert isinstance(single, Work)
    assert [each.level for each in single.conversation.alerts] == ["critical"]


def test_a_storm_that_fails_is_tried_again_with_the_same_version(world: World) -> None:
    groups(world, range(20))
    work, found = storm(world)
    finish(world, work, found, Retry("timeout", ambiguous=True, remote={"doubt": 1}), world.now)
    again, found = storm(world)
    assert (again.id, again.conversation.version) == (work.id, work.conversation.version)
    assert again.conversation.remote == {"doubt": 1}
    assert again.conversation.attempt == 2
    finish(world, again, found, Delivered({"ts": "1"}), world.now + LIMITS.every)
    assert world.fates(TEAM) == ["delivered"] * 20


def test_what_ends_before_the_storms_word_arrived_is_moot(world: World) -> None:
    groups(world, range(20))
    work, found = storm(world)
    groups(world, range(5), status=Status.RESOLVED)
    finish(world, work, found, Retry("http 503"), world.now)
    _, found = storm(world)
    assert len(found) == 15
    assert world.fates(TEAM).count("moot") == 10


def test_a_storm_that_is_given_up_leaves_dead_letters(world: World) -> None:
    groups(world, range(20))
    work, found = storm(world)
    finish(world, work, found, Rejected("given up after 1d: http 503"), world.now)
    assert len(world.letters()) == 20
    assert world.now > NOON
    assert claimed(world) is None


def test_what_is_inhibited_by_the_time_it_is_due_makes_no_storm(world: World) -> None:
    for number in range(60):
        node = replace(alert("Node", "warning"), fingerprint=f"node-{number}")
        world.post(node, group=f"g{number}")
    world.now += 2 * SECOND
    world.post(alert("Node", "critical"), group="c")
    world.now += 10 * SECOND
    assert surges(world.tx, TEAM.key, LIMITS, world.now)
    after = -1
    while after:
        after = sift(world.tx, TEAM.key, POLICY, world.now, after)
    assert claimed(world) is None
    assert isinstance(world.begin(TEAM), Idle)
    assert world.fates(TEAM) == ["inhibited"] * 60


def test_a_storm_that_nobody_was_told_of_ends_without_a_word(world: World) -> None:
    groups(world, range(20))
    work, found = storm(world)
    finish(world, work, found, Retry("a storm's message was refused"), world.now)
    world.deliver(TEAM)
    world.now += HOUR
    assert claimed(world) is None
    groups(world, range(20, 40))
    again, _ = storm(world)
    assert again.id != work.id


def test_what_has_a_message_of_its_own_is_told_by_it_where_messages_are_edited(world: World) -> None:
    limits = replace(LIMITS, edits=True)
    groups(world, range(6))
    world.deliver(TEAM)
    groups(world, range(6), status=Status.RESOLVED)
    groups(world, range(10, 30))
    work = claim_in_storm(world.tx, TEAM.key, limits, POLICY, world.now)
    assert isinstance(work, Work)
    found, _ = gather(world.tx, work, limits, POLICY, world.now, -1)
    assert len(found) == 20
    finish(world, work, found, Delivered({"ts": "storm"}), world.now + 60 * SECOND)
    groups(world, range(40, 60))
    for _ in range(6):  # in between, one by one
        single = claim_in_storm(world.tx, TEAM.key, limits, POLICY, world.now)
        assert isinstance(single, Work)
        assert [each.alert.status for each in single.conversation.alerts] == [Status.RESOLVED]
        world.finish(single, Delivered({"ts": "1"}))
    assert isinstance(claim_in_storm(world.tx, TEAM.key, limits, POLICY, world.now), Idle)
