"""Delivery: a lane for each destination, and one dispatcher that starts as many deliveries as each lane allows."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial

import structlog

from router.channels.base import ChannelSpec
from router.clock import Clock
from router.core.leases import EXPIRED, lanes_lease
from router.deliver.agenda import Agenda
from router.deliver.attempt import MAX_SECONDS
from router.deliver.delivery import Delivery
from router.deliver.dispatcher import Dispatcher
from router.deliver.lane import Lane
from router.deliver.lane_context import LaneContext, RuntimeConfig
from router.deliver.lane_table import LaneTable
from router.deliver.outage_watch import OutageWatch
from router.deliver.running_deliveries import RunningDeliveries
from router.deliver.self_alerts import SelfAlerts
from router.metrics import Metrics
from router.model import Delivered, Destination, Millis
from router.replicas import Held
from router.store import OperatorPause, Store
from router.telemetry import Telemetry
from router.threads import Threads

log = structlog.get_logger(__name__)

_RENDER_THREADS = 2


async def _always() -> Millis:
    return 0


def _yes() -> bool:
    return True


def _nothing() -> None:
    """Do nothing: nobody waits for other leases."""


# How long a person who resumes a destination waits for the outcome.
_TRIAL_SECONDS = 25.0
_NOT_TRIED = "the pause has ended; the report ends with the next successful delivery"


class Lanes:
    """All lanes of a service. A lane that is stuck never delays another."""

    def __init__(  # noqa: PLR0913  (each is a part of its own)
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        channels: Mapping[str, ChannelSpec],
        current: Callable[[], RuntimeConfig],
        send_seconds: float = MAX_SECONDS,
        counting_since: Callable[[], Awaitable[Millis]] = _always,
        telemetry: Telemetry | None = None,
        is_trusted: Callable[[], bool] = _yes,
    ) -> None:
        """:param channels: by name
        :param current: the configuration in force
        :param send_seconds: the time limit of one attempt
        :param counting_since: returns since when time has passed without a step of the clock (epoch ms), see
            :class:`router.clock_watch.ClockWatch`
        :param telemetry: observes the deliveries; None: nothing does
        :param is_trusted: returns whether the leases that this process holds are to be trusted at this moment
        """
        self._wanted: dict[str, Destination] = {}
        """All destinations that are to be served, here or by another replica."""
        self._held: dict[str, Held] | None = None
        """The leases of lanes that this process holds, by name; None: no other process serves, so all lanes are here."""
        self._wishes_changed: Callable[[], None] = _nothing
        self._channels = channels
        self._store = store
        self._clock = clock
        self._current = current
        agenda: Agenda[Lane] = Agenda(clock)
        self._table = LaneTable(channels, clock, agenda.request)
        running = RunningDeliveries()
        self._settled = running.settled
        self._self_alerts = SelfAlerts(
            store=store, clock=clock, metrics=metrics, policy=lambda: current().policy, lanes=self._table,
            settled=running.settled,
        )  # fmt: skip
        self._render_threads = Threads("render", _RENDER_THREADS)
        self._stopping = asyncio.Event()
        self._after_outcomes: list[Callable[[str], None]] = []
        context = LaneContext(
            store, clock, metrics, current, self._self_alerts, send_seconds, counting_since, self._render_threads,
            self._table.wake, self._outcome_recorded, self._stopping, is_trusted, telemetry or Telemetry(),
        )  # fmt: skip
        self._outages = OutageWatch(
            clock, self._self_alerts, lambda channel: current().alert_after.get(channel, 0), counting_since
        )
        self._dispatcher = Dispatcher(
            store=store, clock=clock, policy=lambda: current().policy, lanes=self._table, agenda=agenda,
            outages=self._outages, running=running, make_delivery=partial(Delivery, context),
        )  # fmt: skip

    def after_outcomes(self, call: Callable[[str], None]) -> None:
        """Call a function with the key of the destination after each outcome that is stored."""
        self._after_outcomes.append(call)

    def _outcome_recorded(self, destination: str) -> None:
        for call in self._after_outcomes:
            call(destination)

    async def serve(self, destinations: Iterable[Destination]) -> None:
        """Serve only these destinations from now on, within the limits in force. Where replicas share the work, that is what
        they do together: this process has the lanes whose leases it holds.

        A lane that stays keeps its pauses. But if its channel or its options have changed, the destination has possibly
        been repaired, so it is tried immediately.

        :raises StoreUnavailable: the reports of the last process can't be read, or a backoff can't be ended
        """
        self._wanted = {destination.key: destination for destination in destinations}
        self._wishes_changed()
        await self._serve_held()

    async def _serve_held(self, gained: str = "") -> None:
        """Have a lane for each wanted destination whose lease this process holds.

        :param gained: the lease that a replica has held until now that has ended without a word; empty: none
        """
        wanted: dict[str, Destination] | None = None
        while wanted != (
            held_now := self._wanted_and_held()
        ):  # a lease may be lost while the database is asked
            wanted = held_now
            await self._self_alerts.set_served(wanted.keys())
            pauses = await self._store.pauses.load()
        known, current = {lane.destination.key for lane in self._table}, self._current()
        self._table.serve(wanted, current.shared, current.channels)
        for key in wanted.keys() - known:
            self._apply(pauses.get(key), key)
        for lane in self._table:
            if (
                self._held is not None
                and (held := self._held.get(self._lease_of(lane.destination))) is not None
            ):
                lane.serve_by(held.grant, begins_empty=held.name == gained)
        self._dispatcher.start()
        for lane in [each for each in self._table if each.may_be_repaired]:
            await self._store.resume(lane.destination.key)
            lane.may_be_repaired = False
            lane.resume()

    def _wanted_and_held(self) -> dict[str, Destination]:
        """Return the destinations whose lanes this process is to serve at this moment, by key."""
        return {
            key: each
            for key, each in self._wanted.items()
            if self._held is None or self._lease_of(each) in self._held
        }

    def _apply(self, pause: OperatorPause | None, destination: str) -> None:
        """Apply the last pause by an operator to a new lane."""
        lane = self._table.open(destination)
        if pause is None or lane is None:
            return
        if pause.until is None:
            lane.pause_by_operator(pause)
        else:
            lane.operator_pause_until = pause.until

    # Leases.

    def share(self, wishes_changed: Callable[[], None]) -> None:
        """Serve only by leases from now on. Call it before :meth:`serve`.

        :param wishes_changed: is called when other leases are wanted
        """
        self._held, self._wishes_changed = {}, wishes_changed

    def _lease_of(self, destination: Destination) -> str:
        return lanes_lease(self._channels[destination.channel].section)

    def wants(self) -> Iterable[str]:
        """Return the leases that the destinations need: one for each section of ``channels:``."""
        return {self._lease_of(each) for each in self._wanted.values()}

    async def gained(self, held: Held) -> None:
        """Open the lanes of a lease. :raises StoreUnavailable: see :meth:`serve`"""
        if self._held is not None and held.name in self.wants():
            self._held[held.name] = held
            await self._serve_held(held.name if held.passed_on == EXPIRED else "")

    async def give_up(self, name: str) -> None:
        """Begin nothing more in the lanes of a lease. Return when nothing is under way there."""
        if self._held is None or self._held.pop(name, None) is None:
            return
        lanes = self._lanes_of(name)
        for lane in lanes:
            lane.hand_over()
        for lane in lanes:
            await lane.closed.wait()

    def lost(self, name: str) -> None:
        """Cut off at once what is under way in the lanes of a lease."""
        if self._held is not None:
            self._held.pop(name, None)
            self._dispatcher.drop(self._lanes_of(name))

    def _lanes_of(self, lease: str) -> list[Lane]:
        return [lane for lane in self._table if self._lease_of(lane.destination) == lease]

    def wake_all(self) -> None:
        """Look at every lane."""
        self._table.wake([lane.destination.key for lane in self._table])

    def wake(self, destinations: Iterable[str]) -> None:
        """Look at the lanes of these destinations, because something may be due there."""
        self._table.wake(destinations)

    def restart(self) -> None:
        """Begin all timers again, and look at every lane. Call it after a step of the clock."""
        self._self_alerts.restart()
        self.wake_all()

    async def settled(self) -> None:
        """Return when the deliveries that are under way now have ended, and the lanes that are closing are gone."""
        lanes = list(self._table)
        await self._settled({lane.destination.key for lane in lanes})
        for lane in lanes:
            if lane.is_closing:
                await lane.closed.wait()

    async def pause(self, destination: str, by: str) -> Millis | None:
        """Send nothing to a destination until it is resumed, also after a restart. What is under way is still sent; what becomes
        due waits.

        :param by: the name of the operator
        :returns: since when it is paused (epoch ms); None: the destination has no lane
        :raises StoreUnavailable: nothing was changed
        """
        lane = self._table.open(destination)
        if lane is None:
            return None
        pause = await self._store.pauses.begin(destination, by, self._clock.now())
        lane.pause_by_operator(pause)
        log.warning("an operator paused a destination", destination=destination, user=pause.by)
        return pause.since

    async def resume(self, destination: str) -> dict[str, str] | None:
        """End a destination's pause, also one by an operator, and its conversations' backoff, and try what is due next.

        :returns: the ``status`` (delivered, still broken, nothing was due to try, is being tried) and the
            ``reason``; None: the destination has no lane
        :raises StoreUnavailable: nothing was changed
        """
        lane = self._table.open(destination)
        if lane is None:
            return None
        now = self._clock.now()
        await self._store.pauses.end(destination, now)
        await self._store.resume(destination)
        lane.end_operator_pause(now)
        try:
            outcome = await asyncio.wait_for(lane.try_now(), _TRIAL_SECONDS)
        except TimeoutError:
            reason = f"no result within {_TRIAL_SECONDS:g} s; see the list of deliveries later"
            return {"status": "is being tried", "reason": reason}
        match outcome:
            case None:
                is_reported = self._self_alerts.broken_since(destination) is not None
                return {"status": "nothing was due to try", "reason": _NOT_TRIED if is_reported else ""}
            case Delivered():
                return {"status": "delivered", "reason": ""}
        return {"status": "still broken", "reason": outcome.shown}

    def describe(self) -> list[dict[str, object]]:
        """Return the state of each lane, for ``/status`` and pages. Times are epoch milliseconds.

        ``failing_since`` is the first failed attempt without a success after it. ``broken_since`` is the same, once the
        destination is reported. ``needs_repair``: the provider's answer means that only a person can repair it.
        ``succeeded_at`` is the last success of this process.
        """
        now, known = self._clock.now(), self._self_alerts
        return [
            {
                "destination": key,
                "channel": lane.destination.channel,
                "alive": self._dispatcher.is_alive,
                "paused_until": now + lane.paused_for if lane.paused_for else None,
                "pause_reason": lane.pause_reason if lane.paused_for else None,
                "is_rate_limited": bool(lane.paused_for) and lane.is_rate_limited,
                "paused_by": None if (pause := lane.operator_pause) is None else pause.by,
                "paused_since": None if pause is None else pause.since,
                "failing_since": None if trouble is None else trouble.since,
                "failing_reason": None if trouble is None else trouble.reason,
                "needs_repair": trouble is not None and trouble.broken,
                "broken_since": known.broken_since(key),
                "broken_reason": known.broken_reason(key),
                "succeeded_at": known.succeeded_at(key),
                **lane.describe_limits(),
            }
            for lane in self._table
            if not lane.is_closing
            for key in [lane.destination.key]
            for trouble in [known.trouble(key)]
        ]

    async def stop(self, within: Millis) -> None:
        """Send what is due now, for at most ``within`` milliseconds.

        Deliveries that have not begun by then wait for the next start. Deliveries that are cut off are sent again after it.
        """
        await self._self_alerts.stop()
        self._stopping.set()
        await self._dispatcher.stop(within)
        self._render_threads.shutdown()


__all__ = ["Lanes", "RuntimeConfig"]
