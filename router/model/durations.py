"""Reads durations as Prometheus writes them."""

import re
from typing import Any

from router.model.millis import DAY, HOUR, MINUTE, SECOND, Millis

_UNITS_MS: dict[str, Millis] = {
    "ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "y": 365 * DAY,
}  # fmt: skip
_MAX_DURATION_MS = 100 * _UNITS_MS["y"]
DURATION_PATTERN = r"(?:\d+(?:ms|[smhdwy]))+|0"
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)


def parse_duration(value: Any) -> Millis:
    """Read a duration as Prometheus writes it: https://github.com/prometheus/common/blob/main/model/time.go

    :raises ValueError: the value is not a duration
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if text == "0":
        return 0
    if not isinstance(text, str) or not _DURATION.fullmatch(text):
        raise ValueError("is not a duration; write it like 30s, 5m or 1h30m")
    span = sum(int(count) * _UNITS_MS[unit] for count, unit in re.findall(r"(\d+)(ms|[smhdwy])", text))
    if span > _MAX_DURATION_MS:
        raise ValueError("is longer than a hundred years")
    return span
