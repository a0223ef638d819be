"""The conclusions that `check` draws without an alert are true for every alert."""

from hypothesis import given
from hypothesis import strategies as st

from router.config.conditions import Conditions, literal_alternatives
from router.config.siblings import Siblings
from router.decide import Route, Severity
from router.decide.matchers import Matcher
from router.decide.policy import with_level
from tests.examples import examples

SEVERITY = Severity()
VALUES = ["", "a", "b", "critical", "Warning", "info", "abc"]
_matchers = st.builds(
    Matcher, st.sampled_from(["x", "severity"]), st.sampled_from(["=", "!="]), st.sampled_from(VALUES)
) | st.builds(
    Matcher, st.sampled_from(["x", "severity"]), st.sampled_from(["=~", "!~"]),
    st.sampled_from(["a|b", "(?:a|critical)", "^(a|b)$", ".*", ".+", "a.*", "", "[^a]", "warning|info", "a|.+"]),
)  # fmt: skip
_routes = st.builds(
    Route, st.just("r"), st.just("team"), matchers=st.lists(_matchers, max_size=2).map(tuple),
    severity=st.sampled_from([None, None, "critical", "warning", "info"]), continue_=st.booleans(),
)  # fmt: skip
ALERTS = [{"x": x, "severity": severity} for x in VALUES for severity in VALUES] + [{}, {"x": "a"}]


def asked(labels: dict[str, str]) -> dict[str, str]:
    return with_level(labels, SEVERITY.of(labels)[0])


@given(st.lists(_matchers, max_size=4), _matchers)
@examples(150)
def test_impossible_never_happens_and_implied_always_does(matchers: list[Matcher], another: Matcher) -> None:
    conditions = Conditions(matchers, SEVERITY)
    meeting = [labels for labels in ALERTS if all(each.matches(labels) for each in matchers)]
    if conditions.impossible_label is not None:
        assert not meeting
    if conditions.implies(another):
        assert all(another.matches(labels) for labels in meeting)


@given(st.lists(_routes, min_size=2, max_size=6))
@examples(150)
def test_a_route_reported_as_shadowed_never_takes_an_alert(routes: list[Route]) -> None:
    root = Route("route", "team", routes=tuple(routes))
    siblings = Siblings(routes, SEVERITY)
    taken = {id(route) for labels in ALERTS for route in root.matching(asked(labels))}
    for number, route in enumerate(routes):
        conditions = Conditions(route.conditions, SEVERITY)
        if conditions.impossible_label is not None or siblings.takers(conditions, number):
            assert id(route) not in taken


@given(st.lists(_routes, min_size=2, max_size=8))
@examples(150)
def test_every_route_shadowed_by_one_earlier_route_is_found(routes: list[Route]) -> None:
    """The first route that takes all alerts is found without comparing each route."""
    siblings = Siblings(routes, SEVERITY)
    for number, route in enumerate(routes):
        conditions = Conditions(route.conditions, SEVERITY)
        earlier = (each for each in routes[:number] if not each.continue_)
        whole = next((each for each in earlier if conditions.implies_all(each.conditions)), None)
        if whole is not None and conditions.impossible_label is None:
            (taker,) = siblings.takers(conditions, number)
            assert taker is whole


def test_a_pattern_of_plain_alternatives_is_a_list() -> None:
    assert (
        literal_alternatives("a|b")
        == literal_alternatives("^(?:a|b)$")
        == literal_alternatives("(a|b)")
        == frozenset({"a", "b"})
    )
    assert literal_alternatives("^(?:^(a|b)$)$") == frozenset({"a", "b"})
    assert (
        literal_alternatives("a.b") is literal_alternatives("(a|b)c") is literal_alternatives("a|(b)") is None
    )
    assert literal_alternatives("") == frozenset({""})
