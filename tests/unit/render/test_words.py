"""Values in words, and text made safe."""

import re
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.model import DAY, HOUR, MINUTE, SECOND
from router.render.words import (
    clean,
    clip,
    code,
    duration,
    line,
    moment,
    pairs,
    web_address,
    when,
)

any_text = st.text(st.characters())  # lone surrogates too


@given(any_text)
def test_clean_text_has_no_control_characters_and_keeps_lines(text: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]", clean(text))  # fmt: skip
    clean(text).encode()
    assert clean(clean(text)) == clean(text)


@given(any_text)
def test_a_line_is_one_line(text: str) -> None:
    assert len(line(text).splitlines()) <= 1
    assert line(text) == line(text).strip()


def test_ends_of_line_are_no_control_characters() -> None:
    assert clean("a\r\nb\rc\td\x0be") == "a\nb\nc\td e"


@given(st.text(), st.integers(1, 50))
def test_clipped_text_keeps_its_limit_and_says_that_something_is_missing(text: str, limit: int) -> None:
    clipped = clip(text, limit)
    assert len(clipped) <= limit
    assert clipped == text or (clipped.endswith("…") and text.startswith(clipped[:-1]))


def test_clipping_parts_no_accent_from_its_letter() -> None:
    assert clip("cafe\u0301s", 5) == "caf…"


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (-5, "0 s"),
        (59 * SECOND, "59 s"),
        (MINUTE, "1 min"),
        (59 * MINUTE + 59 * SECOND, "59 min"),
        (HOUR, "1 h"),
        (3 * HOUR + 20 * MINUTE, "3 h 20 min"),
        (DAY, "1 d"),
        (2 * DAY + 4 * HOUR + MINUTE, "2 d 4 h"),
    ],
)
def test_durations_are_short(span: int, words: str) -> None:
    assert duration(span) == words


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (datetime(2025, 11, 21, 22, 41, tzinfo=UTC), "22:41"),
        (datetime(2025, 11, 20, 22, 41, tzinfo=UTC), "Thu 22:41"),
        (datetime(2025, 11, 24, 9, 0, tzinfo=UTC), "Mon 09:00"),
        (datetime(2025, 11, 3, 22, 41, tzinfo=UTC), "3 Nov 22:41"),
    ],
)
def test_moments_are_as_short_as_they_can_be(at: datetime, words: str) -> None:
    assert when(at, datetime(2025, 11, 21, 23, 0, tzinfo=UTC)) == words


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Niue", "UTC"])
@given(st.integers(-(2**60), 2**60))
def test_every_moment_can_be_shown_in_every_zone(zone: str, at: int) -> None:
    shown = moment(at, ZoneInfo(zone))
    if abs(at) < 2**45:
        assert abs(shown.timestamp() * SECOND - at) <= 1


@pytest.mark.parametrize(
    "text", ["https://a.example/x?y#z", " http://127.0.0.1:9090/graph ", "HTTPS://A.example"]
)
def test_web_addresses_are_http(text: str) -> None:
    assert web_address(text) == text.strip()


@pytest.mark.parametrize(
    "text",
    ["", "a.example", "javascript:alert(1)", "https://", "http:/a", "http://a b", "http://a\nb", "http://[::1", "data:x",
     "http://:9090/graph", "http://a:99999/", "http://a:0/", "http://a\\b/", "http://@/", "http:///x", "http://a@evil.example/", "https://bank.example:x@evil.example"],
)  # fmt: skip
def test_what_is_no_web_address_is_no_link(text: str) -> None:
    assert not web_address(text)


def test_characters_that_no_address_has_are_encoded() -> None:
    given_address = 'https://g.example/explore?left={"a":"b|c"}&x=%7B'
    assert web_address(given_address) == "https://g.example/explore?left=%7B%22a%22:%22b%7Cc%22%7D&x=%7B"


@given(any_text)
def test_a_code_span_is_ended_by_nothing_in_it(text: str) -> None:
    assert code(text) == '""' or code(text).count("`") == 2


def test_labels_stand_in_pairs() -> None:
    assert pairs({"cluster": "eu-1", "empty": ""}) == 'cluster=`eu-1` empty=""'
