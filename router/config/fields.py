"""The types of values in routes.yaml. Each accepts the valid forms, and refuses others with a message for people."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, TypeAdapter, WithJsonSchema

from router.channels.base import TIME_OF_DAY_SCHEMA, Duration, Section
from router.decide.matchers import Matcher, MatcherError, is_label_name, parse_matchers
from router.model import SECOND, Millis
from router.model.durations import DURATION_PATTERN, parse_duration

_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_BYTES_OF_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE = re.compile(r"(\d{1,15})(B|KiB|MiB|GiB)?", re.ASCII)
_MIN_SIZE_BYTES, _MAX_SIZE_BYTES = 2**20, 2**40
Range = tuple[int, int]


def zone(name: str) -> ZoneInfo:
    """Return the time zone with this name. :raises ValueError: there is no such zone"""
    if name == "Local":
        return _local_zone()
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        todo = f"did you mean {close[0]!r}?" if close else "write it like Europe/Berlin or UTC"
        raise ValueError(f"is not a time zone; {todo}") from None


def _local_zone() -> ZoneInfo:
    """Return the time zone of the machine, which Alertmanager calls ``Local``; UTC if the machine has none."""
    try:
        with open("/etc/localtime", "rb") as file:  # noqa: PTH123  (an fd for from_file)
            return ZoneInfo.from_file(file, key="Local")
    except (OSError, ValueError):
        return ZoneInfo("UTC")


def _zone_name(name: str) -> str:
    zone(name)
    return name


def _zone_with_a_name(name: str) -> str:
    if name == "Local":
        raise ValueError("is not a zone with a name; write it like Europe/Berlin or UTC")
    return _zone_name(name)


def minute_of_day(text: str) -> int:
    """Return HH:MM (00:00 to 24:00) as minutes since midnight. :raises ValueError: the text is not a time of day"""
    match = re.fullmatch(r"(\d{2}):(\d{2})", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time of day; write it like 09:00")
    hours, minutes = int(match.group(1)), int(match.group(2))
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError(f"{text!r} is not a time of day; write it like 09:00, up to 24:00")
    return hours * 60 + minutes


def _minute_of_text(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("is not a time of day; write it like '09:00', in quotes")  # noqa: TRY004  (pydantic's protocol)
    return minute_of_day(value) % (24 * 60)


def _range(value: Any, names: tuple[str, ...] = (), first: int = 0) -> Range:
    """Return the first and the last number of a range ``a:b``, or of a single value ``a``.

    :param names: names that may be written instead of numbers
    :param first: the number of the first name
    """
    if not isinstance(value, str):
        raise ValueError("is not text; write it like 'monday:friday' or '1:5'")  # noqa: TRY004  (pydantic's protocol)

    def number(part: str) -> int:
        part = part.strip().casefold()
        if part in names:
            return names.index(part) + first
        if re.fullmatch(r"[+-]?\d+", part, re.ASCII) and not (names and names[0] == "sunday"):
            return int(part)
        known = f"one of {', '.join(names)}" if names else "a number"
        raise ValueError(f"{part!r} is not {known}")

    begin, separator, end = value.partition(":")
    return number(begin), number(end if separator else begin)


def _weekday(value: Any) -> Range:
    return _ordered(_range(value, _WEEKDAYS), "weekdays", _WEEKDAYS, 0, "the week starts on sunday")


def _month(value: Any) -> Range:
    """Return a range of months. As in Alertmanager, numbers above 12 are allowed, and they never match."""
    begin, end = _ordered(_range(value, _MONTHS, 1), "months", _MONTHS, 1, "the year starts in january")
    if begin > end:
        raise ValueError("months end before they start; write the earlier one first")
    return begin, end


def _year(value: Any) -> Range:
    begin, end = _range(value)
    if begin > end:
        raise ValueError("years end before they start; write the earlier one first")
    return begin, end


def _day_of_month(value: Any) -> Range:
    """Return a range of days of the month, with the rules of Alertmanager's parseDaysOfMonth.

    https://github.com/prometheus/alertmanager/blob/main/timeinterval/timeinterval.go
    """
    begin, end = _range(value)
    if not (1 <= abs(begin) <= 31 and 1 <= abs(end) <= 31):
        raise ValueError("days of the month go from 1 to 31, or from -31 to -1 counted from its end")
    if begin < 0 < end:
        raise ValueError("a range that starts from the month's end can't end from its start")
    if begin > 0 > end and begin > 31 + end + 1:
        raise ValueError("the range ends before it starts in every month")
    if (begin > 0) is (end > 0) and begin > end:
        raise ValueError("the range ends before it starts; write the earlier day first")
    return begin, end


def _ordered(given: Range, what: str, names: tuple[str, ...], first: int, why: str) -> Range:
    begin, end = given
    if begin > end and all(first <= each < first + len(names) for each in given):
        two = ((names[begin - first], names[-1]), (names[0], names[end - first]))
        parts = [start if start == stop else f"{start}:{stop}" for start, stop in two]
        raise ValueError(f"{what} don't wrap around ({why}); write two: {parts}")
    return given


def _parsed(text: Any) -> tuple[Matcher, ...]:
    if not isinstance(text, str):
        raise ValueError("""is not text; write each matcher like 'severity="critical"'""")  # noqa: TRY004
    try:
        return parse_matchers(text)
    except MatcherError as error:
        raise ValueError(f'{error}; write it like severity="critical"') from None


def _matchers(value: Any) -> tuple[Matcher, ...]:
    if not isinstance(value, str | list | tuple):
        raise ValueError("""is not a list of matchers; write it like ['severity="critical"']""")  # noqa: TRY004
    return tuple(each for found in _MATCHERS.validate_python(_listed(value)) for each in found)


def _listed(value: Any) -> Any:
    """Return a text as a list of one; any other value unchanged."""
    return [value] if isinstance(value, str) else value


def _label_name(name: str) -> str:
    if not is_label_name(name):
        raise ValueError("is not a label name; write at least one character of UTF-8 text")
    return name


def _equals(value: Any) -> tuple[Matcher, ...]:
    return tuple(Matcher(name, "=", text) for name, text in _pairs(value, _TEXTS).items())


def _regexes(value: Any) -> tuple[Matcher, ...]:
    """Return matchers for ``match_re``. Alertmanager writes the anchors into their text, and shows them in its group keys."""
    return tuple(Matcher(name, "=~", f"^(?:{text})$") for name, text in _pairs(value, _REGEXES).items())


def _regex(text: str) -> str:
    try:
        Matcher("", "=~", text)  # checks the text as written, so that the error does not show the anchors
    except MatcherError as error:
        raise ValueError(str(error)) from None
    return text


def _pairs(value: Any, texts: TypeAdapter[dict[str, str]]) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("is not a mapping of label names to values; write it like {severity: critical}")  # noqa: TRY004
    # In YAML, a label without a value is null; it means an empty value.
    return texts.validate_python({name: "" if text is None else text for name, text in value.items()})


def _flag(value: Any) -> bool:
    """Return a boolean as YAML 1.2 writes it: https://yaml.org/spec/1.2.2/#1032-tag-resolution"""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        raise ValueError("is neither true nor false; write one of the two")
    return value.casefold() == "true"


