"""What the destinations of one section of ``channels:`` share: rates, and deliveries under way at the same time. Pure."""

from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

from router.deliver.token_bucket import TokenBucket
from router.model import Call, Millis, SharedLimits

L = TypeVar("L")


class SectionLimiter(Generic[L]):
    """Hands its room to its lanes, in the order in which they asked for it."""

    def __init__(self, stir: Callable[[L], None]) -> None:
        """:param stir: has a lane ask again"""
        self.bucket, self.edits = TokenBucket(None), TokenBucket(None)
        self.lanes: dict[str, L] = {}
        self._stir = stir
        self._most: int | None = None
        self._taken = 0
        """Places that are taken by deliveries that are not sent yet."""
        self._unpaid = 0
        """How many of those have not paid for their first call yet."""
        self.waiting: dict[L, None] = {}
        """In the order in which they asked."""

    def change(self, limits: SharedLimits, now: Millis) -> None:
        """Go on within other limits. What is under way counts in them."""
        self.bucket.change(limits.rate, now)
        self.edits.change(limits.edit_rate, now)
        self._most = limits.max_concurrency
        self.offer(now)

    def buckets(self, call: Call) -> tuple[TokenBucket, ...]:
        """Those that a call counts in."""
        return (self.edits, self.bucket) if call is Call.EDIT else (self.bucket,)

    def room(self, now: Millis) -> int:
        """How many deliveries may begin."""
        tokens = self.bucket.tokens(now) - self._unpaid
        return max(0, tokens if self._most is None else min(tokens, self._most - self._taken))

    def take(self, lane: L, wanted: int, now: Millis) -> int:
        """Places for a lane, at most as many as it wants. With none, it waits for its turn."""
        self.waiting.setdefault(lane)
        room = self.room(now)
        if lane not in islice(self.waiting, room):
            return 0
        del self.waiting[lane]
        places = min(wanted, room)
        self._taken += places
        self._unpaid += places
        return places

    def leave(self, lane: L, now: Millis) -> None:
        """A lane that waits needs no place any more."""
        del self.waiting[lane]
        self.offer(now)

    def give_back(self, places: int) -> None:
        """No delivery took these."""
        self.paid(places)
        self.sent(places)

    def paid(self, deliveries: int = 1) -> None:
        """Their first calls count in the rates from now on, or they make none."""
        self._unpaid -= deliveries
        self._look()

    def sent(self, deliveries: int = 1) -> None:
        """Their places are free."""
        self._taken -= deliveries
        self._look()

    def _look(self) -> None:
        """Something changed: there may be room for those that wait, or another moment at which there is."""
        if self.waiting:
            self._stir(next(iter(self.waiting)))

    def offer(self, now: Millis) -> None:
        """Have those ask again that there is room for."""
        for lane in list(islice(self.waiting, self.room(now))):
            self._stir(lane)
