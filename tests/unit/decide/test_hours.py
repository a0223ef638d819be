"""Hours and schedules, against brute force and at the clock changes."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.decide.hours import Calendar, Hours, Interval, NamedInterval, Schedule
from router.model import DAY, HOUR, MINUTE, Millis
from tests.examples import examples

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Atlantic/Azores",
        "America/Havana",
    )
]  # fmt: skip
# Days on which some of these zones change their clocks, and ordinary ones.
DAYS = [
    (2026, 3, 8),
    (2026, 3, 29),
    (2026, 4, 5),
    (2026, 10, 4),
    (2026, 10, 25),
    (2026, 11, 1),
    (2026, 6, 15),
]


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> Millis:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()) * 1_000


def office(zone: ZoneInfo = BERLIN, holidays: Calendar | None = None) -> Hours:
    interval = Interval(times=((9 * 60, 18 * 60),), weekdays=((1, 5),), zone=zone)
    return Hours(active=(NamedInterval("office", (interval,), holidays),))


@pytest.mark.parametrize(
    ("moment", "open_"),
    [
        ("2026-11-20T08:59:59", False), ("2026-11-20T09:00:00", True), ("2026-11-20T17:59:59", True),
        ("2026-11-20T18:00:00", False), ("2026-11-21T12:00:00", False), ("2026-11-23T12:00:00", True),
    ],
)  # fmt: skip
def test_the_office_is_open_from_nine_to_six_on_weekdays(moment: str, open_: bool) -> None:
    assert office().is_open(at(moment)) is open_


def test_friday_night_is_held_until_monday_morning() -> None:
    assert office().next_opening(at("2026-11-20T22:41:00")) == at("2026-11-23T09:00:00")


def test_an_opening_after_the_clock_change_is_at_the_wall_clocks_nine() -> None:
    assert office().next_opening(at("2026-03-27T20:00:00")) == at("2026-03-30T09:00:00")
    assert at("2026-03-30T09:00:00") - at("2026-03-27T09:00:00") == 3 * DAY - HOUR


def test_a_holiday_is_closed_in_the_zone_of_the_office() -> None:
    closed = office(holidays=Calendar([date(2026, 12, 24)], "DE", "BE", BERLIN))
    assert closed.closed_by(at("2026-12-24T10:00:00")) == "outside office: closed on 2026-12-24"
    assert not closed.is_open(at("2026-12-25T10:00:00"))
    assert closed.next_opening(at("2026-12-23T19:00:00")) == at("2026-12-28T09:00:00")


def test_a_mute_ends_an_opening_and_its_end_opens() -> None:
    lunch = NamedInterval("lunch", (Interval(times=((12 * 60, 13 * 60),), zone=BERLIN),))
    hours = Hours(active=office().active, mute=(lunch,))
    assert not hours.is_open(at("2026-11-20T12:30:00"))
    assert hours.closed_by(at("2026-11-20T12:30:00")) == "muted by lunch"
    assert hours.next_opening(at("2026-11-20T12:30:00")) == at("2026-11-20T13:00:00")


def test_hours_that_never_open_have_no_opening() -> None:
    past = Hours(active=(NamedInterval("past", (Interval(years=((2020, 2020),)),)),))
    assert past.next_opening(at("2026-11-20T12:00:00")) is None


def test_an_opening_is_found_where_the_clocks_go_back_to_midnight() -> None:
    azores = ZoneInfo("Atlantic/Azores")
    interval = Interval(times=((0, 10), (30, 60), (23 * 60, 24 * 60)), zone=azores)
    hours = Hours(active=(NamedInterval("odd", (interval,)),))
    assert hours.next_opening(at("2026-10-25T00:10:00", azores)) == at("2026-10-25T00:30:00", azores)


def test_a_holiday_has_its_english_name_in_any_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANGUAGE", "de")
    assert Calendar([], "DE", "BE", BERLIN).name_of(at("2026-12-25T10:00:00")) == "Christmas Day"


def test_a_slot_in_the_skipped_hour_goes_out_right_after_it() -> None:
    assert Schedule(2 * 60 + 30, zone=BERLIN).next(at("2026-03-29T00:00:00")) == at("2026-03-29T03:00:00")


def test_a_slot_in_the_repeated_hour_goes_out_once() -> None:
    schedule = Schedule(2 * 60 + 30, zone=BERLIN)
    first = schedule.next(at("2026-10-25T00:00:00"))
    assert first == at("2026-10-25T02:30:00", fold=0)
    assert schedule.next(first) == at("2026-10-26T02:30:00")


_ranges = st.tuples(st.integers(0, 47), st.integers(1, 12)).map(
    lambda r: (r[0] * 30, min(24 * 60, (r[0] + r[1]) * 30))
)
_intervals = st.builds(
    Interval,
    times=st.lists(_ranges, max_size=2).map(tuple),
    weekdays=st.sampled_from([(), ((1, 5),), ((0, 0), (6, 6))]),
    zone=st.sampled_from(ZONES),
)
_named = st.builds(NamedInterval, st.just("n"), st.lists(_intervals, min_size=1, max_size=2).map(tuple))
_hours = st.builds(
    Hours, active=st.lists(_named, max_size=2).map(tuple), mute=st.lists(_named, max_size=1).map(tuple)
)  # fmt: skip
_moments = st.builds(
    lambda day, minute: at(date(*day).isoformat(), ZoneInfo("UTC")) + minute * MINUTE - DAY,
    st.sampled_from(DAYS),
    st.integers(0, 3 * 24 * 60),
)


@given(_hours, _moments)
@examples(25)
def test_the_next_opening_is_the_first_open_minute(hours: Hours, now: Millis) -> None:
    found = hours.next_opening(now)
    later = (now - now % MINUTE + minute * MINUTE for minute in range(1, 8 * 24 * 60))
    if hours.is_open(now):
        # Only closed hours are asked for their opening. While they are open, any later open moment is right.
        assert found is None or (found > now and hours.is_open(found))
    else:
        first = next((moment for moment in later if hours.is_open(moment)), None)
        assert found == first or (first is None and found is not None and found >= now + 8 * DAY - HOUR)


@given(
    st.integers(0, 24 * 60 - 1), st.sampled_from([(), ((1, 5),), ((0, 0),)]), st.sampled_from(ZONES), _moments
)
@settings(deadline=None)
def test_a_slot_follows_another_and_none_is_left_out(
    minute: int, weekdays: tuple[tuple[int, int], ...], zone: ZoneInfo, now: Millis
) -> None:
    schedule = Schedule(minute, weekdays, zone)
    following = schedule.next(now)
    assert schedule.previous(now) <= now < following
    assert schedule.previous(following) == following
    assert schedule.previous(following - 1) == schedule.previous(now)


FIVE_ZONES = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Casablanca",
]
YEARS = range(
    2016, 2027
)  # São Paulo ended its summer time in 2019; Casablanca's depends on the lunar calendar


def changes(zone: ZoneInfo) -> list[Millis]:
    """Every midnight (UTC) before a day on which the zone changes its clocks, by looking at each."""
    midnights = [at(f"{year}-01-01", ZoneInfo("UTC")) + day * DAY for year in YEARS for day in range(366)]
    offset = {midnight: datetime.fromtimestamp(midnight / 1_000, zone).utcoffset() for midnight in midnights}
    return [
        midnight for midnight in midnights
        if offset[midnight] != datetime.fromtimestamp((midnight + DAY) / 1_000, zone).utcoffset()
    ]  # fmt: skip


def really_open(minute: Millis, zone: ZoneInfo, start: int, end: int, weekdays: set[int]) -> bool:
    """By the clock on the wall, and nothing else."""
    wall = datetime.fromtimestamp(minute / 1_000, zone)
    return start <= wall.hour * 60 + wall.minute < end and wall.isoweekday() % 7 in weekdays


@pytest.mark.parametrize("name", FIVE_ZONES)
@pytest.mark.parametrize(
    ("start", "end", "weekdays"), [(9 * 60, 18 * 60, range(1, 6)), (30, 150, range(7)), (0, 24 * 60, (0,))]
)
def test_hours_agree_with_the_wall_clock_around_every_change(
    name: str, start: int, end: int, weekdays: range
) -> None:
    zone = ZoneInfo(name)
    days = tuple((day, day) for day in weekdays)
    hours = Hours(active=(NamedInterval("n", (Interval(times=((start, end),), weekdays=days, zone=zone),)),))
    found = changes(zone)
    assert len(found) >= 5
    for midnight in found:
        minutes = [midnight - 6 * HOUR + minute * MINUTE for minute in range(36 * 60)]
        truth = [really_open(minute, zone, start, end, set(weekdays)) for minute in minutes]
        assert [hours.is_open(minute) for minute in minutes] == truth
        for before, after in zip(range(len(minutes)), range(1, len(minutes)), strict=False):
            if truth[after] and not truth[before]:
                assert hours.next_opening(minutes[before]) == minutes[after]
            if truth[before] and not truth[after]:
                assert hours.next_closing(minutes[before]) == minutes[after]


@pytest.mark.parametrize(
    "empty",
    [
        Interval(times=()),
        Interval(weekdays=()),
        Interval(days_of_month=()),
        Interval(months=()),
        Interval(years=()),
    ],
    ids=str,
)
def test_an_empty_list_never_holds_and_none_always_does(empty: Interval) -> None:
    moments = range(0, 366 * DAY, 7 * HOUR)
    assert not any(map(empty.contains, moments))
    assert all(map(Interval().contains, moments))
    assert Hours(active=(NamedInterval("x", (empty,)),)).next_opening(0) is None
