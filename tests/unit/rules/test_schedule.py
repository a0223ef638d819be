"""Drawings of schedules; and their spans, which are compared with the intervals minute by minute."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from textwrap import dedent
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.decide.hours import Calendar, Interval, NamedInterval
from router.model import DAY, HOUR, MINUTE, Millis
from router.rules.timetable import as_json, as_text, timetables
from tests.examples import examples

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
LEGEND = "█ open  ▒ open for a part  · closed  x skipped by the clocks  > today  ▼ now"


def at(text: str, zone: ZoneInfo = BERLIN, *, fold: int = 0) -> Millis:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()) * 1_000


def local(moment: Millis, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment // 1_000, zone)


def daily(*times: tuple[int, int], zone: ZoneInfo = BERLIN) -> NamedInterval:
    return NamedInterval("daily", (Interval(times=times, zone=zone),))


def office(zone: ZoneInfo = BERLIN, holidays: Calendar | None = None) -> NamedInterval:
    entry = Interval(times=((9 * 60, 18 * 60),), weekdays=((1, 5),), zone=zone)
    return NamedInterval("office", (entry,), holidays)


def drawing(interval: NamedInterval, moment: str, days: int = 14) -> str:
    return as_text(timetables([interval], at(moment), days), color=False)


def assert_drawn(text: str, expected: str) -> None:
    assert text == dedent(expected).lstrip("\n") + f"\n{LEGEND}\n"


def test_the_office_across_the_night_on_which_the_clocks_go_forward() -> None:
    expected = """
        office: days of Europe/Berlin
                     00    03    06    09    12    15    18    21
                                                ▼ 13:42 CET
        > Fri 27 Mar ··················██████████████████············
          Sat 28 Mar ················································
          Sun 29 Mar ····xx·········································· clocks go forward at 02:00: 23 h
          Mon 30 Mar ··················██████████████████············
          Tue 31 Mar ··················██████████████████············
          Wed 01 Apr ··················██████████████████············
          Thu 02 Apr ··················██████████████████············
          Fri 03 Apr ··················██████████████████············
          Sat 04 Apr ················································
          Sun 05 Apr ················································
          Mon 06 Apr ··················██████████████████············
          Tue 07 Apr ··················██████████████████············
          Wed 08 Apr ··················██████████████████············
          Thu 09 Apr ··················██████████████████············
    """
    assert_drawn(drawing(office(), "2026-03-27T13:42"), expected)


def test_the_office_across_the_night_on_which_the_clocks_go_back() -> None:
    expected = """
        office: days of Europe/Berlin
                     00    03    06    09    12    15    18    21
                                                                    ▼ 23:50 CEST
        > Tue 20 Oct ··················██████████████████············
          Wed 21 Oct ··················██████████████████············
          Thu 22 Oct ··················██████████████████············
          Fri 23 Oct ··················██████████████████············
          Sat 24 Oct ················································
          Sun 25 Oct ················································ clocks go back at 03:00: 25 h
               again     ··
          Mon 26 Oct ··················██████████████████············
          Tue 27 Oct ··················██████████████████············
          Wed 28 Oct ··················██████████████████············
          Thu 29 Oct ··················██████████████████············
          Fri 30 Oct ··················██████████████████············
          Sat 31 Oct ················································
          Sun 01 Nov ················································
          Mon 02 Nov ··················██████████████████············
    """
    assert_drawn(drawing(office(), "2026-10-20T23:50"), expected)


def test_the_office_over_christmas() -> None:
    expected = """
        office: days of Europe/Berlin
                     00    03    06    09    12    15    18    21
                                     ▼ 08:00 CET
        > Mon 21 Dec ··················██████████████████············
          Tue 22 Dec ··················██████████████████············
          Wed 23 Dec ··················██████████████████············
          Thu 24 Dec ················································ closed on 2026-12-24
          Fri 25 Dec ················································ Christmas Day
          Sat 26 Dec ················································ Second Day of Christmas
          Sun 27 Dec ················································
          Mon 28 Dec ··················██████████████████············
          Tue 29 Dec ··················██████████████████············
          Wed 30 Dec ··················██████████████████············
          Thu 31 Dec ··················██████████████████············
          Fri 01 Jan ················································ New Year's Day
          Sat 02 Jan ················································
          Sun 03 Jan ················································
    """
    closed = office(holidays=Calendar([date(2026, 12, 24)], "DE", "BE", BERLIN))
    assert_drawn(drawing(closed, "2026-12-21T08:00"), expected)


def test_an_interval_in_two_zones_is_drawn_in_the_days_of_the_first() -> None:
    expected = """
        follow-the-sun: days of Europe/Berlin; it also has hours of America/New_York
                     00    03    06    09    12    15    18    21
                                       ▼ 09:00 CEST
        > Fri 23 Oct ··················███████████████████████████▒··
          Sat 24 Oct ················································
          Sun 25 Oct ················································ clocks go back at 03:00: 25 h
               again     ··
          Mon 26 Oct ··················█████████████████████████▒····
          Tue 27 Oct ··················█████████████████████████▒····
          Wed 28 Oct ··················█████████████████████████▒····
          Thu 29 Oct ··················█████████████████████████▒····
          Fri 30 Oct ··················█████████████████████████▒····
          Sat 31 Oct ················································
          Sun 01 Nov ················································
          Mon 02 Nov ··················███████████████████████████▒··
    """
    evening = Interval(times=((9 * 60, 16 * 60 + 45),), weekdays=((1, 5),), zone=NEW_YORK)
    both = NamedInterval("follow-the-sun", (*office().intervals, evening))
    assert_drawn(drawing(both, "2026-10-23T09:00", days=11), expected)


def test_an_interval_that_is_never_open_says_so() -> None:
    expected = """
        past: days of Europe/Berlin
        never open in these 2 days
                     00    03    06    09    12    15    18    21
                     ▼ 00:00 CEST
        > Mon 15 Jun ················································
          Tue 16 Jun ················································
    """
    past = NamedInterval("past", (Interval(years=((2020, 2020),), zone=BERLIN),))
    assert_drawn(drawing(past, "2026-06-15T00:00", days=2), expected)


def test_the_repeated_hour_is_drawn_again_where_it_differs() -> None:
    """02:30 comes twice in Berlin: at 00:30 UTC, which is open, and at 01:30 UTC, which is closed."""
    early = NamedInterval(
        "early", (*daily((9 * 60, 10 * 60)).intervals, Interval(times=((0, 60),), zone=ZoneInfo("UTC")))
    )
    _, _, _, first, again, *_ = drawing(early, "2026-10-25T12:00", days=1).splitlines()
    assert first[13:].startswith("····██··")
    assert again == "       again     ··"


def test_a_cell_that_is_open_for_a_part_is_neither_open_nor_closed() -> None:
    rows = drawing(daily((10 * 60 + 15, 12 * 60 + 1)), "2026-06-15T12:00", days=1).splitlines()
    assert rows[3][13:] == "·" * 20 + "▒███▒" + "·" * 23


def test_a_change_within_a_half_hour_parts_its_cell() -> None:
    """On the Chatham Islands the clocks go from 02:45 to 03:45, and from 03:45 to 02:45."""
    chatham = ZoneInfo("Pacific/Chatham")
    shop = daily((60, 165), (240, 300), zone=chatham)
    forward, back = (
        as_text(timetables([shop], at(f"{day}T12:00", chatham), days=1), color=False).splitlines()
        for day in ("2026-09-27", "2026-04-05")
    )
    assert forward[3][13:25] == "··████x·██··"
    assert [line[13:25] for line in back[3:5]] == ["··███▒··██··", "     ···"]


def test_a_midnight_of_another_zone_is_an_edge() -> None:
    weekdays = Interval(weekdays=((1, 5),), zone=NEW_YORK)
    both = NamedInterval("both", (*daily((9 * 60, 10 * 60)).intervals, weekdays))
    [timetable] = timetables([both], at("2026-06-15T12:00"), days=1)
    assert timetable.days[0].open == ((at("2026-06-15T06:00"), at("2026-06-16T00:00")),)


@pytest.mark.parametrize(
    ("zone", "day", "length", "note"),
    [
        ("Europe/Berlin", "2026-03-29", 23, "clocks go forward at 02:00: 23 h"),
        ("Europe/Berlin", "2026-10-25", 25, "clocks go back at 03:00: 25 h"),
        ("Africa/Cairo", "2026-04-24", 23, "clocks go forward at 00:00: 23 h"),
        ("Africa/Cairo", "2026-10-29", 25, "clocks go back at 24:00: 25 h"),
        ("America/Nuuk", "2026-03-28", 23, "clocks go forward at 23:00: 23 h"),
        ("Atlantic/Azores", "2026-10-25", 25, "clocks go back at 01:00: 25 h"),
        ("Australia/Lord_Howe", "2026-10-04", 23.5, "clocks go forward at 02:00: 23.5 h"),
    ],
)
def test_the_day_on_which_the_clocks_change_has_its_length_and_a_note(
    zone: str, day: str, length: float, note: str
) -> None:
    tz = ZoneInfo(zone)
    before = date.fromisoformat(day) - timedelta(days=1)
    [timetable] = timetables([daily(zone=tz)], at(f"{before}T12:00", tz), days=3)
    assert [each.clock for each in timetable.days] == [None, note, None]
    assert [(each.ends_at - each.starts_at) / HOUR for each in timetable.days] == [24, length, 24]
    [alone] = timetables([daily(zone=tz)], at(f"{day}T12:00", tz), days=1)
    assert alone.days == timetable.days[1:2]


def test_spans_are_also_given_as_the_clocks_show_them() -> None:
    [drawn] = as_json(timetables([daily((0, 2 * 60), (23 * 60, 24 * 60))], at("2026-03-29T12:00"), days=2))
    assert drawn["zone"] == "Europe/Berlin"
    assert [day["open_local"] for day in drawn["days"]] == [
        [["00:00 CET", "02:00 CET"], ["23:00 CEST", "24:00 CEST"]],
        [["00:00", "02:00"], ["23:00", "24:00"]],
    ]
    assert drawn["days"][0]["open"] == [
        [at("2026-03-29T00:00"), at("2026-03-29T03:00")], [at("2026-03-29T23:00"), at("2026-03-30T00:00")],
    ]  # fmt: skip
    assert drawn["days"][0]["ruler"][:2] == [
        [at("2026-03-29T00:00"), "00"], [at("2026-03-29T03:00"), "03"],
    ]  # fmt: skip


def test_a_holiday_is_that_of_the_days_noon() -> None:
    closed = office(zone=NEW_YORK, holidays=Calendar([date(2026, 12, 24)], zone=NEW_YORK))
    [drawn] = as_json(timetables([closed], at("2026-12-23T20:00", NEW_YORK), days=3))
    assert [day["holiday"] for day in drawn["days"]] == [None, "closed on 2026-12-24", None]


def test_colours_add_nothing_but_colour() -> None:
    both = timetables([office(), daily((75, 100))], at("2026-03-27T13:42"))
    text = as_text(both, color=True)
    assert "\x1b[" in text
    for code in ("0", "2", "32", "33"):
        text = text.replace(f"\x1b[{code}m", "")
    assert text == as_text(both, color=False)


def test_a_drawing_fits_a_hundred_columns() -> None:
    """Easter Sunday is a holiday of Brandenburg; in 2027 the clocks change that night."""
    lines = drawing(office(holidays=Calendar((), "DE", "BB", BERLIN)), "2027-03-27T12:00").splitlines()
    assert max(map(len, lines)) <= 100
    assert lines[4].endswith("Easter Sunday; clocks go forward at")
    assert lines[5].strip() == "02:00: 23 h"


def test_a_file_without_intervals_says_so() -> None:
    assert as_text([], color=False) == "There are no time_intervals in routes.yaml.\n"


ZONES = [
    ZoneInfo(name)
    for name in (
        "UTC", "Europe/Berlin", "America/New_York", "America/Santiago", "Atlantic/Azores", "Australia/Lord_Howe",
        "Pacific/Chatham", "Africa/Cairo", "Asia/Kolkata",
    )
]  # fmt: skip
_times = st.tuples(st.integers(0, 24 * 60), st.integers(0, 24 * 60)).filter(lambda edges: edges[0] < edges[1])
# Around midnight and the hours at which clocks change, too: there a slip would show.
_nights = st.tuples(st.integers(0, 119), st.integers(120, 240))
_entries = st.builds(
    Interval,
    times=st.lists(_times | _nights, max_size=3).map(tuple),
    weekdays=st.sampled_from([(), ((1, 5),), ((0, 0), (6, 6))]),
    days_of_month=st.sampled_from([(), ((1, 5), (-3, -1)), ((20, 28),)]),
    zone=st.sampled_from(ZONES),
)


@st.composite
def _intervals(draw: st.DrawFn) -> NamedInterval:
    entries = draw(st.lists(_entries, min_size=1, max_size=3))
    dates = draw(st.lists(st.dates(date(2026, 3, 1), date(2026, 11, 20)), max_size=20))
    # As config builds it: of the first entry's zone.
    return NamedInterval("any", tuple(entries), Calendar(dates, zone=entries[0].zone))


_moments = st.builds(
    lambda day, minute: at(day, ZoneInfo("UTC")) + minute * MINUTE,
    st.sampled_from(
        ["2026-03-01", "2026-03-20", "2026-04-01", "2026-04-15", "2026-08-28", "2026-09-22", "2026-10-20"]
    ),
    st.integers(0, 8 * 24 * 60),
)


@given(_intervals(), _moments)
@examples(20)
def test_the_spans_are_open_and_all_else_is_closed_at_every_minute(
    interval: NamedInterval, now: Millis
) -> None:
    [timetable] = timetables([interval], now)
    days, zone = timetable.days, interval.intervals[0].zone
    assert days[0].starts_at <= now < days[0].ends_at
    assert len(days) == 14
    assert all(day.ends_at == after.starts_at for day, after in pairwise(days))
    for day in days:
        drawn = {minute for start, end in day.open for minute in range(start, end, MINUTE)}
        minutes = range(day.starts_at, day.ends_at, MINUTE)
        assert drawn == {minute for minute in minutes if interval.contains(minute)}
        assert {local(minute, zone).date() for minute in minutes} == {day.on}
        assert all(end < start for (_, end), (start, _) in pairwise(day.open))
    assert abs(days[-1].ends_at - days[0].starts_at - 14 * DAY) <= HOUR
