"""Computes when each time interval is open in the next days, and shows it as data and as a drawing for a terminal."""

import textwrap
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import groupby, pairwise, zip_longest
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from router.config import load
from router.decide.hours import NamedInterval, epoch_millis, local_time
from router.model import HOUR, MINUTE, SECOND, Millis
from router.rules.moments import parse_moment

_UTC = ZoneInfo("UTC")
_HALF_HOUR = 30 * MINUTE
_CELLS = 48
_OPEN, _PART, _CLOSED, _MISSING = "█", "▒", "·", "x"
_LEGEND = {_OPEN: "open", _PART: "open for a part", _CLOSED: "closed", _MISSING: "skipped by the clocks"}
# https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
_COLOURS = {_OPEN: "32", _PART: "33", _CLOSED: "2", _MISSING: "2"}
# Marker, day and cells take 62 of a terminal's 100 columns.
_MARGIN, _NOTES = 13, 38


@dataclass(frozen=True, slots=True)
class Day:
    """A local day, from ``starts_at`` to ``ends_at``: 23 or 25 hours where the clocks change."""

    on: date
    starts_at: Millis
    ends_at: Millis
    open: tuple[tuple[Millis, Millis], ...]
    """Spans (from, to) in epoch ms, in order. They don't touch each other, and are within the day."""
    jumps: tuple[Millis, ...] = ()
    """The instants at which the clocks change."""
    clock: str | None = None
    """The clock changes in words."""
    holiday: str | None = None


@dataclass(frozen=True, slots=True)
class Timetable:
    """The next days of an interval, in the first of its ``zones``. The first day is today."""

    name: str
    zones: tuple[ZoneInfo, ...]
    now: Millis
    days: tuple[Day, ...]

    @property
    def zone(self) -> ZoneInfo:
        return self.zones[0]


def timetables(intervals: Iterable[NamedInterval], now: Millis, days: int = 14) -> list[Timetable]:
    """Return when each interval is open, from the start of the local day of ``now``.

    The spans are exact: the interval is evaluated at every instant at which it can change.
    """
    return [_timetable(interval, now, days) for interval in intervals]


def timetables_of_file(
    path: Path, environ: Mapping[str, str], now: Millis, at: str | None = None, days: int = 14
) -> list[Timetable]:
    """Return the timetables of a file's intervals from a moment on (None: now).

    :raises ConfigError: with every mistake in the file
    :raises InputError: the moment can't be read
    """
    config = load(path, environ=environ, now=now, preview=True)
    start = now if at is None else parse_moment(at, ZoneInfo(config.timezone))
    return timetables(config.policy.intervals.values(), start, days)


def as_json(timetables: Iterable[Timetable]) -> list[dict[str, Any]]:
    """Return timetables for programs and the page: instants in epoch ms, and what the zone's clocks show then."""
    return [
        {
            "name": each.name,
            "zone": each.zone.key,
            "other_zones": [zone.key for zone in each.zones[1:]],
            "now": each.now,
            "days": [_day_as_json(day, each.zone) for day in each.days],
        }
        for each in timetables
    ]


def as_text(timetables: Sequence[Timetable], *, color: bool) -> str:
    """Return timetables for a terminal of 100 columns: a row for each day, a cell for each half hour of its clocks."""
    if not timetables:
        return "There are no time_intervals in routes.yaml.\n"
    drawn = [line for each in timetables for line in (*_drawing(each, color=color), "")]
    signs = [f"{_painted(sign, color=color)} {meaning}" for sign, meaning in _LEGEND.items()]
    return "\n".join((*drawn, "  ".join((*signs, "> today", "▼ now")), ""))


