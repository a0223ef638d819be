"""A storm: one message, kept up to date, and single messages again afterwards."""

from dataclasses import replace

import pytest

from router.core.rows import OF_STORM, OPEN
from router.model import HOUR, SECOND, Delivered, Destination, Rejected, Retry, Status
from router.store import ClaimedDelivery, Idle, Limits, jobs
from tests.unit.core.memory import at_once
from tests.unit.core.world import NOON, POLICY, SLACK, TEAM, World, alert

LIMITS = Limits(above=8, every=5 * SECOND)
DELIVERED = Delivered({"ts": "1"})


@pytest.fixture
def world() -> World:
    return World()


def groups(world: World, names: range, level: str = "warning", status: Status = Status.FIRING) -> None:
    for number in names:
        world.post(alert(f"Down{number}", level, status), group=f"g{number}")
    world.now += 10 * SECOND  # past the inhibit wait


def storm(world: World, limits: Limits = LIMITS, at: Destination = TEAM) -> ClaimedDelivery:
    """Claim the storm's message, with the conversations that it absorbs."""
    work = world.work_of(at, limits)
    assert work.is_storm
    return work


def single(world: World, limits: Limits = LIMITS, at: Destination = TEAM) -> ClaimedDelivery:
    work = world.work_of(at, limits)
    assert not work.is_storm
    return work


def shown(work: ClaimedDelivery) -> tuple[int, int, bool]:
    seen = work.conversation.storm
    assert seen is not None
    return seen.groups, seen.alerts, seen.over


def test_no_storm_begins_at_the_limit(world: World) -> None:
    groups(world, range(8))
    single(world)


def test_a_storm_is_one_message(world: World) -> None:
    groups(world, range(60))
    work = storm(world)
    assert len(work.parts) == 60
    assert shown(work) == (60, 60, False)
    world.finish(work, DELIVERED, not_before=world.now + LIMITS.every)
    assert world.fates(TEAM) == ["delivered"] * 60
    world.assert_balanced()


def named(work: ClaimedDelivery) -> tuple[set[str], set[str], set[str]]:
    """Return the groups that fire newly, those with fewer alerts, and those that ended."""
    seen = work.conversation.storm
    assert seen is not None
    lists = (seen.news.firing, seen.news.eased, seen.news.resolved)
    return tuple({each.labels["group"] for each in lines} for lines in lists)  # type: ignore[return-value]


def of(numbers: range) -> set[str]:
    return {f"g{number}" for number in numbers}


def delivered(world: World, work: ClaimedDelivery) -> ClaimedDelivery:
    """Deliver the storm's message, and wait until the next one may be sent."""
    world.finish(work, DELIVERED, not_before=world.now + LIMITS.every)
    world.assert_balanced()
    world.now += LIMITS.every
    return work


def test_a_storm_is_open_until_all_its_groups_have_ended(world: World) -> None:
    groups(world, range(20))
    first = delivered(world, storm(world))
    assert named(first) == (of(range(20)), set(), set())
    groups(world, range(20, 40))
    groups(world, range(5), status=Status.RESOLVED)
    again = delivered(world, storm(world))
    assert (again.id, again.conversation.remote) == (first.id, {"ts": "1"})
    assert named(again) == (of(range(20, 40)), set(), of(range(5)))
    assert shown(again) == (35, 35, False)
    world.now += HOUR
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    groups(world, range(5, 39), status=Status.RESOLVED)
    assert shown(delivered(world, storm(world))) == (1, 1, False)
    groups(world, range(39, 40), status=Status.RESOLVED)
    last = delivered(world, storm(world))
    assert named(last) == (set(), set(), of(range(39, 40)))
    assert shown(last) == (0, 0, True)
    assert last.conversation.storm is not None
    assert last.conversation.storm.resolved == 40
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    assert world.fates(TEAM) == ["delivered"] * 80
    assert not [row for row in world.state.conversations if row.state == OPEN and row.group_id is not None]


