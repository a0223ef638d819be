"""Times as the service has them: read from the command line and shown, in the timezone of its rules."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""Seconds. The same units as in routes.yaml."""
_DURATION = re.compile(r"(?:\d{1,9}[smhdw])+")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")
_HINT = "write it like '2026-11-20 22:41', 10:00 or 2d"


class ServiceTime:
    """The time of a service and its timezone."""

    def __init__(self, overview: dict[str, Any]) -> None:
        """:param overview: the answer of ``/api/v1/overview``"""
        self.now: int = overview["now"]
        try:
            self.zone: Any = ZoneInfo(overview["timezone"])
        except (ZoneInfoNotFoundError, ValueError):  # this machine has no such zone
            self.zone = UTC
        self.zone_name = str(self.zone)

    def read(self, text: str | None, option: str) -> str | None:
        """Return a moment of the command line as RFC 3339: a date, a date and a time, the last time that clocks showed
        ``10:00``, or a duration like ``2d``, which is counted back from now. None stays None.

        :raises click.BadParameter: the text is no moment
        """
        return None if text is None else self._read(text, option).isoformat(timespec="seconds")

    def read_millis(self, text: str | None, option: str) -> int | None:
        """Return the same as :meth:`read` as epoch milliseconds."""
        return None if text is None else int(self._read(text, option).timestamp()) * 1_000

    def _read(self, text: str, option: str) -> datetime:
        words = text.strip()
        now = datetime.fromtimestamp(self.now / 1_000, self.zone)
        try:
            if _DURATION.fullmatch(words):
                parts = re.findall(r"(\d+)([smhdw])", words)
                return now - timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in parts))
            if clock := _CLOCK.fullmatch(words):
                hour, minute, second = (int(each or 0) for each in clock.groups())
                at = now.replace(hour=hour, minute=minute, second=second, microsecond=0)
                return at if at <= now else at - timedelta(days=1)
            at = datetime.fromisoformat(words)
            return at if at.tzinfo is not None else at.replace(tzinfo=self.zone)
        except (ValueError, OverflowError):
            raise click.BadParameter(f"{text!r} is not a time; {_HINT}", param_hint=option) from None

    def show(self, at: int | None) -> str:
        """Return a moment (epoch ms) for a table: ``22:41:05`` today, else ``Mon 23 Nov 22:41``, with another year."""
        if at is None:
            return ""
        now, local = self._local(self.now), self._local(at)
        if local.date() == now.date():
            return f"{local:%H:%M:%S}"
        year = "" if local.year == now.year else f" {local.year}"
        return f"{local:%a} {local.day} {local:%b}{year} {local:%H:%M}"

    def show_whole(self, at: int) -> str:
        """Return a moment (epoch ms) with its date and its zone: ``Mon 23 Nov 2026 22:41:05 Europe/Berlin``."""
        local = self._local(at)
        return f"{local:%a} {local.day} {local:%b %Y %H:%M:%S} {self.zone_name}"

    def since(self, at: int | None) -> str:
        """Return a moment (epoch ms), and how long ago it was: ``22:41:05 (12 min)``."""
        return "" if at is None else f"{self.show(at)} ({lasting(self.now - at)})"

    def _local(self, at: int) -> datetime:
        try:
            return datetime.fromtimestamp(at / 1_000, self.zone)
        except (ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(0, self.zone)


def lasting(span: int) -> str:
    """Return a duration (ms) in its largest units: ``45 s``, ``5 min``, ``2 h 10 min``, ``3 d 4 h``."""
    seconds = max(0, span) // 1_000
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min"
    large, small, names = (86_400, 3_600, ("d", "h")) if seconds >= 86_400 else (3_600, 60, ("h", "min"))
    count, rest = divmod(seconds, large)
    return f"{count} {names[0]}" + (f" {rest // small} {names[1]}" if rest >= small else "")