def _timetable(interval: NamedInterval, now: Millis, days: int) -> Timetable:
    zones = tuple(dict.fromkeys(entry.zone for entry in interval.intervals)) or (_UTC,)
    zone = zones[0]
    today = local_time(now, zone).date()
    dates = [today + timedelta(days=ahead) for ahead in range(days + 1)]
    starts = [_start(day, zone) for day in dates]
    changes = _changes(interval, starts[0], starts[-1])
    jumps = _jumps(zone, starts[0], starts[-1])
    found = []
    for day, (start, end) in zip(dates, pairwise(starts), strict=False):
        own = tuple(at for at in jumps if min(_readings(at, zone)).date() == day)
        clock = "; ".join(_clock(day, _readings(at, zone), end - start) for at in own) or None
        noon = epoch_millis(datetime.combine(day, time(12), zone))
        holiday = interval.holidays.name_of(noon) if interval.holidays is not None else None
        found.append(Day(day, start, end, _spans(interval, start, end, changes), own, clock, holiday))
    return Timetable(interval.name, zones, now, tuple(found))


def _spans(
    interval: NamedInterval, start: Millis, end: Millis, changes: set[Millis]
) -> tuple[tuple[Millis, Millis], ...]:
    edges = sorted({start, end, *(at for at in changes if start < at < end)})
    spans = []
    for open_, pieces in groupby(pairwise(edges), key=lambda piece: interval.contains(piece[0])):
        if open_:
            first, *rest = pieces
            spans.append((first[0], (rest or [first])[-1][1]))
    return tuple(spans)


def _changes(interval: NamedInterval, start: Millis, end: Millis) -> set[Millis]:
    """Return every instant at which an interval can open or close: midnights, edges of its entries, clock changes.

    A calendar's days are those of the first entry's zone, and begin at its midnights.
    """
    found: set[Millis] = set()
    for entry in interval.intervals:
        minutes = {edge % (24 * 60) for edge in entry.edges}
        first, last = local_time(start, entry.zone).date(), local_time(end, entry.zone).date()
        for ahead in range((last - first).days + 1):
            day = first + timedelta(days=ahead)
            found |= {at for minute in minutes for at in _instants(day, minute, entry.zone)}
        found.update(_jumps(entry.zone, start, end))
    return found


