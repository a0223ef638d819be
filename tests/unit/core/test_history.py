"""After any history the ledger balances, and every destination shows what fires."""

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import DAY, HOUR, MINUTE, SECOND, Delivered, Millis, Rejected, Retry, Status
from router.store import ClaimedDelivery, Idle
from tests.examples import examples
from tests.unit.core.stories import STEPS, WITHOUT_ENDS, History
from tests.unit.core.world import (
    DAILY,
    MONDAY,
    NIGHT,
    PAGER,
    PER_ALERT,
    POLICY,
    SLACK,
    TEAM,
    World,
    alert,
    with_repeat,
    without_ends,
)


@pytest.fixture
def world() -> World:
    return World()


def test_a_critical_and_its_end_are_sent(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].received == [("Down-critical", "firing"), ("Down-critical", "resolved")]
    assert world.fates(PAGER) == ["delivered", "delivered"]
    world.assert_balanced()


def test_every_attempt_at_the_same_state_has_the_same_version(world: World) -> None:
    """Channels recognize by it what they have sent before."""
    world.post(alert("Down", "critical"), alert("Slow", "critical"))
    versions = []
    for _ in range(3):
        work = world.begin(SLACK)
        assert isinstance(work, ClaimedDelivery)
        versions.append(work.conversation.version)
        world.finish(work, Retry("no answer", ambiguous=True))
    assert len(set(versions)) == 1


