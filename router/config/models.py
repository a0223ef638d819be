"""The shape of routes.yaml. Alertmanager's words mean what they mean there."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from router.channels.base import Duration, Section, duration
from router.decide.matchers import Matcher, MatcherError, is_label_name, parse_matchers
from router.model import DAY, MINUTE, SECOND, Millis, Retention

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


class SeverityModel(Section):
    label: LabelName = "severity"
    levels: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        ("critical", "warning", "info"), min_length=1
    )
    default: str | None = None

    @model_validator(mode="after")
    def _known_default(self) -> "SeverityModel":
        folded = [level.strip().casefold() for level in self.levels]
        if len(set(folded)) < len(folded):
            raise ValueError("a level stands twice in levels; keep one of them")
        if self.default is not None and self.default.strip().casefold() not in folded:
            raise ValueError(f"the default {self.default!r} is none of the levels; choose one of them")
        return self


class BasicAuth(Section):
    username: str
    password: SecretStr


class AlertmanagerAuth(Section):
    bearer_token: SecretStr | None = None
    basic_auth: BasicAuth | None = None


class SourceModel(Section):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    bearer_token: SecretStr | None = None
    basic_auth: BasicAuth | None = None
    alertmanager_url: Annotated[str, AfterValidator(_base_url)] | None = None
    """Asked for what still fires."""
    alertmanager_auth: AlertmanagerAuth | None = None
    ask_every: Annotated[Duration, AfterValidator(_ask_every)] = MINUTE


class TimesModel(Section):
    start_time: str
    end_time: str

    @model_validator(mode="after")
    def _in_order(self) -> "TimesModel":
        if minute_of_day(self.start_time) >= minute_of_day(self.end_time):
            entries = ", ".join(
                f'{{start_time: "{start}", end_time: "{end}"}}'
                for start, end in ((self.start_time, "24:00"), ("00:00", self.end_time))
            )
            raise ValueError(
                f"it ends before it starts; for a night write two entries, {entries} "
                "(and mind that the morning is of the next weekday)"
            )
        return self


class IntervalModel(Section):
    times: tuple[TimesModel, ...] = ()
    weekdays: Weekdays = ()
    days_of_month: Annotated[tuple[Range, ...], BeforeValidator(_days_of_month)] = ()
    months: Annotated[tuple[Range, ...], BeforeValidator(_months)] = ()
    years: Annotated[tuple[Range, ...], BeforeValidator(_years)] = ()
    location: Zone | None = None


class HolidaysModel(Section):
    country: str | None = None
    subdivision: str | None = None
    dates: tuple[str, ...] = ()


class TimeIntervalModel(Section):
    name: Annotated[str, Field(min_length=1)]
    time_intervals: tuple[IntervalModel, ...] = ()
    holidays: HolidaysModel | None = None


class OutsideDigest(Section):
    digest: str


class RouteModel(Section):
    receiver: str | None = None
    severity: str | None = None
    matchers: Matchers = ()
    match: Equals = ()
    match_re: Regexes = ()
    continue_: bool = Field(default=False, alias="continue")
    active_time_intervals: tuple[str, ...] = ()
    mute_time_intervals: tuple[str, ...] = ()
    outside: Annotated[Literal["hold", "drop", "send"] | OutsideDigest, BeforeValidator(_outside)] = "hold"
    routes: tuple["RouteModel", ...] = ()
    # Alertmanager groups before it tells the router; taken so that its routes can be pasted.
    group_by: tuple[LabelName, ...] | None = None
    group_wait: Duration | None = None
    group_interval: Duration | None = None
    repeat_interval: Duration | None = None
    labels: dict[str, str] = Field(default={})
    repeat: Annotated[Literal["never"] | Millis, BeforeValidator(_repeat)] | None = None
    mount: str | None = None
    """Where the included file of this name puts its routes."""


class InhibitModel(Section):
    name: str | None = None
    source_matchers: Matchers = ()
    target_matchers: Matchers = ()
    source_match: Equals = ()
    target_match: Equals = ()
    source_match_re: Regexes = ()
    target_match_re: Regexes = ()
    equal: tuple[LabelName, ...] = ()

    @model_validator(mode="after")
    def _both_sides(self) -> "InhibitModel":
        for side in ("source", "target"):
            if not any(getattr(self, f"{side}_{form}") for form in ("matchers", "match", "match_re")):
                raise ValueError(f"the rule has no {side}_matchers and would mute everything; add them")
        return self


class RetentionModel(Section):
    history: Duration = Retention().history
    webhooks: Duration = Retention().webhooks

    @model_validator(mode="after")
    def _long_enough(self) -> "RetentionModel":
        # A weekly digest looks back a week, and over a change of the clocks.
        if self.history < 8 * DAY:
            raise ValueError("history is shorter than a weekly digest looks back; write 8d or more")
        return self


class FileModel(Section):
    """The whole file; channels and receivers are read by the channels' own models."""

    include: Annotated[tuple[str, ...], BeforeValidator(_patterns)] = ()
    """Patterns of the files that teams own, from the file's own folder."""
    timezone: Annotated[str, AfterValidator(_zone_with_a_name)] = "UTC"
    severity: SeverityModel = SeverityModel()
    sources: tuple[SourceModel, ...] = ()
    channels: dict[str, Any] = Field(default={})
    receivers: dict[str, Any] = Field(default={}, min_length=1)
    time_intervals: tuple[TimeIntervalModel, ...] = ()
    operators: str | None = None
    """The receiver that is told of broken destinations; without it the routes say who is."""
    route: RouteModel
    inhibit_wait: Duration = 5 * SECOND
    stale_after: Duration | None = None
    inhibit_rules: tuple[InhibitModel | None, ...] = ()
    retention: RetentionModel = RetentionModel()
    templates: str | None = None
    """A folder, from the file's own; its files take the place of the shipped ones of the same name."""


class FragmentModel(Section):
    """A file that a team owns: the routes below its mount point, its receivers, its intervals."""

    receivers: dict[str, Any] = Field(default={})
    time_intervals: tuple[TimeIntervalModel, ...] = ()
    route: RouteModel
