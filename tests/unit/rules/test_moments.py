"""The beginning of a period is read from a duration, a moment, or epoch milliseconds."""

from zoneinfo import ZoneInfo

import pytest

from router.model import DAY, HOUR, MINUTE
from router.rules.moments import InputError, parse_since

BERLIN = ZoneInfo("Europe/Berlin")
NOW = 1_795_435_200_000  # Mon 23 Nov 2026 12:00 UTC


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2d", NOW - 2 * DAY), (" 1h30m ", NOW - 90 * MINUTE), ("99y", 0), ("0", 0),
        ("2026-11-23 12:00", NOW - HOUR), ("2026-11-23T12:00:00Z", NOW), ("20261123", NOW - 13 * HOUR),
        (str(NOW), NOW),
    ],
)  # fmt: skip
def test_each_form_of_a_beginning_is_read(text: str, at: int) -> None:
    assert parse_since(text, BERLIN, NOW) == at


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2 d", "-1d", "1795435200", "9" * 15, "101y", "٣d", "0x10"]
)
def test_what_is_none_of_them_is_refused_with_advice(text: str) -> None:
    with pytest.raises(InputError):
        parse_since(text, BERLIN, NOW)