def test_ends_of_absorbed_groups_begin_no_other_storm(world: World) -> None:
    groups(world, range(20))
    first = delivered(world, storm(world))
    groups(world, range(20), status=Status.RESOLVED)
    assert named(delivered(world, storm(world))) == (set(), set(), of(range(20)))
    assert [row.id for row in world.state.conversations if row.kind == OF_STORM] == [first.id]


def test_new_groups_have_own_messages_when_few_still_fire(world: World) -> None:
    groups(world, range(20))
    delivered(world, storm(world))
    groups(world, range(15), status=Status.RESOLVED)
    delivered(world, storm(world))
    groups(world, range(20, 22))
    for _ in range(2):
        world.finish(single(world), DELIVERED)
    groups(world, range(15, 21), status=Status.RESOLVED)
    assert named(delivered(world, storm(world)))[2] == of(range(15, 20))
    assert single(world).conversation.group_labels == {"group": "g20"}


def test_groups_without_room_are_named_in_the_next_message(world: World) -> None:
    limits = replace(LIMITS, room=400)
    groups(world, range(60))
    names: list[str] = []
    for _ in range(60):
        work = storm(world, limits)
        assert work.conversation.storm is not None
        firing = named(work)[0]
        assert firing
        names += firing
        world.finish(work, DELIVERED)
        world.assert_balanced()
        assert world.fates(TEAM).count("delivered") == len(names)
        if not work.conversation.storm.more:
            break
    assert sorted(names) == sorted(of(range(60)))
    assert isinstance(world.begin(TEAM, limits), Idle)


def test_a_group_of_which_some_ended_is_named_as_one_that_still_fires(world: World) -> None:
    groups(world, range(20))
    world.post(alert("More", "warning"), group="g7")
    world.now += 10 * SECOND
    delivered(world, storm(world))
    groups(world, range(7, 8), status=Status.RESOLVED)
    assert named(delivered(world, storm(world))) == (set(), {"g7"}, set())


def test_a_critical_of_an_absorbed_group_has_its_own_message(world: World) -> None:
    world.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": (TEAM,)})
    groups(world, range(20))
    delivered(world, storm(world))
    world.post(alert("Worse", "critical"), group="g3")
    assert single(world).conversation.group_labels == {"group": "g3"}


def test_a_storm_with_nothing_to_say_leaves_no_attempt(world: World) -> None:
    groups(world, range(20))
    delivered(world, storm(world))
    for number in range(20, 23):
        node = replace(
            alert("Node", "warning"),
            fingerprint=f"node-{number}",
            labels={"alertname": "Node", "severity": "warning", "n": f"{number}"},
        )
        world.post(node, group=f"g{number}")
    world.now += 2 * SECOND
    world.post(alert("Node", "critical"), group="c")
    world.now += 10 * SECOND
    before = len(list(world.state.deliveries))
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    assert len(list(world.state.deliveries)) == before
    world.assert_balanced()


def test_a_storm_waits_until_its_next_message(world: World) -> None:
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


def test_each_attempt_of_a_storm_has_its_own_version(world: World) -> None:
    """Each attempt shows what is due by then, and a provider may drop a version that it has seen."""
    groups(world, range(20))
    work = storm(world)
    world.finish(work, Retry("timeout", ambiguous=True, remote={"doubt": 1}))
    again = storm(world)
    assert again.id == work.id
    assert again.conversation.version > work.conversation.version
    assert again.conversation.revision != work.conversation.revision
    assert again.conversation.remote == {"doubt": 1}
    assert again.conversation.attempt == 2
    world.finish(again, DELIVERED, not_before=world.now + LIMITS.every)
    assert world.fates(TEAM) == ["delivered"] * 20
    world.assert_balanced()


