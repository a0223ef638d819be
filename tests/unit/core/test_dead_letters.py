"""What is given up is a dead letter: the failover receiver is notified instead, and nothing is lost."""

from dataclasses import replace

import pytest

from router.decide import Policy
from router.model import DAY, HOUR, MINUTE, Delivered, Destination, Rejected, Retry, Status
from router.store import Idle
from tests.unit.core.memory import at_once
from tests.unit.core.world import (
    DAILY,
    MONDAY,
    NIGHT,
    PAGER,
    PER_ALERT,
    POLICY,
    RULES,
    SLACK,
    TEAM,
    World,
    alert,
)

GONE = Rejected("channel_not_found")
STANDBY = Destination("email:standby@example.com", "email", None)


@pytest.fixture
def world() -> World:
    return World()


def given_up(world: World, destination: Destination) -> int:
    """Refuse the next delivery at a destination; return the id of its dead letter."""
    world.finish(world.work_of(destination), GONE)
    return world.letters()[-1]


def with_standby(*failing: Destination, on_failure: str = "standby") -> Policy:
    receivers = {
        name: tuple(replace(each, on_failure=on_failure) if each in failing else each for each in several)
        for name, several in POLICY.receivers.items()
    }
    return replace(POLICY, receivers={**receivers, "standby": (STANDBY,)}, fingerprint="with standby")


def test_a_given_up_alert_leaves_a_dead_letter(world: World) -> None:
    world.post(alert("Down", "critical"))
    given_up(world, SLACK)
    assert world.fates(SLACK) == ["dead"]
    assert isinstance(world.begin(SLACK), Idle)
    world.deliver(PAGER)
    assert world.fates(PAGER) == ["delivered"]
    world.assert_balanced()


def test_a_repeat_revives_a_dead_letter_and_new_rules_do_not(world: World) -> None:
    world.post(alert("Down", "critical"))
    given_up(world, SLACK)
    world.reload(replace(POLICY, fingerprint="changed"))
    assert isinstance(world.begin(SLACK), Idle)
    world.post(alert("Down", "critical"))
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    assert world.fates(SLACK) == ["dead", "delivered"]
    world.assert_balanced()


def test_a_retried_alert_is_sent_if_it_still_fires(world: World) -> None:
    world.post(alert("Down", "critical"))
    letter = given_up(world, SLACK)
    assert world.retry(letter) == frozenset({SLACK.key})
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    assert world.fates(SLACK) == ["delivered"]
    assert world.retry(letter) is None
    world.assert_balanced()


def test_a_retry_of_an_ended_alert_is_obsolete(world: World) -> None:
    world.post(alert("Down", "critical"))
    letter = given_up(world, SLACK)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.retry(letter)
    world.deliver()
    assert world.providers[SLACK.key].received == []
    assert world.fates(SLACK) == ["obsolete", "obsolete"]
    world.assert_balanced()


def test_a_given_up_end_can_be_sent_by_a_retry(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    letter = given_up(world, SLACK)
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    world.retry(letter)
    world.deliver()
    assert world.providers[SLACK.key].all_firing == set()
    assert world.fates(SLACK) == ["delivered", "delivered"]


@pytest.mark.parametrize("destination", [SLACK, PER_ALERT])
@pytest.mark.parametrize("truncated", [0, 3])
def test_a_given_up_end_is_sent_again_with_the_next_repeat(
    either_world: World, destination: Destination, truncated: int
) -> None:
    world = either_world
    world.post(alert("Down", "critical"), truncated=truncated)
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=truncated)
    given_up(world, destination)
    given_up_again = world.post(alert("Down", "critical", Status.RESOLVED), truncated=truncated)
    assert destination.key in given_up_again.wake
    given_up(world, destination)
    assert world.fates(destination) == ["delivered", "dead", "dead"]
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=truncated)
    assert world.fates(destination) == ["delivered", "dead", "dead", "pending"]
    world.deliver(destination)
    assert world.providers[destination.key].all_firing == set()
    world.post(alert("Down", "critical", Status.RESOLVED), truncated=truncated)
    assert isinstance(world.begin(destination), Idle)
    assert world.fates(destination) == ["delivered", "dead", "dead", "delivered", "delivered"]
    world.assert_balanced()


def test_the_end_of_a_given_up_firing_stays_obsolete_with_repeats(world: World) -> None:
    for _ in range(2):  # the second one begins after a notified end, in the same conversation
        world.post(alert("Down", "critical"), alert("Full", "critical"))
        world.deliver()
        world.post(alert("Down", "critical", Status.RESOLVED))
        world.deliver()
        world.now += HOUR
    world.post(alert("Down", "critical", starts_at=world.now))
    given_up(world, PAGER)
    world.post(alert("Down", "critical", Status.RESOLVED, starts_at=world.now))
    world.post(alert("Down", "critical", Status.RESOLVED, starts_at=world.now))
    assert isinstance(world.begin(PAGER), Idle)
    assert world.fates(PAGER)[-3:] == ["dead", "obsolete", "delivered"]


