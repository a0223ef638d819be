"""The limits that all destinations of one section of ``channels:`` share: rates and concurrency. Pure."""

from collections.abc import Callable, Collection
from itertools import islice
from typing import Generic, TypeVar

from router.deliver.token_bucket import BucketMemory, TokenBucket
from router.model import Call, Millis, Rate, SharedLimits

L = TypeVar("L")


class SharedLimiter(Generic[L]):
    """Gives slots to lanes, in the order in which they ask. A delivery has a slot until it is sent.

    ``L`` is the type of a lane.
    """

    def __init__(self, request_look: Callable[[L], None]) -> None:
        """:param request_look: makes a lane ask for slots again"""
        self._bucket, self._edits = TokenBucket(None), TokenBucket(None)
        self._lanes: dict[L, None] = {}
        self._request_look = request_look
        self._max_concurrency: int | None = None
        self._taken = 0
        self._uncounted = 0
        """How many taken slots have a delivery whose first call is not counted in the rate yet."""
        self._waiting: dict[L, None] = {}
        """Lanes that wait for slots, in the order in which they asked."""

    @property
    def lanes(self) -> Collection[L]:
        return self._lanes.keys()

    @property
    def rate(self) -> Rate | None:
        """The shared rate; None: no limit."""
        return self._bucket.rate

    def add(self, lane: L) -> None:
        self._lanes[lane] = None

    def remove(self, lane: L, now: Millis) -> None:
        """Forget a lane that is not served any more. The next one that waits takes its turn."""
        self._lanes.pop(lane, None)
        self.stop_waiting(lane, now)

    def change(self, limits: SharedLimits, now: Millis) -> None:
        """Apply other limits. Deliveries under way count in them."""
        self._bucket.change(limits.rate, now)
        self._edits.change(limits.edit_rate, now)
        self._max_concurrency = limits.max_concurrency
        self.wake_waiting(now)

    def remember(self, now: Millis) -> tuple[BucketMemory, BucketMemory]:
        """Return the state of the rates of all calls and of edits, for another process."""
        return self._bucket.remember(now), self._edits.remember(now)

    def recall(self, memory: BucketMemory, edits: BucketMemory, now: Millis) -> None:
        """Go on as another process has left the rates."""
        self._bucket.recall(memory, now)
        self._edits.recall(edits, now)

    def drain(self, now: Millis) -> None:
        """Let the shared rates begin without tokens: another replica may just have used them up."""
        self._bucket.drain(now)
        self._edits.drain(now)

    def buckets(self, call: Call) -> tuple[TokenBucket, ...]:
        """Return the shared token buckets from which a call of this kind takes a token."""
        return (self._edits, self._bucket) if call is Call.EDIT else (self._bucket,)

    def startable(self, now: Millis) -> int:
        """Return how many deliveries can begin now."""
        tokens = self._bucket.tokens(now) - self._uncounted
        if self._max_concurrency is not None:
            tokens = min(tokens, self._max_concurrency - self._taken)
        return max(0, tokens)

    def take(self, lane: L, wanted: int, now: Millis) -> int:
        """Take slots for a lane, and return how many: at most ``wanted``. If there is none, the lane waits for its turn."""
        self._waiting.setdefault(lane)
        startable = self.startable(now)
        if lane not in islice(self._waiting, startable):
            return 0
        del self._waiting[lane]
        slots = min(wanted, startable)
        self._taken += slots
        self._uncounted += slots
        return slots

    def stop_waiting(self, lane: L, now: Millis) -> None:
        """Remove a lane from the queue, because it needs no slot any more."""
        if lane in self._waiting:
            del self._waiting[lane]
            self.wake_waiting(now)

    def give_back(self, slots: int) -> None:
        """Return slots that no delivery used."""
        self.first_calls_counted(slots)
        self.free(slots)

    def first_calls_counted(self, deliveries: int = 1) -> None:
        """Record that the first calls of deliveries are counted in the rate, or that these deliveries make no call."""
        self._uncounted -= deliveries
        self._look_at_first()

    def free(self, slots: int = 1) -> None:
        """Free slots whose deliveries are sent."""
        self._taken -= slots
        self._look_at_first()

    def _look_at_first(self) -> None:
        """Make the first waiting lane ask again: there may be a slot now, or the time of the next slot has changed."""
        if self._waiting:
            self._request_look(next(iter(self._waiting)))

    def wake_waiting(self, now: Millis) -> None:
        """Make as many waiting lanes ask again as deliveries can begin now."""
        if self._waiting:
            for lane in list(islice(self._waiting, self.startable(now))):
                self._request_look(lane)

    def next_call_at(self, now: Millis) -> Millis | None:
        """Return when the rate allows the next call; None: no lane waits, or lanes wait for a slot and not for the rate."""
        at = self._bucket.ready_at(now)
        return at if self._waiting and at > now else None
