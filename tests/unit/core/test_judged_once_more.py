"""An alert is judged again before its first notification, unless its decision cannot have changed."""

from dataclasses import replace
from typing import Any

import pytest

from router.core.claim import needs_rejudging
from router.core.rows import HOLD, MemberRow
from router.model import HOUR, MINUTE, Delivered, Retry
from tests.unit.core.world import NIGHT, RULES, SLACK, TEAM, World, alert


def member_at(world: World, key: str) -> MemberRow:
    (found,) = (
        each
        for each in world.state.members
        if world.state.conversations[each.conversation_id].destination == key
    )
    return found


def unjudged(world: World, key: str) -> bool:
    return needs_rejudging(world.state, member_at(world, key), world.policy, world.now)


def test_an_alert_sent_at_any_hour_is_not_judged_again() -> None:
    world = World()
    world.post(alert("A", "critical"))
    assert not unjudged(world, SLACK.key)


def test_an_alert_that_may_be_muted_is_judged_again() -> None:
    world = World()
    world.post(alert("A", "warning"))
    world.now += MINUTE
    assert unjudged(world, TEAM.key)


def test_a_held_alert_is_judged_again_without_its_hours() -> None:
    world = World(NIGHT)
    world.post(alert("A", "warning"))
    world.policy = RULES[1]
    world.now += 24 * HOUR
    assert member_at(world, TEAM.key).decision == HOLD
    assert unjudged(world, TEAM.key)


def test_an_alert_that_the_rules_send_elsewhere_is_judged_again() -> None:
    """The rules may have changed, and the alert may not be judged by them yet."""
    world = World()
    world.post(alert("A", "critical"))
    world.policy = RULES[2]
    assert unjudged(world, SLACK.key)
    world.deliver(SLACK)
    assert world.providers[SLACK.key].received == []


@pytest.mark.parametrize("columns", [{"withheld": "silenced in Alertmanager"}, {"about": "[]"}])
def test_withheld_alerts_and_self_alerts_are_judged_again(columns: dict[str, Any]) -> None:
    world = World()
    world.post(alert("A", "critical"))
    (row,) = world.state.alerts
    world.state.alerts.put(row._replace(**columns))
    assert unjudged(world, SLACK.key)


def test_a_route_without_hours_outweighs_another_with_hours() -> None:
    world = World(policy=replace(RULES[0], inhibition=RULES[0].inhibition.__class__(())))
    matched = world.policy.match({"severity": "warning"})
    assert TEAM.key not in matched.always
    root = world.policy.root
    both = tuple(replace(each, severity=None, continue_=True) for each in (root.routes[1], root.routes[0]))
    policy = replace(
        world.policy, root=replace(root, routes=both), receivers={**world.policy.receivers, "oncall": (TEAM,)}
    )
    assert policy.match({"severity": "warning"}).always == {TEAM.key}


def test_news_after_an_attempt_starts_another_version() -> None:
    """A channel that has shown a version does not show it again."""
    world = World()
    world.post(alert("A", "critical"))
    claimed_at = world.now
    world.now += 1
    world.post(alert("B", "critical"))
    world.now = claimed_at  # the claim was requested before the webhook, and runs after it
    first = world.work_of(SLACK)
    world.finish(first, Delivered({"ts": "1"}))
    world.now += 1
    second = world.work_of(SLACK)
    assert [len(each.conversation.firing) for each in (first, second)] == [1, 2]
    assert second.conversation.version > first.conversation.version
    assert second.conversation.revision != first.conversation.revision


def test_an_attempt_that_may_have_arrived_is_repeated_under_its_version() -> None:
    world = World()
    world.post(alert("A", "critical"))
    first = world.work_of(SLACK)
    world.finish(first, Retry("timeout", ambiguous=True))
    assert world.work_of(SLACK).conversation.revision == first.conversation.revision
