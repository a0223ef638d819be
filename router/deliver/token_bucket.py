"""How fast calls may go: token buckets, by a clock that nobody steps. Pure."""

from router.model import Millis, Rate

# How far a provider that refuses may slow calls down, and how soon the configured rate comes back.
_SLOWEST = 4.0
_SLOWER = 1.5
_FASTER = 0.98


class TokenBucket:
    """Allows ``rate.burst`` calls at once and ``rate.limit`` calls per ``rate.per`` in the long run. After a refusal it
    allows fewer for a while.

    Counts in ticks: ``rate.limit`` of them are a millisecond, so that the time between two calls is a whole number of
    ticks and sums of it are exact.
    """

    def __init__(self, rate: Rate | None) -> None:
        """:param rate: None: no limit"""
        self._slowdown = 1.0
        self._full_at = 0
        """When all tokens are back, in ticks."""
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

    def change(self, rate: Rate | None, now: Millis) -> None:
        """Go on with another rate. Tokens that are missing stay so, up to the new burst; turns that were reserved stay
        reserved.
        """
        if rate == self.rate:
            return
        left = self._full_at - now * self._ticks
        missing = 0 if left <= 0 or not self._interval else -(-left // self._interval)
        self._set(rate)
        self._full_at = now * self._ticks + min(missing, self._burst) * self._interval

    def ready_at(self, now: Millis) -> Millis:
        """The earliest moment of the next call."""
        ticks = self._full_at - (self._burst - 1) * self._interval
        return max(now, -(-ticks // self._ticks))

    def tokens(self, now: Millis) -> int:
        """How many calls may be made now."""
        if not self._interval:
            return 2**31
        left = max(0, self._full_at - now * self._ticks)
        return max(0, self._burst - -(-left // self._interval))

    def spend(self, now: Millis, calls: int = 1) -> None:
        """Count calls that are made now. What there is no token for, the next ones wait for."""
        self._full_at = max(self._full_at, now * self._ticks) + calls * self._interval

    def reserve(self, now: Millis) -> Millis:
        """Count a call that is made as soon as it may be, behind those that were reserved before. Returns when."""
        at = self.ready_at(now)
        self.spend(now)
        return at

    def refused(self, until: Millis) -> None:
        """The provider asked to wait until then: no burst follows, and calls are slower for a while."""
        self._slowdown = min(_SLOWEST, self._slowdown * _SLOWER)
        self._full_at = until * self._ticks + (self._burst - 1) * self._interval

    def accepted(self) -> None:
        self._slowdown = max(1.0, self._slowdown * _FASTER)
