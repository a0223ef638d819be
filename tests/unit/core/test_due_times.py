"""When a change is due at a destination, and what objectives count of it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.due_times import NOT_COUNTED, first_time, next_time, slot_time
from router.core.rows import OPEN_FATES, FateRow
from router.core.settled import SettledChange, objective_results, settlement
from router.model import HOUR, MINUTE, SECOND, Fate, Millis, Objective, Rejected, Retry, Status
from tests.unit.core.world import DAILY, MONDAY, NIGHT, NOON, SLACK, TEAM, World, alert

FATES = st.sampled_from(list(Fate))
TIMES = st.none() | st.integers(1, 1_000)


def fate_row(fate: Fate = Fate.PENDING, at: Millis = 100, due_at: Millis | None = None) -> FateRow:
    return FateRow(
        1, 2, "slack:C0", 3, str(fate), "route", "", 1, at, at, None, None, str(fate), "", due_at
    )  # fmt: skip


def due(world: World, destination: str) -> list[Millis | None]:
    rows = sorted(world.state.fates)
    return [row.due_at for row in rows if row.destination == destination]


def late(world: World, destination: str) -> list[Millis]:
    """By how much each settled change of a destination was late."""
    found = (settlement(None, row) for row in sorted(world.state.fates) if row.destination == destination)
    return [each.late_by for each in found if each is not None]


@given(FATES, TIMES, st.integers(1, 1_000))
def test_a_change_is_never_due_before_it_was_accepted(fate: Fate, at: Millis | None, now: Millis) -> None:
    found = first_time(fate, at, now)
    assert (found is None) == (fate not in OPEN_FATES or fate is Fate.INHIBITED)
    assert found is None or found == max(now, at or now)


@given(FATES, TIMES, FATES, TIMES, st.integers(100, 1_000))
def test_a_passed_due_time_moves_only_to_a_digest_or_inhibition(
    was: Fate, due_at: Millis | None, fate: Fate, at: Millis | None, now: Millis
) -> None:
    row = fate_row(was, due_at=due_at if due_at is None else max(100, due_at))
    found = next_time(row, fate, at, now)
    waits = (Fate.PENDING, Fate.HELD)
    if was in waits and fate in waits and row.due_at is not None and row.due_at <= now:
        assert found == row.due_at
    else:
        assert found == first_time(fate, now if at is None else at, row.at)
    if found is not None:
        assert next_time(row._replace(fate=str(fate), due_at=found), fate, at, now) == found


@given(FATES, FATES, TIMES, st.integers(1, 1_000))
def test_what_was_given_up_once_is_never_due_again(
    was: Fate, fate: Fate, at: Millis | None, now: Millis
) -> None:
    row = fate_row(was, due_at=NOT_COUNTED)
    assert next_time(row, fate, at, now) == slot_time(row, now) == NOT_COUNTED
    assert settlement(None, row._replace(fate=str(fate))) is None


@given(st.integers(0, 5), st.integers(0, 10 * MINUTE), st.booleans())
def test_each_settled_change_counts_at_most_once_for_each_objective(
    urgency: int, late_by: Millis, is_delivered: bool
) -> None:
    found = objective_results(SettledChange("", urgency, NOON, late_by, is_delivered))
    counted = dict(found)
    assert len(counted) == len(found)
    assert counted[Objective.DELIVERED] == is_delivered
    assert (Objective.URGENT_IN_TIME in counted) <= (urgency == 0)
    for objective, limit in ((Objective.IN_TIME, 5 * MINUTE), (Objective.URGENT_IN_TIME, 30 * SECOND)):
        if objective in counted:
            assert counted[objective] == (late_by <= limit)
    if is_delivered:
        assert Objective.IN_TIME in counted


@pytest.mark.parametrize(
    ("late_by", "is_delivered", "wanted"),
    [
        (30_000, True, {"delivered": True, "in_time": True, "urgent_in_time": True}),
        (30_001, True, {"delivered": True, "in_time": True, "urgent_in_time": False}),
        (300_001, True, {"delivered": True, "in_time": False, "urgent_in_time": False}),
        (1_000, False, {"delivered": False}),
        (60_000, False, {"delivered": False, "urgent_in_time": False}),
        (300_001, False, {"delivered": False, "in_time": False, "urgent_in_time": False}),
    ],
)
def test_the_limits_of_the_most_urgent_level(
    late_by: Millis, is_delivered: bool, wanted: dict[str, bool]
) -> None:
    assert {
        str(each): good for each, good in objective_results(SettledChange("", 0, NOON, late_by, is_delivered))
    } == wanted


def test_a_critical_is_due_immediately_and_a_retry_counts_as_time() -> None:
    world = World()
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    world.finish(work, Retry("http 503"), not_before=NOON + MINUTE)
    world.now += MINUTE
    world.deliver(SLACK)
    assert (due(world, SLACK.key), late(world, SLACK.key)) == ([NOON], [MINUTE])


def test_a_held_change_is_due_at_the_opening() -> None:
    world = World(now=NIGHT)
    world.post(alert("Slow", "warning"))
    opening = NIGHT + 11 * HOUR
    assert due(world, TEAM.key) == [opening]
    world.now = opening + 2 * SECOND
    world.deliver(TEAM)
    assert (world.fates(TEAM), late(world, TEAM.key)) == (["delivered"], [2 * SECOND])


def test_a_change_that_misses_its_opening_hours_is_late_from_the_opening() -> None:
    world = World(now=NIGHT)
    world.post(alert("Slow", "warning"))
    world.now = NIGHT + 21 * HOUR  # Tuesday, 19:00: the route has opened and closed
    world.deliver(TEAM)
    assert world.fates(TEAM) == ["held"]
    assert due(world, TEAM.key) == [NIGHT + 11 * HOUR]


def test_an_inhibited_change_is_due_when_its_inhibitor_ends() -> None:
    world = World()
    world.post(alert("Disk", "critical"))
    world.post(alert("Disk", "warning"))
    assert due(world, TEAM.key) == [None]
    world.now += HOUR
    world.post(alert("Disk", "critical", Status.RESOLVED))
    (at,) = due(world, TEAM.key)
    assert at is not None
    assert NOON + HOUR <= at <= NOON + HOUR + 5 * SECOND


def test_a_change_of_a_digest_is_due_at_its_slot() -> None:
    world = World()
    world.post(alert("Cert", "info"))
    slot = MONDAY + 32 * HOUR
    assert due(world, DAILY.key) == [slot]
    world.now = slot + MINUTE
    world.deliver(DAILY)
    assert (world.fates(DAILY), late(world, DAILY.key)) == (["delivered"], [MINUTE])


def test_an_end_is_due_when_it_comes() -> None:
    world = World()
    world.post(alert("Down", "critical"))
    world.deliver(SLACK)
    world.now += HOUR
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.now += SECOND
    world.deliver(SLACK)
    assert late(world, SLACK.key) == [0, SECOND]


def test_what_the_destination_knows_already_is_not_due() -> None:
    world = World()
    world.post(alert("Down", "critical"))
    world.deliver(SLACK)
    world.now += HOUR
    world.post(alert("Down", "critical"))
    assert (world.fates(SLACK), due(world, SLACK.key)) == (["delivered"] * 2, [NOON, None])


def test_an_obsolete_change_counts_for_no_objective() -> None:
    world = World()
    world.post(alert("Down", "critical"))
    world.now += HOUR
    world.post(alert("Down", "critical", Status.RESOLVED))
    assert (world.fates(SLACK), late(world, SLACK.key)) == (["obsolete"] * 2, [])


def test_a_dead_letter_that_is_retried_is_not_counted_again() -> None:
    world = World()
    world.post(alert("Down", "critical"))
    world.finish(world.work_of(SLACK), Rejected("http 400"))
    (row,) = (each for each in world.state.fates if each.destination == SLACK.key)
    counted = settlement(row._replace(fate="pending"), row)
    assert counted is not None
    assert not counted.is_delivered
    world.now += HOUR
    world.retry_the_dead()
    assert due(world, SLACK.key) == [NOT_COUNTED]
    world.deliver(SLACK)
    assert (world.fates(SLACK), late(world, SLACK.key)) == (["delivered"], [])


def test_a_change_of_a_tenant_keeps_the_tenant_that_it_had() -> None:
    world = World()
    tenants = replace(world.policy.tenants, label="team", named=("shop",))
    world.reload(replace(world.policy, tenants=tenants, fingerprint="with tenants"))
    cart = alert("Cart", "critical")
    world.post(replace(cart, labels={**cart.labels, "team": "shop"}), alert("Disk", "critical"))
    assert {row.tenant for row in world.state.changes} == {"shop", "none"}
    world.reload(replace(world.policy, tenants=replace(tenants, named=()), fingerprint="none named"))
    world.deliver()
    assert {row.tenant for row in world.state.fates} == {"shop", "none"}
    invariant = {(each.tenant, world.state.changes[each.change_id].tenant) for each in world.state.fates}
    assert invariant == {("shop", "shop"), ("none", "none")}
