"""What new rules change for firing alerts, and what they leave as it is."""

from dataclasses import replace

import pytest

from router.core.rows import ConversationRow, FateRow, MemberRow
from router.decide import Severity
from router.model import SECOND, Status
from router.store import Adoption, ClaimedDelivery, Idle, Phase
from tests.unit.core.memory import at_once
from tests.unit.core.world import NIGHT, POLICY, RULES, SLACK, TEAM, World, alert

Rows = tuple[list[MemberRow], list[ConversationRow], list[FateRow]]


def rows(world: World) -> Rows:
    state = world.state
    return sorted(state.members), sorted(state.conversations), sorted(state.fates)


def test_a_member_that_new_rules_decide_as_before_stays_as_it_is() -> None:
    """Post alerts that are held, inhibited, waiting for an inhibitor, due, notified, and in a digest."""
    world = World(NIGHT)
    world.post(alert("Down", "critical"), group="notified")
    world.deliver(SLACK)
    for name, level in (("Disk", "warning"), ("Down", "warning"), ("Cert", "info"), ("Net", "critical")):
        world.post(alert(name, level), group=f"{name}-{level}")
    world.now += SECOND
    before = rows(world)
    world.reload(replace(POLICY, fingerprint="a comment was added"))
    assert rows(world) == before


def test_a_member_that_new_rules_decide_otherwise_is_due() -> None:
    world = World(NIGHT)
    world.post(alert("Disk", "warning"))
    routes = tuple(replace(route, hours=None) for route in POLICY.root.routes)
    world.reload(replace(POLICY, root=replace(POLICY.root, routes=routes), fingerprint="always open"))
    world.now += 5 * SECOND
    assert isinstance(world.begin(TEAM), ClaimedDelivery)


def test_an_alert_that_other_rules_make_more_urgent_goes_before_others() -> None:
    world = World(NIGHT)
    world.post(alert("Disk", "warning"))
    (before,) = (row.urgency for row in world.state.conversations if row.destination == TEAM.key)
    severity = Severity(levels=("warning", "critical", "info"))
    world.reload(replace(POLICY, severity=severity, fingerprint="warnings first"))
    (after,) = (row.urgency for row in world.state.conversations if row.destination == TEAM.key)
    assert (before, after) == (1, 0)


def test_superseded_rules_judge_nothing() -> None:
    """A step of the clock was handled under the former rules, while others were loaded."""
    world = World(NIGHT)
    world.post(alert("Disk", "warning"))
    at_once(world.store.rules.adopt(Adoption(RULES[1]), world.now))
    before = rows(world)
    assert at_once(world.store.rules.judge_some(POLICY, world.now)) == (None, frozenset())
    assert rows(world) == before
    assert at_once(world.store.rules.judge_some(RULES[1], world.now)) == (Phase.JUDGE, frozenset())
    assert at_once(world.store.rules.judge_some(RULES[1], world.now)) == (None, frozenset({TEAM.key}))


@pytest.mark.parametrize("groups", ["gh", "hg"])
def test_new_rules_send_an_alert_for_the_group_that_reported_it_last(groups: str) -> None:
    world = World()
    for group in "gh":  # the ids of the groups are in this order
        world.post(alert("Other", "info", Status.RESOLVED), group=group)
    for group in groups:
        world.post(alert("Down", "critical"), group=group)
    world.reload(RULES[2])
    assert world.work_of(TEAM).conversation.group_labels == {"group": groups[-1]}
    assert isinstance(world.begin(TEAM), Idle)
