from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from router.model import Millis


@dataclass(frozen=True, slots=True)
class Interval:
    """One entry of Alertmanager's ``time_intervals[].time_intervals``; all fields given must hold.

    times: (start, end) minutes of the day, end exclusive; weekdays: (first, last), Sunday 0, inclusive;
    days_of_month: (first, last) in 1..31 or -31..-1; months: (first, last) 1..12; years: (first, last).
    Empty: no condition.
    """

    times: tuple[tuple[int, int], ...] = ()
    weekdays: tuple[tuple[int, int], ...] = ()
    days_of_month: tuple[tuple[int, int], ...] = ()
    months: tuple[tuple[int, int], ...] = ()
    years: tuple[tuple[int, int], ...] = ()
    zone: ZoneInfo = ZoneInfo("UTC")

    def contains(self, now: Millis) -> bool: ...


class Calendar:
    """Dates on which a named interval is closed: local dates plus public holidays (see PyPI ``holidays``)."""

    def __init__(self, dates: Sequence[date] = (), country: str | None = None, subdivision: str | None = None, zone: ZoneInfo = ZoneInfo("UTC")) -> None: ...
    def name_of(self, now: Millis) -> str | None: ...


@dataclass(frozen=True, slots=True)
class NamedInterval:
    name: str
    intervals: tuple[Interval, ...]
    holidays: Calendar | None = None

    def contains(self, now: Millis) -> bool: ...


@dataclass(frozen=True, slots=True)
class Hours:
    """A route's hours: open when any of ``active`` contains the moment (or there is none) and no ``mute`` does."""

    active: tuple[NamedInterval, ...] = ()
    mute: tuple[NamedInterval, ...] = ()

    def open(self, now: Millis) -> bool: ...
    def closed_by(self, now: Millis) -> str: ...
    def next_opening(self, now: Millis) -> Millis | None: ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a digest goes out: every day of ``weekdays`` (Sunday 0; empty: daily) at ``minute`` of the local day."""

    minute: int
    weekdays: tuple[tuple[int, int], ...] = ()
    zone: ZoneInfo = ZoneInfo("UTC")

    def next(self, now: Millis) -> Millis: ...
    def previous(self, now: Millis) -> Millis: ...
