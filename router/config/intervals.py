"""Reads named time intervals, and the hours in which a route is active."""

from collections.abc import Mapping
from datetime import date
from zoneinfo import ZoneInfo

from router.config.document import Location
from router.config.fields import minute_of_day, zone
from router.config.models import HolidaysModel, RouteModel, TimeIntervalModel
from router.config.reader import Reader
from router.decide.hours import Calendar, Hours, Interval, NamedInterval
from router.model import Millis

# How far ahead an opening or a closing is searched for. Leap days are at most eight years apart.
EVER_DAYS = 8 * 366


def named_intervals(
    reader: Reader, models: tuple[TimeIntervalModel, ...], timezone: str, prefix: str = ""
) -> dict[str, NamedInterval]:
    """Return the time intervals of a file, by their names in the file.

    :param timezone: the name of the time zone for intervals that set none
    :param prefix: is put before the names to make the full names
    """
    found: dict[str, NamedInterval] = {}
    for index, model in enumerate(models):
        where = ("time_intervals", index)
        if model.name in found:
            what = f"there are two time_intervals {model.name!r}"
            reader.document.add_error((*where, "name"), what, "give each its own name")
        found[model.name] = _interval(reader, model, where, timezone, prefix)
    return found


def _interval(
    reader: Reader, model: TimeIntervalModel, where: Location, timezone: str, prefix: str
) -> NamedInterval:
    entries = tuple(
        Interval(
            times=None
            if entry.times is None
            else tuple(
                (minute_of_day(each.start_time), minute_of_day(each.end_time)) for each in entry.times
            ),
            weekdays=entry.weekdays,
            days_of_month=entry.days_of_month,
            months=entry.months,
            years=entry.years,
            zone=zone(entry.location or timezone),
        )
        for entry in model.time_intervals
    )
    calendar = None
    if model.holidays is not None:
        local = entries[0].zone if entries else zone(timezone)
        calendar = _calendar(reader, model.holidays, (*where, "holidays"), local)
    return NamedInterval(f"{prefix}{model.name}", entries, calendar)


def _calendar(reader: Reader, model: HolidaysModel, where: Location, local: ZoneInfo) -> Calendar | None:
    dates = []
    for index, text in enumerate(model.dates):
        try:
            dates.append(date.fromisoformat(text))
        except ValueError:
            reader.document.add_error(
                (*where, "dates", index), f"{text!r} is not a date", "write it like 2026-12-24"
            )
    country, subdivision = model.country, model.subdivision
    if country is None:
        if subdivision is not None:
            reader.document.add_error(
                (*where, "subdivision"), "a subdivision without a country", "add `country:`"
            )
        return Calendar(dates, zone=local)
    from holidays import list_supported_countries  # noqa: PLC0415  (it imports every country: 70 ms)

    supported = list_supported_countries()
    if not reader.is_known(country, supported, (*where, "country"), "country"):
        return None
    if subdivision is not None and not reader.is_known(
        subdivision, supported[country], (*where, "subdivision"), "subdivision"
    ):
        return None
    return Calendar(dates, country, subdivision, local)


def hours(
    reader: Reader, model: RouteModel, where: Location, intervals: Mapping[str, NamedInterval]
) -> Hours | None:
    """Return the hours in which a route notifies; None: at any time.

    :param intervals: the known time intervals, by their names in the file
    """
    named: dict[str, tuple[NamedInterval, ...]] = {}
    for key in ("active_time_intervals", "mute_time_intervals"):
        names = getattr(model, key)
        known = [
            name
            for index, name in enumerate(names)
            if reader.is_known(name, intervals, (*where, key, index), "time interval")
        ]
        named[key] = tuple(intervals[name] for name in known)
    active, mute = named["active_time_intervals"], named["mute_time_intervals"]
    return Hours(active, mute) if active or mute else None


def ever_opens(given: Hours, now: Millis) -> bool:
    """Return whether hours are open now or open again later. :param now: epoch ms"""
    return given.is_open(now) or given.next_opening(now, EVER_DAYS) is not None