def test_a_repeat_counts_as_delivered_and_is_not_sent(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical"))
    assert isinstance(world.begin(SLACK), Idle)
    assert world.fates(SLACK) == ["delivered", "delivered"]


def test_an_alert_that_ended_before_its_delivery_is_obsolete(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].received == []
    assert world.fates(PAGER) == ["obsolete", "obsolete"]
    world.assert_balanced()


def test_a_held_warning_is_sent_once_at_opening(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.deliver()
    assert world.fates(TEAM) == ["held"]
    idle = world.begin(TEAM)
    assert idle == Idle(MONDAY + DAY + 9 * HOUR)
    world.now = MONDAY + DAY + 9 * HOUR
    world.deliver()
    world.deliver()
    assert world.providers[TEAM.key].received == [("Disk-warning", "firing")]
    assert world.fates(TEAM) == ["delivered"]


def test_a_held_warning_that_ends_at_night_is_obsolete(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.now += HOUR
    world.post(alert("Disk", "warning", Status.RESOLVED))
    world.now = MONDAY + DAY + 10 * HOUR
    world.deliver()
    assert world.providers[TEAM.key].received == []
    assert world.fates(TEAM) == ["obsolete", "obsolete"]


def test_an_end_is_sent_at_any_hour(world: World) -> None:
    world.post(alert("Disk", "warning"))
    world.now += 10 * SECOND
    world.deliver()
    world.now = NIGHT
    world.post(alert("Disk", "warning", Status.RESOLVED))
    world.deliver()
    assert world.providers[TEAM.key].received[-1] == ("Disk-warning", "resolved")


def test_an_inhibited_warning_is_sent_after_its_inhibitor_ends(world: World) -> None:
    world.post(alert("Down", "critical"), group="c")
    world.post(alert("Down", "warning"), group="w")
    world.now += MINUTE
    world.deliver()
    assert world.fates(TEAM) == ["inhibited"]
    world.post(alert("Down", "critical", Status.RESOLVED), group="c")
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Down-warning", "firing")]
    assert world.fates(TEAM) == ["delivered"]


def test_an_inhibitor_that_arrives_just_after_its_target_still_counts(world: World) -> None:
    world.post(alert("Down", "warning"), group="w")
    world.deliver()
    world.now += 2 * SECOND
    world.post(alert("Down", "critical"), group="c")
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == []
    assert world.fates(TEAM) == ["inhibited"]


def test_an_end_during_the_first_attempt_is_sent(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(PAGER)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.finish(work, Delivered())
    world.deliver()
    assert world.providers[PAGER.key].received == [("Down-critical", "firing"), ("Down-critical", "resolved")]
    world.assert_balanced()


def test_the_end_is_sent_after_a_lost_answer(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(PAGER)
    world.finish(work, Retry("timeout", ambiguous=True), arrived=True)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].all_firing == set()
    assert world.fates(PAGER) == ["delivered", "delivered"]


def test_a_refusal_is_dead_and_a_repeat_tries_again(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(PAGER)
    world.finish(work, Rejected("http 400"))
    assert isinstance(world.begin(PAGER), Idle)
    assert world.fates(PAGER) == ["dead"]
    world.post(alert("Down", "critical"))
    world.deliver()
    assert world.fates(PAGER) == ["dead", "delivered"]


def test_a_group_that_fires_after_its_end_starts_an_episode(world: World) -> None:
    for starts_at in (MONDAY, MONDAY + HOUR):
        world.post(alert("Down", "critical", starts_at=starts_at))
        world.deliver()
        world.post(alert("Down", "critical", Status.RESOLVED, starts_at=starts_at))
        world.deliver()
    assert [episode for _, episode in world.providers[SLACK.key].firing] == [1, 2]


def test_a_truncated_group_is_never_over(world: World) -> None:
    world.post(alert("Down", "critical"), truncated=3)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=3)
    work = world.work_of(PAGER)
    assert not work.conversation.over


def test_a_truncated_group_ends_when_alertmanager_shows_it_whole(world: World) -> None:
    world.post(alert("Down", "critical"), truncated=3)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=3)
    world.deliver()
    assert isinstance(world.begin(PAGER), Idle)
    receipt = world.post(alert("Down", "critical", Status.RESOLVED), truncated=0)
    assert PAGER.key in receipt.wake
    work = world.work_of(PAGER)
    assert work.conversation.over
    world.finish(work, Delivered())
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=0)
    assert isinstance(world.begin(PAGER), Idle)
    world.assert_balanced()


def test_an_empty_digest_is_sent_as_all_quiet_when_asked_for(world: World) -> None:
    world.now = MONDAY + DAY + 8 * HOUR
    quiet = replace(DAILY, options=DAILY.options.model_copy(update={"empty": "all-quiet"}))
    work = world.work_of(quiet)
    assert work.conversation.digest is not None
    assert work.conversation.digest.empty
    world.finish(work, Delivered())
    assert world.begin(DAILY) == Idle(MONDAY + 2 * DAY + 8 * HOUR)


def test_a_late_digest_covers_all_missed_days_once(world: World) -> None:
    world.post(alert("Cert", "info"))
    world.now = MONDAY + 4 * DAY
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert work.conversation.digest.since == MONDAY + 8 * HOUR
    assert work.conversation.digest.until == MONDAY + 3 * DAY + 8 * HOUR
    world.finish(work, Delivered())
    assert world.begin(DAILY) == Idle(MONDAY + 4 * DAY + 8 * HOUR)


def test_an_alert_of_two_groups_is_ended_in_both(world: World) -> None:
    world.post(alert("Down", "critical"), group="a")
    world.post(alert("Down", "critical"), group="b")
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), group="a")
    world.deliver()
    assert world.providers[SLACK.key].all_firing == set()
    world.assert_balanced()


def test_the_peers_of_a_pair_report_one_change(world: World) -> None:
    for peer in ("http://am-1", "http://am-2"):
        world.post(alert("Down", "critical"), peer=peer)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), peer="http://am-1")
    world.deliver()
    world.now += 15 * SECOND
    world.post(alert("Down", "critical"), peer="http://am-2")
    world.post(alert("Down", "critical", Status.RESOLVED), peer="http://am-2")
    world.deliver()
    assert world.providers[SLACK.key].received == [("Down-critical", "firing"), ("Down-critical", "resolved")]


