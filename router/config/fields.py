"""The values of routes.yaml: what each may be, and what is said when it is not."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator

from router.channels.base import Duration, Section, duration
from router.decide.matchers import Matcher, MatcherError, is_label_name, parse_matchers
from router.model import SECOND, Millis

_WEEKDAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
Range = tuple[int, int]


def zone(name: str) -> ZoneInfo:
    """:raises ValueError: there is no such zone"""
    if name == "Local":
        return _local_zone()
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        close = difflib.get_close_matches(name, available_timezones(), n=1)
        todo = f"did you mean {close[0]!r}?" if close else "write it like Europe/Berlin or UTC"
        raise ValueError(f"is no time zone; {todo}") from None


def _local_zone() -> ZoneInfo:
    """The machine's own, where it has a name; as Alertmanager's ``Local``."""
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
        raise ValueError("is no zone with a name; write it like Europe/Berlin or UTC")
    return _zone_name(name)


def minute_of_day(text: str) -> int:
    """HH:MM, up to 24:00, as minutes. :raises ValueError:"""
    match = re.fullmatch(r"(\d{2}):(\d{2})", text)
    if match is None:
        raise ValueError(f"{text!r} is no time of day; write it like 09:00")
    hours, minutes = int(match.group(1)), int(match.group(2))
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError(f"{text!r} is no time of day; write it like 09:00, up to 24:00")
    return hours * 60 + minutes


def _ranges(value: Any, names: tuple[str, ...] = (), first: int = 0) -> tuple[Range, ...]:
    """A list of ``a`` or ``a:b``, by name or number. :param first: the number of the first name"""
    if not isinstance(value, list | tuple):
        raise ValueError("is not a list; write it like ['monday:friday']")  # noqa: TRY004  (pydantic's protocol)
    return tuple(_range(str(each), names, first) for each in value)


def _range(text: str, names: tuple[str, ...], first: int) -> Range:
    def number(part: str) -> int:
        part = part.strip().casefold()
        if part in names:
            return names.index(part) + first
        if re.fullmatch(r"-?\d+", part) and not (names and names[0] == "sunday"):
            return int(part)
        known = f"one of {', '.join(names)}" if names else "a number"
        raise ValueError(f"{part!r} is not {known}")

    begin, separator, end = text.partition(":")
    return number(begin), number(end if separator else begin)


def _weekdays(value: Any) -> tuple[Range, ...]:
    return _ordered(_ranges(value, _WEEKDAYS), "weekdays", _WEEKDAYS, 0, "the week starts on sunday")


def _months(value: Any) -> tuple[Range, ...]:
    ranges = _ordered(_ranges(value, _MONTHS, 1), "months", _MONTHS, 1, "the year starts in january")
    if any(not 1 <= number <= 12 for pair in ranges for number in pair):
        raise ValueError("months go from 1 to 12")
    return ranges


def _years(value: Any) -> tuple[Range, ...]:
    ranges = _ranges(value)
    if any(begin > end for begin, end in ranges):
        raise ValueError("years end before they start; write the earlier one first")
    return ranges


def _days_of_month(value: Any) -> tuple[Range, ...]:
    """https://github.com/prometheus/alertmanager/blob/main/timeinterval/timeinterval.go (parseDaysOfMonth)"""
    ranges = _ranges(value)
    for begin, end in ranges:
        if not (1 <= abs(begin) <= 31 and 1 <= abs(end) <= 31):
            raise ValueError("days of the month go from 1 to 31, or from -31 to -1 counted from its end")
        if begin < 0 < end:
            raise ValueError("a range that starts from the month's end can't end from its start")
        if begin > 0 > end and begin > 31 + end + 1:
            raise ValueError("the range ends before it starts in every month")
        if (begin > 0) is (end > 0) and begin > end:
            raise ValueError("the range ends before it starts; write the earlier day first")
    return ranges


def _ordered(
    ranges: tuple[Range, ...], what: str, names: tuple[str, ...], first: int, why: str
) -> tuple[Range, ...]:
    for begin, end in ranges:
        if begin > end and all(first <= each < first + len(names) for each in (begin, end)):
            two = ((names[begin - first], names[-1]), (names[0], names[end - first]))
            parts = [start if start == stop else f"{start}:{stop}" for start, stop in two]
            raise ValueError(f"{what} don't wrap around ({why}); write two: {parts}")
    return ranges


