"""Warnings about time intervals and the hours of routes."""

from collections.abc import Iterable, Mapping

from router.config.document import Document, Location
from router.config.fields import minute_of_day
from router.config.inspected_file import InspectedFile
from router.config.models import IntervalModel, TimeIntervalModel
from router.config.problems import Trap
from router.config.routes import EVER_DAYS
from router.decide import Outside, Route
from router.decide.hours import Hours, NamedInterval
from router.model import Millis

_FIELDS = ("times", "weekdays", "days_of_month", "months", "years")
_WEEKEND = frozenset({0, 6})
_MIDNIGHT = "24:00"
_Kind = tuple[frozenset[str], bool]


class HoursTraps:
    """:param now: when hours are to open, or close, again"""

    def __init__(self, now: Millis) -> None:
        self._now = now
        self._searched: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[bool, bool]] = {}

    def look(self, file: InspectedFile, routes: Mapping[str, Route]) -> None:
        """:param routes: by path"""
        self._hours(file, routes, self._intervals(file))

    def _intervals(self, file: InspectedFile) -> frozenset[str]:
        """The names of those that are never, or always, true."""
        flagged = set()
        for index, model in enumerate(file.time_intervals):
            named, where = file.intervals[model.name], ("time_intervals", index)
            never, always = self._never_or_always(Hours((named,)))
            if never or always:
                flagged.add(named.name)
            if never:
                todo = "mend its entries, or remove it"
                file.document.add_warning(
                    Trap.NEVER, where, f"the interval {model.name!r} is never true", todo
                )
            elif always:
                todo = "remove it, or say when it ends"
                file.document.add_warning(
                    Trap.ALWAYS, where, f"the interval {model.name!r} is always true", todo
                )
            for number, entry in enumerate(named.intervals):
                if not never and not _opens(Hours((NamedInterval("", (entry,)),)), self._now):
                    position = (*where, "time_intervals", number)
                    what = f"this entry of {model.name!r} is never true"
                    file.document.add_warning(Trap.NEVER, position, what, "mend it, or remove it")
            _ored(file.document, model, where)
            _gaps(file.document, model, where)
        return frozenset(flagged)

    def _hours(self, file: InspectedFile, routes: Mapping[str, Route], flagged: frozenset[str]) -> None:
        """Of routes: intervals that together are never or always open, though each alone is not."""
        by_name = {model.name: model for model in file.time_intervals}
        for path, model in file.models():
            route, where = routes.get(path), file.positions[path]
            if route is None or route.hours is None:
                continue
            names = [each.name for each in (*route.hours.active, *route.hours.mute)]
            if not flagged.intersection(names):
                never, always = self._never_or_always(route.hours)
                if route.outside is not Outside.HOLD and never:
                    file.document.add_warning(
                        Trap.NEVER, where, "these hours are never open", "mend the intervals"
                    )
                elif always:
                    what, todo = "these hours never close", "remove the intervals, or mend them"
                    file.document.add_warning(Trap.ALWAYS, where, what, todo)
            known = [by_name[name] for name in dict.fromkeys(model.active_time_intervals) if name in by_name]
            if _meant_together(known):
                what = "one of these active_time_intervals is enough to be open, but they look as if all should hold"
                todo = "make one interval with an entry in which all must hold"
                file.document.add_warning(Trap.INTERVALS_OR, (*where, "active_time_intervals"), what, todo)

    def _never_or_always(self, hours: Hours) -> tuple[bool, bool]:
        """Searched for once for all routes that have the same hours."""
        names = tuple(tuple(each.name for each in several) for several in (hours.active, hours.mute))
        found = self._searched.get((names[0], names[1]))
        if found is None:
            closes = not hours.open(self._now) or hours.next_closing(self._now, EVER_DAYS) is not None
            found = self._searched[names[0], names[1]] = (not _opens(hours, self._now), not closes)
        return found


def _opens(hours: Hours, now: Millis) -> bool:
    return hours.open(now) or hours.next_opening(now, EVER_DAYS) is not None


def _ored(document: Document, model: TimeIntervalModel, where: Location) -> None:
    """Entries are alternatives: days in one and times in another are open all day, and on every day."""
    seen: dict[_Kind, None] = {}
    for number, second in enumerate(model.time_intervals):
        kind = _kind(second)
        first = next((each for each in seen if _meant_and(each, kind)), None)
        if first is not None:
            fields = first[0] | kind[0]
            what = (
                f"{' and '.join(sorted(fields))} stand in two entries of {model.name!r}, and either is enough"
                + (": the times apply on every day, and the days apply all day" if "times" in fields else "")
            )
            todo = "put them into one entry, where all must hold"
            document.add_warning(Trap.INTERVALS_OR, (*where, "time_intervals", number), what, todo)
            return
        seen[kind] = None


def _kind(entry: IntervalModel) -> _Kind:
    """What it asks about; and whether it is free time, which several entries make up: a weekend, or a night."""
    fields = frozenset(name for name in _FIELDS if getattr(entry, name) is not None)
    weekdays = {day for begin, end in entry.weekdays or () for day in range(begin, end + 1)}
    night = any(each.start_time == "00:00" or each.end_time == _MIDNIGHT for each in entry.times or ())
    return fields, night or weekdays == _WEEKEND


def _meant_and(one: _Kind, other: _Kind) -> bool:
    """Whether two entries look as if both were meant to hold."""
    (first, free), (second, also_free) = one, other
    if not first or not second or first & second:
        return False
    if "times" in first | second:
        return not (free and also_free)  # nights or weekends: that is meant as it stands
    # One field in each: written a line each, as if they were one entry.
    return len(first) == len(second) == 1


def _meant_together(models: Iterable[TimeIntervalModel]) -> bool:
    kinds: set[frozenset[_Kind]] = set()
    for model in models:
        kind = frozenset(map(_kind, model.time_intervals))
        if any(
            all(_meant_and(one, other) for one in each for other in kind) for each in kinds if each and kind
        ):
            return True
        kinds.add(kind)
    return False


def _gaps(document: Document, model: TimeIntervalModel, where: Location) -> None:
    """An end is not a part of the time: what ends at 23:59 lacks the last minute of the day."""
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
