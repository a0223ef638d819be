"""Times of the command line, in the timezone of the service's rules."""

import click
import pytest

from router.cli.service_time import ServiceTime, lasting

NOW = 1_795_815_660_000  # Fri 27 Nov 2026 22:41 in Berlin
BERLIN = ServiceTime({"now": NOW, "timezone": "Europe/Berlin"})


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-20 22:41", "2026-11-20T22:41:00+01:00"),
        ("2026-07-20", "2026-07-20T00:00:00+02:00"),
        ("2026-11-20T22:41:00Z", "2026-11-20T22:41:00+00:00"),
        ("10:00", "2026-11-27T10:00:00+01:00"),
        ("23:00", "2026-11-26T23:00:00+01:00"),
        ("2d", "2026-11-25T22:41:00+01:00"),
        ("1h30m", "2026-11-27T21:11:00+01:00"),
        (None, None),
    ],
)
def test_moments_are_read_in_the_zone_of_the_service(text: str | None, moment: str | None) -> None:
    assert BERLIN.read(text, "--since") == moment


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "2x", "10", "2026-13-01", "999999999w", "d"])
def test_other_texts_are_no_moments(text: str) -> None:
    with pytest.raises(
        click.BadParameter, match="is not a time; write it like '2026-11-20 22:41', 10:00 or 2d"
    ):
        BERLIN.read(text, "--since")


def test_times_are_short_where_they_are_near() -> None:
    assert BERLIN.show(NOW - 60_000) == "22:40:00"
    assert BERLIN.show(NOW - 86_400_000) == "Thu 26 Nov 22:41"
    assert BERLIN.show(NOW - 365 * 86_400_000) == "Thu 27 Nov 2025 22:41"
    assert BERLIN.show(None) == BERLIN.since(None) == ""
    assert BERLIN.since(NOW - 720_000) == "22:29:00 (12 min)"
    assert BERLIN.show_whole(NOW) == "Fri 27 Nov 2026 22:41:00 Europe/Berlin"


def test_an_unknown_zone_is_utc() -> None:
    assert ServiceTime({"now": NOW, "timezone": "Moon/Far"}).show(NOW) == "21:41:00"


def test_times_out_of_range_are_shown_all_the_same() -> None:
    for at in (2**62, -(2**62)):
        assert BERLIN.show(at) == "Thu 1 Jan 1970 01:00"


def test_durations_have_two_units() -> None:
    spans = (0, 59_999, 60_000, 3_600_000, 7_800_000, 90_000_000)
    assert [lasting(span) for span in spans] == ["0 s", "59 s", "1 min", "1 h", "2 h 10 min", "1 d 1 h"]
