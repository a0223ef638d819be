"""The rules of routes.yaml as frozen data. ``config`` builds them, ``decide`` applies them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from typing import Literal

from router.decide.heartbeats import Heartbeat, HeartbeatTable
from router.decide.hours import Hours, NamedInterval, Schedule
from router.decide.index import MatcherIndex
from router.decide.inhibition import Inhibition, Key
from router.decide.matchers import Matcher
from router.decide.tenants import Tenants
from router.model import HOUR, MINUTE, OWN_SOURCE, SECOND, Configuration, Destination, Labels, Millis


@dataclass(frozen=True, slots=True)
class Severity:
    """The urgency of alerts: ``levels`` from the most urgent to the least."""

    label: str = "severity"
    levels: tuple[str, ...] = ("critical", "warning", "info")
    default: str = "warning"

    def of(self, labels: Labels) -> tuple[str, bool]:
        """Return the level of an alert, and whether its label names a known one. Case and outer spaces don't count."""
        level = labels.get(self.label, "").strip().casefold()
        return (level, True) if level in self.levels else (self.default, False)

    def rank(self, level: str) -> int:
        """Return 0 for the most urgent level, 1 for the next, …"""
        return self.levels.index(level)


# The name of the level as a label, so that the severity of a route is a matcher like any other. No real label has it.
LEVEL = "\0level"


def level_matcher(level: str) -> Matcher:
    return Matcher(LEVEL, "=", level)


def with_level(labels: Labels, level: str) -> dict[str, str]:
    """Return the labels of an alert and its level, as routes match them."""
    return {**labels, LEVEL: level}


class Outside(StrEnum):
    """What a route does with an alert outside its hours."""

    HOLD = "hold"
    DIGEST = "digest"
    DROP = "drop"
    SEND = "send"


@dataclass(frozen=True, slots=True)
class Grouping:
    """How Alertmanager groups the alerts of a route. It groups before the router sees an alert, so this is only shown,
    and compared with what Alertmanager shows.

    https://prometheus.io/docs/alerting/latest/configuration/#route
    """

    by: tuple[str, ...] = ()
    by_all: bool = False
    wait: Millis = 30 * SECOND
    interval: Millis = 5 * MINUTE
    repeat: Millis = 4 * HOUR
    labels: Labels = field(default_factory=dict)

    def below(
        self, by: Sequence[str] | None, wait: Millis | None, interval: Millis | None, repeat: Millis | None,
        labels: Labels,
    ) -> "Grouping":  # fmt: skip
        """Return the grouping of a child route. :param by: what the child gives; None: it inherits this, as the others"""
        return Grouping(
            by=self.by if by is None else tuple(sorted(set(by) - {"..."})),
            by_all=self.by_all if by is None else "..." in by,
            wait=self.wait if wait is None else wait,
            interval=self.interval if interval is None else interval,
            repeat=self.repeat if repeat is None else repeat,
            labels={**self.labels, **labels},
        )


@dataclass(frozen=True, slots=True)
class Route:
    """A node of the route tree. ``config`` has resolved its receiver and intervals, and what it inherits."""

    path: str
    """Its position in routes.yaml: ``route``, ``route.routes[1]``, …"""
    receiver: str
    matchers: tuple[Matcher, ...] = ()
    severity: str | None = None
    """It only takes alerts of this level that also meet ``matchers``."""
    continue_: bool = False
    hours: Hours | None = None
    outside: Outside = Outside.HOLD
    outside_digest: str | None = None
    """With ``Outside.DIGEST``: the receiver whose digests take the alert."""
    routes: tuple["Route", ...] = ()
    grouping: Grouping = field(default_factory=Grouping)
    at_once: bool = False
    """A digest of the receiver sends a message of its own now, without waiting for its slot."""
    repeat: Millis | Literal["never"] | None = None
    """How old the last notification is (milliseconds) when a repeat is notified again; 0: any age; None: not given."""

    _children: MatcherIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_children", MatcherIndex([child.conditions for child in self.routes]))

    @property
    def conditions(self) -> tuple[Matcher, ...]:
        """All matchers, with one for the severity."""
        return self.matchers if self.severity is None else (level_matcher(self.severity), *self.matchers)

    @property
    def key(self) -> str:
        """The part of Alertmanager's key of the route that is about this node."""
        severity = () if self.severity is None else (f'severity="{self.severity}"',)
        return f"{{{','.join(sorted((*map(str, self.matchers), *severity)))}}}"

    def repeats(self, destination: Destination, *, open_: bool) -> Millis | None:
        """Return how old the last notification is (milliseconds) when a repeat is notified again; None: never.

        :param open_: the route is open and the alert is not muted; otherwise only programs are notified of repeats
        """
        if self.repeat == "never" or not (open_ or destination.machine):
            return None
        return 0 if self.repeat is None and destination.machine else self.repeat

    def walk(self, key: str = "{}", name: str = "{}") -> Iterator[tuple["Route", str, str]]:
        """Yield this route and every route below it, depth first, each with the key and the id that Alertmanager gives it:
        https://github.com/prometheus/alertmanager/blob/main/dispatch/route.go
        """
        yield self, key, name
        for number, child in enumerate(self.routes):
            yield from child.walk(f"{key}/{child.key}", f"{name}/{child.key}/{number}")

    def matching(self, labels: Labels) -> Iterator["Route"]:
        """Yield the routes that take an alert which this node takes, in order, as Alertmanager does: depth first; the first
        matching child stops its siblings unless it has ``continue``; without a matching child, the node itself.

        :param labels: with the level in them, see :func:`with_level`
        """
        matched = False
        for number in self._children.holding(labels):
            matched = True
            child = self.routes[number]
            yield from child.matching(labels)
            if not child.continue_:
                break
        if not matched:
            yield self


