"""Answers of Alertmanager, and missing repeats: which alerts still fire, have ended, or are withheld."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.conclusions import ALERTS_PER_BATCH, GONE, STALE
from router.core.judging import ABSENT
from router.core.reduce import PEER_LAG
from router.model import DAY, HOUR, MINUTE, SECOND, Delivered, Millis, Retry, Status
from router.store import Answer, ClaimedDelivery, Idle, Listening, Receipt, Reported
from router.store.jobs import Confirm
from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.stories import History
from tests.unit.core.world import (
    ALL,
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
)

SILENCED = "silenced in Alertmanager"
OPENING = MONDAY + DAY + 9 * HOUR
PEERS = frozenset({"http://am-1:9093"})


@pytest.fixture
def world() -> World:
    return World()


def identity(key: str) -> str:
    """Return the identity of the alert ``name-level``."""
    name, level = key.split("-")
    return alert(name, level).identity


def ask(world: World, *firing: str, silenced: tuple[str, ...] = ()) -> Receipt:
    """Return an answer of now that lists these alerts."""
    reported = {identity(key): Reported(MONDAY, None, PEERS) for key in firing} | {
        identity(key): Reported(MONDAY, SILENCED, PEERS) for key in silenced
    }
    return take(world, Answer("default", world.now, reported, MINUTE, PEERS))


def take(world: World, answer: Answer) -> Receipt:
    receipt = world.counted(at_once(world.store.presence.apply_answer(answer, world.policy, world.now)))
    world.assert_balanced()
    return receipt


def list_all(world: World) -> None:
    """Return an answer that lists all firing alerts."""
    world.now += MINUTE
    ask(world, *(row.fingerprint for row in sorted(world.state.alerts) if row.status == "firing"))


def miss(world: World) -> Receipt:
    """Alertmanager lists the firing alerts once, and then lists none twice."""
    list_all(world)
    world.now += MINUTE
    ask(world)
    world.now += MINUTE
    return ask(world)


def test_a_report_after_a_silence_releases_the_alert_in_all_groups(either_world: World) -> None:
    world = either_world
    for group in "gh":
        world.post(alert("Down", "critical"), group=group)
    world.now += MINUTE
    ask(world, silenced=("Down-critical",))
    assert world.fates(PAGER) == ["inhibited", "inhibited"]
    world.now += MINUTE
    receipt = world.post(alert("Down", "critical"), group="h")
    assert PAGER.key in receipt.wake
    assert world.fates(PAGER) == ["pending", "pending", "pending"]
    world.deliver()
    assert world.fates(PAGER) == ["delivered", "delivered", "delivered"]
    assert world.providers[PAGER.key].received == [("Down-critical", "firing")] * 2
    world.assert_balanced()


@pytest.mark.parametrize("groups", ["gh", "hg"])
def test_after_a_silence_an_alert_shows_the_group_that_reported_it_last(world: World, groups: str) -> None:
    for group in "gh":  # the ids of the groups are in this order
        world.post(alert("Other", "info"), group=group)
    for group in groups:
        world.post(alert("Down", "critical"), group=group)
    for silenced in (("Down-critical",), ()):
        world.now += MINUTE
        ask(world, "Other-info", *(() if silenced else ("Down-critical",)), silenced=silenced)
    assert world.work_of(PER_ALERT).conversation.group_labels == {"group": groups[-1]}


def grow_stale(world: World, **listened: Any) -> dict[str, Receipt]:
    listening = Listening(world.policy.stale_after, **listened)
    receipts = at_once(world.store.presence.expire(listening, world.policy, world.now))
    for receipt in receipts.values():
        world.counted(receipt)
    world.assert_balanced()
    return {source: receipt for source, receipt in receipts.items() if receipt.changes}


def next_opening(world: World) -> Millis | None:
    return at_once(world.store.presence.next_opening(world.now))


def forget(world: World, *trusted: str) -> frozenset[str]:
    """Forget the answers about other sources than these."""
    return at_once(world.store.presence.forget_answers(frozenset(trusted), world.policy, world.now))


def sent_now(world: World) -> ClaimedDelivery:
    work = world.work_of(PAGER)
    world.finish(work, Delivered())
    return work


def test_an_alert_missing_from_two_answers_has_ended(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    list_all(world)
    world.now += MINUTE
    assert ask(world).changes == ()
    missed_at = world.now
    assert world.providers[PAGER.key].all_firing == {"Down-critical"}
    world.now += MINUTE
    receipt = ask(world)
    assert [kind for kind, _, _ in receipt.changes] == ["resolved"]
    assert PAGER.key in receipt.wake
    (shown,) = sent_now(world).conversation.alerts
    assert (shown.alert.status, shown.alert.note, shown.alert.ends_at) == ("resolved", GONE, missed_at)
    world.deliver()
    assert world.providers[SLACK.key].received[-1] == ("Down-critical", "resolved")


def test_a_gone_alert_that_was_never_sent_is_obsolete(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    miss(world)
    world.now = OPENING
    world.deliver()
    assert world.providers[TEAM.key].received == []
    assert world.fates(TEAM) == ["obsolete", "obsolete"]
    assert world.reasons() == {f"{GONE}, before anyone was notified"}


def test_an_answer_that_a_webhook_overtook_misses_nothing(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += 30 * SECOND
    ask(world)
    world.now += 30 * SECOND
    ask(world)
    world.now += 30 * SECOND
    assert ask(world).changes == ()


def test_two_answers_in_quick_succession_miss_nothing(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += MINUTE
    ask(world)
    world.now += MINUTE - 1
    assert ask(world).changes == ()


def test_an_alert_missing_from_one_answer_only_still_fires(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += MINUTE
    ask(world)
    world.now += MINUTE
    ask(world, "Down-critical")
    world.now += MINUTE
    assert ask(world).changes == ()


def test_a_held_alert_is_sent_only_while_alertmanager_lists_it(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    list_all(world)
    world.now = OPENING - 10 * SECOND
    ask(world)
    assert world.reasons() == {ABSENT}
    world.now = OPENING + 50 * SECOND
    world.deliver()
    assert world.providers[TEAM.key].received == []
    assert TEAM.key in ask(world, "Disk-warning").wake
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Disk-warning", "firing")]


def test_a_held_alert_waits_for_the_end_of_a_later_silence(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    ask(world, silenced=("Disk-warning",))
    world.now += MINUTE
    ask(world, silenced=("Disk-warning",))
    world.now = OPENING + MINUTE
    assert isinstance(world.begin(TEAM), Idle)
    assert world.fates(TEAM) == ["inhibited"]
    assert world.reasons() == {SILENCED}
    ask(world, "Disk-warning")
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Disk-warning", "firing")]


def test_a_due_alert_is_not_sent_once_it_is_silenced(world: World) -> None:
    world.post(alert("Down", "critical"))
    work = world.work_of(PAGER)
    world.finish(work, Retry("http 503"))
    world.now += MINUTE
    ask(world, silenced=("Down-critical",))
    world.deliver()
    assert world.providers[PAGER.key].received == []


def test_the_end_of_a_notified_and_silenced_alert_is_sent(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.now += MINUTE
    ask(world, silenced=("Down-critical",))
    assert isinstance(world.begin(PAGER), Idle)
    miss(world)
    world.deliver()
    assert world.providers[PAGER.key].received[-1] == ("Down-critical", "resolved")


def test_a_webhook_says_that_a_silence_is_over(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.now += MINUTE
    ask(world, silenced=("Disk-warning",))
    world.now = OPENING
    world.post(alert("Disk", "warning"))
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Disk-warning", "firing")]


def test_an_answer_that_is_too_old_no_longer_keeps_an_alert_back(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.now += MINUTE
    ask(world, silenced=("Disk-warning",))
    world.now = OPENING
    assert forget(world, "default") == frozenset()
    assert TEAM.key in forget(world)
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Disk-warning", "firing")]


def test_other_rules_do_not_send_what_alertmanager_silences(world: World) -> None:
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    world.now += MINUTE
    ask(world, silenced=("Disk-warning",))
    world.reload(replace(POLICY, root=replace(POLICY.root, routes=()), fingerprint="other"))
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == []


@pytest.mark.parametrize("peer", ["http://am-1", "http://am-2"])
def test_any_peer_can_report_a_gone_alert_as_firing_again(world: World, peer: str) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    miss(world)
    world.deliver()
    receipt = world.post(alert("Down", "critical"), peer=peer)
    assert [kind for kind, _, _ in receipt.changes] == ["fired"]
    world.deliver()
    assert world.providers[PAGER.key].received == [
        ("Down-critical", "firing"),
        ("Down-critical", "resolved"),
        ("Down-critical", "firing"),
    ]


def test_an_alert_that_is_back_in_alertmanager_fires_again(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    miss(world)
    world.deliver()
    world.now += MINUTE
    assert ask(world, silenced=("Down-critical",)).changes == ()
    receipt = ask(world, "Down-critical")
    assert [kind for kind, _, _ in receipt.changes] == ["fired"]
    world.deliver()
    assert world.providers[PAGER.key].all_firing == {"Down-critical"}
    assert ask(world, "Down-critical").changes == ()


def test_a_late_resolve_of_what_was_gone_is_a_repeat_and_final(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    miss(world)
    world.deliver()
    receipt = world.post(alert("Down", "critical", Status.RESOLVED))
    assert [kind for kind, _, _ in receipt.changes] == ["repeated"]
    assert ask(world, "Down-critical").changes == ()
    assert isinstance(world.begin(PAGER), Idle)


@pytest.mark.parametrize(
    ("asked", "updated", "again"),
    [
        (0, -MINUTE, False),
        (0, MINUTE, False),  # the answer may have been on its way before the end
        (1, -MINUTE, False),
        (1, 2 * SECOND, True),
        (PEER_LAG - 1, -MINUTE, False),
        (PEER_LAG, -MINUTE, True),
        (PEER_LAG, None, True),
    ],
)
def test_an_answer_reopens_what_was_resolved_if_it_shows_that_it_fires(
    world: World, asked: Millis, updated: Millis | None, again: bool
) -> None:
    world.post(alert("Down", "critical"))
    world.deliver()
    world.now += HOUR
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    ended_at = world.now
    world.now += asked
    listed = Reported(MONDAY, None, PEERS, None if updated is None else ended_at + updated)
    receipt = take(world, Answer("default", world.now, {identity("Down-critical"): listed}, MINUTE, PEERS))
    assert [kind for kind, _, _ in receipt.changes] == ["fired"] * again
    world.deliver()
    assert world.providers[PAGER.key].all_firing == ({"Down-critical"} if again else set())


def test_a_later_firing_in_an_answer_first_waits_for_its_webhook(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += HOUR
    world.post(replace(alert("Down", "critical", Status.RESOLVED), ends_at=world.now))
    world.now += HOUR
    listed = {identity("Down-critical"): Reported(world.now, None, PEERS, world.now)}
    world.now += PEER_LAG - 1
    assert take(world, Answer("default", world.now, listed, MINUTE, PEERS)).changes == ()
    world.now += 1
    assert take(world, Answer("default", world.now, listed, MINUTE, PEERS)).changes


def test_an_alert_that_no_peer_listed_becomes_stale_after_an_answer(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += POLICY.stale_after
    asked = {"default": PEERS}
    assert grow_stale(world, asked=asked) == {}
    assert [
        kind for kind, _, _ in grow_stale(world, asked=asked, trusted=frozenset(asked))["default"].changes
    ] == ["resolved"]


def test_an_alert_is_sent_when_its_inhibitor_is_gone(world: World) -> None:
    world.post(alert("Down", "critical"), group="c")
    world.post(alert("Down", "warning"), group="w")
    list_all(world)
    world.now += MINUTE
    ask(world, "Down-warning")
    world.now += MINUTE
    assert TEAM.key in ask(world, "Down-warning").wake
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Down-warning", "firing")]


def test_the_digest_lists_a_gone_alert_with_the_reason(world: World) -> None:
    world.post(alert("Cert", "info"))
    miss(world)
    world.now = MONDAY + DAY + 8 * HOUR
    work = world.work_of(DAILY)
    assert work.conversation.digest is not None
    assert [line.note for line in work.conversation.digest.ended] == [GONE]


def test_alerts_of_other_sources_are_not_missed(world: World) -> None:
    world.post(alert("Down", "critical"))
    for _ in range(3):
        world.now += MINUTE
        take(world, Answer("other", world.now, {}, MINUTE, PEERS))
    world.deliver()
    assert world.providers[PAGER.key].all_firing == {"Down-critical"}


def test_a_stale_alert_ended_when_it_was_last_seen(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += HOUR
    world.post(alert("Down", "critical"))
    seen_at = world.now
    world.deliver()
    world.now += POLICY.stale_after - 1
    assert grow_stale(world) == {}
    world.now += 1
    assert [kind for kind, _, _ in grow_stale(world)["default"].changes] == ["resolved"]
    (shown,) = sent_now(world).conversation.alerts
    assert (shown.alert.status, shown.alert.note, shown.alert.ends_at) == ("resolved", STALE, seen_at)


def test_a_stale_alert_that_is_sent_again_fires_again(world: World) -> None:
    world.post(alert("Down", "critical"))
    world.now += POLICY.stale_after
    grow_stale(world)
    receipt = world.post(alert("Down", "critical"))
    assert [kind for kind, _, _ in receipt.changes] == ["fired"]


def test_answered_and_truncated_alerts_do_not_become_stale(
    world: World,
) -> None:
    world.post(alert("Down", "critical"), truncated=3)
    world.now += 2 * POLICY.stale_after
    assert grow_stale(world) == {}
    world.post(alert("Down", "critical"))
    world.now += 2 * POLICY.stale_after
    ask(world, "Down-critical")
    asked = {"default": PEERS}
    assert grow_stale(world, asked=asked, trusted=frozenset(asked)) == {}
    world.policy = replace(POLICY, stale_after=0)
    assert grow_stale(world) == {}


def test_the_next_opening_is_that_of_unnotified_held_alerts(world: World) -> None:
    world.post(alert("Down", "critical"), alert("Cert", "info"))
    assert next_opening(world) is None
    world.now = NIGHT
    world.post(alert("Disk", "warning"))
    assert next_opening(world) == OPENING
    world.post(alert("Disk", "warning", Status.RESOLVED))
    assert next_opening(world) is None


def repeating(every: Millis | None, repeats: list[Millis], *, peers: bool = False) -> int:
    """Return how often a critical is sent that is repeated after each of these times."""
    world = World(policy=with_repeat(every))
    world.post(alert("Down", "critical"))
    world.deliver()
    for number, after in enumerate(repeats):
        world.now += after
        world.post(alert("Down", "critical"), peer=f"http://am-{2 if peers and number % 2 == 0 else 1}")
        world.deliver()
    world.assert_balanced()
    assert set(world.fates(PAGER)) == {"delivered"}
    assert {episode for _, episode in world.providers[PAGER.key].firing} == {1}
    return len(world.providers[PAGER.key].received)


@pytest.mark.parametrize(("every", "sent"), [(None, 1), (0, 4), (4 * HOUR, 3), (8 * HOUR, 2), (12 * HOUR, 1)])
def test_a_repeat_is_sent_again_when_its_route_says_so(every: Millis | None, sent: int) -> None:
    assert repeating(every, [4 * HOUR, SECOND, 4 * HOUR]) == sent


def test_only_a_repeat_of_the_same_peer_is_sent_again() -> None:
    assert repeating(0, [15 * SECOND], peers=True) == 1
    assert repeating(0, [4 * HOUR], peers=True) == 2


def test_a_repeat_is_shown_as_a_repeat() -> None:
    world = World(policy=with_repeat(0))
    world.post(alert("Down", "critical"))
    (first,) = sent_now(world).conversation.alerts
    world.post(alert("Down", "critical"), alert("Disk", "critical"))
    second = {each.alert.fingerprint: each for each in sent_now(world).conversation.alerts}
    assert (first.news, first.again) == (True, False)
    assert (second["Down-critical"].news, second["Down-critical"].again) == (True, True)
    assert (second["Disk-critical"].news, second["Disk-critical"].again) == (True, False)


def test_a_held_or_inhibited_repeat_is_not_sent_again() -> None:
    world = World(policy=with_repeat(0))
    world.post(alert("Disk", "warning"), group="w")
    world.now += MINUTE
    world.deliver()
    world.post(alert("Disk", "critical"), group="c")
    world.post(alert("Disk", "warning"), group="w")
    world.post(alert("Disk", "critical", Status.RESOLVED), group="c")
    world.now = NIGHT
    world.post(alert("Disk", "warning"), group="w")
    world.now += MINUTE
    world.deliver()
    assert world.providers[TEAM.key].received == [("Disk-warning", "firing")]
    assert world.fates(TEAM) == ["delivered"] * 3


def test_a_failed_repeat_leaves_the_member_notified() -> None:
    world = World(policy=with_repeat(0))
    world.post(alert("Down", "critical"))
    world.deliver()
    world.post(alert("Down", "critical"))
    work = world.work_of(PAGER)
    world.finish(work, Retry("http 503"))
    world.post(alert("Down", "critical", Status.RESOLVED))
    world.deliver()
    assert world.providers[PAGER.key].received[-1] == ("Down-critical", "resolved")
    assert world.fates(PAGER) == ["delivered"] * 3


class Asked(History):
    """Resolves get lost, alerts come back unsent, and Alertmanager is asked."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.lost: set[str] = set()

    def play(self, kind: str, what: Any, detail: Any) -> None:
        match kind:
            case "lose":
                self.world.now += MINUTE
                ask(self.world, *self.firing)
                keys = {f"{name}-{level}" for name, level in what} & self.firing
                self.firing -= keys
                self.lost |= keys
            case "come back":
                keys = {f"{name}-{level}" for name, level in what} & self.lost
                self.firing |= keys
                self.lost -= keys
            case "ask":
                silenced = {f"{name}-{level}" for name, level in what} & self.firing
                ask(self.world, *(self.firing - silenced), silenced=tuple(silenced))
            case "post" | "end":
                super().play(kind, what, detail)
                self.lost -= {f"{name}-{level}" for name, level in what}
            case _:
                super().play(kind, what, detail)

    def settle(self) -> None:
        for _ in range(3):
            self.world.now += MINUTE
            ask(self.world, *self.firing)
        super().settle()


