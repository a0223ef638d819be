"""The queries of pages, the API and ``/status``. Every query runs on a reader's connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

from router.model import Millis
from router.store import ledger, load_history, quarantined_bodies, story, totals
from router.store.audit import AuditLine, audit_lines
from router.store.health import StoreBusy, StoreUnavailable
from router.store.load_history import LoadLine, StoredLoad
from router.store.quarantined_bodies import BodyBegin, QuarantinedBody
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

    async def ledger(self, since: Millis | None, until: Millis | None) -> dict[str, Any]:
        """Return the ledger of a period, see :func:`router.store.ledger.ledger_of_period`. It reads all changes of the period,
        so only one is counted at a time.

        :raises StoreBusy: another one is being counted
        """
        if self._counting:
            raise StoreBusy("the ledger of a period is being counted already; try again in a moment")
        self._counting = True
        try:
            return await self._database.read(lambda c: ledger.ledger_of_period(c, since, until))
        finally:
            self._counting = False

    async def alerts_of_changes(self, numbers: Sequence[int]) -> dict[int, int]:
        """Return the number of the alert of each of these changes."""
        return await self._database.read(lambda c: ledger.alerts_of_changes(c, numbers))

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
