"""Heartbeats: alerts that must keep coming. Nobody is notified of them; their silence is an alert of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from router.decide.index import MatcherIndex
from router.decide.matchers import Matcher
from router.model import Labels, Millis


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An alert that a source has to repeat, such as Prometheus' Watchdog."""

    name: str
    matchers: tuple[Matcher, ...]
    within: Millis
    """How long it may be missing before it is silent (ms)."""
    rule: str
    """Its position in routes.yaml: ``heartbeats[0]``, …"""
    source: str | None = None
    """The source that has to send it; None: each configured source."""
    receiver: str | None = None
    """The receiver that is notified of its silence; None: the operators, or whom the routes name."""

    @property
    def reason(self) -> str:
        """Why nobody is notified of the alert, for people."""
        return f"it is the heartbeat {self.name!r}: only its silence is notified"

    def is_from(self, sender: str | None) -> bool:
        """Return whether it may come from this source. :param sender: None: the source is not known"""
        return self.source is None or sender is None or self.source == sender


@dataclass(frozen=True, slots=True)
class HeartbeatTable:
    """All heartbeats, in the order of routes.yaml."""

    heartbeats: tuple[Heartbeat, ...] = ()
    _index: MatcherIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_index", MatcherIndex([each.matchers for each in self.heartbeats]))

    def matching(self, labels: Labels) -> tuple[Heartbeat, ...]:
        """Return the heartbeats that an alert with these labels is, if it comes from their source."""
        if not self.heartbeats:
            return ()
        return tuple(self.heartbeats[number] for number in self._index.holding(labels))


def first_of(heartbeats: Sequence[Heartbeat], sender: str | None) -> Heartbeat | None:
    """Return the first heartbeat that may come from this source; None: there is none."""
    return next((each for each in heartbeats if each.is_from(sender)), None)