_some = st.lists(st.sampled_from([("A", "critical"), ("A", "warning"), ("B", "warning")]), max_size=2)
_asked = st.lists(
    st.one_of(
        st.tuples(st.just("post"), _some, st.sampled_from("gh")),
        st.tuples(st.just("end"), _some, st.sampled_from("gh")),
        st.tuples(st.sampled_from(["lose", "come back", "ask", "ask"]), _some, st.none()),
        st.tuples(st.just("wait"), st.sampled_from([2 * SECOND, MINUTE, HOUR, 8 * HOUR]), st.none()),
        st.tuples(st.just("begin"), st.sampled_from(range(len(ALL))), st.none()),
        st.tuples(
            st.just("finish"),
            st.sampled_from(range(len(ALL))),
            st.sampled_from(["delivered", "failed", "lost answer", "crash after"]),
        ),
    ),
    max_size=40,
)


@given(_asked, st.sampled_from([None, 0, HOUR]))
@examples(120)
def test_every_history_ends_with_what_alertmanager_has(
    steps: list[tuple[str, Any, Any]], every: Millis | None
) -> None:
    world = World(policy=with_repeat(every))
    history = Asked(world)
    for step in steps:
        history.play(*step)
    history.settle()
    criticals = {key for key in history.firing if key.endswith("critical")}
    assert world.providers[SLACK.key].all_firing == criticals
    assert world.providers[PAGER.key].all_firing == criticals
    warnings = {key for key in history.firing if key.endswith("warning")}
    muted = {f"{key[0]}-warning" for key in criticals}
    assert warnings - muted <= world.providers[TEAM.key].all_firing <= warnings


def test_a_large_answer_is_applied_in_pieces(world: World) -> None:
    names = [f"Down{number}" for number in range(2 * ALERTS_PER_BATCH + 1)]
    world.post(*(alert(name, "critical") for name in names))
    world.deliver(SLACK)
    had = {identity(f"{name}-critical"): Reported(MONDAY, None, PEERS) for name in names}
    for reported in (had, {}, {}):
        world.now += MINUTE
        answer = Answer("default", world.now, reported, MINUTE, PEERS)
        after = 0
        seen: list[int] = []
        while after or not seen:
            receipt, after = world.do(Confirm(answer, world.policy, world.now, after))
            seen.append(len(world.counted(receipt).changes))
        assert len(seen) == 3
    assert seen == [ALERTS_PER_BATCH, ALERTS_PER_BATCH, 1]
    world.deliver(SLACK)
    assert world.providers[SLACK.key].all_firing == set()
