"""How fast a destination is told: token buckets on the given clock. Pure."""

from router.model import SECOND, Millis


class Pace:
    """At most ``burst`` at once and ``per_second`` in the long run."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._cost: Millis = max(1, round(SECOND / per_second))
        self._slack: Millis = self._cost * (burst - 1)
        self._next: Millis = 0

    @property
    def a_minute(self) -> int:
        """How many deliveries a minute has room for, after a burst."""
        return max(1, 60 * SECOND // self._cost)

    def ready_at(self, now: Millis) -> Millis:
        """The earliest moment of the next delivery."""
        longest = self._cost + self._slack
        if self._next > now + 2 * longest:  # the clock was stepped back
            self._next = now
        return max(now, self._next - self._slack)

    def spend(self, now: Millis) -> None:
        self._next = max(self._next, now) + self._cost

    def lasts(self, count: int) -> Millis:
        """How long so many deliveries take, in milliseconds."""
        return count * self._cost
