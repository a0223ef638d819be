"""Combinations: doubts with steps of the clock and self-alerts, dead letters of recipients with new firings."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from router.core.conclusions import ALERTS_PER_BATCH
from router.model import (
    HOUR,
    MINUTE,
    SECOND,
    Alert,
    Delivered,
    Millis,
    Refusal,
    Rejected,
    Retry,
    Status,
    Webhook,
)
from router.store import Answer, ClaimedDelivery, DeliveryUnderWay, Idle, Listening, Reported
from router.store.jobs import SettleDoubts
from tests.unit.core.memory import at_once
from tests.unit.core.world import MONDAY, PAGER, SLACK, World, alert

FIRING, RESOLVED = Status.FIRING, Status.RESOLVED
BOB = Refusal("bob@example.com", "smtp 550")
ONCE = [("Down-critical", "firing"), ("Down-critical", "resolved")]


@pytest.fixture
def world() -> World:
    return World()


def count_sent(world: World) -> int:
    """Deliver what is due at Slack; return the number of messages."""
    count = 0
    while isinstance(work := world.begin(SLACK), ClaimedDelivery):
        world.finish(work, Delivered({"ts": "1"}))
        count += 1
    return count


def answer(world: World, listed: Mapping[str, Reported], peers: frozenset[str]) -> None:
    at_once(
        world.store.presence.apply_answer(
            Answer("default", world.now, listed, MINUTE, peers), world.policy, world.now
        )
    )


def ended_for_all_but_bob(world: World) -> None:
    world.post(alert("Down", "critical"))
    count_sent(world)
    world.post(alert("Down", "critical", RESOLVED))
    work = world.work_of(SLACK)
    world.finish(work, Delivered({"ts": "1"}, refused=(BOB,)))
    world.now += HOUR
    world.retry_the_dead()


@pytest.mark.parametrize("attempted", [False, True])
def test_a_firing_while_one_recipient_gets_an_end_is_sent(world: World, attempted: bool) -> None:
    ended_for_all_but_bob(world)
    if attempted:
        work = world.work_of(SLACK)
        late = Retry("smtp 451", ambiguous=True, late=(BOB,), remote=work.conversation.remote)
        world.finish(work, late)
    world.now += HOUR
    world.post(alert("Down", "critical", starts_at=world.now))
    assert count_sent(world) == 1
    world.post(alert("Down", "critical", RESOLVED, starts_at=world.now))
    assert count_sent(world) == 1
    assert set(world.fates(SLACK)) <= {"delivered", "obsolete"}
    world.assert_balanced()


def test_a_recipient_is_not_retried_while_an_attempt_is_under_way(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(SLACK)
    carol = Refusal("carol@example.com", "smtp 451")
    remote = {"late": {"to": [carol.recipient], "state": "s"}}
    world.finish(work, Retry("smtp 451", ambiguous=True, late=(carol,), refused=(BOB,), remote=remote))
    world.now += MINUTE
    assert isinstance(world.begin(SLACK), ClaimedDelivery)
    with pytest.raises(DeliveryUnderWay):
        world.retry_the_dead()
    assert len(world.letters()) == 1


def test_a_doubt_that_lasts_keeps_the_end_that_its_sender_gave(world: World) -> None:
    def report(status: Status, until: Millis | None = None) -> None:
        world.post(
            Alert("f", {"alertname": "X", "severity": "critical"}, {}, status, MONDAY, fires_until=until)
        )
        world.deliver()

    report(FIRING, world.now + HOUR)
    report(RESOLVED)
    world.now += MINUTE
    report(FIRING, world.now + 2 * MINUTE)
    world.now += 10 * MINUTE
    world.settle_doubts()
    receipts = at_once(world.store.presence.expire(Listening(stale_after=0), world.policy, world.now))
    assert [kind for kind, _, _ in world.counted(receipts["default"]).changes] == ["resolved"]


def test_a_doubt_about_the_routers_own_alert_stays_its_own(world: World) -> None:
    labels = {"alertname": "AlertRouterDestinationBroken", "severity": "critical", "cause": SLACK.key}
    own = Alert("f", labels, {}, FIRING, world.now, about=frozenset({SLACK.key}))

    def post(each: Alert) -> None:
        world.accept(Webhook("alert-router", "g", {}, "", 0, (each,)), "alert-router")
        world.deliver()

    post(own)
    post(replace(own, status=RESOLVED))
    post(own)
    world.now += 6 * MINUTE
    world.deliver()
    assert world.providers[PAGER.key].all_firing == {"f"}
    assert world.providers[SLACK.key].received == []


def test_a_doubt_that_an_answer_dismissed_contradicts_nothing_any_more(world: World) -> None:
    peers = frozenset({"http://am"})
    down = alert("Down", "critical")
    world.post(down)
    listed = {down.identity: Reported(MONDAY, None, peers)}
    world.now += MINUTE
    answer(world, listed, peers)
    world.post(alert("Down", "critical", RESOLVED))
    world.post(down, peer="http://am-2")
    world.now += MINUTE
    answer(world, {}, peers)
    (row,) = world.state.alerts
    assert (row.status, row.doubt_until, row.claimed_firing_at) == ("resolved", None, None)


def test_the_later_start_counts_if_the_clocks_of_peers_differ(world: World) -> None:
    """One peer's clock is 20 minutes ahead. The other one ends the alert, and the first repeats it again."""
    ahead, behind = MONDAY + 20 * MINUTE, MONDAY
    for starts_at, peer in ((ahead, "http://a"), (behind, "http://b")):
        world.post(alert("Down", "critical", starts_at=starts_at), peer=peer)
        world.deliver()
    world.now += 5 * MINUTE
    world.post(alert("Down", "critical", RESOLVED, starts_at=behind), peer="http://b")
    world.deliver()
    world.now += 3 * SECOND
    world.post(alert("Down", "critical", starts_at=ahead), peer="http://a")
    world.deliver()
    world.now += 10 * SECOND
    world.post(alert("Down", "critical", RESOLVED, starts_at=ahead), peer="http://a")
    world.now += HOUR
    world.deliver()
    assert world.providers[PAGER.key].received == ONCE


