"""The lanes by destination, and the limits that the lanes of one section of ``channels:`` share."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from router.channels.base import Channel, ChannelSpec
from router.clock import Clock
from router.deliver.lane import Lane
from router.deliver.shared_limiter import SharedLimiter
from router.model import Destination, Millis, SharedLimits


class LaneTable:
    """Adds and removes lanes. A closing lane stays until nothing is left to do there."""

    def __init__(
        self, channels: Mapping[str, ChannelSpec], clock: Clock, request_look: Callable[[Lane], None]
    ) -> None:
        """
        :param channels: by name
        :param request_look: makes the dispatcher look at a lane
        """
        self._channels = channels
        self._clock = clock
        self._request_look = request_look
        self._lanes: dict[str, Lane] = {}
        self._limiters: dict[str, SharedLimiter[Lane]] = {
            each.section: SharedLimiter(request_look) for each in channels.values()
        }

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __contains__(self, lane: Lane) -> bool:
        return self._lanes.get(lane.destination.key) is lane

    def open(self, destination: str) -> Lane | None:
        """Return the lane of a destination; None: there is none, or it is being closed or handed over."""
        lane = self._lanes.get(destination)
        return None if lane is None or lane.is_closing or lane.is_handed_over else lane

    def limiter(self, section: str) -> SharedLimiter[Lane]:
        """Return the limits that the lanes of a section of ``channels:`` share."""
        return self._limiters[section]

    def serve(
        self,
        destinations: Mapping[str, Destination],
        shared: Mapping[str, SharedLimits],
        channels: Mapping[str, Channel],
    ) -> None:
        """Keep a lane for each of these destinations, and close the others.

        :param destinations: by key
        :param shared: the limits that destinations share, by section of ``channels:``
        :param channels: the channels in force, by name
        """
        for name, limits in shared.items():
            self._limiters[name].change(limits, self._clock.elapsed())
        for key in self._lanes.keys() - destinations.keys():
            self._lanes[key].close()
        for key, destination in destinations.items():
            lane = self._lanes.get(key)
            if lane is None:
                spec = self._channels[destination.channel]
                limiter = self._limiters[spec.section]
                lane = self._lanes[key] = Lane(destination, spec, limiter, self._clock, self._request_look)
            lane.change(destination, channels.get(destination.channel))

    def remove(self, lane: Lane) -> None:
        """Remove a closing lane at which nothing is left to do."""
        if lane in self:
            del self._lanes[lane.destination.key]
        lane.removed()

    def wake(self, destinations: Iterable[str]) -> None:
        """Look at the lanes of these destinations, because something may be due there."""
        for key in destinations:
            if (lane := self._lanes.get(key)) is not None:
                lane.wake()

    def resume(self, destination: str) -> None:
        """End the pause of a destination."""
        if (lane := self._lanes.get(destination)) is not None:
            lane.resume()

    def peers(self, destination: str) -> frozenset[str]:
        """Return the destinations of the same section of ``channels:``, this one included."""
        lane = self._lanes.get(destination)
        if lane is None:
            return frozenset()
        return frozenset(each.destination.key for each in lane.peers() if not each.is_closing)

    def wake_waiting(self) -> None:
        """Look at the lanes that wait for their shared limits and can begin a delivery now."""
        for each in self._limiters.values():
            each.wake_waiting(self._clock.elapsed())

    def next_call_at(self) -> Millis | None:
        """Return when a shared rate allows a call of a lane that waits (monotonic clock); None: no lane waits for a shared
        rate.
        """
        now = self._clock.elapsed()
        times = [at for each in self._limiters.values() if (at := each.next_call_at(now)) is not None]
        return min(times, default=None)
