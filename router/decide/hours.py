"""Business hours with Alertmanager's meaning, holidays, and the schedules of digests.

Each computation starts from the UTC instant and turns it into the zone's wall-clock fields. Nothing is added to local
times.
Source of the rules: https://github.com/prometheus/alertmanager/blob/main/timeinterval/timeinterval.go
"""

import calendar
import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from router.model import DAY, MINUTE, SECOND, Millis

if TYPE_CHECKING:
    from holidays import HolidayBase

# How far ahead an opening is searched for. Beyond it, a route counts as never open again.
HORIZON_DAYS = 2 * 366

_UTC = ZoneInfo("UTC")
_DAY_MINUTES = 24 * 60

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """One entry of Alertmanager's ``time_intervals[].time_intervals``; it matches a moment if all fields that are given
    match.

    times: (start, end) minutes of the day, end exclusive; weekdays: (first, last), Sunday 0, inclusive;
    days_of_month: (first, last) in 1..31 or -31..-1; months: (first, last) 1..12; years: (first, last).
    None: no condition; empty: never.
    """

    times: Ranges | None = None
    weekdays: Ranges | None = None
    days_of_month: Ranges | None = None
    months: Ranges | None = None
    years: Ranges | None = None
    zone: ZoneInfo = _UTC

    def contains(self, now: Millis) -> bool:
        local = local_time(now, self.zone)
        return _in_any_range(self.times, local.hour * 60 + local.minute, exclusive=True) and self.holds_on(
            local.date()
        )

    def holds_on(self, day: date) -> bool:
        """Return whether a date meets the conditions on the date."""
        return (
            _in_any_range(self.weekdays, _weekday_number(day))
            and _in_any_range(self.months, day.month)
            and _in_any_range(self.years, day.year)
            and (self.days_of_month is None or any(_in_month(day, *days) for days in self.days_of_month))
        )

    @property
    def edges(self) -> set[int]:
        """The minutes of the day at which it can open or close."""
        return {0, *(edge for times in self.times or () for edge in times)}


class Calendar:
    """Dates on which an interval is closed: local dates, and public holidays as PyPI's ``holidays`` knows them.

    :param country: ISO 3166-1 alpha-2; ``subdivision``: ISO 3166-2 without the country
    """

    def __init__(
        self,
        dates: Sequence[date] = (),
        country: str | None = None,
        subdivision: str | None = None,
        zone: ZoneInfo = _UTC,
    ) -> None:
        self._dates = frozenset(dates)
        self._public = None if country is None else _public_holidays(country, subdivision)
        self._zone = zone

    def name_of(self, now: Millis) -> str | None:
        """Return the name of the holiday at this time (epoch ms); None: it is not a holiday."""
        day = local_time(now, self._zone).date()
        if day in self._dates:
            return f"closed on {day.isoformat()}"
        if self._public is not None and (name := self._public.get(day)) is not None:
            return str(name)
        return None


def _public_holidays(country: str, subdivision: str | None) -> "HolidayBase":
    """Return a country's holidays, with English names where there are any, whatever the locale of the process."""
    import holidays  # noqa: PLC0415  (its first use imports every country, which takes as long as most commands)

    found = holidays.country_holidays(country, subdiv=subdivision)
    language = "en_US" if "en_US" in found.supported_languages else found.default_language
    return holidays.country_holidays(country, subdiv=subdivision, language=language)


@dataclass(frozen=True, slots=True)
class NamedInterval:
    name: str
    intervals: tuple[Interval, ...]
    holidays: Calendar | None = None

    def contains(self, now: Millis) -> bool:
        if not any(interval.contains(now) for interval in self.intervals):
            return False
        return self.holidays is None or self.holidays.name_of(now) is None


