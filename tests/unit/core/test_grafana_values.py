"""Grafana's values change with every evaluation: they are shown as last reported, and are no news by themselves."""

from dataclasses import replace

from router.core.alerts import alert_of, doubt_of
from router.model import MINUTE, Alert, Change, Delivered, Status
from router.store import Idle
from tests.unit.core.world import SLACK, World, alert

CRITICAL = replace(alert("D", "critical"), links={"panel": "https://g.example/d/1?viewPanel=2"})


def measured(values: str, given: Alert = CRITICAL) -> Alert:
    return replace(given, values=values)


def known(world: World) -> Alert:
    (row,) = world.state.alerts
    return alert_of(row)


def test_other_values_are_a_repeat_that_is_not_sent() -> None:
    world = World()
    world.post(measured("A=1"))
    world.finish(world.work_of(SLACK), Delivered({"ts": "1"}))
    (before,) = (row for row in world.state.conversations if row.destination == SLACK.key)
    world.now += MINUTE
    (change,) = world.post(measured("A=2")).changes
    assert change[0] is Change.REPEATED
    assert isinstance(world.begin(SLACK), Idle)
    (after,) = (row for row in world.state.conversations if row.destination == SLACK.key)
    repeated = before._replace(generation=after.generation)
    assert after == repeated
    assert (known(world).values, known(world).links) == ("A=2", CRITICAL.links)


def test_a_message_shows_the_values_of_the_last_report() -> None:
    world = World()
    world.post(measured("A=1"))
    world.post(measured("A=2"))
    (shown,) = world.work_of(SLACK).conversation.alerts
    assert shown.alert.values == "A=2"


def test_values_that_are_gone_are_not_shown() -> None:
    world = World()
    world.post(measured("A=1"))
    world.post(CRITICAL)
    assert known(world).values == ""


def test_a_doubt_keeps_the_values() -> None:
    world = World()
    world.post(measured("A=1"), peer="a")
    world.post(replace(CRITICAL, status=Status.RESOLVED), peer="a")
    world.post(measured("A=2"), peer="b")
    (row,) = world.state.alerts
    found = doubt_of(row)
    assert found is not None
    assert (found[0].alert.values, found[0].alert.links) == ("A=2", CRITICAL.links)
