"""Which lanes are served by this process: all of them, or those whose leases it holds."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from router.channels.base import ChannelSpec
from router.clock import Clock, wait_elapsed
from router.core.head import Grant
from router.core.leases import EXPIRED, is_of_lanes, lanes_lease, section_of
from router.deliver.dispatcher import Dispatcher
from router.deliver.lane import Lane
from router.deliver.lane_context import RuntimeConfig
from router.deliver.lane_description import report_of
from router.deliver.lane_memory import SharedMemory
from router.deliver.lane_news import LaneNews, Sharing
from router.deliver.lane_table import LaneTable
from router.deliver.self_alerts import SelfAlerts
from router.model import SECOND, Destination, Millis
from router.replicas import Held
from router.store import OperatorPause, Store, StoreUnavailable

# How long the lanes of a lease that is to pass on wait for what is under way there. Nothing begins meanwhile.
_HAND_OVER_WITHIN: Millis = 5 * SECOND
_NOBODY = 0
"""A fence that no grant has."""


class LaneLeases:
    """The leases of lanes that this process holds. It is responsible for the destinations of these lanes."""

    def __init__(self, channels: Mapping[str, ChannelSpec]) -> None:
        """:param channels: by name"""
        self._channels = channels
        self.held: dict[str, Held] | None = None
        """By name; None: no other process serves, so all lanes are here."""
        self.wanted: Mapping[str, Destination] = {}
        """All destinations that are to be served, here or by another replica."""
        self.releasing: set[str] = set()
        """The names of held leases for which nothing begins any more. What is under way still ends by them."""

    @property
    def is_shared(self) -> bool:
        return self.held is not None

    def section_of(self, channel: str) -> str:
        """Return the section of ``channels:`` that a channel belongs to."""
        return self._channels[channel].section

    def lease_of(self, channel: str) -> str:
        """Return the name of the lease of a channel's lanes."""
        return lanes_lease(self.section_of(channel))

    def channels_of(self, lease: str) -> list[str]:
        """Return the channels whose lanes a lease is of."""
        return [name for name in self._channels if self.lease_of(name) == lease]

    def wants(self) -> frozenset[str]:
        """Return the leases that the destinations need: one for each section of ``channels:``."""
        return frozenset(self.lease_of(each.channel) for each in self.wanted.values())

    def here(self) -> dict[str, Destination]:
        """Return the destinations whose leases this process holds."""
        if self.held is None:
            return dict(self.wanted)
        return {key: each for key, each in self.wanted.items() if self.lease_of(each.channel) in self.held}

    def _lease_for(self, destination: str) -> str:
        """Return the lease whose holder is responsible for a destination. If its section is no longer configured, that is the
        first of the wanted leases.
        """
        channel, wanted = destination.partition(":")[0], self.wants()
        lease = self.lease_of(channel) if channel in self._channels else ""
        return lease if lease in wanted else min(wanted, default="")

    @property
    def is_caretaker(self) -> bool:
        """Whether this process is responsible for destinations that are in no section of ``channels:`` any more."""
        return self.is_responsible("")

    def is_responsible(self, destination: str, /) -> bool:
        """Return whether this process is responsible for a destination, which need not be configured any more."""
        return self.held is None or self._lease_for(destination) in self.held

    def grant_for(self, destination: str, /) -> Grant | None:
        """Return the grant by which work for a destination is checked; None: no other process serves. If this process is not
        responsible for it, that is a grant that the store refuses.
        """
        if self.held is None:
            return None
        lease = self._lease_for(destination)
        held = self.held.get(lease)
        return Grant(lease, _NOBODY) if held is None else held.grant


