"""The limits that routes.yaml can set for a channel's section and for a destination."""

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from router.model import HOUR, MINUTE, SECOND, Millis, Rate

_PERIODS_MS: dict[str, Millis] = {"s": SECOND, "m": MINUTE, "h": HOUR}
_RATE = re.compile(r"(\d{1,9}) ?/ ?([smh])(?: +burst +(\d{1,9}))?", re.ASCII)
# The router can't send faster, so a higher limit would have no effect; `none` is clearer.
_MAX_PER_SECOND = 10_000
_MAX_BURST = 100_000
_MAX_CONCURRENCY = 1_000
_MAX_STORM_ABOVE = 1_000_000


def parse_rate(value: Any) -> Rate | Literal["none"] | None:
    """Read ``5/s``, ``60/m``, ``1000/h burst 10`` or ``none``. The default burst is what the rate allows in one second.

    :raises ValueError: the value has none of these forms
    """
    if value is None or isinstance(value, Rate):
        return value
    if value == "none":
        return "none"
    found = _RATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(
            "is not a number per second, minute or hour; write it like 5/s, 60/m or 1000/h burst 10, or none for no limit"
        )
    limit, per = int(found[1]), _PERIODS_MS[found[2]]
    if limit == 0:
        raise ValueError("allows no message; write a rate above 0, like 5/s, or none for no limit")
    if limit * SECOND > _MAX_PER_SECOND * per:
        raise ValueError(f"is more than {_MAX_PER_SECOND}/s; write none for no limit")
    burst = int(found[3]) if found[3] else max(1, limit * SECOND // per)
    if not 0 < burst <= _MAX_BURST:
        raise ValueError(f"has an invalid burst; write one from 1 to {_MAX_BURST}")
    return Rate(limit, per, burst)


def _whole_number(most: int) -> BeforeValidator:
    def count(value: Any) -> int | None:
        if value is None:
            return None
        if not re.fullmatch(r"\d{1,9}", str(value), re.ASCII) or isinstance(value, bool):
            raise ValueError(f"is not a whole number; write one from 1 to {most}")
        if not 0 < int(value) <= most:
            raise ValueError(f"is out of range; write a number from 1 to {most}")
        return int(value)

    return BeforeValidator(count)


def _text(value: Rate | str | None) -> str | None:
    return None if value is None else str(value)


RateSetting = Annotated[
    Rate | Literal["none"] | None,
    BeforeValidator(parse_rate),
    PlainSerializer(_text),
    WithJsonSchema({"type": ["string", "null"], "pattern": f"^({_RATE.pattern}|none)$"}),
]
"""A rate limit in routes.yaml. None: routes.yaml sets none, so the default applies."""
_WHOLE_NUMBER = WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]})
Concurrency = Annotated[int | None, _whole_number(_MAX_CONCURRENCY), _WHOLE_NUMBER]
StormAbove = Annotated[int | None, _whole_number(_MAX_STORM_ABOVE), _WHOLE_NUMBER]


def rate_in_force(given: Rate | Literal["none"] | None, default: Rate | None) -> Rate | None:
    """Return the given rate, or the default if none is given. None: no limit.

    :param given: the value in routes.yaml; "none" removes the default limit
    """
    return default if given is None else None if isinstance(given, str) else given
