"""Values in words, and text made safe: what every channel needs before it can say anything."""

import json
import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo

from router.model import DAY, HOUR, MINUTE, SECOND, Labels, Millis

# Line separators that some reader takes for a line's end, and everything else that is not to be seen.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")
# Direction overrides can make a message read as what it isn't. https://trojansource.codes/
_OVERRIDES = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_BACKTICK = "\N{MODIFIER LETTER GRAVE ACCENT}"  # looks like one, and ends no code span
_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
# A day inside what datetime can hold, so that every zone can show it.
_EARLIEST: Millis = int(datetime(1, 1, 2, tzinfo=UTC).timestamp()) * SECOND
_LATEST: Millis = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp()) * SECOND


def clean(text: str) -> str:
    """Text without control characters, newlines and tabs kept."""
    if text.isprintable():  # as nearly all is
        return text
    return _OVERRIDES.sub("", _CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")))


def line(text: str) -> str:
    """Text as one line, for titles, subjects and headers."""
    return " ".join(clean(text).split())


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters, with an ellipsis where something is missing."""
    if len(text) <= limit:
        return text
    cut = text[: max(0, limit - 1)].rstrip()
    while cut and unicodedata.combining(text[len(cut) : len(cut) + 1]):
        cut = cut[:-1]
    return cut + "…"


def counted(names: Sequence[str], shown: int, between: str = ", ") -> str:
    """The first of these, and how many more there are."""
    more = len(names) - shown
    return between.join([*names[:shown], *([f"and {more} more"] if more > 0 else [])])


def code(text: str) -> str:
    """A code span, in Slack's way of writing."""
    return "`" + text.replace("`", _BACKTICK) + "`" if text.strip() else '""'


def pairs(labels: Labels) -> str:
    """cluster=`eu-1` service=`checkout`"""
    return " ".join(f"{name}={code(value)}" for name, value in labels.items())


def duration(span: Millis) -> str:
    """45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    span = max(span, 0)
    if span < MINUTE:
        return f"{span // SECOND} s"
    if span < HOUR:
        return f"{span // MINUTE} min"
    large, small, names = (HOUR, MINUTE, ("h", "min")) if span < DAY else (DAY, HOUR, ("d", "h"))
    rest = span % large // small
    return f"{span // large} {names[0]}" + (f" {rest} {names[1]}" if rest else "")


def moment(at: Millis, zone: ZoneInfo) -> datetime:
    """The moment on the zone's clocks, clamped to the years 1 to 9999."""
    return datetime.fromtimestamp(min(max(at, _EARLIEST), _LATEST) / SECOND, zone)


def when(at: datetime, now: datetime) -> str:
    """22:41 today, Fri 22:41 within a week, 3 Nov 22:41 else."""
    if at.date() == now.date():
        return f"{at:%H:%M}"
    near = abs((at - now).total_seconds()) < 6 * 24 * 3_600
    return f"{at:%a %H:%M}" if near else f"{at.day} {at:%b %H:%M}"


def web_address(text: str) -> str:
    """The text if it is an http(s) address that can be linked to, else nothing."""
    text = text.strip()
    if not text or len(text.split()) > 1 or _CONTROLS.search(text):
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.netloc else ""


def silence_address(external_url: str, labels: Labels) -> str:
    """Alertmanager's page for a new silence of these labels, filled in."""
    base = web_address(external_url)
    if not base or not labels:
        return ""
    matchers = ",".join(
        f"{name if _PLAIN_NAME.fullmatch(name) else _quoted(name)}={_quoted(value)}"
        for name, value in sorted(labels.items())
    )
    return f"{base.rstrip('/')}/#/silences/new?filter={quote('{' + matchers + '}', errors='replace')}"


def _quoted(text: str) -> str:
    """As Go quotes it; JSON's escapes are a part of Go's."""
    return json.dumps(text, ensure_ascii=False)
