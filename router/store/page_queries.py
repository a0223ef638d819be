"""The queries of pages, the API and ``/status``. Every query runs on a reader's connection."""

from typing import Any

from router.model import Millis
from router.store import ledger, story, totals
from router.store.audit import AuditLine, audit_lines
from router.store.dead_letter_list import (
    DeadLetterPage,
    Position,
    count_unsettled,
    list_dead_letters,
    read_dead_letter,
    unsettled_ids,
)
from router.store.delivery_hours import read_hours
from router.store.delivery_list import (
    EVERY_DELIVERY,
    DeliveryDetails,
    DeliveryFilter,
    DeliveryPage,
    list_deliveries,
    read_delivery,
)
from router.store.search import ALERTS_PER_PAGE, Found, Search, find_alerts
from router.store.story import Story
from router.store.totals import Total
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

    async def deliveries(
        self, wanted: DeliveryFilter = EVERY_DELIVERY, before: int | None = None, limit: int = 50
    ) -> DeliveryPage:
        """Return a page of deliveries, newest first, see :func:`router.store.delivery_list.list_deliveries`."""
        return await self._database.read(lambda c: list_deliveries(c, wanted, before, limit))

    async def delivery(self, number: int, max_alerts: int) -> DeliveryDetails | None:
        """Return a delivery, see :func:`router.store.delivery_list.read_delivery`; None: there is none with this id."""
        return await self._database.read(lambda c: read_delivery(c, number, max_alerts))

    async def delivery_hours(
        self, since: Millis, until: Millis, destinations: tuple[str, ...] = ()
    ) -> list[dict[str, Any]]:
        """Return how many deliveries ended in each hour, see :func:`router.store.delivery_hours.read_hours`."""
        return await self._database.read(lambda c: read_hours(c, since, until, destinations))

    async def dead_letters(
        self, destinations: tuple[str, ...] = (), after: Position | None = None, limit: int = 50
    ) -> DeadLetterPage:
        """Return a page of unsettled dead letters, see :func:`router.store.dead_letter_list.list_dead_letters`."""
        return await self._database.read(lambda c: list_dead_letters(c, destinations, after, limit))

    async def dead_letter(self, number: int, max_alerts: int) -> dict[str, Any] | None:
        """Return a dead letter, see :func:`router.store.dead_letter_list.read_dead_letter`; None: there is none with
        this id.
        """
        return await self._database.read(lambda c: read_dead_letter(c, number, max_alerts))

    async def count_unsettled(self, destinations: tuple[str, ...]) -> Total:
        """Return how many unsettled dead letters these destinations have; no destination: how many there are."""
        return await self._database.read(lambda c: count_unsettled(c, destinations))

    async def unsettled_ids(
        self, destinations: tuple[str, ...], after: Position | None, limit: int
    ) -> list[Position]:
        """Return the next unsettled dead letters, see :func:`router.store.dead_letter_list.unsettled_ids`."""
        return await self._database.read(lambda c: unsettled_ids(c, destinations, after, limit))

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