def _size(value: Any) -> int:
    """Return a number of bytes."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    found = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("is not a size; write it like 512MiB or 1GiB")
    size = int(found[1]) * _BYTES_OF_UNITS[found[2] or "B"]
    if not _MIN_SIZE_BYTES <= size <= _MAX_SIZE_BYTES:
        raise ValueError("is not between 1MiB and 1024GiB")
    return size


def _patterns(value: Any) -> tuple[str, ...]:
    patterns = _listed(value)
    if not isinstance(patterns, list | tuple) or not all(isinstance(each, str) and each for each in patterns):
        raise ValueError("is not a list of patterns; write it like teams/*.yaml")
    if any(Path(each).is_absolute() or ".." in Path(each).parts for each in patterns):
        raise ValueError("leads out of the folder of this file; keep the files below it, like teams/*.yaml")
    parts = [Path(each).parts for each in patterns]
    if any(not each or any("**" in part and part != "**" for part in each) for each in parts):
        raise ValueError("is not a pattern; write it like teams/*.yaml")
    return tuple(patterns)


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError("is not a web address; write it like http://alertmanager.example.com:9093")
    if parts.username is not None:
        raise ValueError("alertmanager_url contains a user; move it to alertmanager_auth")
    return text.rstrip("/")


def _peers(value: Any) -> Any:
    """Return a single address as a list of one."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError("is an empty list; name one peer at least, or leave it out")
    return _listed(value)


def _different(urls: tuple[str, ...]) -> tuple[str, ...]:
    twice = next((url for number, url in enumerate(urls) if url in urls[:number]), None)
    if twice is not None:
        raise ValueError("alertmanager_url names a peer twice; keep one of them")
    return urls


def _ask_every(every: Millis) -> Millis:
    if every < SECOND:
        raise ValueError("is too often; ask once a second at most, once a minute is plenty")
    return every


