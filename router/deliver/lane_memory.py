"""What replicas tell each other about a lane, as JSON. Times are epoch milliseconds; 0: none, or in the past.

A replica of another version may know other fields: unknown ones are ignored, and missing ones have their defaults.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from router.deliver.token_bucket import BucketMemory
from router.model import Millis

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LaneMemory:
    """The state of a lane, for its next holder."""

    paused_until: Millis = 0
    paused_since: Millis = 0
    pause_reason: str = ""
    is_rate_limited: bool = False
    probes: int = 0
    """Attempts in a row that found the destination broken."""
    criticals: int = 0
    """Critical deliveries that began in a row."""
    no_storms_until: Millis = 0
    """Until when no storm message begins, because the provider refused one."""
    full_at: Millis = 0
    """When all tokens of the lane's own rate are back."""
    slowdown: float = 1.0
    """By how much the lane's own rate is lowered, because the provider refused calls: 2 is half the rate."""


@dataclass(frozen=True, slots=True)
class LaneReport:
    """The state of a lane, and what is known about its destination."""

    memory: LaneMemory = field(default_factory=LaneMemory)
    failing_since: Millis | None = None
    failing_reason: str | None = None
    needs_repair: bool = False
    broken_since: Millis | None = None
    broken_reason: str | None = None
    succeeded_at: Millis | None = None

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "LaneReport":
        """Return what :meth:`__str__` wrote."""
        values = json.loads(text)
        memory = _made(LaneMemory, values.get("memory", {}), (each.name for each in fields(LaneMemory)))
        return _made(cls, {**values, "memory": memory}, (each.name for each in fields(cls)))


@dataclass(frozen=True, slots=True)
class SharedMemory:
    """The state of the rates that the lanes of a lease share."""

    released_by: int = 0
    """The fence of the holder that wrote this after its last delivery had ended, so that the state is exact; 0: while
    deliveries were under way, so that it may be out of date."""
    full_at: Millis = 0
    """When all tokens of the shared rate are back."""
    slowdown: float = 1.0
    """By how much the shared rate is lowered, because the provider refused calls: 2 is half the rate."""
    edits_full_at: Millis = 0
    """When all tokens of the shared rate of edits are back."""
    edits_slowdown: float = 1.0
    """By how much the shared rate of edits is lowered."""

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "SharedMemory":
        """Return what :meth:`__str__` wrote."""
        return _made(cls, json.loads(text), (each.name for each in fields(cls)))

    @classmethod
    def of(cls, buckets: tuple[BucketMemory, BucketMemory], released_by: int, now: Millis) -> "SharedMemory":
        """:param now: wall clock"""
        calls, edits = (now + each.full_in if each.full_in else 0 for each in buckets)
        return cls(released_by, calls, buckets[0].slowdown, edits, buckets[1].slowdown)

    def buckets(self, now: Millis) -> tuple[BucketMemory, BucketMemory]:
        """:param now: wall clock"""
        return (
            BucketMemory(max(0, self.full_at - now), self.slowdown),
            BucketMemory(max(0, self.edits_full_at - now), self.edits_slowdown),
        )


def _made(cls: Callable[..., T], values: Mapping[str, Any], names: Iterable[str]) -> T:
    return cls(**{name: values[name] for name in names if name in values})
