"""Webhooks that come to a replica that does not agree with the rules in force: they are kept, and decided by another one."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.core.head import Head, OtherRules
from router.core.rows import CLOSED, CLOSING
from router.core.undecided_count import TooManyUndecided, UndecidedCount, count_of_undecided
from router.model import DAY, MINUTE, Alert, Delivered, Refusal, Rejected, Status, Webhook
from router.store import ClaimedDelivery, jobs
from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.world import DAILY, MONDAY, NOON, SLACK, World, alert, webhook

AGREES, DISAGREES, BEHIND = Head(), Head(agrees=False), Head(has_undecided=True)
_ALERTS = st.tuples(st.sampled_from("ABC"), st.sampled_from(["critical", "warning", "info"]))
_STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(_ALERTS, st.sampled_from(list(Status))), min_size=1, max_size=3, unique_by=lambda each: each[0]),
        st.sampled_from("gh"),
        st.booleans(),
        st.booleans(),
    ),
    min_size=1, max_size=8,
)  # fmt: skip


class Kept(World):
    """A database to which a replica that agrees posts, and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[tuple[int, Webhook]] = []

    def receive(self, body: Webhook, *, agrees: bool) -> None:
        is_behind = count_of_undecided(self.state).small > 0
        self.state.head = Head(agrees=agrees, has_undecided=is_behind)
        receipt = self.accept(body, "default")
        self.state.head = AGREES
        assert receipt.kept is (is_behind or not agrees)
        if receipt.kept:
            self.waiting.append((receipt.webhook, body))

    def decide(self) -> None:
        """Decide all that waits, as the holder of the background does. Do each of it twice, as after a takeover."""
        for number, body in self.waiting:
            for _ in range(2):
                receipt = at_once(self.store.undecided.decide(number, body, "default", self.policy, self.now))
                if receipt is not None:
                    self.counted(receipt)
        self.waiting.clear()


def shown(world: World) -> tuple[object, ...]:
    """Return everything that is known, without ids."""
    state = world.state
    alerts = {row.id: (row.identity, row.status, row.level, row.starts_at) for row in state.alerts}
    conversations = {row.id: (row.destination, row.token, row.episode) for row in state.conversations}
    members = Counter(
        (conversations[row.conversation_id], alerts[row.alert_id], row.status, row.notified, row.decision, row.reason)
        for row in state.members
    )  # fmt: skip
    fates = Counter((row.destination, row.fate, row.reason) for row in state.fates)
    changes = [(alerts[row.alert_id], row.kind) for row in sorted(state.changes)]
    received = {key: provider.received for key, provider in world.providers.items()}
    return sorted(alerts.values(), key=str), members, fates, changes, received


@given(_STEPS)
@examples(40)
def test_kept_webhooks_are_decided_as_if_one_router_had_them(
    steps: list[tuple[list[tuple[tuple[str, str], Status]], str, bool, bool]],
) -> None:
    """Each step is a webhook, its group, whether it comes to a replica that agrees, and whether what waits is decided then."""
    one, several = World(), Kept()
    for number, (alerts, group, agrees, is_decided) in enumerate(steps):
        reported: list[Alert] = [
            replace(alert(name, level, status), starts_at=MONDAY + number) for (name, level), status in alerts
        ]
        body = webhook(*reported, group=group)
        one.accept(body, "default")
        several.receive(body, agrees=agrees)
        if is_decided:
            several.decide()
            for world in (one, several):
                world.deliver()
                world.now += MINUTE
    several.decide()
    assert count_of_undecided(several.state) == UndecidedCount()
    assert shown(several) == shown(one)
    for world in (one, several):
        world.deliver()
        world.assert_balanced()
    assert shown(several) == shown(one)


def test_the_bound_holds_for_webhooks_of_all_replicas() -> None:
    world = World()
    for name in "AB":
        world.do(jobs.KeepWebhook(webhook(alert(name, "critical")), "default", b"", NOON, bound=2))
    with pytest.raises(TooManyUndecided):
        world.do(jobs.KeepWebhook(webhook(alert("C", "critical")), "default", b"", NOON, bound=2))
    assert count_of_undecided(world.state) == UndecidedCount(2, 2)


def test_the_own_alert_of_a_router_is_not_kept_but_posted_again() -> None:
    world = World()
    world.state.head = DISAGREES
    with pytest.raises(OtherRules):
        at_once(
            world.store.accept(
                webhook(alert("Own", "critical")), "own", b"", world.policy, NOON, certain=True
            )
        )
    world.state.head = BEHIND
    assert not at_once(
        world.store.accept(webhook(alert("Own", "critical")), "own", b"", world.policy, NOON, certain=True)
    ).kept


def attempt(world: World) -> ClaimedDelivery:
    world.post(alert("Down", "critical"))
    return world.work_of(SLACK)


@pytest.mark.parametrize("outcome", [Rejected("http 400"), Delivered({}, refused=(Refusal("bob", "550"),))])
def test_nothing_is_given_up_by_rules_that_are_not_in_force(outcome: Rejected | Delivered) -> None:
    world = World()
    work = attempt(world)
    world.state.head = DISAGREES
    world.finish(work, outcome)
    assert not world.letters()
    world.state.head = AGREES
    world.finish(world.work_of(SLACK), outcome)  # the next attempt, by the rules in force
    assert world.letters()


def test_a_digest_is_closed_by_a_replica_that_agrees() -> None:
    world = World()
    world.post(alert("Cert", "info"))
    world.now += DAY
    work = world.work_of(DAILY)
    world.state.head = DISAGREES
    world.finish(work, Delivered())
    assert world.state.conversations[work.id].state == CLOSING
    world.state.head = AGREES
    at_once(world.store.close_large(world.policy, world.now))
    assert world.state.conversations[work.id].state == CLOSED
    assert world.fates(DAILY) == ["delivered"]
    world.assert_balanced()
