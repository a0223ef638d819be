"""Warnings: what routes.yaml may say, and hardly anybody means."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from router.config.document import Document, Location
from router.config.logic import Conditions
from router.config.models import IntervalModel, RouteModel, TimeIntervalModel
from router.config.problems import Trap
from router.config.routes import EVER_DAYS
from router.decide import Outside, Policy, Route
from router.decide.hours import Hours, NamedInterval
from router.decide.inhibition import Rule
from router.model import Millis

if TYPE_CHECKING:
    from router.config.build import Builder

_FIELDS = ("times", "weekdays", "days_of_month", "months", "years")
_WEEKEND = frozenset({0, 6})


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the configuration: the main one, or a fragment."""

    document: Document
    time_intervals: tuple[TimeIntervalModel, ...]
    intervals: Mapping[str, NamedInterval]
    """Its own, by the names used in it."""
    receivers: Mapping[str, str]
    """The full names of its own, by the names used in it."""
    route: RouteModel
    places: Mapping[str, Location]


def traps(builder: "Builder", policy: Policy, now: Millis) -> None:
    """Say every trap that the rules walk into, in the document that it stands in."""
    files = tuple(_files(builder, policy))
    places = {path: (file.document, where) for file in files for path, where in file.places.items()}
    used = {route.path: route for route, _, _ in policy.root.walk()}
    for file in files:
        flagged = _intervals(file, now)
        _hours(file, used, flagged, now)
        _unused(file, policy, used)
    _routes(policy, policy.root, Conditions((), policy.severity), places)
    _inhibition(files[0].document, policy)
    for fragment in builder.fragments.all.values() if builder.fragments is not None else ():
        if fragment.loaded is not None and not fragment.stale:
            fragment.problems = tuple(fragment.loaded.document.problems)


def _files(builder: "Builder", policy: Policy) -> Iterator[_File]:
    file, routes = builder.file, builder.routes
    if file is None or routes is None or builder.fragments is None:
        return
    own = {model.name: policy.intervals[model.name] for model in file.time_intervals}
    names = {name: name for name in file.receivers if name in policy.receivers}
    yield _File(builder.document, file.time_intervals, own, names, file.route, routes.places)
    for fragment in builder.fragments.all.values():
        if (part := fragment.loaded) is not None and not fragment.stale:
            prefix = f"{fragment.name}/"
            full = {name.removeprefix(prefix): name for name in part.receivers}
            yield _File(
                part.document,
                part.model.time_intervals,
                part.intervals,
                full,
                part.model.route,
                part.routes.places,
            )


def _intervals(file: _File, now: Millis) -> frozenset[str]:
    """The names of those that are never, or always, true."""
    flagged = set()
    for index, model in enumerate(file.time_intervals):
        named, where = file.intervals[model.name], ("time_intervals", index)
        never, always = _never(Hours((named,)), now), _always(Hours((named,)), now)
        if never or always:
            flagged.add(named.name)
        if never:
            todo = "mend its entries, or remove it"
            file.document.warn(Trap.NEVER, where, f"the interval {model.name!r} is never true", todo)
        elif always:
            todo = "remove it, or say when it ends"
            file.document.warn(Trap.ALWAYS, where, f"the interval {model.name!r} is always true", todo)
        for number, entry in enumerate(named.intervals):
            if not never and _never(Hours((NamedInterval("", (entry,)),)), now):
                place = (*where, "time_intervals", number)
                what = f"this entry of {model.name!r} is never true"
                file.document.warn(Trap.NEVER, place, what, "mend it, or remove it")
        _ored(file.document, model, where)
    return frozenset(flagged)


def _ored(document: Document, model: TimeIntervalModel, where: Location) -> None:
    """Entries are alternatives: days in one and times in another are open all day, and on every day."""
    for number, second in enumerate(model.time_intervals):
        first = next((each for each in model.time_intervals[:number] if _meant_and(each, second)), None)
        if first is not None:
            days = _fields(first) | _fields(second)
            what = (
                f"{' and '.join(sorted(days))} stand in two entries of {model.name!r}, and either is enough: "
                "the times hold on every day, and the days all day long"
            )
            todo = "put them into one entry, where all must hold"
            document.warn(Trap.INTERVALS_OR, (*where, "time_intervals", number), what, todo)
            return


