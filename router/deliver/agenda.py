"""Collects the lanes that the dispatcher has to look at: lanes with a new event, and lanes whose scheduled time has
come.
"""

import asyncio
import heapq
import itertools
from typing import Generic, TypeVar

from router.clock import Clock, offset
from router.model import Millis

L = TypeVar("L")
# Outdated entries are removed when the heap has more than two entries for each scheduled lane, and this many more.
_MAX_OUTDATED = 64


class Agenda(Generic[L]):
    """Collects requests to look at a lane, and the time of the next look at each. Times are of the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self.changed = asyncio.Event()
        """Set when a look is requested."""
        self._clock = clock
        self._requested: dict[L, None] = {}
        """The requested lanes, in the order of the requests."""
        self._times: dict[L, Millis] = {}
        self._heap: list[tuple[Millis, int, L]] = []
        """The same times as in :attr:`_times`, and some that are outdated."""
        self._order = itertools.count()

    def request(self, lane: L) -> None:
        """Make the dispatcher look at a lane, because something happened there."""
        self._requested[lane] = None
        self.changed.set()

    def schedule(self, lane: L, at: Millis | None) -> None:
        """Make the dispatcher look at a lane at that time, in place of the time set before. :param at: None: at no time"""
        if at is None:
            self._times.pop(lane, None)
        elif self._times.get(lane) != at:
            self._times[lane] = at
            heapq.heappush(self._heap, (at, next(self._order), lane))

    def take(self) -> list[L]:
        """Return the lanes to look at now, each once, and forget their requests and times."""
        now, heap = self._clock.elapsed(), self._heap
        while heap and heap[0][0] <= now:
            at, _, lane = heapq.heappop(heap)
            if self._times.get(lane) == at:
                del self._times[lane]
                self._requested[lane] = None
        requested, self._requested = self._requested, {}
        return list(requested)

    def next_time(self) -> Millis | None:
        """Return the earliest scheduled time; None: there is none."""
        heap, times = self._heap, self._times
        if len(heap) > 2 * len(times) + _MAX_OUTDATED:
            heap[:] = (entry for entry in heap if times.get(entry[2]) == entry[0])
            heapq.heapify(heap)
        while heap and times.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    async def wait(self, until: Millis | None) -> None:
        """Return when a look is requested, or at that time. :param until: of the monotonic clock; None: never"""
        await self._clock.wait(self.changed, None if until is None else until + offset(self._clock))
