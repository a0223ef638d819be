"""Converts an alertmanager.yml to a routes.yaml, with notes about everything that has no counterpart there.

What the keys mean: https://prometheus.io/docs/alerting/latest/configuration/
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.channels.importing import CORRECT_IT, Node, Note, Variables
from router.clock import SystemClock
from router.config.document import Document
from router.config.intervals import ever_opens, hours, named_intervals
from router.config.models import InhibitModel, RouteModel, TimeIntervalModel
from router.config.reader import Reader
from router.model import Millis
from router.package import docs_page
from router.rules.alertmanager_file import AlertmanagerFile, note_unread
from router.rules.convert_receivers import Receivers, findings, problems
from router.rules.yaml_writer import write

_EVERY_ALERT = 'alertname=~".*"'
_MATCHER_KEYS = ("matchers", "match", "match_re")
_INTERVAL_KEYS = ("active_time_intervals", "mute_time_intervals")
_COPIED_KEYS = ("group_by", "group_wait", "group_interval", "repeat_interval", "labels")


@dataclass(frozen=True, slots=True)
class Converted:
    """The result of a conversion."""

    text: str
    """A routes.yaml."""
    notes: tuple[Note, ...]
    """The notes, in the order of alertmanager.yml."""


def convert_text(text: str, name: str = "alertmanager.yml", *, now: Millis | None = None) -> Converted:
    """Return a routes.yaml that sends the same alerts to the same people, as far as the router supports it.

    Secrets are not copied: variables replace them.

    :param name: the name of the file, for errors and the header
    :param now: epoch ms, to find hours that never open again; None: the time of the system's clock
    :raises ConfigError: the text is not YAML, or not a mapping
    """
    source = AlertmanagerFile(text, name)
    variables = Variables()
    receivers = Receivers(source.root.node("global"), variables)
    rules = _Rules(source.root, receivers, SystemClock().now() if now is None else now)
    data = rules.converted()
    note_unread(source)
    lines = [line if line[0] == " " else f"\n{line}" for line in write(data)]
    used = [variable for variable in variables.names if any(f"${{{variable}" in line for line in lines)]
    return Converted("\n".join([*_header(name, used, rules.left_out), *lines, ""]), source.notes)


def _header(name: str, variables: list[str], left_out: list[str]) -> Iterator[str]:
    yield f"# Made from {_printable(Path(name).name)} by `alert-router import`; {docs_page('importing')} has the next steps."
    if variables:
        yield "# Set these variables:"
        yield from (f"#   {variable}" for variable in variables)
    for interval in left_out:
        yield f"# The time interval {_printable(repr(interval))} is LEFT OUT: routes that name it are open at any hour."


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


class _Rules:
    """Converts everything but the receivers."""

    def __init__(self, root: Node, receivers: Receivers, now: Millis) -> None:
        self._root = root
        self._receivers = receivers
        self._now = now
        self._intervals: dict[str, dict[str, Any]] = {}
        self._never_open: dict[tuple[tuple[str, ...], ...], bool] = {}
        self.left_out: list[str] = []
        """The names of the time intervals that are left out."""

    def converted(self) -> dict[str, Any]:
        self._receivers.read(self._root.nodes("receivers"))
        for key in ("time_intervals", "mute_time_intervals"):
            for node in self._root.nodes(key):
                self._interval(node)
        route = self._route(self._root.node("route"), root=True)
        rules = [rule for node in self._root.nodes("inhibit_rules") if (rule := self._inhibition(node))]
        data = {
            "timezone": "UTC",
            "channels": self._receivers.channels,
            "receivers": self._receivers.found,
            "time_intervals": list(self._intervals.values()),
            "route": route,
            "inhibit_rules": rules,
        }
        return {key: value for key, value in data.items() if value}

    def _interval(self, node: Node) -> None:
        name = node.text("name")
        data = {"name": name, "time_intervals": _entries(node.raw("time_intervals"))}
        if name is None:
            node.note("a time interval has no name; it is left out", CORRECT_IT)
        elif name in self._intervals:
            node.note(f"there are two time intervals {name!r}; this one is left out", CORRECT_IT, key="name")
        elif found := findings(TimeIntervalModel, data):
            self.left_out.append(name)
            for inside, (what, todo) in found.items():
                node.note_at(inside, f"{what}; the whole time interval {name!r} is LEFT OUT", todo)
        else:
            self._intervals[name] = data

    def _route(self, node: Node, *, root: bool = False) -> dict[str, Any] | None:
        """Return the route; None: it is left out, and its alerts go on to the routes after it."""
        if root:
            for key in (*_MATCHER_KEYS, *_INTERVAL_KEYS, "continue"):
                if node.raw(key):
                    node.note(f"the root route has {key}; it is left out", CORRECT_IT, key=key)
        data = {} if root else {key: value for key in _MATCHER_KEYS if (value := _given(node.raw(key)))}
        if (receiver := node.text("receiver")) or root:
            data["receiver"] = self._receivers.known(node, receiver)
        if not root:
            if node.flag("continue"):
                data["continue"] = True
            data |= {key: names for key in _INTERVAL_KEYS if (names := self._named_intervals(node, key))}
        data |= {key: value for key in _COPIED_KEYS if (value := _given(node.raw(key))) is not None}
        for key, (what, todo) in problems(RouteModel, data).items():
            if key in _MATCHER_KEYS:
                node.note(f"{what}, so the route is left out", todo, key=key)
                node.take(*node.data)
                return None
            node.note(f"{what}; it is left out", todo, key=key)
            del data[key]
        if self._never_opens(data):
            node.note(
                "these hours never open (again), so Alertmanager notifies no one",
                "`outside: drop` has the same effect; or correct the intervals",
            )
            data["outside"] = "drop"
        routes = [route for child in node.nodes("routes") if (route := self._route(child)) is not None]
        return {**data, "routes": routes} if routes else data

    def _named_intervals(self, node: Node, key: str) -> list[str]:
        for name in (names := node.texts(key)):
            if name in self.left_out:
                what = f"the time interval {name!r} is left out, so this route ignores it"
                node.note(what, "correct the interval, or write it into the result", key=key)
            elif name not in self._intervals:
                node.note(f"there is no time interval {name!r}; it is left out", CORRECT_IT, key=key)
        return [name for name in names if name in self._intervals]

    def _never_opens(self, route: dict[str, Any]) -> bool:
        used = {key: route[key] for key in _INTERVAL_KEYS if key in route}
        known = tuple(tuple(used.get(key, ())) for key in _INTERVAL_KEYS)
        if known not in self._never_open:
            self._never_open[known] = self._search_never_open(used)
        return self._never_open[known]

    def _search_never_open(self, used: dict[str, Any]) -> bool:
        names = {name for several in used.values() for name in several}
        models = tuple(TimeIntervalModel.model_validate(self._intervals[name]) for name in names)
        reader = Reader(Document("", "", data={}), Path())
        intervals = named_intervals(reader, models, "UTC")
        open_ = hours(reader, RouteModel.model_validate(used), (), intervals)
        return open_ is not None and not ever_opens(open_, self._now)

    def _inhibition(self, node: Node) -> dict[str, Any] | None:
        """Return the rule; None: it is left out, and mutes nothing."""
        data: dict[str, Any] = {"name": name} if (name := node.text("name")) else {}
        for side in ("source", "target"):
            conditions = {
                key: value
                for each in _MATCHER_KEYS
                if (value := _given(node.raw(key := f"{side}_{each}"))) is not None
            }
            if not any(conditions.values()):
                node.note(
                    f"the rule has no {side}_matchers, so every alert is a {side}",
                    f"in routes.yaml that is written as {_EVERY_ALERT}; name the alerts that you mean",
                )
                conditions = {f"{side}_matchers": [_EVERY_ALERT]}
            data |= {key: value for key, value in conditions.items() if value}
        if equal := node.raw("equal"):
            data["equal"] = equal
        for what, todo in (found := problems(InhibitModel, data)).values():
            node.note(f"{what}, so the rule is left out", todo)
        return None if found else data


def _given(value: Any) -> Any:
    """Return matchers as Alertmanager reads them: a label without a value has the empty value; a null matcher has no effect."""
    if isinstance(value, list):
        return [each for each in value if each is not None]
    if isinstance(value, dict):
        return {key: "" if each is None else each for key, each in value.items()}
    return value


# How Alertmanager reads a null range: as Go's zero value. None: a range that never matches.
_NULL_RANGES = {"weekdays": "sunday", "months": "0", "years": "0", "days_of_month": None, "times": None}


def _entries(value: Any) -> Any:
    """Return entries as Alertmanager reads them: an empty entry always matches, a zone without a name is UTC."""
    if not isinstance(value, list):
        return [] if value is None else value
    return [{} if each is None else _entry(each) for each in value]


def _entry(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    given = {key: each for key, each in value.items() if each is not None}
    for key in given.keys() & _NULL_RANGES.keys():
        if isinstance(given[key], list):
            ranges = (_NULL_RANGES[key] if each is None else each for each in given[key])
            given[key] = [each for each in ranges if each is not None]
    return {**given, "location": given.get("location") or "UTC"} if "location" in given else given


__all__ = ["Converted", "Note", "convert_text"]
