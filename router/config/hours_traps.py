"""Warnings about time intervals and the hours of routes."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from router.config.document import Document, Location
from router.config.fields import minute_of_day
from router.config.inspected_file import InspectedFile
from router.config.intervals import EVER_DAYS, ever_opens
from router.config.models import IntervalModel, RouteModel, TimeIntervalModel
from router.config.problems import Trap
from router.decide import Outside, Route
from router.decide.hours import Hours, NamedInterval
from router.model import Millis

_FIELDS = ("times", "weekdays", "days_of_month", "months", "years")
_WEEKEND = frozenset({0, 6})
_MIDNIGHT = "24:00"


class _EntryShape(NamedTuple):
    """What an entry of an interval is about."""

    fields: frozenset[str]
    """The fields that it gives."""
    is_free_time: bool
    """It is a weekend, or a part of a night. Several entries are the right way to write free time."""


class _Extremes(NamedTuple):
    never_open: bool
    never_closed: bool


class HoursTraps:
    """Finds intervals and hours that are never open or never closed, or probably have another meaning than intended."""

    def __init__(self, now: Millis) -> None:
        """:param now: the time from which openings and closings are searched for (epoch ms)"""
        self._now = now
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], _Extremes] = {}
        """What is known about hours, by the names of their active and mute intervals, because many routes have the same
        hours.
        """

    def inspect(self, file: InspectedFile, routes: Mapping[str, Route]) -> None:
        """Add a warning to the file's document for each trap. :param routes: by path"""
        flagged = self._inspect_intervals(file)
        by_name = {model.name: model for model in file.time_intervals}
        for path, model in file.models():
            route, where = routes.get(path), file.locations[path]
            if route is not None and route.hours is not None:
                self._inspect_route(file.document, route, route.hours, flagged, where)
                _inspect_alternatives(file.document, model, by_name, where)

    def _inspect_intervals(self, file: InspectedFile) -> frozenset[str]:
        """Return the names of the intervals that are never or always true."""
        flagged = set()
        for index, model in enumerate(file.time_intervals):
            interval, where = file.intervals[model.name], ("time_intervals", index)
            extremes = self._extremes(Hours((interval,)))
            if any(extremes):
                flagged.add(interval.name)
            if extremes.never_open:
                todo = "correct its entries, or remove it"
                file.document.add_warning(
                    Trap.NEVER, where, f"the interval {model.name!r} is never true", todo
                )
            elif extremes.never_closed:
                todo = "remove it, or say when it ends"
                file.document.add_warning(
                    Trap.ALWAYS, where, f"the interval {model.name!r} is always true", todo
                )
            for number, entry in enumerate(interval.intervals):
                if not extremes.never_open and not ever_opens(
                    Hours((NamedInterval("", (entry,)),)), self._now
                ):
                    position = (*where, "time_intervals", number)
                    what = f"this entry of {model.name!r} is never true"
                    file.document.add_warning(Trap.NEVER, position, what, "correct it, or remove it")
            _inspect_entries(file.document, model, where)
            _inspect_ends(file.document, model, where)
        return frozenset(flagged)

    def _inspect_route(
        self, document: Document, route: Route, hours: Hours, flagged: frozenset[str], where: Location
    ) -> None:
        """Warn of intervals that together are never or always open, though none of them alone is.

        :param flagged: the intervals that have a warning of their own
        """
        if flagged.intersection(each.name for each in (*hours.active, *hours.mute)):
            return
        extremes = self._extremes(hours)
        # `outside: hold` with hours that never open is an error, and not a warning.
        if route.outside is not Outside.HOLD and extremes.never_open:
            document.add_warning(Trap.NEVER, where, "these hours are never open", "correct the intervals")
        elif extremes.never_closed:
            what, todo = "these hours never close", "remove the intervals, or correct them"
            document.add_warning(Trap.ALWAYS, where, what, todo)

    def _extremes(self, hours: Hours) -> _Extremes:
        names = (tuple(each.name for each in hours.active), tuple(each.name for each in hours.mute))
        found = self._known.get(names)
        if found is None:
            closes = not hours.is_open(self._now) or hours.next_closing(self._now, EVER_DAYS) is not None
            found = self._known[names] = _Extremes(
                never_open=not ever_opens(hours, self._now), never_closed=not closes
            )
        return found


