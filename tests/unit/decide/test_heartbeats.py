"""Heartbeats: which alerts they are, from which source, and that nobody is notified of them."""

from dataclasses import replace

from router.decide import Heartbeat, Policy, Route, Severity, decide
from router.decide.explanation import explain_alert
from router.decide.heartbeats import HeartbeatTable, first_of
from router.decide.matchers import Matcher
from router.model import MINUTE, Destination

OPS = Destination("slack:C0", "slack", None)
WATCHDOG = {"alertname": "Watchdog", "severity": "critical"}


def heartbeat(name: str = "watchdog", alertname: str = "Watchdog", source: str | None = None) -> Heartbeat:
    return Heartbeat(name, (Matcher("alertname", "=", alertname),), 10 * MINUTE, "heartbeats[0]", source)


def policy(*heartbeats: Heartbeat) -> Policy:
    return Policy(Severity(), Route("route", "ops"), {"ops": (OPS,)}, watched=HeartbeatTable(heartbeats))


def test_a_heartbeat_has_no_decision() -> None:
    rules = policy(heartbeat())
    assert decide(WATCHDOG, rules, 0) == ()
    assert [each.destination.key for each in decide({"alertname": "Down"}, rules, 0)] == [OPS.key]


def test_another_source_sends_an_ordinary_alert() -> None:
    rules = policy(heartbeat(source="am1"))
    assert decide(WATCHDOG, rules, 0, sender="am1") == ()
    assert len(decide(WATCHDOG, rules, 0, sender="am2")) == 1
    assert decide(WATCHDOG, rules, 0) == (), "the source is not known"


def test_the_source_counts_although_matches_are_remembered() -> None:
    rules = policy(heartbeat(source="am1"))
    for _ in range(2):
        assert decide(WATCHDOG, rules, 0, identity="x", sender="am1") == ()
        assert len(decide(WATCHDOG, rules, 0, identity="x", sender="am2")) == 1


def test_a_self_alert_is_no_heartbeat() -> None:
    assert len(decide(WATCHDOG, policy(heartbeat()), 0, about=frozenset())) == 1


def test_the_first_that_matches_counts() -> None:
    one, other, third = heartbeat("one"), heartbeat("other"), heartbeat("third", "Other")
    table = HeartbeatTable((one, other, third))
    assert table.matching(WATCHDOG) == (one, other)
    assert first_of(table.matching(WATCHDOG), "am1") == one
    assert first_of((replace(one, source="am2"), other), "am1") == other
    assert HeartbeatTable().matching(WATCHDOG) == ()


def test_an_explanation_names_it_and_asks_no_route() -> None:
    explanation = explain_alert(WATCHDOG, policy(heartbeat(source="am1")), 0, sender="am1")
    assert (explanation.heartbeat, explanation.steps, explanation.decisions) == (
        heartbeat(source="am1"),
        (),
        (),
    )
    explanation = explain_alert(WATCHDOG, policy(heartbeat(source="am1")), 0, sender="am2")
    assert (explanation.heartbeat, len(explanation.steps), len(explanation.decisions)) == (None, 1, 1)