def test_a_repeated_end_is_not_sent_after_its_letter_was_discarded(world: World) -> None:
    world.post(alert("Down", "critical"), alert("Full", "critical"))
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    assert at_once(world.store.discard(given_up(world, SLACK), world.now))
    world.post(alert("Down", "critical", Status.RESOLVED))
    assert isinstance(world.begin(SLACK), Idle)


def test_a_repeated_end_is_dropped_where_its_destination_is_gone(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    given_up(world, PAGER)
    world.reload(replace(POLICY, receivers={**POLICY.receivers, "oncall": (SLACK,)}, fingerprint="no pager"))
    world.post(alert("Down", "critical", Status.RESOLVED))
    assert world.fates(PAGER) == ["delivered", "dead", "dropped"]
    world.assert_balanced()


def test_what_was_given_up_several_times_is_one_letter_a_conversation(world: World) -> None:
    world.post(alert("Down", "critical"))
    first = given_up(world, SLACK)
    world.post(alert("Full", "critical"))
    assert given_up(world, SLACK) == first
    world.retry(first)
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"Down-critical", "Full-critical"}
    world.assert_balanced()


def test_a_retry_sends_the_end_of_a_firing_that_arrived_after_all(world: World) -> None:
    world.post(alert("Down", "critical"))
    given_up(world, PAGER)
    world.post(alert("Down", "critical"))
    world.deliver(PAGER)
    world.post(alert("Down", "critical", Status.RESOLVED))
    letter = given_up(world, PAGER)
    assert world.providers[PAGER.key].all_firing == {"Down-critical"}
    world.retry(letter)
    world.deliver(PAGER)
    assert world.providers[PAGER.key].all_firing == set()
    world.assert_balanced()


def test_a_retry_keeps_notified_unknown(world: World) -> None:
    world.post(alert("Down", "critical"))
    letter = given_up(world, PAGER)
    world.post(alert("Down", "critical"))
    world.finish(world.work_of(PAGER), Retry("timeout", ambiguous=True), arrived=True)
    world.retry(letter)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver(PAGER)
    assert world.providers[PAGER.key].all_firing == set()
    world.assert_balanced()


def test_a_retry_for_a_removed_destination_is_dropped(world: World) -> None:
    world.post(alert("Down", "critical"))
    letter = given_up(world, PAGER)
    world.reload(replace(POLICY, receivers={**POLICY.receivers, "oncall": (SLACK,)}, fingerprint="no pager"))
    world.retry(letter)
    assert world.fates(PAGER) == ["dropped"]
    world.assert_balanced()