def _matchers(value: Any) -> tuple[Matcher, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(each, str) for each in texts):
        raise ValueError("""is no list of matchers; write it like ['severity="critical"']""")
    try:
        return tuple(matcher for text in texts for matcher in parse_matchers(text))
    except MatcherError as error:
        raise ValueError(f'{error}; write it like severity="critical"') from None


def _label_name(name: str) -> str:
    if not is_label_name(name):
        raise ValueError("is no label name; it has to be some UTF-8 text")
    return name


def _equals(value: Any) -> tuple[Matcher, ...]:
    return tuple(Matcher(name, "=", text) for name, text in _pairs(value))


def _regexes(value: Any) -> tuple[Matcher, ...]:
    """Alertmanager anchors these in the text itself, and shows them so in the keys of its groups."""
    try:
        for name, text in _pairs(value):
            Matcher(name, "=~", text)  # so that a mistake is told in the words of the file
        return tuple(Matcher(name, "=~", f"^(?:{text})$") for name, text in _pairs(value))
    except MatcherError as error:
        raise ValueError(str(error)) from None


def _pairs(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        raise ValueError("is no mapping of label names to values")  # noqa: TRY004  (pydantic's protocol)
    return [(str(name), _scalar(text)) for name, text in value.items()]


def _scalar(value: Any) -> str:
    """What Alertmanager makes of it where it wants text."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _patterns(value: Any) -> tuple[str, ...]:
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list | tuple) or not all(isinstance(each, str) and each for each in patterns):
        raise ValueError("is no list of patterns; write it like teams/*.yaml")
    if any(Path(each).is_absolute() or ".." in Path(each).parts for each in patterns):
        raise ValueError("leads out of the folder of this file; keep the files below it, like teams/*.yaml")
    parts = [Path(each).parts for each in patterns]
    if any(not each or any("**" in part and part != "**" for part in each) for each in parts):
        raise ValueError("is no pattern; write it like teams/*.yaml")
    return tuple(patterns)


def _base_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ValueError("is no web address; write it like http://alertmanager.example.com:9093")
    if parts.username is not None:
        raise ValueError("alertmanager_url has a user in it; give them as alertmanager_auth")
    return text.rstrip("/")


def _peers(value: Any) -> Any:
    """One address may stand without a list."""
    if isinstance(value, list | tuple) and not value:
        raise ValueError("is an empty list; name one peer at least, or leave it out")
    return [value] if isinstance(value, str) else value


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
        every = duration(value)
    except ValueError:
        every = 0
    if every == 0:
        raise ValueError("is none of never, pass or a duration like 4h; choose one of them")
    return every


class OutsideDigest(Section):
    digest: str


def _outside(value: Any) -> Any:
    """``digest: daily`` may stand as text, too."""
    if isinstance(value, str) and value.startswith("digest:"):
        return {"digest": value.removeprefix("digest:").strip()}
    if value in {"hold", "drop", "send"} if isinstance(value, str) else isinstance(value, dict):
        return value
    raise ValueError("is none of hold, drop, send or {digest: NAME}; choose one of them")


Zone = Annotated[str, AfterValidator(_zone_name)]
Matchers = Annotated[tuple[Matcher, ...], BeforeValidator(_matchers)]
Equals = Annotated[tuple[Matcher, ...], BeforeValidator(_equals)]
Regexes = Annotated[tuple[Matcher, ...], BeforeValidator(_regexes)]
Weekdays = Annotated[tuple[Range, ...], BeforeValidator(_weekdays)]
LabelName = Annotated[str, AfterValidator(_label_name)]
WebAddress = Annotated[str, AfterValidator(_base_url)]
PeerAddresses = Annotated[tuple[WebAddress, ...], BeforeValidator(_peers), AfterValidator(_different)]
AskEvery = Annotated[Duration, AfterValidator(_ask_every)]
DaysOfMonth = Annotated[tuple[Range, ...], BeforeValidator(_days_of_month)]
Months = Annotated[tuple[Range, ...], BeforeValidator(_months)]
Years = Annotated[tuple[Range, ...], BeforeValidator(_years)]
OutsideHours = Annotated[Literal["hold", "drop", "send"] | OutsideDigest, BeforeValidator(_outside)]
Repeat = Annotated[Literal["never"] | Millis, BeforeValidator(_repeat)]
Patterns = Annotated[tuple[str, ...], BeforeValidator(_patterns)]
NamedZone = Annotated[str, AfterValidator(_zone_with_a_name)]
