"""How fast calls can be made: token buckets, by the monotonic clock. Pure."""

from dataclasses import dataclass

from router.model import Millis, Rate

# Each refusal makes the calls slower by the second factor, up to the first. Each accepted call multiplies by the third.
_MAX_SLOWDOWN = 4.0
_SLOWDOWN_ON_REFUSAL = 1.5
_SLOWDOWN_ON_ACCEPT = 0.98


@dataclass(frozen=True, slots=True)
class BucketMemory:
    """The state of a bucket, for another process."""

    full_in: Millis = 0
    """After how long all tokens are back (ms)."""
    slowdown: float = 1.0


class TokenBucket:
    """Allows ``rate.burst`` calls together and ``rate.limit`` calls per ``rate.per`` in the long run. After a refusal
    it allows fewer calls than that for a while.

    It counts in ticks, of which a millisecond has ``rate.limit``. So the time between two calls is a whole number of ticks,
    and its sums are exact.
    """

    def __init__(self, rate: Rate | None) -> None:
        """:param rate: None: no limit"""
        self._slowdown = 1.0
        self._full_at = 0
        """The time at which all tokens are back, in ticks."""
        self._set(rate)

    def _set(self, rate: Rate | None) -> None:
        self.rate = rate
        self._ticks = rate.limit if rate is not None else 1
        self._per = rate.per if rate is not None else 0
        self._burst = rate.burst if rate is not None else 1

    @property
    def _interval(self) -> int:
        """The time until a token is back, in ticks."""
        return round(self._per * self._slowdown)

    def remember(self, now: Millis) -> BucketMemory:
        """Return what another process needs to go on."""
        full_in = max(0, -(-self._full_at // self._ticks) - now)
        return BucketMemory(full_in, self._slowdown)

    def recall(self, memory: BucketMemory, now: Millis) -> None:
        """Go on as another process has left it."""
        self._slowdown = max(1.0, min(_MAX_SLOWDOWN, memory.slowdown))
        self._full_at = (now + memory.full_in) * self._ticks

    def drain(self, now: Millis) -> None:
        """Take all tokens away; they come back at the rate."""
        self._full_at = max(self._full_at, now * self._ticks + self._burst * self._interval)

    def change(self, rate: Rate | None, now: Millis) -> None:
        """Continue with another rate. Missing tokens stay missing, up to the new burst. Reserved calls stay reserved."""
        if rate == self.rate:
            return
        left = self._full_at - now * self._ticks
        missing = 0 if left <= 0 or not self._interval else -(-left // self._interval)
        self._set(rate)
        self._full_at = now * self._ticks + min(missing, self._burst) * self._interval

    def ready_at(self, now: Millis) -> Millis:
        """Return the earliest time of the next call."""
        ticks = self._full_at - (self._burst - 1) * self._interval
        return max(now, -(-ticks // self._ticks))

    def tokens(self, now: Millis) -> int:
        """Return how many calls may be made now."""
        if not self._interval:
            return 2**31
        left = max(0, self._full_at - now * self._ticks)
        return max(0, self._burst - -(-left // self._interval))

    def spend(self, now: Millis, calls: int = 1) -> None:
        """Count calls that are made now. If tokens are missing for them, the next calls wait."""
        self._full_at = max(self._full_at, now * self._ticks) + calls * self._interval

    def reserve(self, now: Millis) -> Millis:
        """Count a call that is made as soon as possible after those that were reserved before. Return its time."""
        at = self.ready_at(now)
        self.spend(now)
        return at

    def refused(self, until: Millis) -> None:
        """Allow no call before this time, because the provider asked to wait. After that there is no burst, and calls
        are slower for a while.
        """
        self._slowdown = min(_MAX_SLOWDOWN, self._slowdown * _SLOWDOWN_ON_REFUSAL)
        self._full_at = until * self._ticks + (self._burst - 1) * self._interval

    def accepted(self) -> None:
        """Record that the provider accepted a call. Each accepted call raises a lowered rate a little, up to the
        configured one.
        """
        self._slowdown = max(1.0, self._slowdown * _SLOWDOWN_ON_ACCEPT)
