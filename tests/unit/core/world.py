"""A world around the store's transitions: rules, a clock, and providers that remember what they received."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar, cast

from router.channels.email import DigestOptions
from router.core.state import State
from router.decide import Outside, Policy, Route, Severity
from router.decide.hours import Hours, Interval, NamedInterval, Schedule
from router.decide.inhibition import Inhibition, Rule
from router.decide.matchers import parse_matchers
from router.model import (
    HOUR,
    Alert,
    Delivered,
    Destination,
    Millis,
    Outcome,
    Status,
    Webhook,
)
from router.store import Adoption, ClaimedDelivery, Idle, Limits, Receipt, Store
from router.store.database import Database
from router.store.jobs import Job
from tests.unit.core import invariants
from tests.unit.core.memory import Memory, at_once

T = TypeVar("T")

SLACK = Destination("slack:C0CRITICAL", "slack", None)
PAGER = Destination("pagerduty:one", "pagerduty", None)
PER_ALERT = Destination("pagerduty:each", "pagerduty", None, per_alert=True)
TEAM = Destination("slack:C0WARNINGS", "slack", None)
_OPTIONS = DigestOptions.model_validate({"to": ["team@example.com"], "at": "08:00"})
DAILY = Destination("digest:daily", "digest", _OPTIONS, digest=True)
ALL = (SLACK, PAGER, PER_ALERT, TEAM, DAILY)

OFFICE = NamedInterval("office", (Interval(times=((9 * 60, 18 * 60),)),))
POLICY = Policy(
    severity=Severity(),
    receivers={"oncall": (SLACK, PAGER, PER_ALERT), "team": (TEAM,), "daily": (DAILY,)},
    root=Route(
        "route",
        "team",
        routes=(
            Route("route.routes[0]", "oncall", severity="critical"),
            Route(
                "route.routes[1]",
                "team",
                severity="warning",
                hours=Hours(active=(OFFICE,)),
                outside=Outside.HOLD,
            ),
            Route("route.routes[2]", "daily", severity="info"),
        ),
    ),
    schedules={"digest:daily": Schedule(8 * 60)},
    inhibition=Inhibition(
        (
            Rule(
                parse_matchers('severity="critical"'),
                parse_matchers('severity=~"warning|info"'),
                ("alertname",),
                "inhibit_rules[0]",
            ),
        )
    ),
)


def with_repeat(every: Millis | None) -> Policy:
    """The policy, in which every route sends repeats after this time."""
    routes = tuple(replace(route, repeat=every) for route in POLICY.root.routes)
    return replace(POLICY, root=replace(POLICY.root, routes=routes, repeat=every))


def without_ends(policy: Policy, keys: Iterable[str]) -> Policy:
    """The policy, with ``send_resolved: false`` at these destinations."""
    chosen = frozenset(keys)
    receivers = {
        name: tuple(replace(each, send_resolved=each.key not in chosen) for each in several)
        for name, several in policy.receivers.items()
    }
    fingerprint = " ".join([policy.fingerprint, *sorted(chosen)])
    return replace(policy, receivers=receivers, fingerprint=fingerprint)


# The same rules without the team's hours, and rules that send everything to the team only, without digests.
RULES = (
    POLICY,
    replace(
        POLICY,
        root=replace(POLICY.root, routes=tuple(replace(each, hours=None) for each in POLICY.root.routes)),
        fingerprint="always open",
    ),
    replace(
        POLICY,
        receivers={"team": (TEAM,)},
        root=replace(POLICY.root, routes=()),
        schedules={},
        fingerprint="team alone",
    ),
)
MONDAY: Millis = 1_763_337_600_000  # Mon 2025-11-17 00:00 UTC
NOON = MONDAY + 12 * HOUR
NIGHT = MONDAY + 22 * HOUR


def alert(name: str, level: str, status: Status = Status.FIRING, starts_at: Millis = MONDAY) -> Alert:
    return Alert(f"{name}-{level}", {"alertname": name, "severity": level}, {}, status, starts_at)


def webhook(*alerts: Alert, group: str = "g", truncated: int = 0, peer: str = "http://am-1") -> Webhook:
    return Webhook("hook", group, {"group": group}, peer, truncated, alerts)


@dataclass
class Provider:
    """What one destination shows as firing: alerts by conversation token and episode."""

    firing: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    received: list[tuple[str, str]] = field(default_factory=list)

    def receive(self, work: ClaimedDelivery) -> None:
        conversation = work.conversation
        if conversation.storm is not None:
            news = conversation.storm.news
            named = [each.labels for each in (*news.firing, *news.eased, *news.resolved)]
            for part in work.parts:
                assert part.conversation.group_labels in named, f"{part}: is not named"
                self.receive(part)
            return
        shown = {each.alert.fingerprint for each in conversation.firing}
        self.firing[conversation.token, conversation.episode] = shown
        self.received += [
            (each.alert.fingerprint, each.alert.status) for each in conversation.alerts if each.news
        ]
        if conversation.digest is not None:
            self.received += [(line.alert.fingerprint, "digest") for line in conversation.digest.firing]

    @property
    def all_firing(self) -> set[str]:
        return set().union(*self.firing.values())


class Played(Protocol):
    """A database whose coroutines never wait."""

    @property
    def state(self) -> State:
        """All its rows."""

    async def do(self, job: Job[T]) -> T: ...


class World:
    """The store's transitions, with providers that remember what they received."""

    def __init__(
        self,
        now: Millis = NOON,
        policy: Policy = POLICY,
        database: Played | None = None,
    ) -> None:
        self.policy = policy
        self.database: Played = Memory() if database is None else database
        self.store = Store(cast("Database", self.database))
        self.now = now
        self.providers = {each.key: Provider() for each in ALL}
        self.accepted = 0
        self.without_ends: set[str] = set()
        """The destinations with ``send_resolved: false``, those that are gone from the rules included."""
        self.adopt(policy)

    @property
    def state(self) -> State:
        return self.database.state

    def do(self, job: Job[T]) -> T:
        """Run one job directly."""
        return at_once(self.database.do(job))

    def post(
        self, *alerts: Alert, group: str = "g", truncated: int = 0, peer: str = "http://am-1"
    ) -> Receipt:
        body = webhook(*alerts, group=group, truncated=truncated, peer=peer)
        return self.accept(body, "default")

    def accept(self, body: Webhook, source: str) -> Receipt:
        return self.counted(at_once(self.store.accept(body, source, b"{}", self.policy, self.now)))

    def counted(self, receipt: Receipt) -> Receipt:
        """Count the changes of a receipt, and return it."""
        self.accepted += len(receipt.changes)
        return receipt

    def begin(
        self, destination: Destination, limits: Limits | None = None, overdue: Millis = 0
    ) -> ClaimedDelivery | Idle:
        there = replace(destination, send_resolved=destination.key not in self.without_ends)
        found = at_once(self.store.claim(there, self.policy, self.now, limits=limits, overdue=overdue))
        if isinstance(found, Idle) and not overdue:
            assert found.until is None or found.until > self.now, "an idle lane claims again immediately"
        if isinstance(found, ClaimedDelivery) and destination.key in self.without_ends:
            works = found.parts if found.is_storm else (found,)
            assert not all(each.says_only_ends for each in works), f"{found}: is sent for an end alone"
        return found

    def work_of(self, destination: Destination, limits: Limits | None = None) -> ClaimedDelivery:
        """Claim what is due at a destination."""
        work = self.begin(destination, limits)
        assert isinstance(work, ClaimedDelivery), f"nothing is due at {destination.key}"
        return work

    def finish(
        self,
        work: ClaimedDelivery,
        outcome: Outcome,
        *,
        arrived: bool = False,
        not_before: Millis | None = None,
    ) -> None:
        if isinstance(outcome, Delivered) or arrived:
            self.providers.setdefault(work.conversation.destination, Provider()).receive(work)
        again = self.now if not_before is None else not_before
        at_once(self.store.record(work, outcome, self.policy, self.now, again))

    def take_back(self, *works: ClaimedDelivery) -> None:
        """Undo claims of which nothing was sent."""
        at_once(self.store.unclaim(works, self.policy, self.now))

    def settle_doubts(self) -> None:
        receipts, _ = at_once(self.store.presence.settle_doubts(self.policy, self.now))
        for receipt in receipts.values():
            self.counted(receipt)

    def deliver(self, *destinations: Destination) -> None:
        """Deliver everything that is due, at these destinations or all."""
        self.settle_doubts()
        for destination in destinations or ALL:
            for _ in range(100):
                work = self.begin(destination)
                if isinstance(work, Idle):
                    break
                self.finish(work, Delivered({"ts": "1"}))
            else:
                raise AssertionError(f"{destination.key} never comes to rest")

    def letters(self) -> list[int]:
        return sorted(row.id for row in self.state.dead_letters if row.state == "dead")

    def adopt(self, policy: Policy) -> None:
        """Put these rules in force, and judge all firing alerts."""
        named = policy.destinations
        self.without_ends -= set(named)
        self.without_ends |= {each.key for each in named.values() if not each.send_resolved}
        options = {each: json.dumps({"options": {"send_resolved": False}}) for each in self.without_ends}
        at_once(self.store.rules.adopt(Adoption(policy, options), self.now))
        at_once(self.store.rules.judge_all(policy, self.now))
        at_once(self.store.rules.retire(policy, self.now))

    def reload(self, policy: Policy) -> None:
        self.policy = policy
        self.adopt(policy)

    def restart(self) -> None:
        """Restart the router: no attempt under way is recorded."""
        at_once(self.store.start(self.now))
        self.reload(self.policy)

    def retry(self, letter: int) -> frozenset[str] | None:
        return at_once(self.store.retry(letter, self.policy, self.now))

    def retry_the_dead(self) -> None:
        for letter in self.letters():
            assert self.retry(letter) is not None

    def fates(self, destination: Destination) -> list[str]:
        return [row.fate for row in sorted(self.state.fates) if row.destination == destination.key]

    def reasons(self) -> set[str]:
        return {row.reason for row in self.state.fates}

    def assert_balanced(self) -> None:
        state = self.state
        assert sum(1 for _ in state.changes) == self.accepted
        invariants.check(state)
