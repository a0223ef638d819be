"""A claim of which nothing was sent is taken back: all rows are as they were before the claim."""

from typing import Any

import pytest

from router.core.indexes import TABLES
from router.model import HOUR, MINUTE, SECOND, Delivered, Retry, Status
from router.store import ClaimedDelivery, Idle, Limits
from tests.unit.core.world import DAILY, NIGHT, PAGER, SLACK, TEAM, World, alert

LIMITS = Limits(above=2, every=5 * SECOND)


@pytest.fixture
def world(either_world: World) -> World:
    return either_world


def contents(world: World) -> dict[str, list[Any]]:
    """Return all rows, by table, without what a claim that is undone may change: the next id and the generations, because
    none is used twice; and the result of judging alerts again.
    """
    found = {table.name: sorted(getattr(world.state, table.name)) for table in TABLES}
    found["meta"] = [row for row in found["meta"] if row.key != "next_id"]
    found["conversations"] = [row._replace(generation=0) for row in found["conversations"]]
    found["fates"] = [row._replace(updated_at=0) for row in found["fates"]]
    return found


def assert_back(world: World, before: dict[str, list[Any]]) -> None:
    after = contents(world)
    for table, rows in before.items():
        assert after[table] == rows, table
    world.assert_balanced()


def test_a_claim_that_is_taken_back_leaves_every_row_as_it_was(world: World) -> None:
    world.post(alert("A", "critical"), alert("B", "critical"))
    before = contents(world)
    world.take_back(world.work_of(SLACK), world.work_of(PAGER))
    assert_back(world, before)


def test_the_next_claim_is_the_first_attempt(world: World) -> None:
    world.post(alert("A", "critical"))
    world.take_back(world.work_of(SLACK))
    work = world.work_of(SLACK)
    assert (work.conversation.attempt, work.may_have_arrived) == (1, False)
    world.finish(work, Delivered({"ts": "1"}))
    assert world.fates(SLACK) == ["delivered"]
    assert [row.attempt for row in world.state.deliveries] == [1]


def test_failed_attempts_before_an_undone_claim_still_count(world: World) -> None:
    world.post(alert("A", "critical"))
    world.finish(world.work_of(SLACK), Retry("http 503"))
    before = contents(world)
    world.take_back(world.work_of(SLACK))
    assert_back(world, before)
    assert world.work_of(SLACK).conversation.attempt == 2


def test_undoing_a_claim_keeps_notified_unknown(world: World) -> None:
    world.post(alert("A", "critical"))
    world.finish(world.work_of(SLACK), Retry("timeout", ambiguous=True))
    before = contents(world)
    world.take_back(world.work_of(SLACK))
    assert_back(world, before)
    assert world.work_of(SLACK).may_have_arrived


def test_an_update_that_is_taken_back_is_due_again(world: World) -> None:
    world.post(alert("A", "critical"))
    world.finish(world.work_of(SLACK), Delivered({"ts": "1"}))
    world.post(alert("A", "critical"), alert("B", "critical"))
    before = contents(world)
    world.take_back(world.work_of(SLACK))
    assert_back(world, before)


def test_a_claim_that_has_an_outcome_is_not_taken_back(world: World) -> None:
    world.post(alert("A", "critical"))
    work = world.work_of(SLACK)
    world.finish(work, Retry("http 503"))
    before = contents(world)
    world.take_back(work)
    assert_back(world, before)


def test_an_alert_that_ended_before_the_claim_is_undone_is_obsolete(world: World) -> None:
    world.post(alert("A", "critical"))
    work = world.work_of(SLACK)
    world.post(alert("A", "critical", Status.RESOLVED))
    world.take_back(work)
    world.assert_balanced()
    assert world.fates(SLACK) == ["obsolete", "obsolete"]
    assert isinstance(world.begin(SLACK), Idle)


def test_news_during_a_wait_is_sent_with_the_rest(world: World) -> None:
    world.post(alert("A", "critical"))
    work = world.work_of(SLACK)
    world.post(alert("A", "critical"), alert("B", "critical"))
    world.take_back(work)
    world.deliver(SLACK)
    assert world.providers[SLACK.key].received == [("A-critical", "firing"), ("B-critical", "firing")]


def test_a_digest_that_is_taken_back_goes_out_once(world: World) -> None:
    world.post(alert("A", "info"))
    world.now = NIGHT + 11 * HOUR
    before = contents(world)
    world.take_back(world.work_of(DAILY))
    assert_back(world, before)
    world.finish(world.work_of(DAILY), Delivered())
    assert world.providers[DAILY.key].received == [("A-info", "digest")]


def _storm(world: World) -> ClaimedDelivery:
    for number in range(5):
        world.post(alert(f"A{number}", "warning"), group=f"g{number}")
    world.now += MINUTE
    return world.work_of(TEAM, LIMITS)


def test_a_taken_back_storm_leaves_its_conversations_due(world: World) -> None:
    work = _storm(world)
    assert len(work.parts) == 5
    world.take_back(work)
    world.assert_balanced()
    assert not list(world.state.deliveries)
    again = world.work_of(TEAM, LIMITS)
    assert [part.conversation.attempt for part in again.parts] == [1] * 5
    world.finish(again, Delivered({"ts": "1"}))
    assert world.fates(TEAM) == ["delivered"] * 5


def test_an_open_storm_keeps_its_message(world: World) -> None:
    world.finish(_storm(world), Delivered({"ts": "1"}), not_before=world.now)
    for number in range(5, 9):
        world.post(alert(f"A{number}", "warning"), group=f"g{number}")
    world.now += MINUTE
    before = contents(world)
    world.take_back(world.work_of(TEAM, LIMITS))
    assert_back(world, before)
    assert world.work_of(TEAM, LIMITS).conversation.remote == {"ts": "1"}
