"""How fast a destination is told: a token bucket on the given clock. Pure."""

from router.model import SECOND, Millis


class Pace:
    """At most ``burst`` at once and ``per_second`` in the long run."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._cost: Millis = max(1, round(SECOND / per_second))
        self._slack: Millis = self._cost * (burst - 1)
        self._next: Millis = 0

    def ready_at(self, now: Millis) -> Millis:
        """The earliest moment of the next delivery."""
        return max(now, self._next - self._slack)

    def spend(self, now: Millis) -> None:
        self._next = max(self._next, now) + self._cost
