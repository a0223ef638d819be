"""Turns values into words, and makes text safe, for every channel."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from router.model import DAY, HOUR, MINUTE, SECOND, Labels, Millis

# Control characters, surrogates, and separators that some programs take for the end of a line.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff]")
# Direction overrides can make a text look like another one. https://trojansource.codes/
_OVERRIDES = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_BACKTICK = "\N{MODIFIER LETTER GRAVE ACCENT}"  # looks like a backtick, but ends no code span
_ENCODED = {ord(char): f"%{ord(char):02X}" for char in '"<>`{|}^'}
_HOST = re.compile(r"[^\s.@/?#%]+(?:\.[^\s.@/?#%]+)*\.?|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*(?:%[\w.-]+)?")
_MAX_KNOWN_ADDRESSES, _MAX_KNOWN_ADDRESS_CHARS = 4_096, 1_000
_NO_VALUE = '""'
# A day within the limits of datetime, so that every zone can show the moment.
_EARLIEST: Millis = int(datetime(1, 1, 2, tzinfo=UTC).timestamp()) * SECOND
_LATEST: Millis = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp()) * SECOND


def clean(text: str) -> str:
    """Return a text without control characters; newlines and tabs stay."""
    if text.isprintable():
        return text
    return _OVERRIDES.sub("", _CONTROLS.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n")))


def line(text: str) -> str:
    """Return a text as one line, for titles, subjects and headers."""
    return " ".join(clean(text).split())


def clip(text: str, limit: int) -> str:
    """Return at most ``limit`` characters of a text, with an ellipsis if it is cut."""
    if len(text) <= limit:
        return text
    cut = text[: max(0, limit - 1)].rstrip()
    while cut and unicodedata.combining(text[len(cut) : len(cut) + 1]):
        cut = cut[:-1]
    return cut + "…"


def counted(names: Sequence[str], shown: int, between: str = ", ") -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - shown
    return between.join([*names[:shown], *([f"and {more} more"] if more > 0 else [])])


def code(text: str) -> str:
    """Return a text as a code span of Slack's markup."""
    return "`" + text.replace("`", _BACKTICK) + "`" if text.strip() else _NO_VALUE


def pairs(labels: Labels) -> str:
    """Return labels like: cluster=`eu-1` service=`checkout`"""
    return " ".join(f"{name}={code(value)}" for name, value in labels.items())


def listed_labels(labels: Labels) -> str:
    """Return labels like: cluster=eu-1, service=checkout"""
    return ", ".join(f"{name}={value or _NO_VALUE}" for name, value in labels.items())


def duration(span: Millis) -> str:
    """Return a duration (milliseconds) like 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    span = max(span, 0)
    if span < MINUTE:
        return f"{span // SECOND} s"
    if span < HOUR:
        return f"{span // MINUTE} min"
    large, small, names = (HOUR, MINUTE, ("h", "min")) if span < DAY else (DAY, HOUR, ("d", "h"))
    rest = span % large // small
    return f"{span // large} {names[0]}" + (f" {rest} {names[1]}" if rest else "")


def moment(at: Millis, zone: ZoneInfo) -> datetime:
    """Return a moment (epoch ms) in a zone, clamped to the years 1 to 9999."""
    return datetime.fromtimestamp(min(max(at, _EARLIEST), _LATEST) / SECOND, zone)


def when(at: datetime, now: datetime) -> str:
    """Return a moment like 22:41 on the same day, Fri 22:41 within six days, else 3 Nov 22:41."""
    if at.date() == now.date():
        return f"{at:%H:%M}"
    near = abs((at - now).total_seconds()) < 6 * 24 * 3_600
    return f"{at:%a %H:%M}" if near else f"{at.day} {at:%b %H:%M}"


def web_address(text: str) -> str:
    """Return an http(s) address that every provider accepts as a link; empty if the text is none.

    Characters that do not belong into an address (RFC 3986), such as the braces of Grafana's links, are encoded.
    """
    if not text:
        return ""
    return _known_address(text) if len(text) <= _MAX_KNOWN_ADDRESS_CHARS else _web_address(text)


def _web_address(text: str) -> str:
    text = text.strip()
    if not text or len(text.split()) > 1 or _CONTROLS.search(text) or "\\" in text:
        return ""
    try:
        parts = urlsplit(text)
        # A port above 65,535 raises ValueError.
        is_usable = (
            parts.scheme in {"http", "https"}
            and _HOST.fullmatch(parts.hostname or "")
            and parts.port != 0
            # The name before an @ can look like the host.
            and parts.username is None
        )
    except ValueError:
        return ""
    return text.translate(_ENCODED) if is_usable else ""


_known_address = lru_cache(_MAX_KNOWN_ADDRESSES)(_web_address)
"""Pages ask for the same addresses again and again."""