def _instants(day: date, minute: int, zone: ZoneInfo) -> tuple[Millis, Millis]:
    """Return the two instants at which the clocks show a minute of a day. They only differ where the clocks go back."""
    wall = datetime.combine(day, time(minute // 60, minute % 60), zone)
    return epoch_millis(wall.replace(fold=0)), epoch_millis(wall.replace(fold=1))


def _start(day: date, zone: ZoneInfo) -> Millis:
    """Return the first instant of a local day: its midnight, or the clock change that skips it."""
    midnight = epoch_millis(datetime.combine(day, time(), UTC))
    instants = range(midnight - 15 * HOUR, midnight + 15 * HOUR, SECOND)
    return instants[bisect_left(instants, day, key=lambda at: local_time(at, zone).date())]


@lru_cache(maxsize=256)
def _jumps(zone: ZoneInfo, start: Millis, end: Millis) -> tuple[Millis, ...]:
    """Return the clock changes of a zone from start to end, both included."""
    hours = range(start - HOUR, end + HOUR, HOUR)
    offsets = [(at, local_time(at, zone).utcoffset()) for at in hours]
    return tuple(_jump(zone, at) for (at, offset), (_, after) in pairwise(offsets) if offset != after)


def _jump(zone: ZoneInfo, hour: Millis) -> Millis:
    offset = local_time(hour, zone).utcoffset()
    instants = range(hour, hour + HOUR + SECOND, SECOND)
    return instants[bisect_left(instants, True, key=lambda at: local_time(at, zone).utcoffset() != offset)]


def _readings(jump: Millis, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the local times just before and after a clock change. The earlier one is in the day that gets shorter or
    longer, even if the change is at midnight.
    """
    before = local_time(jump - SECOND, zone).replace(tzinfo=None) + timedelta(seconds=1)
    return before, local_time(jump, zone).replace(tzinfo=None)


def _clock(day: date, readings: tuple[datetime, datetime], length: Millis) -> str:
    before, after = readings
    direction = "back" if after < before else "forward"
    return f"clocks go {direction} at {_hours(day, before)}: {length / HOUR:g} h"


def _hours(day: date, wall: datetime) -> str:
    """Return a time like ``18:00``; the midnight that ends the day is ``24:00``."""
    minutes = (wall - datetime.combine(day, time())) // timedelta(minutes=1)
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _day_as_json(day: Day, zone: ZoneInfo) -> dict[str, Any]:
    marks = [(hour, _instants(day.on, hour * 60, zone)[0]) for hour in range(0, 24, 3)]
    return {
        "date": day.on.isoformat(),
        "weekday": f"{day.on:%a}",
        "starts_at": day.starts_at,
        "ends_at": day.ends_at,
        "open": [list(span) for span in day.open],
        "open_local": [_shown(day, span, zone) for span in day.open],
        "ruler": [[at, f"{hour:02}"] for hour, at in marks if local_time(at, zone).hour == hour],
        "holiday": day.holiday,
        "clock": day.clock,
    }


def _shown(day: Day, span: tuple[Millis, Millis], zone: ZoneInfo) -> list[str]:
    """Return the local times of an opening and a closing. On a day with a clock change they have the abbreviation of the
    zone, because a time may come twice.
    """
    opens, closes = span
    moments = ((_readings(opens, zone)[1], opens), (_readings(closes, zone)[0], closes - SECOND))
    return [
        _hours(day.on, wall) + (f" {local_time(at, zone):%Z}" if day.jumps else "") for wall, at in moments
    ]


def _drawing(timetable: Timetable, *, color: bool) -> Iterator[str]:
    zone, now = timetable.zone, local_time(timetable.now, timetable.zone)
    others = " and ".join(each.key for each in timetable.zones[1:])
    yield f"{timetable.name}: days of {zone.key}" + (f"; it also has hours of {others}" if others else "")
    if not any(day.open for day in timetable.days):
        yield f"never open in these {len(timetable.days)} days"
    yield " " * _MARGIN + "".join(f"{hour:02}    " for hour in range(0, 24, 3)).rstrip()
    yield " " * (_MARGIN + now.hour * 2 + now.minute // 30) + f"▼ {now:%H:%M %Z}"
    for day in timetable.days:
        label = f"{'>' if day.starts_at <= timetable.now < day.ends_at else ' '} {day.on:%a %d %b} "
        notes = textwrap.wrap("; ".join(filter(None, (day.holiday, day.clock))), _NOTES)
        rows = zip_longest((label, f"{'again':>{_MARGIN - 1}} "), _cells(day, zone), notes, fillvalue="")
        for head, cells, note in rows:
            if cells or note:
                shown = _painted(cells, color=color) + " " * (_CELLS - len(cells))
                yield f"{head if cells else '':{_MARGIN}}{shown} {note}".rstrip()


def _cells(day: Day, zone: ZoneInfo) -> list[str]:
    """Return the row of half hours of a day, and a second row for those that are repeated after the clocks go back."""
    first: dict[int, str] = {}
    again: dict[int, str] = {}
    at = day.starts_at
    while at < day.ends_at:
        wall = local_time(at, zone)
        slot, into = divmod((wall.hour * 60 + wall.minute) * MINUTE, _HALF_HOUR)
        end = min(at + _HALF_HOUR - into, day.ends_at, *(jump for jump in day.jumps if jump > at))
        (again if slot in first else first)[slot] = _sign(day, at, end)
        at = end
    rows = [(first, _MISSING)] + [(again, " ")] * bool(again)
    return ["".join(row.get(slot, gap) for slot in range(_CELLS)) for row, gap in rows]


def _sign(day: Day, start: Millis, end: Millis) -> str:
    inside = sum(max(0, min(end, closes) - max(start, opens)) for opens, closes in day.open)
    return _OPEN if inside == end - start else _PART if inside else _CLOSED


def _painted(signs: str, *, color: bool) -> str:
    if not color:
        return signs
    return "".join(
        f"\x1b[{_COLOURS[sign]}m{''.join(run)}\x1b[0m" if sign in _COLOURS else "".join(run)
        for sign, run in groupby(signs)
    )
