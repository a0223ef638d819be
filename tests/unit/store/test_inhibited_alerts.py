"""A message says how many alerts the alerts of its conversation inhibit at its destination."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from router.decide import Policy
from router.decide.inhibition import Inhibition, Rule
from router.decide.matchers import parse_matchers
from router.model import MAX_INHIBITED_COUNTED, MINUTE, SECOND, Alert, Delivered, Status
from router.store import ClaimedDelivery, Idle
from tests.unit.core.world import PAGER, POLICY, SLACK, TEAM, World, alert
from tests.unit.store.large import large_from
from tests.unit.store.sqlite_world import InSqlite, in_sqlite

ROUTES = replace(
    POLICY.root,
    routes=tuple(
        replace(each, hours=None, receiver="oncall" if each.severity == "warning" else each.receiver)
        for each in POLICY.root.routes
    ),
)
SAME = replace(
    POLICY, root=ROUTES, receivers={**POLICY.receivers, "oncall": (SLACK,)}, fingerprint="one destination"
)
"""Criticals and warnings go to the same destination, at any hour."""
DELIVERED = Delivered({"ts": "1"})


@pytest.fixture(params=["in memory", "in SQLite", "in SQLite, in pieces"])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    if request.param == "in memory":
        yield World(policy=SAME)
        return
    if "pieces" in request.param:
        large_from(monkeypatch, 0)
        monkeypatch.setattr("router.store.jobs.job.MEMBERS_PER_BATCH", 2)
    with in_sqlite() as database:
        yield World(policy=SAME, database=database)


def muted(name: str, count: int) -> list[Alert]:
    """Return warnings that the critical of this name inhibits."""
    plain = alert(name, "warning")
    return [replace(plain, labels={**plain.labels, "i": str(number)}) for number in range(count)]


def inhibited(world: World) -> int:
    """Deliver the next message, and return how many inhibited alerts it counts."""
    work = world.work_of(SLACK)
    world.finish(work, DELIVERED)
    return work.conversation.inhibited


def counts(world: World) -> dict[str, int]:
    """Deliver all messages, and return how many inhibited alerts each counts, by its group."""
    found: dict[str, int] = {}
    while isinstance(work := world.begin(SLACK), ClaimedDelivery):
        found[work.conversation.group_labels["group"]] = work.conversation.inhibited
        world.finish(work, DELIVERED)
    return found


def test_alerts_of_other_groups_count(world: World) -> None:
    world.post(alert("D", "critical"), group="c")
    assert inhibited(world) == 0
    world.post(*muted("D", 3), group="w1")
    world.post(*muted("D", 5), group="w2")  # three of them a second time
    world.now += MINUTE
    assert isinstance(world.begin(SLACK), Idle), "the count alone sends no message"
    world.post(alert("D", "critical"), replace(alert("D", "critical"), labels={"alertname": "D", "severity": "critical", "i": "x"}), group="c")  # fmt: skip
    assert inhibited(world) == 5


def test_alerts_of_the_same_group_count(world: World) -> None:
    world.post(alert("D", "critical"), *muted("D", 4))
    assert inhibited(world) == 4


def test_only_what_its_own_alerts_inhibit_counts(world: World) -> None:
    world.post(alert("D", "critical"), *muted("D", 4), group="d")
    world.post(alert("E", "critical"), *muted("E", 2), group="e")
    world.post(alert("F", "critical"), group="f")
    assert sorted(inhibited(world) for _ in range(3)) == [0, 2, 4]


def test_alerts_that_are_inhibited_elsewhere_do_not_count(world: World) -> None:
    world.policy = POLICY  # warnings go to the team, criticals to three other destinations
    world.adopt(POLICY)
    world.post(alert("D", "critical"), *muted("D", 4))
    for destination in (SLACK, PAGER):
        work = world.work_of(destination)
        assert work.conversation.inhibited == 0
        world.finish(work, DELIVERED)
    assert isinstance(world.begin(TEAM), Idle)


def test_ended_alerts_do_not_count(world: World) -> None:
    several = muted("D", 4)
    world.post(alert("D", "critical"), *several)
    world.post(*(replace(each, status=Status.RESOLVED) for each in several[:3]))
    assert inhibited(world) == 1


def test_a_conversation_that_is_over_inhibits_nothing(world: World) -> None:
    world.post(alert("D", "critical"), *muted("D", 4), group="c")
    assert inhibited(world) == 4
    world.now += SECOND
    world.post(alert("D", "critical", Status.RESOLVED), group="c")
    work = world.work_of(SLACK)
    assert {each.alert.status for each in work.conversation.alerts if each.level == "critical"} == {
        Status.RESOLVED
    }
    assert work.conversation.inhibited == 0


def test_an_alert_that_was_notified_before_its_inhibitor_does_not_count(world: World) -> None:
    world.post(*muted("D", 2))
    world.now += MINUTE
    assert inhibited(world) == 0
    world.post(alert("D", "critical"), *muted("D", 3))
    assert inhibited(world) == 1


def two_sided_policy() -> Policy:
    rule = Rule(parse_matchers("mutes=~a|both"), parse_matchers("muted=~a|both"), ("alertname",), "rule")
    return replace(SAME, inhibition=Inhibition((rule,)), fingerprint="two sides")


def test_alerts_of_both_sides_of_a_rule_do_not_inhibit_each_other(world: World) -> None:
    world.policy = two_sided_policy()
    world.adopt(world.policy)

    def side(i: str, **labels: str) -> Alert:
        return Alert(i, {"alertname": "D", "severity": "critical", "i": i, **labels}, {}, Status.FIRING)

    one_sided, both = side("1", mutes="a"), [side(i, mutes="both", muted="both") for i in "23"]
    target = side("4", muted="a")
    world.post(both[0], group="both")
    world.post(one_sided, group="one")
    world.post(both[1], target, group="targets")
    # The first one of both sides is judged again before it is sent.
    assert counts(world) == {"one": 3}
    world.post(replace(one_sided, status=Status.RESOLVED), group="one")
    world.now += SECOND
    assert counts(world) == {"one": 0, "both": 1, "targets": 1}, "only the target is inhibited"


@pytest.mark.parametrize(
    "number", [MAX_INHIBITED_COUNTED, MAX_INHIBITED_COUNTED + 1, MAX_INHIBITED_COUNTED + 50]
)
def test_the_count_is_bounded(number: int) -> None:
    with in_sqlite() as database:
        world = World(policy=SAME, database=database)
        world.post(alert("D", "critical"), group="c")
        world.post(*muted("D", number), group="w")
        assert inhibited(world) == min(number, MAX_INHIBITED_COUNTED + 1)


def test_a_conversation_without_inhibitors_is_claimed_without_a_query() -> None:
    def statements(policy: Policy, level: str) -> int:
        with in_sqlite() as database:
            world = World(policy=policy, database=database)
            world.post(alert("D", level))
            world.now += MINUTE
            return claim_statements(world, database)

    without = replace(SAME, inhibition=Inhibition())
    assert statements(SAME, "critical") <= statements(without, "critical") + 1


def claim_statements(world: World, database: InSqlite) -> int:
    database.statements.clear()
    world.work_of(SLACK)
    return len(database.statements)
