"""Reads and writes moments, for people and for programs."""

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from router.model import SECOND, Millis
from router.model.durations import parse_duration

# Schedules look years ahead, and Python's calendar ends in 9999.
_FIRST_YEAR, _LAST_YEAR = 1970, 9000
# Fewer digits are a date like 20261120, or seconds. 14 digits end in the year 5138.
_MIN_EPOCH_DIGITS, _MAX_EPOCH_DIGITS = 12, 14


class InputError(ValueError):
    """The input can't be used. The message says why, and what to write."""


def parse_moment(text: Any, zone: ZoneInfo) -> Millis:
    """Read a moment like ``2026-11-20 22:41``. It is in the zone, unless the text has an offset of its own.

    :raises InputError: the text has another form, or its year is out of range
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError):
        todo = "write it like '2026-11-20 22:41' or 2026-11-20T22:41:00Z"
        raise InputError(f"{value_text(text)} is not a time; {todo}") from None
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise InputError(f"{text!r} is too far away; give a year from {_FIRST_YEAR} to {_LAST_YEAR}")
    return int((at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()) * SECOND


def parse_since(text: str, zone: ZoneInfo, now: Millis) -> Millis:
    """Read the beginning or the end of a period: epoch milliseconds, a moment as :func:`parse_moment` reads it, or a
    duration like ``2d``, which is counted back from now.

    :param now: epoch ms
    :raises InputError: the text has another form, or its year is out of range
    """
    text = text.strip()
    if text == "0" or (text.isascii() and text.isdecimal() and len(text) >= _MIN_EPOCH_DIGITS):
        if len(text) > _MAX_EPOCH_DIGITS:
            raise InputError(f"{text[:20]!r} is too far away; give epoch milliseconds")
        return int(text)
    try:
        return max(0, now - parse_duration(text))
    except ValueError:
        pass
    try:
        return parse_moment(text, zone)
    except InputError as error:
        raise InputError(f"{error}; or a duration like 2d; or milliseconds since 1970") from None


def moment_text(at: Millis, zone: ZoneInfo) -> str:
    """Return a moment for people: ``Fri 20 Nov 2026 22:41``."""
    return f"{datetime.fromtimestamp(at / SECOND, zone):%a %d %b %Y %H:%M}"


def rfc3339(at: Millis, zone: ZoneInfo) -> str:
    """Return a moment for programs: RFC 3339, with the zone's offset."""
    return datetime.fromtimestamp(at / SECOND, zone).isoformat(timespec="seconds")


def value_text(value: Any) -> str:
    """Return a value for an error message: a text in quotes, "a list", "a mapping", or any other value as JSON."""
    match value:
        case str():
            return repr(value)
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return json.dumps(value)
