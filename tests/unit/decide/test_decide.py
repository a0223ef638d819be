"""The door of the rules: who is told what, when, and why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide import TEST_ALERTNAME, Outside, Policy, Route, Severity, decide
from router.decide.hours import Hours, Interval, NamedInterval, Schedule
from router.decide.inhibition import Firing, Inhibition, Rule
from router.decide.matchers import Matcher, parse_matchers
from router.decide.policy import with_level
from router.model import DAY, HOUR, SECOND, DecisionKind, Destination, Millis

SLACK = Destination("slack:C1", "slack", None)
PAGER = Destination("pagerduty:1", "pagerduty", None)
DAILY = Destination("digest:daily", "digest", None, digest=True)
OFFICE = Hours(active=(NamedInterval("office", (Interval(times=((9 * 60, 18 * 60),)),)),))
MIDNIGHT: Millis = 1_763_337_600_000  # Mon 17 Nov 2025, UTC
NOON, NIGHT = MIDNIGHT + 12 * HOUR, MIDNIGHT + 22 * HOUR
CRITICAL_MUTES = Inhibition(
    (Rule(parse_matchers("severity=critical"), parse_matchers("severity!=critical"), (), "inhibit_rules[0]"),)
)


def policy(*routes: Route, inhibition: Inhibition | None = None) -> Policy:
    return Policy(
        severity=Severity(),
        root=Route("route", "team", routes=routes),
        receivers={"team": (SLACK,), "oncall": (SLACK, PAGER), "daily": (DAILY,), "nobody": ()},
        schedules={DAILY.key: Schedule(8 * 60)},
        inhibition=inhibition or Inhibition(),
    )


def decisions(
    rules: Policy, now: Millis = NOON, **labels: str
) -> dict[str, tuple[DecisionKind, Millis | None]]:
    return {each.destination.key: (each.kind, each.at) for each in decide(labels, rules, now)}


def test_the_root_catches_what_no_route_takes() -> None:
    rules = policy(Route("route.routes[0]", "oncall", severity="critical"))
    assert decisions(rules, severity="warning") == {SLACK.key: (DecisionKind.SEND, NOON)}


@pytest.mark.parametrize("given_", ["critical", "CRITICAL", " Critical "])
def test_a_level_is_known_in_any_case(given_: str) -> None:
    rules = policy(Route("route.routes[0]", "oncall", severity="critical"))
    assert PAGER.key in decisions(rules, severity=given_)


@pytest.mark.parametrize("labels", [{}, {"severity": ""}, {"severity": "page"}])
def test_an_unknown_level_counts_as_the_default(labels: dict[str, str]) -> None:
    rules = policy(Route("route.routes[0]", "daily", severity="warning"))
    (decision,) = decide(labels, rules, NOON)
    assert {decision.destination.key: (decision.kind, decision.at)} == {
        DAILY.key: (DecisionKind.DIGEST, MIDNIGHT + DAY + 8 * HOUR)
    }


def test_a_matching_child_stops_its_siblings_unless_it_continues() -> None:
    first, second = Route("a", "oncall"), Route("b", "daily")
    assert DAILY.key not in decisions(policy(first, second))
    assert DAILY.key in decisions(policy(Route("a", "oncall", continue_=True), second))


@pytest.mark.parametrize(
    ("outside", "wanted"),
    [
        (Outside.HOLD, {SLACK.key: (DecisionKind.HOLD, MIDNIGHT + DAY + 9 * HOUR)}),
        (Outside.DROP, {SLACK.key: (DecisionKind.DROP, None)}),
        (Outside.SEND, {SLACK.key: (DecisionKind.SEND, NIGHT)}),
        (Outside.DIGEST, {DAILY.key: (DecisionKind.DIGEST, MIDNIGHT + DAY + 8 * HOUR)}),
    ],
)
def test_outside_its_hours_a_route_does_as_it_says(
    outside: Outside, wanted: dict[str, tuple[DecisionKind, Millis | None]]
) -> None:
    rules = policy(Route("a", "team", hours=OFFICE, outside=outside, outside_digest="daily"))
    assert decisions(rules, NIGHT) == wanted
    assert decisions(rules, NOON) == {SLACK.key: (DecisionKind.SEND, NOON)}


def test_a_digest_takes_alerts_at_any_hour() -> None:
    rules = policy(Route("a", "daily", hours=OFFICE))
    assert decisions(rules, NIGHT)[DAILY.key][0] is DecisionKind.DIGEST


def test_the_stronger_of_two_decisions_for_a_destination_counts() -> None:
    held = Route("a", "team", hours=OFFICE, continue_=True)
    assert decisions(policy(held, Route("b", "oncall")), NIGHT)[SLACK.key] == (DecisionKind.SEND, NIGHT)


def test_alerts_that_may_be_muted_wait_but_the_most_urgent_do_not() -> None:
    rules = policy(inhibition=CRITICAL_MUTES)
    assert decisions(rules, severity="warning") == {SLACK.key: (DecisionKind.SEND, NOON + 5 * SECOND)}
    assert decisions(rules, severity="critical") == {SLACK.key: (DecisionKind.SEND, NOON)}


def test_an_inhibitor_mutes_every_destination_and_is_named() -> None:
    rules = policy(Route("a", "oncall"), inhibition=CRITICAL_MUTES)
    (key,) = CRITICAL_MUTES.as_target({})
    decisions = decide({}, rules, NOON, lambda _: {"alertname": "Down", "severity": "critical"})
    assert [each.destination for each in decisions] == [SLACK, PAGER]
    assert {(each.kind, each.inhibitor) for each in decisions} == {(DecisionKind.INHIBITED, key.text)}
    assert decisions[0].reason == 'inhibited by Down{severity="critical"} (inhibit_rules[0])'


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ({"alertname": "Down", "cluster": "eu-1"}, "Down"),
        ({"alertname": "Down", "cluster": "eu-2", "b": "2", "a": "1"}, 'Down{a="1", b="2", cluster="eu-2"}'),
        ({"instance": "web-1"}, 'an alert without a name{instance="web-1"}'),
        ({}, "an alert without a name"),
        ({"alertname": "A\x1b\n\u202eB", "x\x9b": "\ud800"}, 'A\ufffd\ufffd\ufffdB{x\ufffd="\ufffd"}'),
        ({f"l{number}": "v" for number in range(9)}, 'an alert without a name{l0="v", l1="v", l2="v", l3="v", l4="v", l5="v", 3 more}'),
        ({"alertname": "A" * 500, "b": "v" * 500}, f'{"A" * 59}…{{b="{"v" * 59}…"}}'),
    ],
)  # fmt: skip
def test_an_inhibitor_is_named_by_the_labels_that_differ(source: dict[str, str], name: str) -> None:
    target = {"alertname": "Slow", "cluster": "eu-1"}
    (decision,) = decide(target, policy(inhibition=CRITICAL_MUTES), NOON, lambda _: source)
    assert decision.reason == f"inhibited by {name} (inhibit_rules[0])"


def test_a_dropped_alert_stays_dropped_under_an_inhibitor() -> None:
    rules = policy(Route("a", "team", hours=OFFICE, outside=Outside.DROP), inhibition=CRITICAL_MUTES)
    (decision,) = decide({}, rules, NIGHT, lambda _: {"alertname": "Down"})
    assert decision.kind is DecisionKind.DROP


def test_hours_that_never_open_again_hold_nothing_back() -> None:
    past = Hours(active=(NamedInterval("past", (Interval(years=((2020, 2020),)),)),))
    (decision,) = decide({}, policy(Route("a", "team", hours=past)), NOON)
    assert decision.kind is DecisionKind.SEND
    assert "never opens again" in decision.reason


def test_two_alerts_on_both_sides_of_a_rule_do_not_mute_each_other() -> None:
    both = Rule(parse_matchers("a=1"), parse_matchers("b=1"), ())
    inhibition = Inhibition((both,))
    (key,) = inhibition.as_target({"a": "1", "b": "1"})
    assert key.two_sided
    firing = Firing(inhibition)
    firing.add("both", {"a": "1", "b": "1"})
    assert firing.source(key) is None
    firing.add("one", {"a": "1"})
    assert firing.source(key) == {"a": "1"}
    firing.remove("one")
    assert firing.source(key) is None


def test_a_missing_equal_label_is_an_empty_one() -> None:
    inhibition = Inhibition((Rule(parse_matchers("s=1"), parse_matchers("t=1"), ("cluster",)),))
    assert inhibition.as_source({"s": "1"})[0].text == inhibition.as_target({"t": "1", "cluster": ""})[0].text


def test_two_equal_inhibit_rules_count_once() -> None:
    rule = Rule(parse_matchers("s=1"), parse_matchers("t=1"), ("cluster",))
    inhibition = Inhibition((rule, rule))
    assert len(inhibition.as_source({"s": "1"})) == len(inhibition.as_target({"t": "1"})) == 1


_routes = st.recursive(
    st.builds(
        Route, st.just("r"), st.sampled_from(["team", "oncall", "daily"]),
        matchers=st.sampled_from([(), (Matcher("x", "=", "1"),), (Matcher("x", "!=", "1"),)]),
        continue_=st.booleans(), hours=st.sampled_from([None, OFFICE]),
        outside=st.sampled_from([Outside.HOLD, Outside.DROP, Outside.SEND]),
    ),
    lambda inner: st.builds(
        Route, st.just("r"), st.just("team"), continue_=st.booleans(), routes=st.lists(inner, max_size=3).map(tuple)
    ),
    max_leaves=6,
)  # fmt: skip


@given(
    st.lists(_routes, max_size=3), st.sampled_from([NOON, NIGHT]),
    st.fixed_dictionaries({}, optional={"x": st.sampled_from(["1", "2"]), "severity": st.text(max_size=8)}),
)  # fmt: skip
def test_an_alert_has_one_decision_for_each_destination(
    routes: list[Route], now: Millis, labels: dict[str, str]
) -> None:
    rules = policy(*routes, inhibition=CRITICAL_MUTES)
    level, _ = rules.severity.of(labels)
    named = {
        each.key
        for route in rules.root.matching(with_level(labels, level))
        for each in rules.receivers[route.receiver]
    }
    decisions = decide(labels, rules, now)
    assert named
    assert sorted(each.destination.key for each in decisions) == sorted(named)


def test_a_test_goes_to_its_receiver_only_and_at_once() -> None:
    rules = policy(Route("route.routes[0]", "oncall"), inhibition=CRITICAL_MUTES)
    labels = {"alertname": TEST_ALERTNAME, "severity": "warning", "receiver": "daily"}
    muting = {"alertname": "Down", "severity": "critical"}
    (own,) = decide(labels, rules, NIGHT, lambda _: muting, about=frozenset())
    assert (own.destination.key, own.kind, own.at) == (DAILY.key, DecisionKind.SEND, NIGHT)
    assert not own.destination.digest, "it does not wait for the slot"
    assert decide({**labels, "receiver": "gone"}, rules, NIGHT, about=frozenset()) == ()
    sent = decide(labels, rules, NIGHT, lambda _: muting)
    assert {each.kind for each in sent} == {DecisionKind.INHIBITED}, "a sender's alert of this name is none"


def test_a_self_alert_goes_to_the_receiver_that_its_label_names() -> None:
    rules = policy(Route("route.routes[0]", "daily", severity="warning"))
    labels = {"alertname": "Test", "receiver": "oncall"}
    own = decide(labels, rules, NOON, about=frozenset())
    assert {each.destination.key for each in own} == {SLACK.key, PAGER.key}
    assert {each.rule for each in own} == {"self-alert"}
    assert DAILY.key in decisions(rules, severity="warning", receiver="oncall"), (
        "a sender's label steers nothing"
    )
    elsewhere = decide({**labels, "receiver": "gone"}, rules, NOON, about=frozenset())
    assert {each.destination.key for each in elsewhere} == {DAILY.key}, (
        "an unknown receiver: as the routes say"
    )
