"""Explains why ``decide()`` decides as it does: the path through the route tree, hours, inhibition."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from router.decide import FindSource, Heartbeat, Policy, Route, decide, nothing_fires
from router.decide.heartbeats import first_of
from router.decide.inhibition import Rule
from router.decide.matchers import Matcher
from router.decide.policy import LEVEL, with_level
from router.model import Decision, Labels, Millis


class MatchResult(StrEnum):
    """What a route does with an alert."""

    TAKES = "takes"
    PASSES_ON = "passes on"
    """The route matches, and a route below it takes the alert."""
    REFUSES = "refuses"
    NOT_ASKED = "not asked"
    """An earlier sibling took the alert, and it has no ``continue``."""


@dataclass(frozen=True, slots=True)
class RouteStep:
    """A route that was reached on the path of an alert, or not asked because of an earlier sibling."""

    route: Route
    key: str
    """The key that Alertmanager gives the route, as in the keys of its groups."""
    depth: int
    result: MatchResult
    refused_by: Matcher | None = None
    """With REFUSES: the first condition that failed."""
    found: str = ""
    """With REFUSES: the value that the alert has; empty if it has none."""

    @property
    def condition(self) -> str:
        """The condition that failed, as routes.yaml writes it; empty if none failed."""
        if self.refused_by is None:
            return ""
        return f"severity: {self.route.severity}" if self.refused_by.name == LEVEL else str(self.refused_by)


@dataclass(frozen=True, slots=True)
class RouteHours:
    """The hours of a route that takes the alert."""

    route: Route
    open: bool
    why: str
    """Why it is closed; empty if it is open."""
    changes_at: Millis | None
    """When it opens or closes next (epoch ms); None: not within two years."""


@dataclass(frozen=True, slots=True)
class Muting:
    """An inhibit rule that has the alert as a target."""

    rule: Rule
    equal: Labels
    """The labels that a source has to share with the alert."""
    two_sided: bool
    """The alert matches the rule's source, too. Then only sources that don't match the target mute it."""
    source: Labels | None
    """The labels of a firing source; None: no source fires, and the alert is not muted."""


@dataclass(frozen=True, slots=True)
class Explanation:
    labels: Labels
    now: Millis
    level: str
    level_known: bool
    """Its label names a known level; otherwise ``level`` is the default."""
    steps: tuple[RouteStep, ...]
    hours: tuple[RouteHours, ...]
    muting: tuple[Muting, ...]
    decisions: tuple[Decision, ...]
    heartbeat: Heartbeat | None = None
    """The heartbeat that the alert is: then no route and no inhibit rule is asked. None: it is none."""


def explain_alert(
    labels: Labels,
    policy: Policy,
    now: Millis,
    source: FindSource = nothing_fires,
    sender: str | None = None,
) -> Explanation:
    """Return what :func:`decide` decides with the same arguments, and why."""
    level, known = policy.severity.of(labels)
    heartbeat = first_of(policy.match(labels).heartbeats, sender)
    if heartbeat is not None:
        return Explanation(labels, now, level, known, (), (), (), (), heartbeat)
    steps = tuple(_steps(policy.root, "{}", 0, with_level(labels, level)))
    taking = [step.route for step in steps if step.result is MatchResult.TAKES]
    muting = tuple(
        Muting(key.rule, {name: labels.get(name, "") for name in key.rule.equal}, key.two_sided, source(key))
        for key in policy.inhibition.as_target(labels)
    )
    return Explanation(
        labels,
        now,
        level,
        known,
        steps,
        tuple(_hours_of_routes(taking, now)),
        muting,
        decide(labels, policy, now, source, sender=sender),
    )


def _steps(route: Route, key: str, depth: int, labels: Labels) -> Iterator[RouteStep]:
    """Yield the steps of a route that matches the alert, and of all routes below it."""
    below: list[RouteStep] = []
    taken = stopped = False
    for child in route.routes:
        child_key = f"{key}/{child.key}"
        failed = next((each for each in child.conditions if not each.matches(labels)), None)
        if stopped:
            below.append(RouteStep(child, child_key, depth + 1, MatchResult.NOT_ASKED))
        elif failed is not None:
            found = labels.get(failed.name, "")
            below.append(RouteStep(child, child_key, depth + 1, MatchResult.REFUSES, failed, found))
        else:
            below += _steps(child, child_key, depth + 1, labels)
            taken, stopped = True, not child.continue_
    yield RouteStep(route, key, depth, MatchResult.PASSES_ON if taken else MatchResult.TAKES)
    yield from below


def _hours_of_routes(routes: list[Route], now: Millis) -> Iterator[RouteHours]:
    for route in routes:
        hours = route.hours
        if hours is not None:
            is_open = hours.is_open(now)
            changes_at = hours.next_closing(now) if is_open else hours.next_opening(now)
            yield RouteHours(route, is_open, "" if is_open else hours.closed_by(now), changes_at)