def _repeat(value: Any) -> Any:
    if value == "never":
        return value
    if value == "pass":
        return 0
    try:
        every = parse_duration(value)
    except ValueError:
        every = 0
    if every == 0:
        raise ValueError("is none of never, pass or a duration like 4h; choose one of them")
    return every


# Items of lists and mappings are validated one by one, so that an error has the position of its item.
_MATCHERS = TypeAdapter(tuple[Annotated[tuple[Matcher, ...], BeforeValidator(_parsed)], ...])
_TEXTS = TypeAdapter(dict[str, str])
_REGEXES = TypeAdapter(dict[str, Annotated[str, AfterValidator(_regex)]])


class OutsideDigest(Section):
    digest: str


def _outside(value: Any) -> Any:
    """Return what happens outside the hours. The text ``digest: daily`` is accepted for the mapping ``{digest:
    daily}``.
    """
    if isinstance(value, str) and value.startswith("digest:"):
        value = {"digest": value.removeprefix("digest:").strip()}
    if isinstance(value, dict):
        return OutsideDigest.model_validate(value)
    if isinstance(value, OutsideDigest) or (isinstance(value, str) and value in {"hold", "drop", "send"}):
        return value
    raise ValueError("is none of hold, drop, send or {digest: NAME}; choose one of them")


def _location(value: Any) -> Any:
    """Return UTC for an empty text, as Go does: https://pkg.go.dev/time#LoadLocation"""
    return "UTC" if value == "" else value


# The schemas below describe what people write; the types describe what the router makes of it.
_TEXT_SCHEMA = {"type": "string"}
_TEXTS_SCHEMA = {"type": "array", "items": {"type": "string", "minLength": 1}}
_BY_LABEL = WithJsonSchema(
    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}}
)


def _range_schema(part: str) -> WithJsonSchema:
    """Return the schema of a range. :param part: a regular expression of each of its two ends"""
    return WithJsonSchema({"type": ["string", "integer"], "pattern": rf"^\s*({part})\s*(:\s*({part})\s*)?$"})


def _any_case(names: tuple[str, ...]) -> str:
    return "|".join("".join(f"[{letter}{letter.upper()}]" for letter in name) for name in names)


Flag = Annotated[bool, BeforeValidator(_flag)]
Zone = Annotated[str, AfterValidator(_zone_name), BeforeValidator(_location), WithJsonSchema(_TEXT_SCHEMA)]
Matchers = Annotated[
    tuple[Matcher, ...],
    BeforeValidator(_matchers),
    WithJsonSchema({"anyOf": [_TEXT_SCHEMA, {"type": "array", "items": _TEXT_SCHEMA}]}),
]
Equals = Annotated[tuple[Matcher, ...], BeforeValidator(_equals), _BY_LABEL]
Regexes = Annotated[tuple[Matcher, ...], BeforeValidator(_regexes), _BY_LABEL]
LabelName = Annotated[str, AfterValidator(_label_name)]
WebAddress = Annotated[str, AfterValidator(_base_url)]
PeerAddresses = Annotated[
    tuple[WebAddress, ...],
    BeforeValidator(_peers),
    AfterValidator(_different),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, {**_TEXTS_SCHEMA, "minItems": 1}]}),
]
AskEvery = Annotated[Duration, AfterValidator(_ask_every)]
MinuteOfDay = Annotated[int, BeforeValidator(_minute_of_text), WithJsonSchema(TIME_OF_DAY_SCHEMA)]
"""Minutes since midnight."""
Weekday = Annotated[Range, BeforeValidator(_weekday), _range_schema(_any_case(_WEEKDAYS))]
DayOfMonth = Annotated[Range, BeforeValidator(_day_of_month), _range_schema(r"[+-]?\d+")]
Month = Annotated[Range, BeforeValidator(_month), _range_schema(rf"{_any_case(_MONTHS)}|[+-]?\d+")]
Year = Annotated[Range, BeforeValidator(_year), _range_schema(r"[+-]?\d+")]
OutsideHours = Annotated[Literal["hold", "drop", "send"] | OutsideDigest, BeforeValidator(_outside)]
Repeat = Annotated[
    Literal["never"] | Millis,
    BeforeValidator(_repeat),
    WithJsonSchema({"type": "string", "pattern": f"^(never|pass|{DURATION_PATTERN})$"}),
]
Patterns = Annotated[
    tuple[str, ...],
    BeforeValidator(_patterns),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _TEXTS_SCHEMA]}),
]
Size = Annotated[
    int,
    BeforeValidator(_size),
    WithJsonSchema({"type": ["string", "integer"], "pattern": rf"^{_SIZE.pattern}$"}),
]
NamedZone = Annotated[str, AfterValidator(_zone_with_a_name)]
