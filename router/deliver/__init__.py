"""Delivery: a lane for each destination, and one dispatcher that starts as many deliveries as each lane allows."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

import structlog

from router.channels.base import ChannelSpec
from router.clock import Clock
from router.core.head import Grant
from router.deliver.agenda import Agenda
from router.deliver.attempt import MAX_SECONDS
from router.deliver.delivery import Delivery
from router.deliver.dispatcher import Dispatcher
from router.deliver.lane import Lane
from router.deliver.lane_actions import LaneActions, PauseAnswer
from router.deliver.lane_context import LaneContext, RuntimeConfig
from router.deliver.lane_description import LaneFields, describe_lane, report_of
from router.deliver.lane_follower import LaneFollower
from router.deliver.lane_memory import LaneReport
from router.deliver.lane_news import Holder, LaneNews, Sharing
from router.deliver.lane_table import LaneTable
from router.deliver.outage_watch import OutageWatch
from router.deliver.running_deliveries import RunningDeliveries
from router.deliver.self_alerts import SelfAlerts
from router.deliver.served_lanes import LaneLeases, ServedLanes
from router.metrics import Metrics
from router.model import Destination, Millis
from router.replicas import Held
from router.store import OperatorPause, ReplicaNotice, ReplicaTopic, Store
from router.telemetry import Telemetry
from router.threads import Threads

log = structlog.get_logger(__name__)

_RENDER_THREADS = 2


async def _always() -> Millis:
    return 0


def _yes(_: Grant | None) -> bool:
    return True


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
        may_use: Callable[[Grant | None], bool] = _yes,
    ) -> None:
        """:param channels: by name
        :param current: the configuration in force
        :param send_seconds: the time limit of one attempt
        :param counting_since: returns since when time has passed without a step of the clock (epoch ms), see
            :class:`router.clock_watch.ClockWatch`
        :param telemetry: observes the deliveries; None: nothing does
        :param may_use: returns whether this process may still send by a grant; any thread may call it
        """
        self._leases = leases = LaneLeases(channels)
        self._replica: Sharing | None = None
        """What is known of the replicas; None: no other process serves."""
        self._news: LaneNews | None = None
        self._follower: LaneFollower | None = None
        self._store = store
        self._clock = clock
        self._current = current
        agenda: Agenda[Lane] = Agenda(clock)
        self._table = LaneTable(channels, clock, agenda.request)
        running = RunningDeliveries()
        self._settled = running.settled
        self._self_alerts = SelfAlerts(
            store=store, clock=clock, metrics=metrics, policy=lambda: current().policy, lanes=self._table,
            settled=running.settled, duty=leases,
        )  # fmt: skip
        self._render_threads = Threads("render", _RENDER_THREADS)
        self._stopping = asyncio.Event()
        self._after_outcomes: list[Callable[[str], None]] = []
        context = LaneContext(
            store, clock, metrics, current, self._self_alerts, send_seconds, counting_since, self._render_threads,
            self._table.wake, self._outcome_recorded, self._stopping, may_use, telemetry or Telemetry(),
        )  # fmt: skip
        self._outages = OutageWatch(
            clock, self._self_alerts, lambda channel: current().alert_after.get(channel, 0), counting_since
        )
        self._dispatcher = Dispatcher(
            store=store, clock=clock, policy=lambda: current().policy, lanes=self._table, agenda=agenda,
            outages=self._outages, running=running, make_delivery=partial(Delivery, context),
        )  # fmt: skip
        self._served = ServedLanes(
            store=store, clock=clock, current=current, leases=leases, table=self._table, self_alerts=self._self_alerts,
            dispatcher=self._dispatcher,
        )  # fmt: skip
        self._actions = LaneActions(
            store=store, clock=clock, leases=leases, served=self._served, table=self._table, self_alerts=self._self_alerts
        )  # fmt: skip

    def after_outcomes(self, call: Callable[[str], None]) -> None:
        """Call a function with the key of the destination after each outcome that is stored."""
        self._after_outcomes.append(call)

    def _outcome_recorded(self, destination: str) -> None:
        if self._follower is not None:
            self._follower.outcome_recorded(destination)
        for call in self._after_outcomes:
            call(destination)

    async def serve(self, destinations: Iterable[Destination]) -> None:
        """Serve only these destinations from now on, within the limits in force. Where replicas share the work, that is what
        they do together: this process has the lanes whose leases it holds.

        A lane that stays keeps its pauses. But if its channel or its options have changed, the destination has possibly
        been repaired, so it is tried immediately.

        :raises StoreUnavailable: the reports of the last process can't be read, or a backoff can't be ended
        """
        await self._served.serve(destinations)

    # Leases.

    def share(self, sharing: Sharing, real_clock: Clock) -> None:
        """Serve only by leases from now on. Call it before :meth:`serve`, and run :meth:`follow`.

        :param sharing: what is known of the replicas
        :param real_clock: for waiting, also where tests move the service's clock
        """
        self._replica = sharing
        self._news = news = LaneNews(self._store, self._clock, sharing)
        self._served.share(sharing, news)
        self._follower = LaneFollower(
            store=self._store, clock=self._clock, real_clock=real_clock, leases=self._leases, served=self._served,
            table=self._table, self_alerts=self._self_alerts, news=news, actions=self._actions,
        )  # fmt: skip
        self._actions.share(news, real_clock, self._follower.changed)

    def wants(self) -> Iterable[str]:
        """Return the leases that the destinations need: one for each section of ``channels:``."""
        return self._leases.wants()

    async def gained(self, held: Held) -> None:
        """Open the lanes of a lease. :raises StoreUnavailable: see :meth:`serve`"""
        await self._served.gained(held)
        if self._follower is not None:  # its last holder may have left some unanswered
            self._follower.heard((ReplicaTopic.REQUESTS,))

    async def release(self, name: str) -> bool:
        """Begin nothing more in the lanes of a lease. Return True when nothing is under way there, and the database says for the
        next holder how far they are. If a delivery there takes longer than some seconds, go on as before, and return False.
        """
        released = await self._served.release(name)
        self._actions.stop_lost()
        return released

    def lost(self, name: str) -> None:
        """Cut off at once what is under way in the lanes of a lease."""
        self._served.lost(name)
        self._actions.stop_lost()

    async def follow(self) -> None:
        """Follow what other replicas do and ask, without end."""
        if self._follower is not None:
            await self._follower.follow()

    def renewed(self) -> None:
        """Look at everything that other replicas may have changed: the session was renewed."""
        if self._follower is not None:
            self._follower.renewed()

    def heard(self, notice: ReplicaNotice) -> None:
        """Look at what another replica tells."""
        self.wake_all() if notice.lanes is None else self.wake(notice.lanes)
        if self._follower is not None:
            self._follower.heard(notice.topics & {ReplicaTopic.LANES, ReplicaTopic.REQUESTS})

    def wake_all(self) -> None:
        """Look at every lane."""
        self._table.wake([lane.destination.key for lane in self._table])

    def wake(self, destinations: Iterable[str]) -> None:
        """Look at the lanes of these destinations, because something may be due there."""
        self._table.wake(destinations)

    async def claim_ahead(self) -> None:
        """See :meth:`router.deliver.dispatcher.Dispatcher.claim_ahead`. Call it just before a webhook is written."""
        await self._dispatcher.claim_ahead()

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

    async def pause(self, destination: str, by: str) -> PauseAnswer | None:
        """Send nothing to a destination until it is resumed, also after a restart. What is under way is still sent; what becomes
        due waits.

        :param by: the name of the operator
        :returns: since when it is paused; None: there is no such destination
        :raises StoreUnavailable: nothing was changed, or it is not known whether it was
        """
        return await self._actions.pause(destination, by)

    async def resume(self, destination: str) -> dict[str, str] | None:
        """End a destination's pause, also one by an operator, and its conversations' backoff, and try what is due next.

        :returns: the ``status`` (delivered, still broken, nothing was due to try, is being tried) and the
            ``reason``; None: there is no such destination
        :raises StoreUnavailable: nothing was changed, or it is not known whether it was
        """
        return await self._actions.resume(destination)

    def describe(self) -> list[dict[str, object]]:
        """Return the state of each lane, for ``/status`` and pages. Times are epoch milliseconds. A lane that another replica
        serves is as that replica has published it last.

        ``failing_since`` is the first failed attempt without a success after it. ``broken_since`` is the same, once the
        destination is reported. ``needs_repair``: the provider's answer means that only a person can repair it.
        ``succeeded_at`` is the last success that this process, or the replica that serves the lane, knows of.
        ``replica`` is the name of the replica that serves it; None: none does. ``alive``: it can be served; false of a lane of
        another replica if none has served it for longer than the term of a lease. ``is_here``: this process serves it.
        """
        now, name = self._clock.now(), None if self._replica is None else self._replica.name
        lanes = [lane for lane in self._table if not lane.is_closing]
        here = {
            lane.destination.key: {
                **self._describe(
                    lane.destination, report_of(lane, self._self_alerts), lane.operator_pause, now
                ),
                "alive": self._dispatcher.is_alive,
                "replica": name,
                "is_here": True,
            }
            for lane in lanes
        }
        return [*here.values(), *self._elsewhere(here.keys(), now)]

    def _elsewhere(self, here: Collection[str], now: Millis) -> Iterator[LaneFields]:
        """Yield the state of each lane that other replicas serve, or none."""
        if self._news is None:
            return
        holders = self._news.holders()
        for key, destination in self._leases.wanted.items():
            if key not in here:
                holder = holders.get(self._leases.lease_of(destination.channel), Holder(None))
                yield {
                    **self._describe(destination, self._news.report(key), self._actions.pause_of(key), now),
                    "alive": not holder.is_missing,
                    "replica": holder.name,
                    "is_here": False,
                }

    def _describe(
        self, destination: Destination, report: LaneReport, pause: OperatorPause | None, now: Millis
    ) -> LaneFields:
        limits = self._current().shared.get(self._leases.section_of(destination.channel))
        return describe_lane(destination, report, pause, None if limits is None else limits.rate, now)

    async def stop(self, within: Millis) -> None:
        """Send what is due now, for at most ``within`` milliseconds.

        Deliveries that have not begun by then wait for the next start. Deliveries that are cut off are sent again after it.
        """
        await self._actions.stop()
        await self._self_alerts.stop()
        self._stopping.set()
        await self._dispatcher.stop(within)
        self._render_threads.shutdown()
        await self._served.publish_last()


__all__ = ["Lanes", "PauseAnswer", "RuntimeConfig"]
