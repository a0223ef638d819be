"""The route tree and the inhibit rules in force, with what they decide about the alerts that fire now."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping

from pydantic import BaseModel, ConfigDict, Field

from router.core.rows import DIGEST, DROP, FIRING, GIVEN_UP, HOLD, INHIBITED, SEND, UNKNOWN
from router.decide import Outside, Policy, Route
from router.decide.inhibition import Rule
from router.model import Destination, Fate, Millis
from router.store.rule_counts import MemberCount, MutedCount
from router.web.api.cursors import Page, PageQuery, page_of
from router.web.api.endpoint import Endpoint
from router.web.api.explanations import RulesInForce, rules_in_force
from router.web.app_context import AppContext

_FATE_OF_DECISION = {
    SEND: Fate.PENDING, HOLD: Fate.HELD, DIGEST: Fate.DIGEST, INHIBITED: Fate.INHIBITED, DROP: Fate.DROPPED,
    GIVEN_UP: Fate.DEAD,
}  # fmt: skip
_MAX_OTHERS = 200
_FATES = "By fate: how many firing alerts, each counted once for each destination."


class RouteDestination(BaseModel):
    """A destination of a route."""

    key: str
    is_digest: bool
    when_closed: bool = Field(description="Only when the route is closed, with ``outside: digest``.")
    fates: dict[str, int] = Field(description=_FATES)


class HoursOfRoute(BaseModel):
    """When a route is open."""

    active: list[str] = Field(description="The intervals in which it is open; none: always.")
    mute: list[str] = Field(description="The intervals in which it is closed.")
    open: bool = Field(description="It is open now.")
    why: str = Field(description="Why it is closed now.")
    outside: str = Field(
        description="What it does with alerts when it is closed: hold, digest, drop or send."
    )
    outside_digest: str | None = Field(description="With ``outside: digest``: the receiver of the digest.")


class RouteOfTree(BaseModel):
    """A route, and the alerts that fire now about which it decided."""

    model_config = ConfigDict(populate_by_name=True)

    path: str = Field(description="Its name in decisions.")
    parent: str | None = Field(description="The path of the route above it; null: it is the root.")
    depth: int
    position: str | None = Field(description="file:line")
    severity: str | None = Field(description="It only takes alerts of this level.")
    matchers: list[str]
    receiver: str
    destinations: list[RouteDestination]
    continue_: bool = Field(
        alias="continue", description="Its siblings are asked as well, if it takes an alert."
    )
    hours: HoursOfRoute | None = Field(description="null: it is always open.")
    repeat: int | str | None = Field(
        description="How old the last notification is (milliseconds) when it is repeated; never, or null: not set."
    )
    fragment: str | None = Field(description="The included file that it belongs to.")
    firing: int = Field(description="How many firing alerts it decided: the most at one destination.")
    fates: dict[str, int] = Field(description=_FATES)


class OtherRule(BaseModel):
    """A rule that is not in the tree, and decided about alerts that fire now: the receiver of self-alerts, a destination
    that stands in for another one, or a rule that was in force before.
    """

    rule: str
    destination: str
    fates: dict[str, int] = Field(description=_FATES)


class RouteTree(Page[RouteOfTree]):
    """The route tree, depth first. Alerts that a route dropped from the start are not counted."""

    others: list[OtherRule]
    others_left_out: int = Field(description="How many more there are.")
    in_force: RulesInForce


class InhibitRule(BaseModel):
    """An inhibit rule."""

    name: str = Field(description="Its name, or its position in the list.")
    source: list[str] = Field(description="What a firing alert has to match to mute others.")
    target: list[str] = Field(description="What an alert has to match to be muted.")
    equal: list[str] = Field(description="The labels that both have to share.")
    muted: int = Field(description="How many alerts it mutes now.")
    muted_is_exact: bool = Field(description="False: it may mute more.")


class InhibitRules(Page[InhibitRule]):
    """The inhibit rules, in the order of the file."""


_Counts = Mapping[tuple[str, str], Counter[str]]
"""By rule and destination: how many members are in each fate."""


async def list_routes(context: AppContext, query: PageQuery) -> RouteTree:
    policy, now = context.policy(), context.clock.now()
    routes = list(_walk(policy.root))
    some, following = page_of(routes, query)
    counts = _counts((await context.store.pages.rule_counts()).members)
    others = list(_others(counts, {route.path: route for route, _, _ in routes}, policy))
    return RouteTree(
        items=[_route(*each, policy, counts, now) for each in some], total=len(routes), next=following,
        others=others[:_MAX_OTHERS], others_left_out=len(others[_MAX_OTHERS:]), in_force=await rules_in_force(context),
    )  # fmt: skip


async def list_inhibit_rules(context: AppContext, query: PageQuery) -> InhibitRules:
    rules = context.policy().inhibition.rules
    some, following = page_of(rules, query)
    counts = await context.store.pages.rule_counts()
    muted = _muted_by_name({rule.name for rule in rules}, counts.muted)
    shown = [_inhibit_rule(rule, muted, is_exact=counts.muted_is_exact) for rule in some]
    return InhibitRules(items=shown, total=len(rules), next=following)


def fate_of(member: MemberCount) -> Fate:
    """Return where a firing alert stands at a destination."""
    if member.notified == FIRING:
        return Fate.DELIVERED
    return Fate.PENDING if member.notified == UNKNOWN else _FATE_OF_DECISION[member.decision]


def _counts(members: Iterable[MemberCount]) -> _Counts:
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for each in members:
        found[each.rule, each.destination][str(fate_of(each))] += each.count
    return found


def _others(counts: _Counts, routes: Mapping[str, Route], policy: Policy) -> Iterator[OtherRule]:
    """Yield what was decided for destinations that no route of this name has."""
    for (rule, destination), fates in counts.items():
        route = routes.get(rule)
        if route is None or all(each.key != destination for each, _ in _destinations(route, policy)):
            yield OtherRule(rule=rule, destination=destination, fates=dict(fates))


def _walk(route: Route, parent: str | None = None, depth: int = 0) -> Iterator[tuple[Route, str | None, int]]:
    yield route, parent, depth
    for child in route.routes:
        yield from _walk(child, route.path, depth + 1)


def _destinations(route: Route, policy: Policy) -> Iterator[tuple[Destination, bool]]:
    """Yield each destination of a route, and whether it is only used when the route is closed."""
    always = policy.receivers[route.receiver]
    yield from ((each, False) for each in always)
    if route.outside is Outside.DIGEST and route.outside_digest is not None:
        digests = policy.receivers[route.outside_digest]
        yield from ((each, True) for each in digests if each.digest and each not in always)


def _route(
    route: Route, parent: str | None, depth: int, policy: Policy, counts: _Counts, now: Millis
) -> RouteOfTree:
    destinations = [
        RouteDestination(
            key=each.key, is_digest=each.digest, when_closed=when_closed,
            fates=dict(counts.get((route.path, each.key), ())),
        )
        for each, when_closed in _destinations(route, policy)
    ]  # fmt: skip
    fates: Counter[str] = Counter()
    for each in destinations:
        fates.update(each.fates)
    fragment, separator, _ = route.path.rpartition(": ")
    return RouteOfTree(
        path=route.path, parent=parent, depth=depth, position=policy.configuration.positions.get(route.path),
        severity=route.severity, matchers=[str(each) for each in route.matchers], receiver=route.receiver,
        destinations=destinations, continue_=route.continue_, hours=_hours_of(route, now), repeat=route.repeat,
        fragment=fragment if separator else None, fates=dict(fates),
        firing=max((sum(each.fates.values()) for each in destinations), default=0),
    )  # fmt: skip


def _hours_of(route: Route, now: Millis) -> HoursOfRoute | None:
    hours = route.hours
    if hours is None:
        return None
    is_open = hours.is_open(now)
    return HoursOfRoute(
        active=[each.name for each in hours.active], mute=[each.name for each in hours.mute], open=is_open,
        why="" if is_open else hours.closed_by(now), outside=str(route.outside),
        outside_digest=route.outside_digest if route.outside is Outside.DIGEST else None,
    )  # fmt: skip


def _inhibit_rule(rule: Rule, muted: Counter[str], *, is_exact: bool) -> InhibitRule:
    return InhibitRule(
        name=rule.name, source=[str(each) for each in rule.source], target=[str(each) for each in rule.target],
        equal=list(rule.equal), muted=muted[rule.name], muted_is_exact=is_exact,
    )  # fmt: skip


def _muted_by_name(names: set[str], muted: Iterable[MutedCount]) -> Counter[str]:
    found: Counter[str] = Counter()
    for each in muted:
        name = _name_at_end(each.reason, names)
        if name is not None:
            found[name] += each.alerts
    return found


def _name_at_end(reason: str, names: set[str]) -> str | None:
    """Return the name of the inhibit rule with which a reason ends: ``inhibited by Down (inhibit_rules[0])``."""
    end = len(reason)
    while (end := reason.rfind(" (", 0, end)) >= 0:
        if (name := reason[end + 2 : -1]) in names:
            return name
    return None


LIST_ROUTES = Endpoint(
    "GET",
    "/api/v1/routes",
    list_routes,
    PageQuery,
    RouteTree,
    "The route tree in force, with what each route decided about the alerts that fire now.",
)
LIST_INHIBIT_RULES = Endpoint(
    "GET",
    "/api/v1/inhibit-rules",
    list_inhibit_rules,
    PageQuery,
    InhibitRules,
    "The inhibit rules in force, with how many alerts each mutes now.",
)
ENDPOINTS = (LIST_ROUTES, LIST_INHIBIT_RULES)
