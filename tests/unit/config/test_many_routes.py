"""`check` with many routes: the work grows as their number does, counted and not timed."""

import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config import Trap, loads
from router.config.logic import Conditions
from router.decide import Policy
from router.decide.hours import Hours
from router.decide.matchers import Matcher
from router.decide.policy import with_level
from router.rules.check import check

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
HEAD = """receivers: {nobody: []}
time_intervals:
  - {name: office, time_intervals: [{weekdays: ["monday:friday"], times: [{start_time: "09:00", end_time: "18:00"}]}]}
  - {name: years, time_intervals: [{years: ["1999"]}]}
route:
  receiver: nobody
  routes:
"""
KINDS = {
    "equalities": "matchers: [team=t{n}]",
    "lists": 'matchers: [''team=~"a{n}|b{n}"'', env!=""]',
    "one value and one of many": "severity: critical, matchers: [team=t{n}]",
    "beginnings": 'matchers: [''team=~"t{n}-.*"'']',
    "refusals beside a label of their own": 'matchers: [env=prod, ''team!="t"'', x{n}!=""]',
    "levels of a team": 'matchers: [''severity=~"critical|warning"'', team=t{n}]',
    "hours": "matchers: [team=t{n}], mute_time_intervals: [office], active_time_intervals: [years], outside: drop",
}


def work(folder: Path, rules: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is done to check a file."""
    counted: Counter[str] = Counter()

    def count(owner: type, name: str) -> None:
        original = getattr(owner, name)

        def counting(*arguments: object, **options: object) -> object:
            counted[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, counting)

    path = folder / "routes.yaml"
    path.write_text(rules)
    with monkeypatch.context():
        for owner, name in ((Conditions, "imply"), (Matcher, "accepts"), (Hours, "open")):
            count(owner, name)
        found = check(path, {}, NOW)
        monkeypatch.undo()
    assert not [each for each in found.problems if not each.warning]
    return counted


@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_routes_are_at_most_twice_the_work(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rules(count: int) -> str:
        each = [f"    - {{receiver: nobody, {KINDS[kind].replace('{n}', str(n))}}}" for n in range(count)]
        return HEAD + "\n".join(each)

    few, many = (sum(work(tmp_path, rules(count), monkeypatch).values()) for count in (100, 200))
    assert many <= 2 * few + 100


MATCHERS = st.sampled_from([
    "team=a", "team=b", 'team=~"a|b"', 'team=~"a|b|c"', 'team=~"a.*"', 'team=~"ab.*"', 'team=~"^(?:ab)+$"', "team=ab",
    'team!=a', 'team!=""', 'team=~".+"', 'team=~".*"', 'team=""', 'team!~"a|b"', "env=a", 'env!=""', 'severity=critical',
    'severity=~"critical|warning|info"', 'severity!=critical', 'team=~"a*"', 'team=~"|a"',
])  # fmt: skip
ROUTE = st.tuples(st.lists(MATCHERS, max_size=2), st.booleans(), st.sampled_from(["", "critical", "warning", "info"]))


@settings(deadline=None)  # the first example also warms what all share
@given(st.lists(ROUTE, min_size=1, max_size=6))
def test_a_route_is_called_shadowed_only_if_no_alert_comes_to_it(
    routes: list[tuple[list[str], bool, str]],
) -> None:
    """Against every alert that the matchers can tell apart."""
    lines = [
        f"    - {{matchers: {matchers}, continue: {str(goes_on).lower()}"
        + (f", severity: {level}}}" if level else "}")
        for matchers, goes_on, level in routes
    ]
    text = HEAD + "\n".join(lines) + "\n"
    config = loads(text, name="routes.yaml", folder=Path(), environ={}, now=NOW, checking=True)
    first = HEAD.count("\n") + 1
    flagged = {each.line - first for each in config.problems if each.trap in (Trap.SHADOWED, Trap.UNREACHABLE)}
    assert not flagged & reached(config.policy)
    for number, (matchers, _, level) in enumerate(routes):
        for before, goes_on, other in routes[:number]:
            if set(before) <= set(matchers) and not goes_on and other in ("", level):
                assert number in flagged


def reached(policy: Policy) -> set[int]:
    """The numbers of the routes below the root that some alert comes to."""
    values = {
        "team": ("", "a", "b", "c", "ab", "abab", "ax", "z", "aa"),
        "env": ("", "a", "b"),
        "severity": ("", "critical", "warning", "info", "x"),
    }
    found: set[int] = set()
    for combination in itertools.product(*values.values()):
        labels = {name: value for name, value in zip(values, combination, strict=True) if value}
        level, _ = policy.severity.of(labels)
        paths = (route.path for route in policy.root.matching(with_level(labels, level)))
        found |= {int(path[len("route.routes[") : -1]) for path in paths if path != "route"}
    return found
