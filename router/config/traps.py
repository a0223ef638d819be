"""Warnings about what is allowed in routes.yaml, but probably not intended."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from router.config.conditions import Conditions
from router.config.document import Document, Location
from router.config.hours_traps import HoursTraps
from router.config.inspected_file import InspectedFile
from router.config.matcher_traps import find_matcher_traps
from router.config.problems import Trap
from router.config.siblings import Siblings
from router.config.watch_build import silent_receivers
from router.decide import Policy, Route
from router.decide.inhibition import Rule
from router.model import Millis

if TYPE_CHECKING:
    from router.config.build import Builder

# A receiver with such a name may have no destinations: the name shows that this is intended.
_NAMES_OF_NOWHERE = frozenset({
    "null", "nil", "none", "nobody", "noone", "nowhere", "void", "blackhole", "devnull", "discard", "drop", "ignore",
    "trash", "silence",
})  # fmt: skip


def find_traps(builder: "Builder", policy: Policy, now: Millis) -> None:
    """Add a warning for each trap in the rules to the document of its file."""
    files = tuple(_files(builder, policy))
    located = {path: (file.document, where) for file in files for path, where in file.locations.items()}
    used = {route.path: route for route, _, _ in policy.root.walk()}
    hours, named = HoursTraps(now), _named_outside_routes(builder, policy)
    for file in files:
        hours.inspect(file, used)
        find_matcher_traps(file)
        _warn_of_no_destinations(file, policy, used)
        _warn_of_unused(file, policy, used, named)
    _warn_of_unreachable(policy, policy.root, Conditions((), policy.severity), located)
    _warn_of_inhibition(files[0].document, policy)
    for fragment in builder.fragments.all.values() if builder.fragments is not None else ():
        if fragment.loaded is not None and not fragment.stale:
            document = fragment.loaded.document
            fragment.problems, fragment.texts = tuple(document.problems), {document.name: document.text}


def _files(builder: "Builder", policy: Policy) -> Iterator[InspectedFile]:
    file, routes = builder.file, builder.routes
    if file is None or routes is None or builder.fragments is None:
        return
    own = {model.name: policy.intervals[model.name] for model in file.time_intervals}
    names = {name: name for name in file.receivers if name in policy.receivers}
    yield InspectedFile(builder.document, file.time_intervals, own, names, file.route, routes.locations)
    for fragment in builder.fragments.all.values():
        if (part := fragment.loaded) is not None and not fragment.stale:
            prefix = f"{fragment.name}/"
            full = {name.removeprefix(prefix): name for name in part.receivers}
            yield InspectedFile(
                part.document,
                part.model.time_intervals,
                part.intervals,
                full,
                part.model.route,
                part.routes.locations,
            )


def _warn_of_no_destinations(file: InspectedFile, policy: Policy, routes: Mapping[str, Route]) -> None:
    """Warn of routes to a receiver that has no destinations, unless its name says so."""
    for path, model in file.models():
        route = routes.get(path)
        if model.receiver is None or route is None or policy.receivers.get(route.receiver):
            continue
        if "".join(filter(str.isalnum, model.receiver.casefold())) not in _NAMES_OF_NOWHERE:
            what = (
                f"alerts of this route are sent nowhere: the receiver {model.receiver!r} has no destinations"
            )
            todo = "add a destination; if this is intended, name the receiver 'nobody'"
            file.document.add_warning(Trap.NOBODY, (*file.locations[path], "receiver"), what, todo)


def _named_outside_routes(builder: "Builder", policy: Policy) -> frozenset[str | None]:
    """Return the receivers that get alerts of the router itself, whatever the routes say."""
    if builder.file is None:
        return frozenset({policy.operators})
    drill = builder.file.drill
    return silent_receivers(builder.file) | {policy.operators, None if drill is None else drill.report_to}


def _warn_of_unused(
    file: InspectedFile, policy: Policy, routes: Mapping[str, Route], named: frozenset[str | None]
) -> None:
    """:param named: receivers that are used although no route names them"""
    receivers = {route.receiver for route in routes.values()} | {
        route.outside_digest for route in routes.values()
    }
    receivers |= named | {each.on_failure for found in policy.receivers.values() for each in found}
    for name, full in file.receivers.items():
        if full not in receivers:
            what, todo = f"no route uses the receiver {name!r}", "route something to it, or remove it"
            file.document.add_warning(Trap.UNUSED, ("receivers", name), what, todo, at_key=True)
    intervals = {
        each.name
        for route in routes.values()
        if route.hours is not None
        for each in (*route.hours.active, *route.hours.mute)
    }
    for index, model in enumerate(file.time_intervals):
        if file.intervals[model.name].name not in intervals:
            what, todo = f"no route uses the interval {model.name!r}", "use it in a route, or remove it"
            file.document.add_warning(Trap.UNUSED, ("time_intervals", index, "name"), what, todo)


def _warn_of_unreachable(
    policy: Policy, route: Route, above: Conditions, located: Mapping[str, tuple[Document, Location]]
) -> None:
    """Warn of routes below this one that no alert can reach.

    :param above: the conditions of this route and of those above it
    :param located: the document and the location of each route, by the route's path; without the routes of fragments
        whose last good version is in force
    """
    siblings = Siblings(route.routes, policy.severity)
    for number, child in enumerate(route.routes):
        conditions = above.extended(*child.conditions)
        if child.path not in located:
            continue
        document, where = located[child.path]
        impossible = conditions.impossible_label
        if impossible is not None:
            what = f"no alert can come here: no value of {impossible!r} meets the conditions of this route"
            what += "" if route.path == "route" else " and of those above it"
            document.add_warning(Trap.UNREACHABLE, where, what, "correct the matchers, or remove the route")
            continue
        takers = siblings.takers(conditions, number)
        if takers:
            names = " and ".join(_named(taker, located) for taker in takers)
            one = len(takers) == 1
            what = f"no alert can come here: {names} {'takes' if one else 'take'} all of them first"
            todo = f"move it up, or add `continue: true` to {'that one' if one else 'those'}"
            document.add_warning(Trap.SHADOWED, where, what, todo)
            continue
        _warn_of_unreachable(policy, child, conditions, located)


def _named(route: Route, located: Mapping[str, tuple[Document, Location]]) -> str:
    if route.path not in located:
        return route.path
    document, where = located[route.path]
    return f"{route.path} (line {document.position(where)[0]})"


def _warn_of_inhibition(document: Document, policy: Policy) -> None:
    given = document.data.get("inhibit_rules") or []
    indices = [index for index, rule in enumerate(given) if rule is not None]
    for index, rule in enumerate(given):
        if rule is None:
            what, todo = "an empty inhibit rule mutes nothing", "remove it"
            document.add_warning(Trap.INHIBITS_NOTHING, ("inhibit_rules", index), what, todo)
    for index, rule in zip(indices, policy.inhibition.rules, strict=True):
        found = _inhibition_trap(rule, policy)
        if found is not None:
            document.add_warning(found[0], ("inhibit_rules", index), *found[1:])


def _inhibition_trap(rule: Rule, policy: Policy) -> tuple[Trap, str, str] | None:
    source, target = Conditions(rule.source, policy.severity), Conditions(rule.target, policy.severity)
    both = source.extended(*rule.target)
    for side, conditions in (("source", source), ("target", target)):
        if (label := conditions.impossible_label) is not None:
            what = f"the rule mutes nothing: no value of {label!r} meets its {side}_matchers"
            return Trap.INHIBITS_NOTHING, what, "correct the matchers, or remove the rule"
    if target.implies_all(rule.source) and source.implies_all(rule.target):
        what = "the rule mutes nothing: all its sources are targets and all its targets sources; such alerts don't mute each other"
        return Trap.INHIBITS_NOTHING, what, "make the sides differ"
    if Conditions((), policy.severity).implies_all(rule.target):
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
    if shared and both.impossible_label is None and _certainly_overlap(rule, policy, shared):
        what = (
            "an alert can be source and target of the rule: other sources then mute it, and it still mutes others "
            f"(both sides take some value of {', '.join(map(repr, sorted(shared)))})"
        )
        return Trap.INHIBITS_ITSELF, what, "make target_matchers leave the sources out"
    return None


def _certainly_overlap(rule: Rule, policy: Policy, shared: set[str]) -> bool:
    """Return whether both sides certainly accept a common value of each label that both have matchers on."""
    both = Conditions((*rule.source, *rule.target), policy.severity)
    return all(both.possible_values.get(name) or _has_same_matchers(rule, name) for name in shared)


def _has_same_matchers(rule: Rule, name: str) -> bool:
    source = {each for each in rule.source if each.name == name}
    return source == {each for each in rule.target if each.name == name}
