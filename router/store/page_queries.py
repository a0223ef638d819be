"""The queries of pages, the API and ``/status``. Every query runs on a reader's connection."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from router.decide import Severity
from router.model import Labels, Millis
from router.store import (
    digest_reports,
    firing_sources,
    ledger,
    load_history,
    quarantined_bodies,
    story,
    totals,
)
from router.store.alert_detail import AlertDetail, read_alert
from router.store.alert_filters import AlertFilter
from router.store.alert_list import AlertPage, Position, list_alerts
from router.store.audit import AuditLine, audit_lines
from router.store.dead_letter_list import (
    DeadLetterPage,
    DeadLetterPosition,
    count_unsettled,
    list_dead_letters,
    read_dead_letter,
    unsettled_ids,
)
from router.store.decision_list import DecisionFilter, DecisionPage, list_decisions
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
from router.store.firing_groups import GroupPage, GroupPosition, list_groups
from router.store.firing_sources import SourceKey
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
from router.store.rule_counts import RuleCounts, count_by_rule
from router.store.search import ALERTS_PER_PAGE, Found, Search, find_alerts
from router.store.shared_reading import SharedReading
from router.store.snapshot import KnownAlert
from router.store.stored_trouble import StoredTrouble, StoredTroubleReader
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

T = TypeVar("T")
# Counting more members than this takes more than a few milliseconds.
_MANY_MEMBERS = 2_000
_MAX_SHARED, _MAX_SHARED_ROWS = 8, 50
"""How many readings are kept in memory, and how many rows each may have."""
_MAX_AGE_SECONDS = 1.0
"""How old a shared reading may be that shows the present state."""


class PageQueries:
    """Read-only queries. Each one sees the database as it was at one moment.

    Every method raises :class:`~router.store.health.StoreUnavailable` if the database can't be read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stored_trouble = StoredTroubleReader(database)
        self._counting = False
        """The ledger of a period is being counted."""
        self._body_reads = asyncio.Semaphore(2)
        self._shared: dict[tuple[Any, ...], SharedReading[Any]] = {}
        """The readings of the first pages that most people look at, by what was asked."""
        self._rule_counts = SharedReading(
            lambda: database.read(count_by_rule),
            lambda: database.commits,
            lambda found: found.size > _MANY_MEMBERS,
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

    async def deliveries(
        self, wanted: DeliveryFilter = EVERY_DELIVERY, before: int | None = None, limit: int = 50
    ) -> DeliveryPage:
        """Return a page of deliveries, newest first, see :func:`router.store.delivery_list.list_deliveries`."""
        if wanted == EVERY_DELIVERY and before is None and limit <= _MAX_SHARED_ROWS:
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

    async def alerts(
        self, which: AlertFilter, severity: Severity, after: Position | None, limit: int
    ) -> tuple[AlertPage, dict[int, InhibitingAlert]]:
        """Return a page of alerts, see :func:`router.store.alert_list.list_alerts`, and the alerts that mute them by member."""

        def read(connection: sa.Connection) -> tuple[AlertPage, dict[int, InhibitingAlert]]:
            page = list_alerts(connection, which, severity, after, limit)
            states = [state for each in page.alerts for state in each.destinations]
            return page, inhibiting_alerts(connection, states)

        if which == AlertFilter(which.status) and after is None and limit <= _MAX_SHARED_ROWS:
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

        if which == AlertFilter() and after is None and limit <= _MAX_SHARED_ROWS:
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
