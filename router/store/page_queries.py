"""The queries of pages, the API and ``/status``. Every query runs on a reader's connection."""

from typing import Any

import sqlalchemy as sa

from router.decide import Severity
from router.model import Millis
from router.store import ledger, story, totals
from router.store.alert_detail import AlertDetail, read_alert
from router.store.alert_filters import AlertFilter
from router.store.alert_list import AlertPage, Position, list_alerts
from router.store.audit import AuditLine, audit_lines
from router.store.decision_list import DecisionFilter, DecisionPage, list_decisions
from router.store.firing_groups import GroupPage, GroupPosition, list_groups
from router.store.search import ALERTS_PER_PAGE, Found, Search, find_alerts
from router.store.story import Story
from router.store.totals import Total
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
from router.store.writer import Database


class PageQueries:
    """Read-only queries. Each one sees the database as it was at one moment.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def status(self) -> dict[str, Any]:
        """Return the ledger's counts over all time, see :func:`router.store.ledger.read_status`."""
        return await self._database.read(ledger.read_status)

    async def lanes(self, now: Millis) -> dict[str, dict[str, Any]]:
        """Return what is due and the number of dead letters by destination key, see :func:`router.store.totals.lanes`."""
        return await self._database.read(lambda c: totals.lanes(c, now))

    async def status_and_lanes(self, now: Millis) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Return :meth:`status` and :meth:`lanes` as they were at the same moment."""
        return await self._database.read(lambda c: (ledger.read_status(c), totals.lanes(c, now)))

    async def ledger(self, since: Millis | None, until: Millis | None) -> dict[str, Any]:
        """Return the ledger of a period, see :func:`router.store.ledger.ledger_of_period`."""
        return await self._database.read(lambda c: ledger.ledger_of_period(c, since, until))

    async def total(self, name: str) -> Total:
        """Return how many rows a list has, see :func:`router.store.totals.total`."""
        return await self._database.read(lambda c: totals.total(c, name))

    async def waiting(self) -> list[dict[str, Any]]:
        """Return firing alerts that a destination was not notified of, see :func:`router.store.ledger.waiting`."""
        return await self._database.read(ledger.waiting)

    async def decisions(self) -> list[dict[str, Any]]:
        """Return the newest fates, see :func:`router.store.ledger.decisions`."""
        return await self._database.read(ledger.decisions)

    async def attempts(self) -> list[dict[str, Any]]:
        """Return the newest delivery attempts, see :func:`router.store.ledger.attempts`."""
        return await self._database.read(ledger.attempts)

    async def dead_letters(self) -> list[dict[str, Any]]:
        """Return the unsettled dead letters, see :func:`router.store.ledger.unsettled_dead_letters`."""
        return await self._database.read(ledger.unsettled_dead_letters)

    async def find_alerts(
        self, search: Search, before: int | None = None, limit: int = ALERTS_PER_PAGE
    ) -> Found:
        """Return a page of alerts, newest first.

        :param before: the cursor that the previous page returned; None: the first page
        """
        return await self._database.read(lambda c: find_alerts(c, search, before, limit))

    async def story(
        self, alert: int, before: int | None = None, limit: int = story.CHANGES_PER_PAGE
    ) -> Story | None:
        """Return the last changes of an alert and all that followed from them; None: there is no such alert.

        :param before: the cursor that the page with the next later changes returned; None: the newest changes
        """
        return await self._database.read(lambda c: story.story_of(c, alert, before, limit))

    async def message(self, delivery: int) -> dict[str, Any] | None:
        """Return what a delivery sent, see :func:`router.store.story.message`; None: no message is kept."""
        return await self._database.read(lambda c: story.message(c, delivery))

    async def body(self, webhook: int) -> bytes | None:
        """Return the body of an accepted webhook; None: there is none, or it was pruned."""
        return await self._database.read(lambda c: story.body(c, webhook))

    async def quarantined(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return the newest quarantined bodies, see :func:`router.store.ledger.quarantined`."""
        return await self._database.read(lambda c: ledger.quarantined(c, limit))

    async def quarantined_body(self, number: int) -> bytes | None:
        """Return a quarantined body, whole and as it was received; None: no body of this id is in quarantine."""
        return await self._database.read(lambda c: ledger.quarantined_body(c, number))

    async def actions(self, before: int | None, limit: int) -> tuple[list[AuditLine], Total]:
        """Return the newest actions with a smaller id than ``before`` (None: the newest of all), and how many there are."""
        return await self._database.read(
            lambda c: (audit_lines(c, before, limit), totals.total(c, "actions"))
        )

    async def alerts(
        self, which: AlertFilter, severity: Severity, after: Position | None, limit: int
    ) -> tuple[AlertPage, dict[int, InhibitingAlert]]:
        """Return a page of alerts, see :func:`router.store.alert_list.list_alerts`, and the alerts that mute them by member."""

        def read(connection: sa.Connection) -> tuple[AlertPage, dict[int, InhibitingAlert]]:
            page = list_alerts(connection, which, severity, after, limit)
            states = [state for each in page.alerts for state in each.destinations]
            return page, inhibiting_alerts(connection, states)

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
        """Return what waits in numbers, see :func:`router.store.waiting_alerts.waiting_summary`."""
        return await self._database.read(waiting_summary)

    async def newest_decisions(self, which: DecisionFilter, before: int | None, limit: int) -> DecisionPage:
        """Return a page of decisions, see :func:`router.store.decision_list.list_decisions`."""
        return await self._database.read(lambda c: list_decisions(c, which, before, limit))
