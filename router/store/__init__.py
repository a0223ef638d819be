"""The store: everything that must survive a restart, behind one object. See ``schema`` for the tables."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from functools import partial

from router.clock import DatabaseClock
from router.core.accept import Receipt
from router.core.adopt import Adoption, Phase
from router.core.claimed_delivery import ClaimedDelivery
from router.core.dead_letter_settling import DeliveryUnderWay
from router.core.head import Grant
from router.core.presence import Answer, Reported
from router.core.record import Recorded
from router.core.staleness import Listening
from router.core.storms import Limits
from router.core.uptime import BEAT
from router.decide import Policy
from router.model import (
    Alert,
    Conversation,
    Destination,
    Millis,
    Outcome,
    Retention,
    Webhook,
)
from router.store import (
    delivery_hours,
    jobs,
    objective_hours,
    prune_rules,
    quarantined_bodies,
    retention,
    starts,
    troubles,
)
from router.store.audit import Audit, AuditLine
from router.store.backend import LONGEST_BATCH
from router.store.background_findings import BackgroundFindings, StoredFindings
from router.store.balance import Balance, recent_balance, whole_balance
from router.store.claiming import Claiming
from router.store.database import WORKS_BY, Database
from router.store.disk_usage import DiskUsage
from router.store.health import (
    RETRY_AFTER_FAILED_WRITE,
    CountError,
    RulesReplaced,
    StoreBusy,
    StoreUnavailable,
    WorkLost,
)
from router.store.integrity import Integrity, find_faults
from router.store.jobs import Claimed, Idle, Permit
from router.store.lane_requests import PAUSE, RESUME, LaneRequest, LaneRequests, RequestClosed
from router.store.load_history import LoadHistory, LoadLine, StoredLoad
from router.store.notices import ReplicaNotice, ReplicaTopic
from router.store.operator_pauses import OperatorPause, OperatorPauses
from router.store.packing import Packer
from router.store.page_queries import PageQueries
from router.store.presence_updates import PresenceUpdates
from router.store.quarantine_limits import QuarantineLimits
from router.store.quarantined_bodies import BodyBegin, QuarantinedBody
from router.store.recording import Recording
from router.store.replicas import Replicas, ReplicasView, due_of
from router.store.rule_changes import RuleChanges, RulesView
from router.store.search import Found, Search
from router.store.silence_records import SilenceRecord, SilenceRecords, merged_heard
from router.store.snapshot import Snapshot, read_ledger, read_snapshot
from router.store.stored_lanes import StoredLane, StoredLanes
from router.store.stored_tests import StoredTests
from router.store.story import Story
from router.store.timekeeping import Timekeeping
from router.store.totals import ROWS_OF_LISTS, Total
from router.store.troubles import Trouble
from router.store.undecided_webhooks import KeptWebhook, UndecidedWebhooks
from router.store.writer import MAX_BATCH_WEIGHT, BatchObserver, EventObserver
from router.threads import Threads


class Store:
    """The interface of the database for the rest of the router. Open it with :meth:`open`.

    Its own methods accept webhooks, and begin and record deliveries. The others are grouped by purpose:

    - :attr:`pages`: the queries of pages, the API and ``/status``
    - :attr:`rules`: puts rules in force, and judges alerts by them
    - :attr:`timekeeping`: records that the router runs, and handles steps of the clock
    - :attr:`presence`: handles Alertmanager's answers, doubts, and alerts that are not repeated
    - :attr:`audit`: writes the log of actions
    - :attr:`loads`: writes the history of routes.yaml
    - :attr:`pauses`: keeps which destinations an operator has paused
    - :attr:`silence_records`: keeps when each watched sender was last heard
    - :attr:`tests`: keeps the tests of receivers and their results
    - :attr:`findings`: what the work in the background has found, for all replicas
    - :attr:`replicas`: the session of this process among the replicas, and the leases
    - :attr:`lanes`: the states of lanes, for other replicas
    - :attr:`lane_requests`: what is asked of lanes that another replica serves
    - :attr:`undecided`: keeps webhooks, and decides them later
    - :attr:`quarantine_limits`: drops the oldest quarantined bodies when there are too many

    Every method raises :class:`StoreUnavailable` if the database can't be read or written. A transaction that fails changes
    nothing; work that takes many batches can be repeated.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        """Only for the store and its tests; the rest of the router calls the methods of the store."""
        self._packer = Packer(database)
        self._recording = Recording(database)
        self._claiming = Claiming(database, self._recording)
        self.pages = PageQueries(database)
        self.audit = Audit(database)
        self.loads = LoadHistory(database, self._packer)
        self.rules = RuleChanges(database, self._recording)
        self.timekeeping = Timekeeping(database, self.rules)
        self.presence = PresenceUpdates(database)
        self.pauses = OperatorPauses(database)
        self.silence_records = SilenceRecords(database)
        self.tests = StoredTests(database)
        self.replicas = Replicas(database)
        self.lanes = StoredLanes(database)
        self.lane_requests = LaneRequests(database)
        self.findings = StoredFindings(database)
        self.undecided = UndecidedWebhooks(database, self._packer, self.presence)
        self.quarantine_limits = QuarantineLimits(database)

    @classmethod
    async def open(
        cls,
        url: str,
        observe: BatchObserver = lambda _seconds, _jobs: None,
        before_migration: Callable[[], None] = lambda: None,
        count_error: CountError = lambda _kind: None,
    ) -> "Store":
        """Open the database and migrate its tables.

        :param url: see :func:`router.store.backend.open_backend`
        :param observe: called with how long each batch of the writer took, and each of its jobs
        :param before_migration: called in a thread before tables of an older version are changed
        :param count_error: called for each read, and each batch of the writer, that fails because of the database
        :raises StoreUnavailable: it can't be opened, is damaged, or belongs to another program or to a newer router, or another
            process serves from it
        """
        database, opening = Database(url, observe, count_error), Threads("store-open", 1)
        store = cls(database)
        try:
            await opening.run(database.open, before_migration)
            database.start(asyncio.get_running_loop())
            await store._packer.load_dictionary()
        except BaseException:
            await store.close()
            raise
        finally:
            opening.shutdown()
        return store

    async def close(self, within: float = math.inf) -> None:
        """Finish the queued writes, then close the database.

        :param within: seconds; if the writer is still stuck after this time, it is left to end with the process
        """
        await self.database.close(within)
        self._packer.close()
        self._claiming.close()

    async def start(self, now: Millis) -> dict[str, str]:
        """Begin as the only process that serves: mark the deliveries that the last process left under way as interrupted.
        Where replicas are possible, :meth:`router.store.replicas.Replicas.join` begins instead.

        :returns: :meth:`fragments`
        """
        await self.database.write(partial(starts.mark_interrupted, now=now))
        return await self.fragments()

    async def fragments(self) -> dict[str, str]:
        """Return the text of each included file as it was last in force, by name."""
        return await self.database.do(jobs.LoadFragments())

    async def accept(
        self,
        webhook: Webhook,
        source: str,
        body: bytes,
        policy: Policy,
        now: Millis,
        *,
        certain: bool = False,
        grant: Grant | None = None,
    ) -> Receipt:
        """Keep a webhook, and decide about its alerts. Returns after the commit.

        :param certain: firings that it reports are never in doubt
        :param grant: the lease without which it is not accepted; None: it needs none
        :raises LeaseLost: the lease is not held any more
        """
        packed = await self._packer.pack(body)
        return self.presence.note(
            await self.database.do(jobs.Accept(webhook, source, packed, policy, now, certain, grant))
        )

    async def quarantine(
        self, body: bytes, source: str, reason: str, now: Millis, encoding: str | None = None
    ) -> int:
        """Keep a body that can't be used as it was received, with the reason. Return its id.

        :param encoding: its Content-Encoding; None: it is not compressed
        """
        kept = await self.database.do(jobs.Quarantine(body, source, reason, now, encoding))
        self.quarantine_limits.added(len(body))
        return kept

    async def settle_body(self, number: int, now: Millis) -> bool:
        """Settle a quarantined body: it leaves the list. Return False if no body of this id was quarantined."""
        return await self.database.write(partial(quarantined_bodies.settle, number=number, now=now))

    async def settle_bodies(self, source: str, until: int, now: Millis) -> int:
        """Settle the quarantined bodies of a source, in many batches. Return how many these were.

        :param until: the largest id that is settled
        """
        some = partial(quarantined_bodies.settle_some, source=source, until=until, now=now)
        settled = 0
        while found := await self.database.write(some):
            settled += found
        return settled

    async def digest(self, destination: Destination, policy: Policy, now: Millis) -> Conversation:
        """Return what a digest would report if its next slot were now. Nothing is changed."""
        return await self.database.look(jobs.PreviewDigest(destination, policy, now))

    async def claim(
        self,
        destination: Destination,
        policy: Policy,
        now: Millis,
        *,
        limits: Limits | None = None,
        overdue: Millis = 0,
        grant: Grant | None = None,
    ) -> ClaimedDelivery | Idle:
        """Begin the destination's most urgent delivery, see :meth:`claim_several`.

        :param grant: the lease of its lane; None: no other process serves
        :raises LeaseLost: the lease is not held any more
        """
        permit = Permit(destination, limits, overdue=overdue, grant=grant)
        found = await self.claim_several(permit, policy, now)
        return found.works[0] if found.works else found.idle or Idle(None)

    async def claim_several(self, permit: Permit, policy: Policy, now: Millis) -> Claimed:
        """Begin the most urgent deliveries of a lane. Their attempts are stored before anything is sent."""
        return await self._claiming.claim(permit, policy, now, self.rules)

    async def record(
        self,
        work: ClaimedDelivery,
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        not_before: Millis,
        message: bytes | None = None,
    ) -> Recorded:
        """Record the outcome of an attempt in the ledger, see :meth:`router.store.recording.Recording.record`.

        :param not_before: when the next attempt can begin at the earliest (epoch ms)
        :param message: what was sent, as JSON; None: nothing was sent
        """
        packed = None if message is None else await self._packer.pack(message)
        recorded = await self._recording.record(work, outcome, policy, now, not_before, packed)
        if packed is not None:
            await self._packer.learn(now)
        return recorded

    async def unclaim(self, works: Sequence[ClaimedDelivery], policy: Policy, now: Millis) -> None:
        """Take back claims of which nothing was sent: they are due again, as if they had not been claimed."""
        await self._recording.unclaim(works, policy, now)

    async def close_large(self, policy: Policy, now: Millis) -> None:
        """Finish closing the large conversations that are over, in many batches."""
        await self._recording.close_large(policy, now)

    async def retry(self, dead_letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
        """Retry a dead letter: send again what it is about.

        :returns: the keys of the destinations that have something to do now; None: there is no such unsettled dead letter
        """
        return await self._recording.retry(dead_letter, policy, now)

    async def discard(self, dead_letter: int, now: Millis) -> bool:
        """Discard a dead letter: settle it without another attempt. Return False if there is no such unsettled dead
        letter.
        """
        return await self._recording.discard(dead_letter, now)

    async def resume(self, destination: str) -> None:
        """End the backoff of all conversations of a destination, so that they may be sent immediately.

        It takes many batches, so that webhooks come in between.
        """
        after = 0
        while True:
            some = partial(starts.resume_some, after=after, destination=destination)
            after = await self.database.write(some)
            if not after:
                return

    async def troubles(self) -> tuple[list[Trouble], list[Alert]]:
        """Return the destinations at which no delivery succeeds, and all self-alerts that fire, the oldest first."""
        return await self.database.write(troubles.load_troubles)

    async def save_trouble(self, trouble: Trouble, grant: Grant | None = None) -> None:
        """Store the trouble of a destination, in place of the stored one.

        :param grant: the lease of its lane; None: no other process serves
        :raises LeaseLost: the lease is not held any more, and nothing is stored
        """
        fenced = partial(troubles.save_trouble, trouble=trouble, session=self.database.session, grant=grant)
        await self.database.write(fenced)

    async def delete_trouble(self, destination: str, grant: Grant | None = None) -> None:
        """Delete the trouble of a destination, if it has one. :raises LeaseLost: see :meth:`save_trouble`"""
        fenced = partial(
            troubles.forget_trouble, destination=destination, session=self.database.session, grant=grant
        )
        await self.database.write(fenced)

    async def ready(self) -> None:
        """Write and commit something, because an empty transaction succeeds even on a full disk.

        :raises StoreUnavailable: the store can't be written
        """
        await self.database.write(starts.probe)

    def refused(self, error: StoreUnavailable) -> None:
        """Count a refused webhook. The count is logged when the store is writable again."""
        self.database.health.webhook_refused(error)

    async def balance(self, last: Balance | None) -> Balance:
        """Check whether the ledger balances.

        :param last: check only what was added since that result; None: check all changes, with pauses in between
        """
        if last is not None:
            return await self.database.read(lambda c: recent_balance(c, last))
        return await whole_balance(self.database)

    async def integrity(self, now: Millis, last: Integrity | None = None) -> Integrity:
        """Check whether what is stored is consistent, and agrees with what senders report.

        :param last: reuse its result for the counters, because checking them reads all of the history
        """
        return await self.database.read(lambda c: find_faults(c, now, last))

    async def disk_usage(self) -> DiskUsage:
        """Measure what the database takes on disk, and what is left there."""
        return await self.database.disk_usage()

    async def prune(self, keep: Retention, now: Millis) -> AsyncIterator[int]:
        """Delete what is finished and old, and add it to the sums. Yields how many rows each transaction deleted."""
        bounds = await self.database.read(lambda c: retention.bounds(c, keep, now))
        for rule in prune_rules.PRUNE_RULES:
            after = 0
            while found := await self.database.read(partial(rule.find, bounds=bounds, after=after)):
                yield await self.database.write(partial(rule.remove, bounds=bounds, found=found))
                after = found[-1]
        before = now - delivery_hours.KEPT
        for hours in (delivery_hours, objective_hours):
            while await self.database.read(partial(hours.first_old_hour, before=before)) is not None:
                yield await self.database.write(partial(hours.merge_old_hours, before=before))

    @property
    def trouble(self) -> str | None:
        """Why the store can't be written; None while it can."""
        error = self.database.health.error
        return None if error is None else str(error)

    def follow(self, clock: DatabaseClock) -> None:
        """Let a clock follow the database's from now on, and let jobs run by it."""
        self.database.clock = clock

    def listen(self, hear: Callable[[ReplicaNotice], None]) -> None:
        """Hear what other replicas tell. :param hear: called on the event loop with each notice of another replica"""
        self.database.listen(hear)

    @property
    def is_hearing(self) -> bool:
        """Whether notices of other replicas come in now. If not, the database has to be asked more often."""
        return self.database.is_hearing

    async def due_destinations(self, destinations: Collection[str], now: Millis) -> frozenset[str]:
        """Return the destinations, of the given ones, at which something is due."""
        return await self.database.read(partial(due_of, destinations=tuple(destinations), now=now))

    def observe_events(self, observer: EventObserver) -> None:
        """Call an observer with what objectives and tenants count of each batch, after it is saved."""
        self.database.observe_events(observer)

    async def add_events(self, counts: objective_hours.EventCounts) -> None:
        """Add events that are counted outside of batches to the hours of objectives."""
        await self.database.write(partial(objective_hours.add_events, counts=counts))

    @property
    def commits(self) -> int:
        """Counts the batches of this process. While it stays the same, pages read nothing again. A renewal of the session is a batch as
        well, so pages show what other replicas save after the next renewal at the latest.
        """
        return self.database.commits

    @property
    def is_new(self) -> bool:
        """Whether this process has created the tables: the database was empty."""
        return self.database.is_new

    @property
    def location(self) -> str:
        """Where the database is, for people, without secrets."""
        return self.database.name


__all__ = [
    "BEAT",
    "LONGEST_BATCH",
    "MAX_BATCH_WEIGHT",
    "PAUSE",
    "RESUME",
    "RETRY_AFTER_FAILED_WRITE",
    "ROWS_OF_LISTS",
    "WORKS_BY",
    "Adoption",
    "Answer",
    "Audit",
    "AuditLine",
    "BackgroundFindings",
    "Balance",
    "BodyBegin",
    "Claimed",
    "ClaimedDelivery",
    "DeliveryUnderWay",
    "DiskUsage",
    "Found",
    "Idle",
    "Integrity",
    "KeptWebhook",
    "LaneRequest",
    "Limits",
    "Listening",
    "LoadLine",
    "OperatorPause",
    "Permit",
    "Phase",
    "QuarantinedBody",
    "Receipt",
    "Recorded",
    "ReplicaNotice",
    "ReplicaTopic",
    "ReplicasView",
    "Reported",
    "RequestClosed",
    "RulesReplaced",
    "RulesView",
    "Search",
    "SilenceRecord",
    "Snapshot",
    "Store",
    "StoreBusy",
    "StoreUnavailable",
    "StoredLane",
    "StoredLoad",
    "Story",
    "Timekeeping",
    "Total",
    "Trouble",
    "WorkLost",
    "merged_heard",
    "read_ledger",
    "read_snapshot",
]
