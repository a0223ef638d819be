"""How long it takes to decide one alert, against many routes and many firing sources of inhibition.

``python -m bench.decide``; `make bench` measures whole webhooks.
"""

import itertools
import time
from collections.abc import Callable, Iterator

from router.decide import FindSource, Policy, Route, Severity, decide
from router.decide.inhibition import Firing, Inhibition, Rule
from router.decide.matchers import Matcher, parse_matchers
from router.model import Destination

MATCHERS = 10
NOW = 1_795_262_400_000  # Sat 21 Nov 2026 12:00 UTC
SLACK = Destination("slack:C1", "slack", None)
RULES = Inhibition(
    (
        Rule(
            parse_matchers("severity=critical"),
            parse_matchers("severity=~warning|info"),
            ("alertname", "cluster"),
        ),
        Rule(parse_matchers("alertname=NodeDown"), parse_matchers("alertname!=NodeDown"), ("instance",)),
    )
)


def equalities(number: int) -> tuple[Matcher, ...]:
    """Return typical matchers: a team, an environment, and some patterns."""
    plain = [Matcher("team", "=", f"team-{number}"), Matcher("environment", "=", "production")]
    rest = [Matcher(f"label{i}", "=~", f"value-{i}|other-{number}-.*") for i in range(MATCHERS - 2)]
    return (*plain, *rest)


def patterns(number: int) -> tuple[Matcher, ...]:
    """Return the worst case: only regular expressions, all different."""
    team = Matcher("team", "=~", f"(team|squad)-{number}")
    return (team, *(Matcher(f"label{i}", "=~", f"value-.*|other-{number}-.*") for i in range(MATCHERS - 1)))


def policy(routes: int, matchers: Callable[[int], tuple[Matcher, ...]]) -> Policy:
    children = tuple(Route(f"route.routes[{n}]", "team", matchers=matchers(n)) for n in range(routes))
    return Policy(Severity(), Route("route", "team", routes=children), {"team": (SLACK,)}, inhibition=RULES)


def alerts(routes: int) -> Iterator[dict[str, str]]:
    """Yield an alert for each of some routes, each from its own instance."""
    labels = {f"label{i}": f"value-{i}" for i in range(MATCHERS)}
    fixed = {"alertname": "HighErrorRate", "environment": "production", "severity": "warning", **labels}
    for number in itertools.count():
        yield {**fixed, "team": f"team-{number * 7 % routes}", "instance": f"host-{number}"}


def critical(number: int) -> dict[str, str]:
    return {
        "alertname": "Source",
        "cluster": f"cluster-{number}",
        "severity": "critical",
        "instance": f"i{number}",
    }


def measured(rules: Policy, routes: int, source: FindSource, rounds: int = 3, each: int = 500) -> float:
    """Return microseconds per decision, the best of some rounds. Label values were seen before, except instances."""
    examples = alerts(routes)
    for labels in itertools.islice(examples, 2 * routes):
        decide(labels, rules, NOW, source)
    best = float("inf")
    for _ in range(rounds):
        batch = list(itertools.islice(examples, each))
        started = time.perf_counter()
        for labels in batch:
            decide(labels, rules, NOW, source)
        best = min(best, (time.perf_counter() - started) / each * 1e6)
    return best


def in_memory() -> None:
    counts, sources = (10, 100, 1_000), (0, 100, 10_000)
    for title, matchers in (("two equalities, eight patterns", equalities), ("ten patterns", patterns)):
        print(f"\ndecide one alert, us; a route has {title}")
        print(f"{'routes':>8}" + "".join(f"{count:>10,} sources" for count in sources))
        for routes in counts:
            rules = policy(routes, matchers)
            row = []
            for count in sources:
                firing = Firing(RULES)
                for number in range(count):
                    firing.add(str(number), critical(number))
                row.append(measured(rules, routes, firing.source))
            print(f"{routes:8,}" + "".join(f"{cell:18.1f}" for cell in row))


def catastrophe() -> None:
    """Measure a pattern that takes exponential time in a backtracking engine."""
    pattern = Matcher("path", "=~", "(a+)+$")
    value = "a" * 64 + "!"
    started = time.perf_counter()
    for _ in range(1_000):
        pattern.accepts(value)
    print(f"\n(a+)+$ against 64 times a and !: {(time.perf_counter() - started) * 1e3:.1f} us")


if __name__ == "__main__":
    in_memory()
    catastrophe()