@dataclass(frozen=True, slots=True)
class Hours:
    """A route's hours: open when any of ``active`` contains the moment (or there is none) and no ``mute`` does."""

    active: tuple[NamedInterval, ...] = ()
    mute: tuple[NamedInterval, ...] = ()
    _found: list[tuple[Millis, Millis | None, Millis]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )
    """The last search: since when its result is valid, the opening that it found, and until when it is valid."""

    def is_open(self, now: Millis) -> bool:
        if any(interval.contains(now) for interval in self.mute):
            return False
        return not self.active or any(interval.contains(now) for interval in self.active)

    def closed_by(self, now: Millis) -> str:
        """Return why it is closed, as a part of a sentence."""
        for interval in self.mute:
            if interval.contains(now):
                return f"muted by {interval.name}"
        for interval in self.active:
            if interval.holidays is not None and (name := interval.holidays.name_of(now)) is not None:
                return f"outside {interval.name}: {name}"
        return "outside " + " and ".join(interval.name for interval in self.active)

    def next_opening(self, now: Millis, days: int = HORIZON_DAYS) -> Millis | None:
        """Return the first instant after ``now`` at which it is open, within ``days``; None: there is none."""
        if self._found:
            since, opening, until = self._found[0]
            if since <= now < until:
                return opening
        opening = next((at for at in self._candidates(now, days) if self.is_open(at)), None)
        if not self.is_open(now):
            # A search that finds nothing takes long, and each alert asks for it.
            self._found[:] = [(now, opening, now + DAY if opening is None else opening)]
        return opening

    def next_closing(self, now: Millis, days: int = HORIZON_DAYS) -> Millis | None:
        """Return the first instant after ``now`` at which it is closed, within ``days``; None: there is none."""
        return next((at for at in self._candidates(now, days) if not self.is_open(at)), None)

    def describe(self, at: Millis) -> str:
        """Return a moment in the zone of these hours: ``Mon 09:00 Europe/Berlin``."""
        zone = next((each.zone for named in (*self.active, *self.mute) for each in named.intervals), _UTC)
        return f"{local_time(at, zone):%a %H:%M} {zone.key}"

    def _candidates(self, now: Millis, days: int) -> Iterator[Millis]:
        """Yield every instant after ``now`` at which it can open or close, in order: edges of the intervals, midnights,
        and clock changes of each zone.
        """
        edges: dict[ZoneInfo, set[int]] = {}
        for named in (*self.active, *self.mute):
            for interval in named.intervals:
                zone_edges = edges.setdefault(interval.zone, set())
                zone_edges |= interval.edges
        yield from heapq.merge(*(_edges(now, zone, minutes, days) for zone, minutes in edges.items()))


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a digest is sent: every day of ``weekdays`` (Sunday 0; empty: daily) at ``minute`` of the local day.

    A slot that a clock change skips is sent at the first instant after it; one that comes twice, the first time.
    """

    minute: int
    weekdays: Ranges = ()
    zone: ZoneInfo = _UTC

    def next(self, now: Millis) -> Millis:
        """Return the first slot after ``now``."""
        return next(at for at in self._slots(now, range(-1, 16)) if at > now)

    def previous(self, now: Millis) -> Millis:
        """Return the last slot at or before ``now``."""
        return next(at for at in self._slots(now, range(1, -16, -1)) if at <= now)

    def _slots(self, now: Millis, days: Iterable[int]) -> Iterator[Millis]:
        today = local_time(now, self.zone).date()
        for ahead in days:
            day = today + timedelta(days=ahead)
            if _in_any_range(self.weekdays or None, _weekday_number(day)):
                yield _instants_of_minute(day, self.minute, self.zone)[0]


def _edges(now: Millis, zone: ZoneInfo, minutes: set[int], days: int) -> Iterator[Millis]:
    """Yield every instant after ``now`` at which the zone's clocks show one of these minutes, or change; in order."""
    today = local_time(now, zone).date()
    pending: set[Millis] = set()
    for ahead in range(-1, days):
        day, following = today + timedelta(days=ahead), today + timedelta(days=ahead + 1)
        pending.update(at for minute in minutes for at in _instants_of_minute(day, minute, zone))
        pending.update(_clock_changes(day, zone))
        # Where clocks are turned back at midnight, a day's 24:00 comes again within the next day.
        safe = epoch_millis(datetime(following.year, following.month, following.day, tzinfo=zone))
        yield from sorted(at for at in pending if now < at < safe)
        pending = {at for at in pending if at >= safe}


def _in_any_range(ranges: Ranges | None, value: int, *, exclusive: bool = False) -> bool:
    if ranges is None:
        return True
    return any(first <= value < last if exclusive else first <= value <= last for first, last in ranges)


def _in_month(day: date, first: int, last: int) -> bool:
    """Return whether a day is in a range of days of its month. Negative numbers count from the end of the month; a range
    is cut at the limits of the month.
    """
    length = calendar.monthrange(day.year, day.month)[1]
    begin = first if first > 0 else length + first + 1
    end = last if last > 0 else length + last + 1
    if begin > length:
        return False
    return max(begin, 1) <= day.day <= min(end, length)


def _weekday_number(day: date) -> int:
    return day.isoweekday() % 7


def local_time(at: Millis, zone: ZoneInfo) -> datetime:
    """Return a moment (epoch ms) as the clocks of a zone show it, to the second."""
    return datetime.fromtimestamp(at // SECOND, zone)


def epoch_millis(at: datetime) -> Millis:
    """Return an aware time as epoch milliseconds, to the second."""
    return int(at.timestamp()) * SECOND


@lru_cache(maxsize=4_096)
def _instants_of_minute(day: date, minute: int, zone: ZoneInfo) -> tuple[Millis, ...]:
    """Return the instants at which the zone's clocks show a minute of a day: two if the clock is turned back over it; if
    the clock skips it, the instant of the change.
    """
    if minute >= _DAY_MINUTES:
        day, minute = day + timedelta(days=1), minute - _DAY_MINUTES
    wall = datetime(day.year, day.month, day.day, minute // 60, minute % 60, tzinfo=zone)
    found = sorted({epoch_millis(wall.replace(fold=fold)) for fold in (0, 1)})
    real = tuple(at for at in found if local_time(at, zone).replace(tzinfo=None) == wall.replace(tzinfo=None))
    return real or _clock_changes(day, zone) or (found[0],)


@lru_cache(maxsize=4_096)
def _clock_changes(day: date, zone: ZoneInfo) -> tuple[Millis, ...]:
    """Return the instants of the local day at which the zone's offset changes."""
    start = epoch_millis(datetime(day.year, day.month, day.day, tzinfo=UTC)) - 15 * 60 * MINUTE
    low, high = start, start + 54 * 60 * MINUTE
    step = 6 * 60 * MINUTE  # no zone has ever changed its clocks twice within six hours
    found = []
    offset = local_time(low, zone).utcoffset()
    for hour in range(low, high, step):
        after = local_time(hour + step, zone).utcoffset()
        if after != offset:
            left, right = hour, hour + step
            while right - left > SECOND:
                middle = (left + right) // (2 * SECOND) * SECOND
                left, right = (
                    (middle, right) if local_time(middle, zone).utcoffset() == offset else (left, middle)
                )
            found.append(right)
            offset = after
    return tuple(at for at in found if local_time(at, zone).date() == day)
