"""The queries of pages about alerts: lists, stories, decisions. Every query runs on a reader's connection."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa

from router.decide import Severity
from router.model import Labels, Millis
from router.store import (
    firing_sources,
    ledger,
    story,
)
from router.store.alert_detail import AlertDetail, read_alert
from router.store.alert_filters import AlertFilter
from router.store.alert_list import AlertPage, Position, list_alerts
from router.store.database import Database
from router.store.decision_list import DecisionFilter, DecisionPage, list_decisions
from router.store.firing_groups import GroupPage, GroupPosition, list_groups
from router.store.firing_sources import SourceKey
from router.store.rule_counts import RuleCounts, count_by_rule
from router.store.search import ALERTS_PER_PAGE, Found, Search, find_alerts
from router.store.shared_reading import SharedReading
from router.store.snapshot import KnownAlert
from router.store.story import Story
from router.store.waiting_alerts import (
    InhibitingAlert,
    WaitingFilter,
    WaitingPage,
    WaitingPosition,
    WaitingSummary,
    inhibiting_alerts,
    list_waiting,
    waiting_summary,
)

T = TypeVar("T")
# Counting more members than this takes more than a few milliseconds.
_MANY_MEMBERS = 2_000
_MAX_SHARED, MAX_SHARED_ROWS = 8, 50
"""How many readings are kept in memory, and how many rows each may have."""
_MAX_AGE_SECONDS = 1.0
"""How old a shared reading may be that shows the present state."""


class AlertPageQueries:
    """Read-only queries about alerts. Each one sees the database as it was at one moment.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._shared: dict[tuple[Any, ...], SharedReading[Any]] = {}
        """The readings of the first pages that most people look at, by what was asked."""
        self._rule_counts = SharedReading(
            lambda: database.read(count_by_rule),
            lambda: database.commits,
            lambda found: found.size > _MANY_MEMBERS,
            max_age=_MAX_AGE_SECONDS,
        )

    async def _read_shared(self, key: tuple[Any, ...], work: Callable[[sa.Connection], T]) -> T:
        """Return the result of a query that all who ask the same share, as long as nothing is committed, and for a second
        at most. A page refreshes itself after a change, so all browsers ask for it in the same moment.

        :param key: the name of the query, and its parameters
        """
        if key not in self._shared:
            if len(self._shared) >= _MAX_SHARED:
                self._shared.clear()
            self._shared[key] = SharedReading(
                lambda: self._database.read(work), lambda: self._database.commits, max_age=_MAX_AGE_SECONDS
            )
        found: T = await self._shared[key].get()
        return found

    async def alerts_of_changes(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the number of the alert of each of these changes."""
        return await self._database.read(lambda c: ledger.alerts_of_changes(c, numbers))

    async def waiting(self) -> list[dict[str, Any]]:
        """Return firing alerts that a destination was not notified of, see :func:`router.store.ledger.waiting`."""
        return await self._database.read(ledger.waiting)

    async def decisions(self) -> list[dict[str, Any]]:
        """Return the newest fates, see :func:`router.store.ledger.decisions`."""
        return await self._database.read(ledger.decisions)

    async def find_alerts(
        self, search: Search, before: int | None = None, limit: int = ALERTS_PER_PAGE
    ) -> Found:
        """Return a page of alerts, newest first.

        :param before: the cursor that the previous page returned; None: the first page
        """
        return await self._database.read(lambda c: find_alerts(c, search, before, limit))

    async def rule_counts(self) -> RuleCounts:
        """Return what the rules decided about all alerts that fire now, see :mod:`router.store.rule_counts`. If there are
        many, the result can be some seconds old.
        """
        return await self._rule_counts.get()

    async def firing_sources(self, keys: Collection[SourceKey]) -> Mapping[SourceKey, Labels]:
        """Return, for each key, a firing alert that mutes other alerts, see :func:`router.store.firing_sources.find_sources`."""
        return await self._database.read(lambda c: firing_sources.find_sources(c, keys)) if keys else {}

    async def known_alerts(self, search: Search, limit: int) -> tuple[tuple[KnownAlert, ...], bool]:
        """Return the newest alerts that a search finds, see :func:`router.store.firing_sources.known_alerts`."""
        return await self._database.read(lambda c: firing_sources.known_alerts(c, search, limit))

    async def story(
        self, alert: int, before: int | None = None, limit: int = story.CHANGES_PER_PAGE
    ) -> Story | None:
        """Return the last changes of an alert and all that followed from them; None: there is no such alert.

        :param before: the cursor that the page with the next later changes returned; None: the newest changes
        """
        return await self._database.read(lambda c: story.story_of(c, alert, before, limit))

    async def first_change_after(self, alert: int, at: Millis) -> int | None:
        """Return the cursor of an alert's story at a moment, see :func:`router.store.story.first_change_after`."""
        return await self._database.read(lambda c: story.first_change_after(c, alert, at))

    async def alerts(
        self, which: AlertFilter, severity: Severity, after: Position | None, limit: int
    ) -> tuple[AlertPage, dict[int, InhibitingAlert]]:
        """Return a page of alerts, see :func:`router.store.alert_list.list_alerts`, and the alerts that mute them by member."""

        def read(connection: sa.Connection) -> tuple[AlertPage, dict[int, InhibitingAlert]]:
            page = list_alerts(connection, which, severity, after, limit)
            states = [state for each in page.alerts for state in each.destinations]
            return page, inhibiting_alerts(connection, states)

        if which == AlertFilter(which.status) and after is None and limit <= MAX_SHARED_ROWS:
            return await self._read_shared(("alerts", which.status, severity, limit), read)
        return await self._database.read(read)

    async def alert_groups(
        self, which: AlertFilter, severity: Severity, after: GroupPosition | None, limit: int
    ) -> tuple[GroupPage, dict[int, InhibitingAlert]]:
        """Return a page of the groups that fire, see :func:`router.store.firing_groups.list_groups`, and the alerts that
        mute their alerts by member.
        """

        def read(connection: sa.Connection) -> tuple[GroupPage, dict[int, InhibitingAlert]]:
            page = list_groups(connection, which, severity, after, limit)
            states = [state for group in page.groups for each in group.alerts for state in each.destinations]
            return page, inhibiting_alerts(connection, states)

        if which == AlertFilter() and after is None and limit <= MAX_SHARED_ROWS:
            return await self._read_shared(("groups", severity, limit), read)
        return await self._database.read(read)

    async def alert(self, alert: int) -> AlertDetail | None:
        """Return one alert with its destinations; None: there is no such alert."""
        return await self._database.read(lambda c: read_alert(c, alert))

    async def waiting_alerts(
        self, which: WaitingFilter, severity: Severity, after: WaitingPosition | None, limit: int
    ) -> tuple[WaitingPage, dict[int, InhibitingAlert]]:
        """Return a page of what waits, see :func:`router.store.waiting_alerts.list_waiting`, and the alerts that mute it by
        member.
        """

        def read(connection: sa.Connection) -> tuple[WaitingPage, dict[int, InhibitingAlert]]:
            page = list_waiting(connection, which, severity, after, limit)
            return page, inhibiting_alerts(connection, [each.state for each in page.rows])

        return await self._database.read(read)

    async def waiting_summary(self) -> WaitingSummary:
        """Return what waits in numbers, see :func:`router.store.waiting_alerts.waiting_summary`. All who ask share a
        reading, for a second at most, as long as nothing is committed.
        """
        return await self._read_shared(("waiting summary",), waiting_summary)

    async def newest_decisions(self, which: DecisionFilter, before: int | None, limit: int) -> DecisionPage:
        """Return a page of decisions, see :func:`router.store.decision_list.list_decisions`."""
        return await self._database.read(lambda c: list_decisions(c, which, before, limit))