@pytest.mark.parametrize("doubted", [True, False])
def test_a_step_forward_makes_no_second_page_of_a_late_report(world: World, doubted: bool) -> None:
    at_once(world.store.timekeeping.heartbeat(world.policy, world.now))
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical", RESOLVED))
    world.deliver()
    if doubted:
        world.post(alert("Down", "critical"), peer="http://am-2")
    world.now += 13 * HOUR
    at_once(world.store.timekeeping.step_clock(world.policy, world.now, back=False))
    if not doubted:
        world.post(alert("Down", "critical"), peer="http://am-2")
    world.deliver()
    world.now += 3 * SECOND
    world.post(alert("Down", "critical", RESOLVED), peer="http://am-2")
    world.now += HOUR
    world.deliver()
    assert world.providers[PAGER.key].received == ONCE


def test_settling_doubts_counts_the_groups_that_are_notified(world: World) -> None:
    """An alert of many groups counts as one webhook for each group."""
    names, groups = [f"N{number}" for number in range(20)], 20
    for status, peer in ((FIRING, "a"), (RESOLVED, "a"), (FIRING, "b")):
        for group in range(groups):
            world.post(*(alert(name, "info", status) for name in names), group=f"g{group}", peer=peer)
    world.now += 6 * MINUTE
    rounds: list[int] = []
    following: Millis | None = world.now
    while following is not None:
        receipts, following = world.do(SettleDoubts(world.policy, world.now))
        rounds.append(sum(len(world.counted(each).changes) for each in receipts.values()))
    assert sum(rounds) == len(names) * groups
    assert max(rounds) <= ALERTS_PER_BATCH + groups


def test_an_end_is_sent_after_a_retry_during_the_next_firing(world: World) -> None:
    """The firing's answer was lost and its end was given up: the page is open until something closes it."""
    world.post(alert("Down", "critical"))
    work = world.work_of(PAGER)
    world.finish(work, Retry("timeout", ambiguous=True), arrived=True)
    world.post(alert("Down", "critical", RESOLVED))
    work = world.work_of(PAGER)
    world.finish(work, Rejected("given up"))
    world.now += HOUR
    world.post(alert("Down", "critical", starts_at=world.now))
    world.retry_the_dead()
    world.post(alert("Down", "critical", RESOLVED, starts_at=world.now))
    world.deliver()
    assert isinstance(world.begin(PAGER), Idle)
    assert world.providers[PAGER.key].all_firing == set()