def test_an_end_before_the_storm_message_arrives_is_obsolete(world: World) -> None:
    groups(world, range(20))
    work = storm(world)
    groups(world, range(5), status=Status.RESOLVED)
    world.finish(work, Retry("http 503"))
    world.assert_balanced()
    assert len(storm(world).parts) == 15
    assert world.fates(TEAM).count("obsolete") == 10


def test_a_storm_that_is_given_up_leaves_dead_letters(world: World) -> None:
    groups(world, range(20))
    world.finish(storm(world), Rejected("given up after 1d: http 503"))
    assert len(world.letters()) == 20
    world.assert_balanced()
    assert world.now > NOON
    assert isinstance(world.begin(TEAM, LIMITS), Idle)


def test_conversations_inhibited_before_they_are_due_make_no_storm(world: World) -> None:
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


def test_an_unsent_storm_ends_without_a_message(world: World) -> None:
    groups(world, range(20))
    work = storm(world)
    world.finish(work, Retry("a storm's message was refused"))
    world.deliver(TEAM)
    world.now += HOUR
    assert isinstance(world.begin(TEAM, LIMITS), Idle)
    groups(world, range(20, 40))
    assert storm(world).id != work.id


def test_a_conversation_with_its_own_message_is_edited_in_a_storm(world: World) -> None:
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


def test_absorbed_conversations_are_due_again_after_a_restart(world: World) -> None:
    groups(world, range(60))
    storm(world)
    world.assert_balanced()
    world.restart()
    world.assert_balanced()
    work = storm(world)
    assert len(work.parts) == 60
    assert all(part.may_have_arrived for part in work.parts)


def test_a_failed_storm_is_due_when_its_destination_is_resumed(world: World) -> None:
    groups(world, range(20))
    world.finish(storm(world), Retry("http 503"), not_before=world.now + HOUR)
    assert world.begin(TEAM, LIMITS) == Idle(world.now + HOUR, failing=True)
    at_once(world.store.resume(TEAM.key))
    storm(world)


def test_a_crash_while_a_storm_is_recorded_keeps_its_message(world: World) -> None:
    groups(world, range(60))
    work = storm(world)
    world.do(jobs.Record(work, DELIVERED, world.policy, world.now, world.now))
    world.restart()
    again = storm(world)
    assert again.conversation.remote == {"ts": "1"}
    assert named(again)[0] == of(range(60))


def test_a_storms_message_stays_current_when_a_group_gets_its_own(world: World) -> None:
    world.policy = replace(POLICY, receivers={**POLICY.receivers, "oncall": (TEAM,)})
    limits = replace(LIMITS, edits=True)
    groups(world, range(20))
    delivered(world, storm(world, limits))
    world.post(alert("Worse", "critical"), group="g3")
    world.finish(single(world, limits), Delivered({"ts": "2"}))
    update = delivered(world, storm(world, limits))
    assert (update.parts, shown(update)) == ((), (19, 19, False))
    assert isinstance(world.begin(TEAM, limits), Idle)


def test_news_does_not_wake_a_storm_that_waits() -> None:
    """The lane looks once a second for conversations with their own messages."""
    world, limits = World(), Limits(above=2, every=30 * SECOND)
    for number in range(6):
        world.post(alert(f"A{number}", "warning"), group=f"a{number}")
    world.now += 10 * SECOND
    storm = world.work_of(TEAM, limits)
    assert storm.is_storm
    at_once(world.store.record(storm, DELIVERED, world.policy, world.now, world.now + limits.every))
    next_at = world.now + limits.every
    for number in range(100):
        world.now += SECOND // 10
        world.post(alert(f"B{number}", "warning"), group=f"b{number}")
    claims = 0
    while isinstance(found := world.begin(TEAM, limits), Idle):
        claims += 1
        assert found.until is not None
        assert world.now < found.until <= next_at
        world.now = found.until
    assert found.is_storm
    assert world.now == next_at
    assert claims < 25
