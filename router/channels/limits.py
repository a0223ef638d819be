"""The limits that routes.yaml may set for a channel's section and for a destination."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

from router.model import HOUR, MINUTE, SECOND, Millis, Rate

_PERIODS_MS: dict[str, Millis] = {"s": SECOND, "m": MINUTE, "h": HOUR}
_RATE = re.compile(r"(\d{1,9}) ?/ ?([smh])(?: +burst +(\d{1,9}))?", re.ASCII)
# More than the router can send; `none` says the same.
_MAX_PER_SECOND = 10_000
_MAX_BURST = 100_000
_MAX_CONCURRENCY = 1_000
_MAX_STORM_ABOVE = 1_000_000


def rate(value: Any) -> Rate | Literal["none"] | None:
    """Read ``5/s``, ``60/m``, ``1000/h burst 10`` or ``none``. Without a burst, it is what the rate allows in a second.

    :raises ValueError: it is none of these
    """
    if value is None or isinstance(value, Rate):
        return value
    if value == "none":
        return "none"
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            "is no number per second, minute or hour; write it like 5/s, 60/m or 1000/h burst 10, or none for no limit"
        )
    limit, per = int(found[1]), _PERIODS_MS[found[2]]
    if limit == 0:
        raise ValueError("would let nothing through; write a rate above 0, like 5/s, or none for no limit")
    if limit * SECOND > _MAX_PER_SECOND * per:
        raise ValueError(f"is more than {_MAX_PER_SECOND}/s; write none for no limit")
    burst = int(found[3]) if found[3] else max(1, limit * SECOND // per)
    if not 0 < burst <= _MAX_BURST:
        raise ValueError(f"has a burst that can't be used; it goes from 1 to {_MAX_BURST}")
    return Rate(limit, per, burst)


def _whole_number(most: int) -> BeforeValidator:
    def count(value: Any) -> int | None:
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,9}", str(value), re.ASCII) or isinstance(value, bool):
            raise ValueError(f"is no whole number; write one from 1 to {most}")
        if not 0 < int(value) <= most:
            raise ValueError(f"is out of range; write a number from 1 to {most}")
        return int(value)

    return BeforeValidator(count)


def _text(value: Rate | str | None) -> str | None:
    return None if value is None else str(value)


RateSetting = Annotated[Rate | Literal["none"] | None, BeforeValidator(rate), PlainSerializer(_text)]
"""None: routes.yaml sets no rate."""
Concurrency = Annotated[int | None, _whole_number(_MAX_CONCURRENCY)]
StormAbove = Annotated[int | None, _whole_number(_MAX_STORM_ABOVE)]


def chosen(given: Rate | Literal["none"] | None, default: Rate | None) -> Rate | None:
    """Return the rate in force; None: no limit."""
    return default if given is None else None if isinstance(given, str) else given
