"""Builds the route tree: resolves inheritance and names, and attaches fragments where they are mounted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from router.config.document import Location
from router.config.fields import OutsideDigest
from router.config.intervals import ever_opens, hours
from router.config.models import RouteModel
from router.config.reader import Reader
from router.decide import Outside, Route
from router.decide.hours import Hours, NamedInterval
from router.decide.policy import Grouping
from router.model import Destination, Millis


@dataclass(frozen=True, slots=True)
class Inherited:
    """What a route inherits."""

    receiver: str | None = None
    """Its full name."""
    grouping: Grouping = field(default_factory=Grouping)
    repeat: Millis | Literal["never"] | None = None


@dataclass(frozen=True, slots=True)
class Names:
    """The names that the routes of a file can use."""

    receivers: Mapping[str, str]
    """Full names, by the names used in the file."""
    destinations: Mapping[str, tuple[Destination, ...]]
    """The destinations of each receiver, by its full name."""
    intervals: Mapping[str, NamedInterval]
    """The time intervals, by the names used in the file."""
    levels: tuple[str, ...]


Mount = Callable[[str, Location, Inherited], Route | None]
"""Returns the root route of a fragment, by its name and the location of ``mount:``; None: it can't be used."""


class Routes:
    """Builds a file's routes."""

    def __init__(self, reader: Reader, names: Names, now: Millis, mount: Mount | None = None) -> None:
        """:param mount: attaches fragments; None: this file is one, and can have none of its own"""
        self.locations: dict[str, Location] = {}
        """The location of each route, by its path."""
        self._reader = reader
        self._names = names
        self._now = now
        self._mount = mount

    def build(self, model: RouteModel, path: str, where: Location, above: Inherited) -> Route:
        """Return a route with the routes below it.

        :param path: the name of the route in decisions, like ``route.routes[0]``
        :param above: what it inherits
        """
        self.locations[path] = where
        problem = self._reader.document.add_error
        receiver = above.receiver
        if model.receiver is not None:
            if self._reader.is_known(model.receiver, self._names.receivers, (*where, "receiver"), "receiver"):
                receiver = self._names.receivers[model.receiver]
        elif receiver is None:
            problem(where, "the root route has no receiver", "name the one that catches all")
        severity = model.severity.strip().casefold() if model.severity is not None else None
        if severity is not None:
            self._reader.is_known(severity, self._names.levels, (*where, "severity"), "severity level")
        open_ = hours(self._reader, model, where, self._names.intervals)
        outside, digest = self._outside(model, where)
        self._check_opens(open_, outside, where)
        grouping = above.grouping.below(
            model.group_by, model.group_wait, model.group_interval, model.repeat_interval, model.labels
        )
        repeat = above.repeat if model.repeat is None else model.repeat
        inherited = Inherited(receiver, grouping, repeat)
        children = [
            self.build(child, f"{path}.routes[{index}]", (*where, "routes", index), inherited)
            for index, child in enumerate(model.routes)
        ]
        if model.mount is not None:
            mounted = self._attach(model.mount, (*where, "mount"), inherited)
            children += [] if mounted is None else [mounted]
        return Route(
            path=path,
            receiver=receiver or "",
            matchers=(*model.match, *model.match_re, *model.matchers),
            severity=severity,
            continue_=model.continue_,
            hours=open_,
            outside=outside,
            outside_digest=digest,
            routes=tuple(children),
            grouping=inherited.grouping,
            repeat=repeat,
        )

    def _attach(self, name: str, where: Location, inherited: Inherited) -> Route | None:
        if self._mount is None:
            self._reader.document.add_error(
                where, "an included file can't mount another", "mount it in the main file"
            )
            return None
        return self._mount(name, where, inherited)

    def _outside(self, model: RouteModel, where: Location) -> tuple[Outside, str | None]:
        if not isinstance(model.outside, OutsideDigest):
            return Outside(model.outside), None
        name, position = model.outside.digest, (*where, "outside", "digest")
        if not self._reader.is_known(name, self._names.receivers, position, "receiver"):
            return Outside.DIGEST, None
        full = self._names.receivers[name]
        if not any(each.digest for each in self._names.destinations[full]):
            todo = "name one that has, or add `- digest:` to it"
            self._reader.document.add_error(position, f"the receiver {name!r} has no digest", todo)
        return Outside.DIGEST, full

    def _check_opens(self, open_: Hours | None, outside: Outside, where: Location) -> None:
        if open_ is not None and outside is Outside.HOLD and not ever_opens(open_, self._now):
            self._reader.document.add_error(
                where,
                "these hours never open: alerts would be held for ever",
                "correct the intervals, or set `outside:` to drop, send or digest",
            )