def _meant_and(first: IntervalModel, second: IntervalModel) -> bool:
    one, other = _fields(first), _fields(second)
    if not one or not other or one & other or "times" not in one | other or len(one | other) < 2:
        return False
    days = first if "times" in other else second
    if "times" in one and "times" in other:
        return False
    # Nights or weekends: that is meant as it stands.
    weekdays = {day for begin, end in days.weekdays for day in range(begin, end + 1)}
    return not (weekdays and weekdays <= _WEEKEND)


def _fields(entry: IntervalModel) -> frozenset[str]:
    return frozenset(name for name in _FIELDS if getattr(entry, name))


def _hours(file: _File, routes: Mapping[str, Route], flagged: frozenset[str], now: Millis) -> None:
    """Of routes: intervals that together are never or always open, though each alone is not."""
    by_name = {model.name: model for model in file.time_intervals}
    for path, model in _models(file.route, next(iter(file.places))):
        route, where = routes.get(path), file.places[path]
        if route is None or route.hours is None:
            continue
        names = [each.name for each in (*route.hours.active, *route.hours.mute)]
        if not flagged.intersection(names):
            if route.outside is not Outside.HOLD and _never(route.hours, now):
                file.document.warn(Trap.NEVER, where, "these hours are never open", "mend the intervals")
            elif _always(route.hours, now):
                what, todo = "these hours never close", "remove the intervals, or mend them"
                file.document.warn(Trap.ALWAYS, where, what, todo)
        known = [by_name[name] for name in model.active_time_intervals if name in by_name]
        for number, second in enumerate(known):
            if any(_single(first, second) for first in known[:number]):
                what = "several active_time_intervals: any of them is enough, and these look as if all were meant"
                todo = "make one interval with an entry in which all must hold"
                file.document.warn(Trap.INTERVALS_OR, (*where, "active_time_intervals"), what, todo)
                break


def _single(first: TimeIntervalModel, second: TimeIntervalModel) -> bool:
    return all(
        _meant_and(one, other) for one in first.time_intervals for other in second.time_intervals
    ) and bool(first.time_intervals and second.time_intervals)


def _models(model: RouteModel, path: str) -> Iterator[tuple[str, RouteModel]]:
    yield path, model
    for index, child in enumerate(model.routes):
        yield from _models(child, f"{path}.routes[{index}]")


def _never(hours: Hours, now: Millis) -> bool:
    return not hours.open(now) and hours.next_opening(now, EVER_DAYS) is None


def _always(hours: Hours, now: Millis) -> bool:
    return hours.open(now) and hours.next_closing(now, EVER_DAYS) is None


def _unused(file: _File, policy: Policy, routes: Mapping[str, Route]) -> None:
    receivers = {route.receiver for route in routes.values()} | {
        route.outside_digest for route in routes.values()
    }
    receivers |= {each.on_failure for found in policy.receivers.values() for each in found}
    for name, full in file.receivers.items():
        if full not in receivers:
            what, todo = f"no route uses the receiver {name!r}", "route something to it, or remove it"
            file.document.warn(Trap.UNUSED, ("receivers", name), what, todo, at_key=True)
    intervals = {
        each.name
        for route in routes.values()
        if route.hours is not None
        for each in (*route.hours.active, *route.hours.mute)
    }
    for index, model in enumerate(file.time_intervals):
        if file.intervals[model.name].name not in intervals:
            what, todo = f"no route uses the interval {model.name!r}", "use it in a route, or remove it"
            file.document.warn(Trap.UNUSED, ("time_intervals", index, "name"), what, todo)