def _inspect_alternatives(
    document: Document, model: RouteModel, intervals: Mapping[str, TimeIntervalModel], where: Location
) -> None:
    """Warn of a route whose active intervals look as if they were meant to be combined with "and".

    :param intervals: by name
    """
    known = [intervals[name] for name in dict.fromkeys(model.active_time_intervals) if name in intervals]
    if _intervals_seem_combined(known):
        what = "one of these active_time_intervals is enough to be open, but they look as if all should hold"
        todo = "make one interval with an entry in which all must hold"
        document.add_warning(Trap.INTERVALS_OR, (*where, "active_time_intervals"), what, todo)


def _inspect_entries(document: Document, model: TimeIntervalModel, where: Location) -> None:
    """Warn of days in one entry and times in another. Entries are alternatives, so the interval is open all day on these
    days, and at these times on every day.
    """
    seen: dict[_EntryShape, None] = {}
    for number, entry in enumerate(model.time_intervals):
        shape = _shape_of(entry)
        other = next((each for each in seen if _entries_seem_combined(each, shape)), None)
        if other is not None:
            fields = other.fields | shape.fields
            what = (
                f"{' and '.join(sorted(fields))} are in two entries of {model.name!r}, and either is enough"
            )
            what += ": the times apply on every day, and the days apply all day" if "times" in fields else ""
            todo = "put them into one entry, where all must hold"
            document.add_warning(Trap.INTERVALS_OR, (*where, "time_intervals", number), what, todo)
            return
        seen[shape] = None


def _shape_of(entry: IntervalModel) -> _EntryShape:
    fields = frozenset(name for name in _FIELDS if getattr(entry, name) is not None)
    weekdays = {day for begin, end in entry.weekdays or () for day in range(begin, end + 1)}
    is_night = any(each.start_time == "00:00" or each.end_time == _MIDNIGHT for each in entry.times or ())
    return _EntryShape(fields, is_night or weekdays == _WEEKEND)


def _entries_seem_combined(one: _EntryShape, other: _EntryShape) -> bool:
    """Return whether two entries of intervals look as if they were meant to be combined with "and". They are combined
    with "or": one matching entry is enough.
    """
    if not one.fields or not other.fields or one.fields & other.fields:
        return False
    if "times" in one.fields | other.fields:
        return not (one.is_free_time and other.is_free_time)  # nights and weekends are meant as alternatives
    # Each has a single field: one entry was probably split by a dash too many.
    return len(one.fields) == len(other.fields) == 1


def _intervals_seem_combined(models: Iterable[TimeIntervalModel]) -> bool:
    """Return whether two of these intervals look as if they were meant to be combined with "and"."""
    seen: set[frozenset[_EntryShape]] = set()
    for model in models:
        shapes = frozenset(map(_shape_of, model.time_intervals))
        for others in seen:
            if (
                others
                and shapes
                and all(_entries_seem_combined(one, other) for one in others for other in shapes)
            ):
                return True
        seen.add(shapes)
    return False


def _inspect_ends(document: Document, model: TimeIntervalModel, where: Location) -> None:
    """Warn of an end one minute before midnight or before another start: ends are exclusive, so a minute is missing."""
    starts = {each.start_time for entry in model.time_intervals for each in entry.times or ()} | {_MIDNIGHT}
    for number, entry in enumerate(model.time_intervals):
        for index, times in enumerate(entry.times or ()):
            following = _minute_after(times.end_time)
            if following in starts:
                what = f"the minute from {times.end_time} to {following} is missing: end_time is exclusive"
                position = (*where, "time_intervals", number, "times", index, "end_time")
                document.add_warning(Trap.MINUTE_GAP, position, what, f'write "{following}"')


def _minute_after(text: str) -> str:
    hours, minutes = divmod(minute_of_day(text) + 1, 60)
    return f"{hours:02}:{minutes:02}"