def test_a_given_up_firing_is_sent_again_with_the_next_repeat(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.finish(world.work_of(PAGER), Retry("http 503", ambiguous=True))
    given_up(world, PAGER)
    world.post(alert("Down", "critical"))
    world.deliver(PAGER)
    assert world.providers[PAGER.key].all_firing == {"Down-critical"}
    assert world.fates(PAGER) == ["dead", "delivered"]
    world.assert_balanced()


def test_the_end_of_a_given_up_firing_that_may_have_arrived_is_sent(world: World) -> None:
    world.post(alert("Down", "critical"))
    outcome = Rejected("given up after 1 d: timeout", ambiguous=True)
    world.finish(world.work_of(PAGER), outcome, arrived=True)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver(PAGER)
    assert world.providers[PAGER.key].all_firing == set()
    assert world.fates(PAGER) == ["dead", "delivered"]
    world.assert_balanced()


def test_a_discarded_dead_letter_is_dropped(world: World) -> None:
    world.post(alert("Down", "critical"))
    letter = given_up(world, SLACK)
    assert at_once(world.store.discard(letter, world.now))
    assert not at_once(world.store.discard(letter, world.now))
    assert world.letters() == []
    assert world.fates(SLACK) == ["dropped"]
    assert isinstance(world.begin(SLACK), Idle)
    world.assert_balanced()


def test_a_retried_digest_is_reported_in_the_next_one(world: World) -> None:
    world.post(alert("Cert", "info"), alert("Backup", "info"))
    world.post(alert("Backup", "info", Status.RESOLVED))
    world.now = MONDAY + DAY + 8 * HOUR
    letter = given_up(world, DAILY)
    assert world.fates(DAILY) == ["dead"] * 3
    world.retry(letter)
    assert world.fates(DAILY) == ["digest"] * 3
    world.now += DAY
    view = world.work_of(DAILY).conversation.digest
    assert view is not None
    assert [line.alert.fingerprint for line in view.firing] == ["Cert-info"]
    assert [line.alert.fingerprint for line in view.ended] == ["Backup-info"]
    world.assert_balanced()


def test_the_failover_receiver_gets_the_firing_and_the_end(world: World) -> None:
    world.policy = with_standby(SLACK)
    world.post(alert("Down", "critical"))
    given_up(world, SLACK)
    world.reload(world.policy)  # a reload does not drop the failover notification
    world.deliver(STANDBY)
    assert world.providers[STANDBY.key].all_firing == {"Down-critical"}
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver(STANDBY)
    assert world.providers[STANDBY.key].all_firing == set()
    assert world.fates(STANDBY) == ["delivered", "delivered"]
    world.assert_balanced()


def test_failover_does_not_wait_for_hours(world: World) -> None:
    policy = with_standby(PAGER, on_failure="team")
    oncall, team, info = policy.root.routes
    routes = (replace(oncall, continue_=True), replace(team, severity="critical"), team, info)
    world.policy = replace(policy, root=replace(policy.root, routes=routes))
    world.now = NIGHT
    world.post(alert("Down", "critical"))
    assert world.fates(TEAM) == ["held"]
    given_up(world, PAGER)
    world.deliver(TEAM)
    assert world.fates(TEAM) == ["delivered"]
    world.assert_balanced()


def test_mutual_failover_makes_no_loop(world: World) -> None:
    world.policy = with_standby(SLACK, PAGER, on_failure="oncall")
    world.post(alert("Down", "critical"))
    given_up(world, SLACK)
    given_up(world, PAGER)
    assert isinstance(world.begin(SLACK), Idle)
    assert isinstance(world.begin(PAGER), Idle)
    world.assert_balanced()


def test_a_claim_knows_when_its_first_attempt_began(world: World) -> None:
    world.post(alert("Down", "critical"))
    began = world.now
    for _ in range(3):
        work = world.work_of(SLACK)
        assert work.tried_since == began
        world.finish(work, Retry("http 503"))
        world.now += MINUTE
    world.finish(world.work_of(SLACK), Delivered())
    world.now += DAY
    world.post(alert("Full", "critical"))
    assert world.work_of(SLACK).tried_since == world.now


def test_only_what_is_overdue_is_claimed_when_that_is_asked_for(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += HOUR
    world.post(alert("Full", "critical"), group="h")

    def claimed(overdue: int) -> list[str]:
        work = world.begin(SLACK, overdue=overdue)
        return [] if isinstance(work, Idle) else [each.alert.fingerprint for each in work.conversation.alerts]

    assert claimed(2 * HOUR) == []
    assert claimed(HOUR) == ["Down-critical"]


def test_a_repeat_that_came_while_it_was_given_up_is_dead_too(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    world.post(alert("Down", "critical"))
    world.finish(work, GONE)
    assert world.fates(SLACK) == ["dead", "dead"]
    world.assert_balanced()


def test_an_end_that_came_while_the_firing_was_given_up_is_obsolete(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.finish(work, GONE)
    assert world.fates(SLACK) == ["dead", "obsolete"]
    assert isinstance(world.begin(SLACK), Idle)
    world.assert_balanced()


def test_an_end_is_sent_where_a_given_up_firing_may_have_arrived(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.finish(world.work_of(SLACK), Retry("timeout", ambiguous=True), arrived=True)
    work = world.work_of(SLACK)
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.finish(work, GONE)
    world.deliver()
    assert world.providers[SLACK.key].all_firing == set()
    assert world.fates(SLACK) == ["dead", "delivered"]


def test_a_firing_during_a_given_up_end_is_sent(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical", Status.RESOLVED))
    work = world.work_of(SLACK)
    world.now += MINUTE
    world.post(alert("Down", "critical", starts_at=world.now))
    world.finish(work, GONE)
    assert world.fates(SLACK) == ["delivered", "dead", "pending"]
    world.deliver()
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    assert world.fates(SLACK) == ["delivered", "dead", "delivered"]
    world.assert_balanced()


def test_a_retried_alert_is_sent_once_its_destination_is_back(world: World) -> None:
    world.post(alert("Down", "critical"))
    letter = given_up(world, SLACK)
    world.reload(RULES[2])
    world.retry(letter)
    assert world.fates(SLACK) == ["dropped"]
    world.reload(POLICY)
    world.deliver(SLACK)
    assert world.providers[SLACK.key].all_firing == {"Down-critical"}
    assert world.fates(SLACK) == ["delivered"]
    world.assert_balanced()
