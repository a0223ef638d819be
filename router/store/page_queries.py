"""The queries of pages, the API and ``/status``. Every query runs on a reader's connection."""

from collections.abc import Collection, Mapping
from typing import Any

from router.model import Labels, Millis
from router.store import digest_reports, firing_sources, ledger, story, totals
from router.store.audit import AuditLine, audit_lines
from router.store.digest_reports import OpenSlot, SentSlot
from router.store.firing_sources import SourceKey
from router.store.rule_counts import RuleCounts, count_by_rule
from router.store.search import ALERTS_PER_PAGE, Found, Search, find_alerts
from router.store.shared_reading import SharedReading
from router.store.snapshot import KnownAlert
from router.store.story import Story
from router.store.totals import Total
from router.store.writer import Database

# Counting more members than this takes more than a few milliseconds.
_MANY_MEMBERS = 2_000


class PageQueries:
    """Read-only queries. Each one sees the database as it was at one moment.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rule_counts = SharedReading(
            lambda: database.read(count_by_rule),
            lambda: database.commits,
            lambda found: found.size > _MANY_MEMBERS,
        )

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

    async def rule_counts(self) -> RuleCounts:
        """Return what the rules decided about all alerts that fire now, see :mod:`router.store.rule_counts`. If there are
        many, the result can be some seconds old.
        """
        return await self._rule_counts.get()

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

    async def firing_sources(self, keys: Collection[SourceKey]) -> Mapping[SourceKey, Labels]:
        """Return a firing alert that mutes others for each key, see :func:`router.store.firing_sources.find_sources`."""
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
