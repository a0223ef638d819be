"""A conversation of very many members is claimed, recorded and closed in pieces, with the same result as a small one."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from router.model import DAY, HOUR, MINUTE, SECOND, Broken, Delivered, Rejected, Retry, Status
from router.store import Idle, Limits
from router.store.recording import Recording
from tests.examples import examples
from tests.unit.core.stories import STEPS, History
from tests.unit.core.storm_stories import STORM_STEPS, StormHistory
from tests.unit.core.world import ALL, DAILY, PAGER, POLICY, SLACK, TEAM, World, alert, without_ends
from tests.unit.store.large import large_from
from tests.unit.store.sqlite_world import InSqlite, in_sqlite

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    large_from(monkeypatch, 1)
    monkeypatch.setattr("router.store.jobs.job.MEMBERS_PER_BATCH", 2)


@pytest.fixture
def world() -> Iterator[World]:
    with in_sqlite() as database:
        yield World(database=database)


def fates(world: World) -> Counter[tuple[str, str]]:
    return Counter((row.destination, row.fate) for row in world.state.fates)


@given(STEPS)
@examples(20, HealthCheck.function_scoped_fixture)
@example([("post", [("A", "critical"), ("B", "critical")], "g"), ("begin", 0, None), ("reload", 2, None)])
def test_a_history_of_large_conversations_ends_as_with_small_ones(steps: list[Any]) -> None:
    with in_sqlite() as database, pytest.MonkeyPatch.context() as patch:
        large = History(World(database=database))
        for step in steps:
            large.play(*step)
        large.settle()
        large_from(patch, 500)
        small = History(World())
        for step in steps:
            small.play(*step)
        small.settle()
        for destination in ALL:
            mine, other = (each.world.providers[destination.key] for each in (large, small))
            assert mine.all_firing == other.all_firing, destination.key
        assert fates(large.world) == fates(small.world)


@given(STORM_STEPS, st.booleans(), st.sampled_from([10_000, 60]))
@examples(20, HealthCheck.function_scoped_fixture)
def test_a_storm_of_large_conversations_ends_as_with_small_ones(
    steps: list[Any], edits: bool, room: int
) -> None:
    limits = Limits(above=2, every=5 * SECOND, room=room, edits=edits)
    with in_sqlite() as database, pytest.MonkeyPatch.context() as patch:
        large_from(patch, 0)
        large = StormHistory(limits, database)
        for step in steps:
            large.step(*step)
        large.settle()
        large_from(patch, 500)
        small = StormHistory(limits)
        for step in steps:
            small.step(*step)
        small.settle()
        mine, other = (each.world.providers[TEAM.key] for each in (large, small))
        assert mine.all_firing == other.all_firing
        assert fates(large.world) == fates(small.world)


def many(world: World, status: Status = Status.FIRING, level: str = "critical") -> None:
    world.post(*(alert(f"A{number}", level, status) for number in range(7)))


def test_all_alerts_are_sent_and_recorded(world: World) -> None:
    many(world)
    work = world.work_of(SLACK)
    assert [len(work.notices), len(work.conversation.firing)] == [7, 7]
    world.finish(work, Delivered({"ts": "1"}))
    world.assert_balanced()
    assert world.fates(SLACK) == ["delivered"] * 7
    assert isinstance(world.begin(SLACK), Idle)


def test_ends_that_overtake_a_claim_are_not_sent_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.reload(without_ends(POLICY, [SLACK.key]))
    many(world)
    database = world.database
    assert isinstance(database, InSqlite)
    read = database.read

    async def read_after_the_ends(work: Callable[..., Any]) -> Any:
        many(world, Status.RESOLVED)
        return await read(work)

    monkeypatch.setattr(database, "read", read_after_the_ends)
    assert isinstance(world.begin(SLACK), Idle)
    world.assert_balanced()
    assert Counter(world.fates(SLACK)) == {"obsolete": 7, "dropped": 7}
    assert {row.state for row in world.state.conversations if row.destination == SLACK.key} == {"closed"}


def test_a_claim_that_is_taken_back_leaves_nothing_behind(world: World) -> None:
    many(world)
    world.take_back(world.work_of(SLACK))
    world.assert_balanced()
    assert not list(world.state.deliveries)
    work = world.work_of(SLACK)
    assert (work.conversation.attempt, work.may_have_arrived) == (1, False)
    world.finish(work, Delivered({"ts": "1"}))
    assert world.fates(SLACK) == ["delivered"] * 7


def test_a_failed_attempt_does_not_change_what_was_notified(world: World) -> None:
    many(world)
    world.finish(world.work_of(SLACK), Retry("http 503"))
    many(world, Status.RESOLVED)
    world.deliver()
    assert world.fates(SLACK) == ["obsolete"] * 14
    assert world.providers[SLACK.key].received == []


@pytest.mark.parametrize(
    "outcome", [Retry("timeout", ambiguous=True), Broken("not in channel", ambiguous=True)]
)
def test_a_lost_answer_makes_the_notification_unknown(world: World, outcome: Retry | Broken) -> None:
    many(world)
    world.finish(world.work_of(PAGER), outcome)
    many(world, Status.RESOLVED)
    world.now += HOUR
    work = world.work_of(PAGER)
    assert work.may_have_arrived
    world.finish(work, Delivered())
    assert world.fates(PAGER) == ["delivered"] * 14


def test_a_rejected_delivery_is_a_dead_letter(world: World) -> None:
    many(world)
    world.finish(world.work_of(SLACK), Rejected("http 400"))
    assert len(world.letters()) == 1
    assert world.fates(SLACK) == ["dead"] * 7


def test_after_its_end_the_next_firing_opens_another_episode(world: World) -> None:
    many(world)
    world.deliver()
    many(world, Status.RESOLVED)
    world.deliver()
    (row,) = (row for row in world.state.conversations if row.destination == SLACK.key)
    assert row.state == "closed"
    assert not any(member.open for member in world.state.members if member.conversation_id == row.id)
    world.now += HOUR
    world.post(alert("A1", "critical", Status.FIRING, world.now))
    assert world.work_of(SLACK).conversation.episode == 2


def test_a_firing_during_the_closing_opens_another_episode(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def later(*_: object) -> None:
        """The process is about to mark its members."""

    many(world)
    world.deliver()
    many(world, Status.RESOLVED)
    with monkeypatch.context() as patch:
        patch.setattr(Recording, "close_large", later)
        world.deliver(SLACK)
    world.now += HOUR
    world.post(alert("A1", "critical", Status.FIRING, world.now))
    assert world.work_of(SLACK).conversation.episode == 2
    world.restart()
    world.deliver()
    world.post(alert("A1", "critical", Status.RESOLVED, world.now))
    world.deliver()
    world.assert_balanced()
    assert world.providers[SLACK.key].all_firing == set()
    assert {row.state for row in world.state.conversations if row.destination == SLACK.key} == {"closed"}


def test_changes_during_a_delivery_are_sent_after_it(world: World) -> None:
    many(world)
    work = world.work_of(SLACK)
    world.post(alert("B", "critical"), alert("A3", "critical", Status.RESOLVED))
    world.finish(work, Delivered({"ts": "1"}))
    after = world.work_of(SLACK)
    assert {each.alert.fingerprint for each in after.conversation.alerts if each.news} == {
        "A3-critical", "B-critical",
    }  # fmt: skip
    world.finish(after, Delivered({"ts": "1"}))
    world.assert_balanced()


def test_alerts_that_are_inhibited_meanwhile_are_not_sent(world: World) -> None:
    world.now += MINUTE
    many(world, level="warning")
    world.post(*(alert(f"A{number}", "critical") for number in range(3)), group="h")
    world.now += HOUR
    work = world.work_of(TEAM)
    assert {each.alert.fingerprint for each in work.conversation.firing} == {
        f"A{number}-warning" for number in range(3, 7)
    }
    world.finish(work, Delivered({"ts": "1"}))
    assert Counter(world.fates(TEAM)) == {"inhibited": 3, "delivered": 4}


def test_a_closing_digest_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members move to the next slot in pieces, and the process ends before that."""

    async def later(*_: object) -> None:
        """The process is about to do so."""

    many(world, level="info")
    world.now += DAY
    with monkeypatch.context() as patch:
        patch.setattr(Recording, "close_large", later)
        world.deliver(DAILY)
    world.post(alert("A1", "info", Status.RESOLVED), alert("A2", "info"))
    world.restart()
    world.now += DAY
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    firing, ended = ([line.alert.labels["alertname"] for line in lines]
                     for lines in (work.conversation.digest.firing, work.conversation.digest.ended))  # fmt: skip
    assert (sorted(firing), ended) == (["A0", "A2", "A3", "A4", "A5", "A6"], ["A1"])
    world.finish(work, Delivered())
    world.assert_balanced()
    assert set(world.fates(DAILY)) == {"delivered"}