def test_a_digest_goes_out_once_a_slot_and_carries_what_still_fires(world: World) -> None:
    world.post(alert("Cert", "info"), alert("Backup", "info"))
    world.post(alert("Backup", "info", Status.RESOLVED))
    slot = MONDAY + DAY + 8 * HOUR
    assert world.begin(DAILY) == Idle(slot)
    world.now = slot
    work = world.work_of(DAILY)
    digest = work.conversation.digest
    assert digest is not None
    assert [line.alert.fingerprint for line in digest.firing] == ["Cert-info"]
    assert [line.alert.fingerprint for line in digest.ended] == ["Backup-info"]
    world.finish(work, Delivered())
    assert world.begin(DAILY) == Idle(slot + DAY)
    assert world.fates(DAILY) == ["delivered"] * 3
    world.now = slot + DAY
    again = world.work_of(DAILY)
    assert again.conversation.digest is not None
    assert [line.alert.fingerprint for line in again.conversation.digest.firing] == ["Cert-info"]
    assert again.conversation.token != work.conversation.token


def test_an_empty_digest_is_skipped(world: World) -> None:
    world.now = MONDAY + DAY + 8 * HOUR
    assert world.begin(DAILY) == Idle(MONDAY + 2 * DAY + 8 * HOUR)


def test_a_digest_names_what_is_held_and_what_was_obsolete(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"), alert("Gone", "warning"))
    world.now += HOUR
    world.post(alert("Gone", "warning", Status.RESOLVED))
    world.now = MONDAY + DAY + 8 * HOUR
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert [line.alert.fingerprint for line in work.conversation.digest.held] == ["Disk-warning"]
    assert [line.alert.fingerprint for line in work.conversation.digest.obsolete] == ["Gone-warning"]


@given(STEPS, st.sampled_from([None, 0, HOUR]), WITHOUT_ENDS)
@examples(300)
def test_every_history_ends_with_a_balanced_ledger(
    steps: list[tuple[str, Any, Any]], repeat: Millis | None, unsent: frozenset[str]
) -> None:
    world = World(policy=without_ends(with_repeat(repeat), unsent))
    history = History(world)
    for step in steps:
        history.play(*step)
    history.settle()
    world.reload(POLICY)
    world.retry_the_dead()
    history.settle()
    criticals = {key for key in history.firing if key.endswith("critical")}
    unsent = unsent.union(*(detail for kind, _, detail in steps if kind == "reload"))
    for destination in (SLACK, PAGER, PER_ALERT):
        shown = world.providers[destination.key].all_firing
        assert shown >= criticals
        assert shown == criticals or destination.key in unsent
    warnings = {key for key in history.firing if key.endswith("warning")}
    muted = {f"{key[0]}-warning" for key in criticals}
    shown = world.providers[TEAM.key].all_firing
    assert warnings - muted <= shown
    assert shown <= history.firing or TEAM.key in unsent
    fates = {fate for each in (SLACK, PAGER, PER_ALERT, TEAM) for fate in world.fates(each)}
    dropped = {"dropped"} if unsent or any(kind == "reload" for kind, *_ in steps) else set()
    assert fates <= {"delivered", "obsolete", "inhibited"} | dropped


_REPORTED = st.tuples(
    st.sampled_from([Status.FIRING, Status.RESOLVED]), st.sampled_from("AB"), st.sampled_from("gh")
)
"""The status of a critical alert, its name, and the group that reports it."""
_ATTEMPTED = st.sampled_from(["delivered", "lost answer", "given up", "given up in doubt"])
"""The outcome of an attempt at each destination."""


@given(st.lists(st.one_of(_REPORTED, _ATTEMPTED), min_size=4, max_size=20))
@examples(100)
def test_repeats_alone_bring_every_destination_up_to_date(steps: list[tuple[Status, str, str] | str]) -> None:
    """Alertmanager reports each alert once more, and nobody retries a dead letter."""
    world = World()
    history = History(world)
    for step in steps:
        if isinstance(step, str):
            for destination in _INCIDENTS:
                history.begin(destination)
                history.finish(destination, step)
        else:
            status, name, group = step
            history.post([(name, "critical")], group, status)
    for group, name in product("gh", "AB"):
        fires = f"{name}-critical" in history.firing
        history.post([(name, "critical")], group, Status.FIRING if fires else Status.RESOLVED)
    history.settle()
    for destination in _INCIDENTS:
        assert world.providers[destination.key].all_firing == history.firing


_INCIDENTS = (SLACK, PAGER, PER_ALERT)
"""The destinations of criticals."""
