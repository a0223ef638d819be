"""`check` with many routes: the work grows in proportion to their number. The tests count steps and measure no time."""

from collections import Counter
from pathlib import Path

import pytest

from router.config.conditions import Conditions
from router.decide.hours import Hours
from router.decide.matchers import Matcher
from router.rules.check import check_file

NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
HEAD = """receivers: {nobody: []}
time_intervals:
  - {name: office, time_intervals: [{weekdays: ["monday:friday"], times: [{start_time: "09:00", end_time: "18:00"}]}]}
  - {name: years, time_intervals: [{years: ["1999"]}]}
route:
  receiver: nobody
  routes:
"""
ROUTES = {
    "equalities": "matchers: [team=t{n}]",
    "lists": 'matchers: [team=~"a{n}|b{n}", env!=""]',
    "one value and one of many": "severity: critical, matchers: [team=t{n}]",
    "beginnings": 'matchers: [team=~"t{n}-.*"]',
    "refusals beside a label of their own": 'matchers: [env=prod, team!="t", x{n}!=""]',
    "levels of a team": 'matchers: [severity=~"critical|warning", team=t{n}]',
    "hours": "matchers: [team=t{n}], mute_time_intervals: [office], active_time_intervals: [years], outside: drop",
}


def work(folder: Path, rules: str, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return the number of steps that it takes to check a file."""
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
        for owner, name in ((Conditions, "implies"), (Matcher, "accepts"), (Hours, "is_open")):
            count(owner, name)
        found = check_file(path, {}, NOW)
        monkeypatch.undo()
    assert not [each for each in found.problems if not each.is_warning]
    return counted


@pytest.mark.parametrize("kind", ROUTES)
def test_twice_the_routes_are_at_most_twice_the_work(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rules(count: int) -> str:
        each = [f"    - {{receiver: nobody, {ROUTES[kind].replace('{n}', str(n))}}}" for n in range(count)]
        return HEAD + "\n".join(each)

    few, many = (sum(work(tmp_path, rules(count), monkeypatch).values()) for count in (100, 200))
    assert many <= 2 * few + 100
