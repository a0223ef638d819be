"""Counts the deliveries of one lane. Pure."""

from router.model import Millis

# How many deliveries may be under way for each one that may be sent at the same time. The others only wait to be recorded.
_MAX_UNRECORDED = 4


class LaneSlots:
    """Knows how many more deliveries can begin.

    A delivery is under way until it is recorded. But it leaves its slot to the next one as soon as it is sent.
    """

    def __init__(self) -> None:
        self._claimed = 0
        """How many slots are taken for deliveries that are being claimed."""
        self._under_way: dict[object, Millis] = {}
        """When each delivery under way began, the first one first."""
        self._unpaid: set[object] = set()
        """Deliveries whose first call is not counted in the rate yet."""
        self._sending: set[object] = set()
        """Deliveries that are not sent yet. The others only wait to be recorded."""

    @property
    def uncounted(self) -> int:
        """How many slots have no delivery yet, or have one whose first call is not counted in the rate yet."""
        return self._claimed + len(self._unpaid)

    @property
    def is_idle(self) -> bool:
        """No delivery is under way."""
        return not self._under_way

    def busy_for(self, now: Millis) -> Millis:
        """Return how long the oldest delivery under way has lasted (ms); 0: none is under way."""
        return now - next(iter(self._under_way.values()), now)

    def free(self, max_concurrency: int, *, one_at_a_time: bool) -> int:
        """Return how many more deliveries can begin; it may be negative after a limit was lowered.

        :param max_concurrency: how many may be sent at the same time
        :param one_at_a_time: the next delivery begins only after the last one is recorded
        """
        if one_at_a_time:
            return 1 - len(self._under_way) - self._claimed
        # The second bound is for a store that is slow to record.
        sending, under_way = len(self._sending), len(self._under_way)
        return min(max_concurrency - sending, _MAX_UNRECORDED * max_concurrency - under_way) - self._claimed

    def take(self, slots: int) -> None:
        """Take slots for deliveries that are about to be claimed."""
        self._claimed += slots

    def give_back(self, slots: int) -> None:
        """Return slots that no delivery used."""
        self._claimed -= slots

    def began(self, delivery: object, now: Millis) -> None:
        """Record that a claimed delivery begins."""
        self._claimed -= 1
        self._under_way[delivery] = now
        self._unpaid.add(delivery)
        self._sending.add(delivery)

    def first_call_counted(self, delivery: object) -> bool:
        """Record that the first call of a delivery is counted in the rate, or that the delivery makes no call.

        :returns: whether that is new
        """
        is_new = delivery in self._unpaid
        self._unpaid.discard(delivery)
        return is_new

    def sent(self, delivery: object) -> bool:
        """Record that a delivery is sent, and only has to be recorded. Return whether that is new."""
        is_new = delivery in self._sending
        self._sending.discard(delivery)
        return is_new

    def ended(self, delivery: object) -> None:
        """Record that the outcome of a sent delivery is saved, or that saving it has failed."""
        self._under_way.pop(delivery, None)
