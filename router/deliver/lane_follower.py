"""Keeps up to date: the lanes here, what is known of lanes of other replicas, pauses, requests, and what is due."""

import asyncio
from collections.abc import Collection

import structlog

from router.clock import Clock, wait_elapsed
from router.deliver.lane_actions import LaneActions
from router.deliver.lane_description import report_of
from router.deliver.lane_news import LaneNews
from router.deliver.lane_table import LaneTable
from router.deliver.self_alerts import SelfAlerts
from router.deliver.served_lanes import LaneLeases, ServedLanes
from router.model import SECOND, Millis
from router.store import ReplicaTopic, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# How often it looks while notices do not come in, and how often it publishes at most.
_LOOK_EVERY: Millis = SECOND
# How often it looks if the session is not renewed.
_LOOK_AT_LEAST_EVERY: Millis = 10 * SECOND
_DESTINATIONS_PER_QUERY = 1_000


class LaneFollower:
    """Looks at the database with each renewal of the session, and at once when a notice comes in."""

    def __init__(  # noqa: PLR0913  (each is a part of its own)
        self, *, store: Store, clock: Clock, real_clock: Clock, leases: LaneLeases, served: ServedLanes, table: LaneTable,
        self_alerts: SelfAlerts, news: LaneNews, actions: LaneActions,
    ) -> None:  # fmt: skip
        """:param real_clock: for waiting, also where tests move the service's clock"""
        self._store = store
        self._clock = clock
        self._real_clock = real_clock
        self._leases = leases
        self._served = served
        self._table = table
        self._self_alerts = self_alerts
        self._news = news
        self._actions = actions
        self._soon = asyncio.Event()
        self._topics: set[str] = set()
        self._is_urgent = False
        """Other replicas are to know of a change here now, and not only with the next renewal."""
        self._published_at: Millis = 0
        """By the real monotonic clock."""

    def renewed(self) -> None:
        """Look at everything: the session was renewed."""
        self.heard((ReplicaTopic.LEASES, ReplicaTopic.LANES, ReplicaTopic.REQUESTS))

    def heard(self, topics: Collection[str]) -> None:
        """Look at what another replica tells, see :class:`router.store.ReplicaTopic`."""
        if topics:
            self._topics.update(topics)
            self._soon.set()

    def changed(self) -> None:
        """Publish now what has changed at the lanes here, and look for requests."""
        self._is_urgent = True
        self.heard((ReplicaTopic.REQUESTS,))

    def outcome_recorded(self, destination: str) -> None:
        """Publish a long pause that has just begun, or has ended early."""
        lane, held = self._table.open(destination), self._leases.held or {}
        if lane is not None and lane.grant is not None and lane.grant.name in held:
            report = report_of(lane, self._self_alerts)
            if self._news.must_publish_now(lane.grant, destination, report):
                self._is_urgent = True
                self._soon.set()

    async def follow(self) -> None:
        """Keep everything up to date, without end."""
        while True:
            self._soon.clear()
            now = self._real_clock.elapsed()
            if not self._store.is_hearing:
                self.renewed()
            topics, self._topics = frozenset(self._topics), set()
            try:
                await self._look(topics, now)
            except StoreUnavailable:  # the store logs it
                self._topics |= topics
                await wait_elapsed(self._real_clock, asyncio.Event(), now + _LOOK_EVERY)
                continue
            except Exception:  # the next look is to come
                log.exception("the lanes of other replicas could not be followed")
            wait = _LOOK_AT_LEAST_EVERY if self._store.is_hearing and not self._is_urgent else _LOOK_EVERY
            await wait_elapsed(self._real_clock, self._soon, now + wait)

    async def _look(self, topics: frozenset[str], now: Millis) -> None:
        """:param now: of the real monotonic clock"""
        is_renewed = ReplicaTopic.LEASES in topics
        if ReplicaTopic.REQUESTS in topics:
            self._actions.look_for_answers()
            await self._actions.follow_pauses()
            await self._actions.answer_requests()
        if is_renewed or (self._is_urgent and now - self._published_at >= _LOOK_EVERY):
            await self._publish()
            self._published_at = now
        if ReplicaTopic.LANES in topics and len(self._leases.here()) < len(self._leases.wanted):
            await self._news.refresh()
        if is_renewed:
            await self._wake_due()

    async def _publish(self) -> None:
        self._is_urgent, was_urgent = False, self._is_urgent
        wanted, leases = self._leases.wanted, self._leases
        known = [each for each in self._news.destinations() if each not in wanted]
        try:
            await self._news.publish(
                self._served.states(), [each for each in known if leases.is_responsible(each)]
            )
        except StoreUnavailable:
            self._is_urgent = was_urgent
            raise

    async def _wake_due(self) -> None:
        """Wake the lanes at which something is due without a notice."""
        lanes = [each.destination.key for each in self._table if each.relies_on_notices]
        for first in range(0, len(lanes), _DESTINATIONS_PER_QUERY):
            some = lanes[first : first + _DESTINATIONS_PER_QUERY]
            self._table.wake(await self._store.due_destinations(some, self._clock.now()))