class ServedLanes:
    """Opens and closes lanes when rules and leases change."""

    def __init__(
        self, *, store: Store, clock: Clock, current: Callable[[], RuntimeConfig], leases: LaneLeases, table: LaneTable,
        self_alerts: SelfAlerts, dispatcher: Dispatcher,
    ) -> None:  # fmt: skip
        self.changing = asyncio.Lock()
        """Held while lanes are opened or closed, and while pauses by operators are stored and applied. So what was read from the
        database is never older than what is applied already."""
        self._store = store
        self._clock = clock
        self._current = current
        self._leases = leases
        self._table = table
        self._self_alerts = self_alerts
        self._dispatcher = dispatcher
        self._news: LaneNews | None = None
        self._sharing: Sharing | None = None
        self._began = clock.now()
        self._granted: dict[str, Held] = {}
        """The leases whose lanes are to be opened, or are open."""
        self._opened: dict[str, int] = {}
        """The fences of the leases whose lanes are open, by name."""

    def share(self, sharing: Sharing, news: LaneNews) -> None:
        """Serve only by leases from now on."""
        self._leases.held, self._sharing, self._news = {}, sharing, news

    async def serve(self, destinations: Iterable[Destination]) -> None:
        """See :meth:`router.deliver.Lanes.serve`."""
        self._leases.wanted = {destination.key: destination for destination in destinations}
        if self._sharing is not None:
            self._sharing.renew_soon()
        async with self.changing:
            await self._open()

    async def _open(self) -> None:
        """Have a lane for each wanted destination whose lease this process holds. Call it in the lock."""
        if self._news is not None:
            await self._news.refresh()
        await self._self_alerts.set_served(self._leases.wanted.keys())
        pauses = await self._store.pauses.load()
        # There is no await between here and the end of the opening: a lease may be lost while one waits.
        known, current = {lane.destination.key for lane in self._table}, self._current()
        self._table.serve(self._leases.here(), current.shared, current.channels)
        for lane in self._table:
            if lane.destination.key not in known:
                self._apply(pauses.get(lane.destination.key), lane)
        self._serve_by_leases(known)
        self._dispatcher.start()
        for lane in [each for each in self._table if each.may_be_repaired]:
            await self._store.resume(lane.destination.key)
            lane.may_be_repaired = False
            lane.resume()

    @staticmethod
    def _apply(pause: OperatorPause | None, lane: Lane) -> None:
        """Apply the last pause by an operator to a new lane."""
        if pause is not None and pause.until is None:
            lane.pause_by_operator(pause)
        elif pause is not None:
            lane.operator_pause_until = pause.until or 0

    def _serve_by_leases(self, known: set[str]) -> None:
        """Let lanes go on as the last holders of their leases have left them. :param known: destinations with a lane before"""
        held, news = self._leases.held, self._news
        if held is None or news is None:
            return
        for name, each in held.items():
            is_new = not self._are_open(each)
            self._opened[name] = each.grant.fence
            limiter = self._table.limiter(section_of(name))
            is_exact = not is_new or (news.recall_shared(each.grant, limiter) and each.passed_on != EXPIRED)
            begins_empty = not is_exact and bool(each.passed_on)
            if begins_empty:
                limiter.drain(self._clock.elapsed())
            for lane in self.lanes_of(name):
                lane.grant = each.grant
                if name in self._leases.releasing:
                    lane.hand_over()
                key = lane.destination.key
                if not is_new or key in known:
                    continue
                report = news.report(key)
                # A process that began after the failure possibly has another secret.
                lane.recall(report.memory, may_be_repaired=report.memory.paused_since < self._began)
                if begins_empty:
                    lane.begin_empty()
                self._self_alerts.note_success(key, report.succeeded_at)

    # Leases.

    async def gained(self, held: Held) -> None:
        """Open the lanes of a lease. :raises StoreUnavailable: what is stored can't be read; nothing is opened"""
        if self._leases.held is None or not is_of_lanes(held.name):
            return
        self._granted[held.name] = held
        async with self.changing:  # what is read in the lock is newer than the grant
            await self._store.replicas.begin_lanes(held.grant, self._leases.channels_of(held.name))
            if self._granted.get(held.name) is held:
                self._leases.held[held.name] = held
                await self._open()

    async def release(self, name: str) -> bool:
        """See :meth:`router.deliver.Lanes.release`."""
        leases, news = self._leases, self._news
        held = leases.held.get(name) if leases.held is not None else None
        if held is None or news is None:
            self._granted.pop(name, None)
            return True
        if not await self._hand_over(name):
            return False
        if self._holds(held) and self._are_open(held):
            final = self._states_of(held, self.lanes_of(name), is_final=True)
            with suppress(StoreUnavailable):  # then the next holder begins without tokens
                await news.publish({**self.states(), held.grant: final})
        if self._holds(held):
            self.lost(name)
        return True

    def _are_open(self, held: Held) -> bool:
        """Return whether the lanes of a lease are open. Until then, what the last holder has published must not be replaced."""
        return self._opened.get(held.name) == held.grant.fence

    def _holds(self, held: Held) -> bool:
        """Return whether a lease was not lost meanwhile."""
        return self._leases.held is not None and self._leases.held.get(held.name) is held

    async def _hand_over(self, name: str) -> bool:
        """Begin nothing more in the lanes of a lease, and wait for what is under way there. If it takes too long, take the lanes
        back, so that nothing waits for a provider that hangs, and return False.
        """
        lanes, until = self.lanes_of(name), self._clock.elapsed() + _HAND_OVER_WITHIN
        if any(lane.busy_for > _HAND_OVER_WITHIN for lane in lanes):
            return False
        self._leases.releasing.add(name)
        for handed_over in [lane.hand_over() for lane in lanes]:
            await wait_elapsed(self._clock, handed_over, until)
        lanes = self.lanes_of(name)  # a reload may have added some
        if all(lane.is_done for lane in lanes):
            return True
        self._leases.releasing.discard(name)
        for lane in lanes:
            lane.take_back()
        return False

    async def publish_last(self) -> None:
        """Publish how far all lanes are, at the end of this process, when nothing is under way any more."""
        if self._news is not None:
            with suppress(StoreUnavailable):  # then the next holders begin without tokens
                await self._news.publish(self.states(are_final=True))

    def lost(self, name: str) -> None:
        """Cut off at once what is under way in the lanes of a lease."""
        self._granted.pop(name, None)
        if self._leases.held is not None and name in self._leases.held:
            self._dispatcher.drop(self.lanes_of(name))
            self._forget(name)

    def _forget(self, name: str) -> None:
        self._leases.releasing.discard(name)
        self._opened.pop(name, None)
        if self._leases.held is not None:
            self._leases.held.pop(name, None)
        self._self_alerts.forget_others()

    def lanes_of(self, lease: str) -> list[Lane]:
        """Return the lanes of a lease that are here."""
        return [lane for lane in self._table if self._leases.lease_of(lane.destination.channel) == lease]

    # For other replicas.

    def states(self, *, are_final: bool = False) -> dict[Grant, dict[str, str]]:
        """Return the states of the lanes of all leases that are held, as JSON, see :meth:`router.deliver.lane_news.LaneNews.publish`.

        :param are_final: nothing is under way any more, and nothing begins
        """
        held = self._leases.held or {}
        return {
            each.grant: self._states_of(each, self.lanes_of(name), is_final=are_final)
            for name, each in held.items()
            if (are_final or name not in self._leases.releasing) and self._are_open(each)
        }

    def _states_of(self, held: Held, lanes: Iterable[Lane], *, is_final: bool) -> dict[str, str]:
        now, elapsed = self._clock.now(), self._clock.elapsed()
        limiter = self._table.limiter(section_of(held.name))
        released_by = held.grant.fence if is_final else 0
        states = {held.name: str(SharedMemory.of(limiter.remember(elapsed), released_by, now))}
        for lane in lanes:
            if lane.destination.key in self._leases.wanted:
                states[lane.destination.key] = str(report_of(lane, self._self_alerts))
        return states