def _routes(
    policy: Policy, route: Route, above: Conditions, places: Mapping[str, tuple[Document, Location]]
) -> None:
    """Routes below this one that no alert can reach."""
    for number, child in enumerate(route.routes):
        asked = above.and_(*child.conditions)
        if child.path not in places:  # of a fragment as it last was good
            continue
        document, where = places[child.path]
        impossible = asked.impossible
        if impossible is not None:
            what = f"no alert can come here: no value of {impossible!r} meets the conditions of this route"
            what += "" if route.path == "route" else " and of those above it"
            document.warn(Trap.UNREACHABLE, where, what, "mend the matchers, or remove the route")
            continue
        earlier = [each for each in route.routes[:number] if not each.continue_]
        takers = _takers(asked, earlier)
        if takers:
            names = " and ".join(_named(taker, places) for taker in takers)
            one = len(takers) == 1
            what = f"no alert can come here: {names} {'takes' if one else 'take'} all of them first"
            todo = f"move it up, or add `continue: true` to {'that one' if one else 'those'}"
            document.warn(Trap.SHADOWED, where, what, todo)
            continue
        _routes(policy, child, asked, places)


def _named(route: Route, places: Mapping[str, tuple[Document, Location]]) -> str:
    if route.path not in places:
        return route.path
    document, where = places[route.path]
    return f"{route.path} (line {document.place(where)[0]})"


def _takers(asked: Conditions, earlier: Sequence[Route]) -> list[Route]:
    """The earlier siblings that together take every alert that meets the conditions; empty: some are left."""
    whole = next((each for each in earlier if asked.imply_all(each.conditions)), None)
    if whole is not None:
        return [whole]
    for cases in asked.cases():
        takers = [next((each for each in earlier if case.imply_all(each.conditions)), None) for case in cases]
        found = [taker for taker in takers if taker is not None]
        if len(found) == len(takers):
            return [each for each in earlier if any(each is taker for taker in found)]
    return []


def _inhibition(document: Document, policy: Policy) -> None:
    given = document.data.get("inhibit_rules") or []
    indices = [index for index, rule in enumerate(given) if rule is not None]
    for index, rule in enumerate(given):
        if rule is None:
            what, todo = "an empty inhibit rule mutes nothing", "remove it"
            document.warn(Trap.INHIBITS_NOTHING, ("inhibit_rules", index), what, todo)
    for index, rule in zip(indices, policy.inhibition.rules, strict=True):
        found = _of_rule(rule, policy)
        if found is not None:
            document.warn(found[0], ("inhibit_rules", index), *found[1:])


def _of_rule(rule: Rule, policy: Policy) -> tuple[Trap, str, str] | None:
    source, target = Conditions(rule.source, policy.severity), Conditions(rule.target, policy.severity)
    both = source.and_(*rule.target)
    for side, conditions in (("source", source), ("target", target)):
        if (label := conditions.impossible) is not None:
            what = f"the rule mutes nothing: no value of {label!r} meets its {side}_matchers"
            return Trap.INHIBITS_NOTHING, what, "mend the matchers, or remove the rule"
    if target.imply_all(rule.source) and source.imply_all(rule.target):
        what = "the rule mutes nothing: every source of it is a target, too, and those don't mute each other"
        return Trap.INHIBITS_NOTHING, what, "make the sides differ"
    if Conditions((), policy.severity).imply_all(rule.target):
        if not rule.equal:
            what = (
                "one source mutes every other alert: the rule takes any alert as target, and has no `equal`"
            )
            return (
                Trap.INHIBITS_ALL,
                what,
                "narrow target_matchers, or add `equal:` with labels they must share",
            )
        what = "the rule takes any alert as target, its own sources among them"
        return Trap.INHIBITS_ITSELF, what, "narrow target_matchers so that they leave the sources out"
    shared = {each.name for each in rule.source} & {each.name for each in rule.target}
    if shared and both.impossible is None and _overlap(rule, policy, shared):
        what = (
            "an alert can be source and target at once: other sources then mute it, and it still mutes others "
            f"(both sides take some value of {', '.join(map(repr, sorted(shared)))})"
        )
        return Trap.INHIBITS_ITSELF, what, "make target_matchers leave the sources out"
    return None


def _overlap(rule: Rule, policy: Policy, shared: set[str]) -> bool:
    """Whether it is certain that both sides take some same value of each label that both ask about."""
    both = Conditions((*rule.source, *rule.target), policy.severity)
    return all(both.finite.get(name) or _same(rule, name) for name in shared)


def _same(rule: Rule, name: str) -> bool:
    source = {each for each in rule.source if each.name == name}
    return source == {each for each in rule.target if each.name == name}