@dataclass(frozen=True, slots=True)
class Matched:
    """What a policy says about the labels of an alert, at any time."""

    level: str
    muted_by: tuple[Key, ...]
    """The inhibition keys under which it may be muted."""
    mutes: tuple[Key, ...]
    """The inhibition keys under which it mutes others."""
    ways: tuple[tuple[Route, ...], ...]
    """Lists of routes for the alert. Each list is only used if all destinations of the lists before it are left out."""
    destinations: tuple[Destination, ...]
    """All destinations that it may be sent to at any time of the week."""
    always: frozenset[str] = frozenset()
    """The destinations that are notified of it at any hour, and that no inhibition mutes."""
    heartbeats: tuple[Heartbeat, ...] = ()
    """The heartbeats that it is, if it comes from their source."""


RECEIVER_LABEL = "receiver"
"""A self-alert with this label goes to the receiver that the label names, if there is one. Alerts of senders can't do so."""

TEST_ALERTNAME = "TEST of alert-router"
"""The name of a self-alert that tests the receiver of its label ``receiver``. It goes nowhere else, waits for no slot of a
digest, and nothing mutes it.
"""


def is_test(labels: Labels) -> bool:
    """Return whether a self-alert tests a receiver."""
    return labels.get("alertname") == TEST_ALERTNAME


# Each takes about a kilobyte.
_MAX_ALERTS_REMEMBERED = 20_000
_NO_CONFIGURATION = Configuration()


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules that are in force together."""

    severity: Severity
    root: Route
    receivers: Mapping[str, tuple[Destination, ...]]
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    """By destination key, for each digest destination."""
    intervals: Mapping[str, NamedInterval] = field(default_factory=dict)
    """Every named interval, in the order of the file."""
    inhibition: Inhibition = field(default_factory=Inhibition)
    inhibit_wait: Millis = 5_000
    stale_after: Millis = 12 * HOUR
    """An alert of a source that can't be asked counts as ended if it is not repeated for this long (ms); 0: never."""
    operators: str | None = None
    """The receiver that is notified of broken destinations; None: the routes decide."""
    watched: HeartbeatTable = field(default_factory=HeartbeatTable)
    """The alerts that must keep coming."""
    fingerprint: str = ""
    """Changes whenever the rules change. What is not notified yet is then decided again."""
    configuration: Configuration = _NO_CONFIGURATION
    sources: tuple[str, ...] = ()
    """The names of the configured sources."""
    tenants: Tenants = field(default_factory=Tenants)
    destinations: Mapping[str, Destination] = field(init=False, repr=False, compare=False)
    """Every destination, by key."""
    _matched: dict[str, "Matched"] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_key = {each.key: each for several in self.receivers.values() for each in several}
        object.__setattr__(self, "destinations", by_key)

    def match(self, labels: Labels, identity: str = "", *, own: bool = False) -> "Matched":
        """Return what the policy says about the labels of an alert.

        :param identity: the identity of the alert, under which the result is remembered; empty: it is not remembered
        :param own: it is a self-alert
        """
        if identity and not own and (known := self._matched.get(identity)) is not None:
            return known
        level, _ = self.severity.of(labels)
        muted_by = () if own and is_test(labels) else self.inhibition.as_target(labels)
        ways = tuple(tuple(way) for way in self._ways(labels, level, own=own))
        heartbeats = () if own else self.watched.matching(labels)
        always = () if muted_by or own or heartbeats else self._always(ways)
        destinations = tuple(self._destinations(ways))
        found = Matched(
            level,
            muted_by,
            self.inhibition.as_source(labels),
            ways,
            destinations,
            frozenset(always),
            heartbeats,
        )
        if identity and not own:
            if len(self._matched) >= _MAX_ALERTS_REMEMBERED:
                self._matched.clear()
            self._matched[identity] = found
        return found

    def _destinations(self, ways: tuple[tuple[Route, ...], ...]) -> Iterator[Destination]:
        for route in chain.from_iterable(ways):
            for receiver in (route.receiver, route.outside_digest):
                if receiver is not None:
                    yield from self.destinations_of(route, receiver)

    def destinations_of(self, route: Route, receiver: str) -> tuple[Destination, ...]:
        """Return the destinations of a receiver, as a route notifies them."""
        found = self.receivers[receiver]
        return tuple(replace(each, digest=False) for each in found) if route.at_once else found

    def _always(self, ways: tuple[tuple[Route, ...], ...]) -> Iterator[str]:
        for route in ways[0]:
            if route.hours is None:
                yield from (each.key for each in self.receivers[route.receiver] if not each.digest)

    def _ways(self, labels: Labels, level: str, *, own: bool) -> Iterator[Iterable[Route]]:
        """Yield lists of routes for an alert, see ``Matched.ways``. Only self-alerts have more than one."""
        receiver = labels.get(RECEIVER_LABEL, "") if own else ""
        if own and is_test(labels):
            if receiver in self.receivers:
                yield (Route("self-alert", receiver, at_once=True),)
            return
        if receiver in self.receivers:
            yield (Route("self-alert", receiver),)
        if own and self.operators is not None:
            yield (Route("operators", self.operators),)
        yield self.root.matching(with_level(labels, level))
        if own:
            yield (self.root,)

    def shown_source(self, source: str) -> str:
        """Return the name of a source for messages; empty: there is one source only, or it is the router itself."""
        return source if len(self.sources) > 1 and source != OWN_SOURCE else ""

    def has_destination(self, destination: str) -> bool:
        """Return whether some receiver has a destination with this key."""
        return destination in self.destinations
