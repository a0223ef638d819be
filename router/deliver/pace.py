"""How fast a destination is told: token buckets, by a clock that nobody steps. Pure."""

from router.model import MINUTE, SECOND, Millis

# How far a provider that refuses may slow a lane down, and how soon its old pace comes back.
_SLOWEST = 4
_SLOWER = 1.5
_FASTER = 0.98


class Pace:
    """At most ``burst`` at once and ``per_second`` in the long run; slower for a while after a refusal."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._usual: float = max(1, round(SECOND / per_second))
        self._cost: float = self._usual
        self._burst = burst
        self._next: float = 0

    @property
    def a_minute(self) -> int:
        """How many deliveries a minute has room for, after a burst."""
        return max(1, int(MINUTE / self._usual))

    @property
    def _slack(self) -> float:
        return self._cost * (self._burst - 1)

    def ready_at(self, now: Millis) -> Millis:
        """The earliest moment of the next delivery."""
        return max(now, round(self._next - self._slack))

    def spend(self, now: Millis, calls: int = 1) -> None:
        """:param calls: what a delivery of several costs, those that come next wait for"""
        self._next = max(self._next, now) + calls * self._cost

    def reserve(self, now: Millis, calls: int = 1) -> Millis:
        """The moment of a delivery that takes its turn now, behind those that took theirs before."""
        at = self.ready_at(now)
        self.spend(now, calls)
        return at

    def refused(self, until: Millis) -> None:
        """The provider asked to wait until then: no burst follows, and a while of slower going."""
        self._cost = min(self._usual * _SLOWEST, self._cost * _SLOWER)
        self._next = until + self._slack

    def accepted(self) -> None:
        self._cost = max(self._usual, self._cost * _FASTER)
