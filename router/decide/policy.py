"""The rules of routes.yaml as frozen data, ready to be asked. Built by ``config``; asked by ``decide``."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from router.decide.hours import Hours, Schedule
from router.decide.inhibition import Inhibition
from router.decide.matchers import Matcher
from router.model import Destination, Labels, Millis


@dataclass(frozen=True, slots=True)
class Severity:
    """The urgency of alerts: ``levels`` from the most urgent to the least."""

    label: str = "severity"
    levels: tuple[str, ...] = ("critical", "warning", "info")
    default: str = "warning"

    def of(self, labels: Labels) -> tuple[str, bool]:
        """The level of an alert, and whether its label named a known one. Case and outer space don't count."""
        level = labels.get(self.label, "").strip().casefold()
        return (level, True) if level in self.levels else (self.default, False)

    def rank(self, level: str) -> int:
        """0 for the most urgent level."""
        return self.levels.index(level)


class Outside(StrEnum):
    """What a route does with an alert that comes outside its hours."""

    HOLD = "hold"
    DIGEST = "digest"
    DROP = "drop"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the route tree; receiver and intervals are resolved (inheritance done) by ``config``."""

    path: str
    """Its place in routes.yaml: ``route``, ``route.routes[1]``, …"""
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    severity: str | None = None
    """Matches alerts of this level; beside ``matchers``, all must hold."""
    continue_: bool = False
    hours: Hours | None = None
    outside: Outside = Outside.HOLD
    outside_digest: str | None = None
    """With ``Outside.DIGEST``: the receiver whose digests take the alert."""
    routes: tuple["Route", ...] = ()

    def matching(self, labels: Labels, level: str) -> Iterator["Route"]:
        """The routes that take the alert, in order, with Alertmanager's meaning: depth first, the first
        matching child stops its siblings unless it says ``continue``; without a matching child the node
        itself. Nothing, when this node does not match.
        """
        if self.severity is not None and self.severity != level:
            return
        if not all(matcher.matches(labels) for matcher in self.matchers):
            return
        matched = False
        for child in self.routes:
            taken = False
            for route in child.matching(labels, level):
                matched = taken = True
                yield route
            if taken and not child.continue_:
                break
        if not matched:
            yield self


@dataclass(frozen=True, slots=True)
class Policy:
    severity: Severity
    root: Route
    receivers: Mapping[str, tuple[Destination, ...]]
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    """By destination key, for each digest destination."""
    inhibition: Inhibition = field(default_factory=Inhibition)
    inhibit_wait: Millis = 5_000
    fingerprint: str = ""
    """Changes whenever the rules do: open work is then judged anew."""

    @property
    def destinations(self) -> dict[str, Destination]:
        """Every destination, by key."""
        return {each.key: each for several in self.receivers.values() for each in several}
