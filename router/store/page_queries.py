"""The queries of pages, the API and ``/status``. Every query runs on a reader's connection."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from functools import partial
from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.store import (
    digest_reports,
    ledger,
    load_history,
    quarantined_bodies,
    story,
    totals,
)
from router.store.alert_page_queries import MAX_SHARED_ROWS, AlertPageQueries
from router.store.audit import AuditLine, audit_lines
from router.store.database import Database
from router.store.dead_letter_list import (
    DeadLetterPage,
    DeadLetterPosition,
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
from router.store.destination_history import (
    DestinationHistory,
    destination_histories,
    unsent_ends,
    used_destinations,
)
from router.store.digest_reports import OpenSlot, SentSlot
from router.store.health import StoreBusy, StoreUnavailable
from router.store.load_history import LoadLine, StoredLoad
from router.store.objective_hours import (
    ObjectiveCount,
    Overdue,
    count_days,
    count_objectives,
    first_counted_hour,
    read_overdue,
)
from router.store.quarantined_bodies import BodyBegin, QuarantinedBody
from router.store.stored_trouble import StoredTrouble, StoredTroubleReader
from router.store.totals import Total


class PageQueries(AlertPageQueries):
    """Read-only queries about deliveries, destinations, the ledger and what is stored, and those about alerts."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._stored_trouble = StoredTroubleReader(database)
        self._counting = False
        """The ledger of a period is being counted."""
        self._body_reads = asyncio.Semaphore(2)

    async def status(self) -> dict[str, Any]:
        """Return the ledger's counts over all time, see :func:`router.store.ledger.read_status`."""
        return await self._database.read(ledger.read_status)

    async def lanes(self, now: Millis) -> dict[str, dict[str, Any]]:
        """Return what is due and the number of dead letters by destination key, see :func:`router.store.totals.lanes`."""
        return await self._database.read(lambda c: totals.lanes(c, now))

    async def status_and_lanes(self, now: Millis) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Return :meth:`status` and :meth:`lanes` as they were at the same moment."""
        return await self._database.read(lambda c: (ledger.read_status(c), totals.lanes(c, now)))

    async def lanes_and_used_destinations(
        self, now: Millis
    ) -> tuple[dict[str, dict[str, Any]], frozenset[str]]:
        """Return :meth:`lanes`, and :func:`router.store.destination_history.used_destinations`."""
        return await self._database.read(lambda c: (totals.lanes(c, now), used_destinations(c)))

    async def destination_histories(self, destinations: Sequence[str]) -> dict[str, DestinationHistory]:
        """Return how deliveries went lately, see :func:`router.store.destination_history.destination_histories`."""
        return await self._database.read(lambda c: destination_histories(c, destinations))

    async def unsent_ends(self, destinations: Sequence[str]) -> dict[str, int]:
        """Return how many ends destinations wait for, see :func:`router.store.destination_history.unsent_ends`."""
        return await self._database.read(lambda c: unsent_ends(c, destinations))

    async def troubles(self) -> StoredTrouble:
        """Return what the database knows that is wrong, see :func:`router.store.stored_trouble.read_stored_trouble`."""
        return await self._stored_trouble.read()

    async def status_of_tenant(self, tenant: str) -> dict[str, Any]:
        """Return the same of one tenant, see :func:`router.store.ledger.read_status_of_tenant`."""
        return await self._database.read(lambda c: ledger.read_status_of_tenant(c, tenant))

    async def ledger(
        self, since: Millis | None, until: Millis | None, tenant: str | None = None
    ) -> dict[str, Any]:
        """Return the ledger of a period, see :func:`router.store.ledger.ledger_of_period`. It reads all changes of the period,
        so only one is counted at a time.

        :raises StoreBusy: another one is being counted
        """
        if self._counting:
            raise StoreBusy("the ledger of a period is being counted already; try again in a moment")
        self._counting = True
        try:
            return await self._database.read(lambda c: ledger.ledger_of_period(c, since, until, tenant))
        finally:
            self._counting = False

    async def total(self, name: str) -> Total:
        """Return how many rows a list has, see :func:`router.store.totals.total`."""
        return await self._database.read(lambda c: totals.total(c, name))

    async def deliveries(
        self, wanted: DeliveryFilter = EVERY_DELIVERY, before: int | None = None, limit: int = 50
    ) -> DeliveryPage:
        """Return a page of deliveries, newest first, see :func:`router.store.delivery_list.list_deliveries`."""
        if wanted == EVERY_DELIVERY and before is None and limit <= MAX_SHARED_ROWS:
            return await self._read_shared(
                ("deliveries", limit), lambda c: list_deliveries(c, EVERY_DELIVERY, None, limit)
            )
        return await self._database.read(lambda c: list_deliveries(c, wanted, before, limit))

    async def delivery(
        self, number: int, max_alerts: int
    ) -> tuple[DeliveryDetails | None, dict[str, Any] | None]:
        """Return a delivery, see :func:`router.store.delivery_list.read_delivery`, and what it sent, see
        :func:`router.store.story.message`. None: there is no delivery with this id; no message is kept.
        """

        def read(connection: sa.Connection) -> tuple[DeliveryDetails | None, dict[str, Any] | None]:
            found = read_delivery(connection, number, max_alerts)
            is_kept = found is not None and found.row["message"]
            return found, story.message(connection, number) if is_kept else None

        return await self._database.read(read)

    async def delivery_hours(
        self, since: Millis, until: Millis, destinations: tuple[str, ...] = ()
    ) -> list[dict[str, Any]]:
        """Return how many deliveries ended in each hour, see :func:`router.store.delivery_hours.read_hours`."""
        return await self._read_shared(
            ("hours", since, until, destinations), lambda c: read_hours(c, since, until, destinations)
        )

    async def objectives(
        self, starts: tuple[Millis, ...], urgent_before: Millis, any_before: Millis
    ) -> tuple[list[ObjectiveCount], Millis | None, Overdue]:
        """Return the events of all objectives, the first hour that has counts, and what is overdue, see
        :mod:`router.store.objective_hours`.
        """

        def read(connection: sa.Connection) -> tuple[list[ObjectiveCount], Millis | None, Overdue]:
            return (
                count_objectives(connection, starts),
                first_counted_hour(connection),
                read_overdue(connection, urgent_before, any_before),
            )

        return await self._database.read(read)

    async def objective_days(self, since: Millis, tenant: str | None) -> list[tuple[str, Millis, int, int]]:
        """Return the events of objectives by day, see :func:`router.store.objective_hours.count_days`."""
        return await self._database.read(lambda c: count_days(c, since, tenant))

    async def dead_letters(
        self, destinations: tuple[str, ...] = (), after: DeadLetterPosition | None = None, limit: int = 50
    ) -> DeadLetterPage:
        """Return a page of unsettled dead letters, see :func:`router.store.dead_letter_list.list_dead_letters`."""
        return await self._database.read(lambda c: list_dead_letters(c, destinations, after, limit))

    async def dead_letter(self, number: int, max_alerts: int) -> dict[str, Any] | None:
        """Return a dead letter, see :func:`router.store.dead_letter_list.read_dead_letter`; None: there is none with
        this id.
        """
        return await self._database.read(lambda c: read_dead_letter(c, number, max_alerts))

    async def count_unsettled(self, destinations: tuple[str, ...]) -> Total:
        """Return how many unsettled dead letters these destinations have. Without destinations, all are counted."""
        return await self._database.read(lambda c: count_unsettled(c, destinations))

    async def unsettled_ids(
        self, destinations: tuple[str, ...], after: DeadLetterPosition | None, limit: int
    ) -> list[DeadLetterPosition]:
        """Return the next unsettled dead letters, see :func:`router.store.dead_letter_list.unsettled_ids`."""
        return await self._database.read(lambda c: unsettled_ids(c, destinations, after, limit))

    async def open_and_latest_slots(
        self, destinations: Collection[str], count: int
    ) -> tuple[list[OpenSlot], dict[str, list[SentSlot]]]:
        """Return the slots of all digests that are not sent yet, and the newest sent slots of some digests."""
        return await self._database.read(
            lambda c: (
                digest_reports.open_slots(c),
                digest_reports.latest_slots(c, destinations, count),
            )
        )

    async def sent_slots(
        self, destination: str, before: int | None, limit: int
    ) -> tuple[list[SentSlot], Total]:
        """Return a page of the sent slots of a digest, see :func:`router.store.digest_reports.sent_slots`; and how many
        there are.
        """
        return await self._database.read(
            lambda c: (
                digest_reports.sent_slots(c, destination, before, limit),
                digest_reports.count_sent_slots(c, destination),
            )
        )

    async def message(self, delivery: int) -> dict[str, Any] | None:
        """Return what a delivery sent, see :func:`router.store.story.message`; None: no message is kept."""
        return await self._database.read(lambda c: story.message(c, delivery))

    async def body(self, webhook: int) -> bytes | None:
        """Return the body of an accepted webhook; None: there is none, or it was pruned."""
        return await self._database.read(lambda c: story.body(c, webhook))

    async def quarantined(
        self, source: str | None = None, before: int | None = None, limit: int = 100
    ) -> tuple[list[QuarantinedBody], Total]:
        """Return the newest quarantined bodies that are not settled, and how many there are.

        :param source: only those of this source; None: of all
        :param before: only those with a smaller id; None: all. They count nevertheless
        """
        return await self._database.read(
            lambda c: (
                quarantined_bodies.quarantined(c, source, before, limit),
                quarantined_bodies.count_quarantined(c, source),
            )
        )

    async def quarantined_body(self, number: int) -> QuarantinedBody | None:
        """Return what is known about a quarantined body, settled or not; None: there is none of this id."""
        return await self._database.read(lambda c: quarantined_bodies.find_body(c, number))

    async def body_begin(self, number: int) -> BodyBegin | None:
        """Return how a quarantined body begins, see :func:`router.store.quarantined_bodies.body_begin`."""
        return await self._database.read(lambda c: quarantined_bodies.body_begin(c, number))

    async def body_pieces(self, body: QuarantinedBody) -> AsyncIterator[bytes]:
        """Yield a quarantined body in pieces, as it was received. To read a piece, a database reads the whole body, so only
        two pieces are read at a time.
        """
        for offset in range(0, body.size, quarantined_bodies.PIECE_BYTES):
            async with self._body_reads:
                piece = await self._database.read(
                    partial(quarantined_bodies.body_piece, number=body.id, offset=offset)
                )
            if not piece:
                raise StoreUnavailable("the body was deleted while it was read")
            yield piece

    async def loads(self, before: int | None, limit: int) -> tuple[list[LoadLine], Total]:
        """Return the newest loads of routes.yaml with a smaller id than ``before`` (None: the newest of all), and how many
        there are.
        """
        return await self._database.read(lambda c: load_history.load_lines(c, before, limit))

    async def load(self, number: int) -> tuple[StoredLoad, StoredLoad | None] | None:
        """Return a load and the good one before it, see :func:`router.store.load_history.find_load`."""
        return await self._database.read(lambda c: load_history.find_load(c, number))

    async def load_of(self, sha256: str) -> StoredLoad | None:
        """Return the last load that put these files in force; None: it is not kept."""
        return await self._database.read(lambda c: load_history.load_of(c, sha256))

    async def actions(self, before: int | None, limit: int) -> tuple[list[AuditLine], Total]:
        """Return the newest actions with a smaller id than ``before`` (None: the newest of all), and how many there are."""
        return await self._database.read(
            lambda c: (audit_lines(c, before, limit), totals.total(c, "actions"))
        )
