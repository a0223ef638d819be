"""What is said about alerts: counts, words of tables, ids and names of routes.yaml."""

import pytest

from router.model import Broken, Delivered, Outcome, Rejected, Retry, Status
from router.telemetry import reported_facts as facts
from router.telemetry.reported_facts import (
    DestinationNames,
    decision_counts,
    decision_sums,
    delivery_facts,
    outcome_facts,
)
from router.telemetry.trace_origins import TraceOrigins
from tests.unit.core.world import DAILY, NIGHT, NOON, PAGER, POLICY, SLACK, TEAM, World, alert, webhook

SECRET = "xoxb-secret-of-nobody"


@pytest.mark.parametrize(
    ("outcome", "found"),
    [
        (None, {"outcome": "unknown"}),
        (Delivered(), {"outcome": "delivered"}),
        (Retry(f"http 503: {SECRET}", words=SECRET), {"outcome": "retry", "http_status": 503}),
        (Retry(SECRET, ambiguous=True, cause=SECRET), {"outcome": "retry", "may_have_arrived": True}),
        (Retry("more", unfinished=True), {"outcome": "unfinished"}),
        (Broken(f"http 404: {SECRET}"), {"outcome": "broken", "http_status": 404}),
        (Rejected(SECRET, words=SECRET), {"outcome": "rejected"}),
        (Rejected("http 4040"), {"outcome": "rejected"}),
    ],
)
def test_an_outcome_is_a_word_and_a_status(outcome: Outcome | None, found: facts.Facts) -> None:
    assert outcome_facts(outcome) == found


def test_a_destination_is_named_by_its_receiver_and_position() -> None:
    names = DestinationNames()
    assert [names.name(each.key, POLICY) for each in (SLACK, PAGER, TEAM, DAILY)] == [
        "oncall[0]", "oncall[1]", "team[0]", "daily[0]",
    ]  # fmt: skip
    assert names.name("email:someone@example.com", POLICY) == "not in routes.yaml"


def test_a_webhook_has_the_sums_of_its_decisions() -> None:
    world = World(NIGHT)
    receipt = world.post(alert("A", "critical"), alert("B", "warning"), alert("C", "info"))
    assert decision_sums(receipt) == {"decisions.send": 3, "decisions.hold": 1, "decisions.digest": 1}
    counts = decision_counts(receipt, DestinationNames(), POLICY)
    assert {(each.destination, each.decision, each.alerts) for each in counts} == {
        ("oncall[0]", "send", 1), ("oncall[1]", "send", 1), ("oncall[2]", "send", 1), ("team[0]", "hold", 1),
        ("daily[0]", "digest", 1),
    }  # fmt: skip


def test_a_delivery_says_its_rule_and_its_decision() -> None:
    world = World(NIGHT)
    world.post(alert("B", "warning"))
    world.now = NIGHT + 12 * 3_600_000
    found = delivery_facts(world.work_of(TEAM), TEAM, DestinationNames(), POLICY)
    assert (found["decision"], found["rules"], found["kind"]) == ("hold", "route.routes[1]", "group")
    assert (found["destination"], found["channel"], found["changes"], found["attempt"]) == (
        "team[0]",
        "slack",
        1,
        1,
    )


def test_a_repeat_does_not_replace_the_webhook_that_reported_the_alert() -> None:
    world, origins = World(), TraceOrigins[str]()
    origins.add(webhook(alert("A", "critical")), "default", "first")
    origins.add(webhook(alert("A", "critical")), "default", "repeat")
    world.post(alert("A", "critical"))
    assert origins.of(world.work_of(SLACK)) == ("first",)


def test_an_end_and_another_source_have_webhooks_of_their_own() -> None:
    world, origins = World(), TraceOrigins[str]()
    firing, ended = alert("A", "critical"), alert("A", "critical", Status.RESOLVED)
    origins.add(webhook(firing), "default", "firing")
    origins.add(webhook(ended), "default", "ended")
    origins.add(webhook(ended), "other", "other")
    world.post(firing)
    world.deliver(SLACK)
    world.now = NOON + 60_000
    world.post(ended)
    assert origins.of(world.work_of(SLACK)) == ("ended",)


def test_the_oldest_webhooks_are_forgotten() -> None:
    world, origins = World(), TraceOrigins[str](max_alerts=2)
    for name in "ABC":
        origins.add(webhook(alert(name, "critical")), "default", name)
        world.post(alert(name, "critical"))
    assert origins.of(world.work_of(SLACK)) == ("B", "C")
