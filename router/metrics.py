"""What the router counts about itself, for Prometheus. Values of labels come from the configuration only.

Counters start at zero with each process. The exact counts are those of the ledger, at ``/status``.
"""

import math
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, TypeVar

from router import metric_table as table
from router.metric_table import Definition
from router.model import SECOND, Millis
from router.replica_metrics import ReplicaMetrics

T = TypeVar("T")


UNKNOWN_SOURCE = "unknown"
"""What metrics call a webhook that comes from no source."""
_REFUSALS = ("quarantined", "unauthorized", "too_large", "unsupported", "unavailable")
# Reasons come from tables. Beyond this many, those that a provider makes up count as "other".
_MAX_REASONS = 100
_LANE_METRICS = (
    table.LANE_BACKLOG, table.LANE_OLDEST_PENDING, table.LANE_BACKLOG_SECONDS, table.LANE_DEAD_LETTERS, table.LANE_BROKEN,
    table.LANE_PAUSED,
)  # fmt: skip

_WATCH_METRICS = (table.HEARTBEAT_SEEN, table.HEARTBEAT_SILENT, table.SOURCE_SEEN, table.SOURCE_SILENT)


def _tally(items: Iterable[T]) -> dict[T, int]:
    """Return how often each item occurs. For few items, the standard library's Counter takes several times as long."""
    times: dict[T, int] = {}
    for item in items:
        times[item] = times.get(item, 0) + 1
    return times


class Metrics(ReplicaMetrics):
    """The metrics of one service. If they are switched off, all methods return immediately and nothing is served."""

    def __init__(self, *, enabled: bool = True) -> None:
        super().__init__(enabled=enabled)
        self._reasons: set[str] = set()
        self._lanes: set[str] = set()
        """The destinations that the gauges show."""
        self.disk_usage({}, None)
        for kind in ("read", "write"):  # from the first scrape on, so that the first error is an increase
            self._count(table.STORE_ERRORS_TOTAL, kind, by=0)
        for kind, reason in product(("error", "span"), ("full", "failed")):
            self._count(table.TELEMETRY_DROPPED_TOTAL, kind, reason, by=0)

    # Webhooks and decisions.

    def webhook(self, source: str, outcome: str) -> None:
        """Count a webhook. :param outcome: accepted, quarantined, unauthorized, too_large, unsupported or unavailable"""
        self._count(table.WEBHOOKS_TOTAL, source, outcome)

    def quarantined(self) -> None:
        self._count(table.QUARANTINED_TOTAL)

    def request_refused(self, reason: str) -> None:
        """Count a request for a page, the API or an action that was refused.

        :param reason: see :class:`router.web.access.identification.AccessRefused`
        """
        self._count(table.REQUESTS_REFUSED_TOTAL, reason)

    def undecided(self, alerts: int) -> None:
        self._set(table.UNDECIDED, alerts)

    def decided(
        self,
        source: str,
        changes: Iterable[tuple[str, str, bool]],
        decisions: Iterable[tuple[str, str]] = (),
    ) -> None:
        """Count changes and what was decided about them. Equal ones are counted together, because a group may have
        thousands of alerts.

        :param changes: kind, level, and whether the severity label named a known level
        :param decisions: destination, decision
        """
        if not self.enabled:
            return
        for (kind, level, is_known), times in _tally(changes).items():
            self._count(table.CHANGES_TOTAL, source, kind, level, by=times)
            if not is_known:
                self._count(table.UNKNOWN_SEVERITY_TOTAL, source, by=times)
        for (destination, decision), times in _tally(decisions).items():
            self._count(table.DECISIONS_TOTAL, destination, decision, by=times)

    # Deliveries.

    def delivery(self, channel: str, destination: str, outcome: str, reason: str = "") -> None:
        self._count(table.DELIVERIES_TOTAL, channel, destination, outcome)
        if reason:
            self._count(table.DELIVERY_FAILURES_TOTAL, channel, destination, self._bounded(reason))

    def possible_duplicate(self, channel: str, destination: str) -> None:
        self._count(table.POSSIBLE_DUPLICATES_TOTAL, channel, destination)

    def delivered_after(self, channel: str, destination: str, seconds: float) -> None:
        self._observe(table.ACCEPT_TO_DELIVERED, seconds, channel, destination)

    def provider_call(self, channel: str, seconds: float) -> None:
        """Record how long an attempt at a provider took, whatever its outcome was."""
        self._observe(table.PROVIDER_CALL, seconds, channel)

    def fallback(self, channel: str) -> None:
        self._count(table.FALLBACKS_TOTAL, channel)

    # The configuration.

    def config_loaded(self, digest: str, now: Millis) -> None:
        """Record that a configuration was put in force. :param digest: SHA-256 of its files, in hex"""
        self._set(table.RELOAD_SUCCESSFUL, 1)
        self._set(table.RELOAD_TIME, now / SECOND)
        self._set(table.CONFIG_HASH, int(digest[:12], 16))

    def begin_at_zero(self, sources: Iterable[str], channels: Iterable[str]) -> None:
        """Show the counters of what must not happen from the first scrape on, so that the first time is an increase.

        :param sources: of the configuration; webhooks that come from no source are counted too
        :param channels: those with a destination
        """
        for source, outcome in product((*sources, UNKNOWN_SOURCE), _REFUSALS):
            self._count(table.WEBHOOKS_TOTAL, source, outcome, by=0)
        for channel in channels:
            self._count(table.FALLBACKS_TOTAL, channel, by=0)

    def config_load_failed(self) -> None:
        self._set(table.RELOAD_SUCCESSFUL, 0)

    def rules_applied(self, *, is_complete: bool) -> None:
        self._set(table.RULES_APPLIED, is_complete)

    def rules_in_force(self, *, is_agreeing: bool) -> None:
        """Record whether the rules of this replica are those in force."""
        self._set(table.RULES_IN_FORCE, is_agreeing)

    def fragments(self, good: Mapping[str, bool]) -> None:
        """Show whether the last load of each included file succeeded. :param good: by the name of the file"""
        self._replace(table.FRAGMENT_SUCCESSFUL, {(name,): is_good for name, is_good in good.items()})

    # Tests of receivers.

    def receiver_tested(self, receiver: str, destination: str, outcome: str) -> None:
        """Count a test that has ended. :param outcome: delivered, failed or waiting"""
        self._count(table.TESTS_TOTAL, receiver, destination, outcome)

    def drills(self, results: Mapping[str, tuple[Millis, bool | None]]) -> None:
        """Show the last drill of each receiver.

        :param results: by receiver: when the last success began (epoch ms; 0: there was none), and whether the last drill
            succeeded (None: there was none)
        """
        self._replace(
            table.DRILL_LAST_SUCCESS, {(receiver,): at / SECOND for receiver, (at, _) in results.items()}
        )
        self._replace(
            table.DRILL_SUCCESSFUL,
            {(receiver,): is_good for receiver, (_, is_good) in results.items() if is_good is not None},
        )

    # Heartbeats, sources, and the dead man's switch.

    def heard(self, heartbeat: str, source: str, now: Millis) -> None:
        """Record that a heartbeat came, or a webhook of a source. :param heartbeat: its name; empty: a webhook"""
        if heartbeat:
            self._set(table.HEARTBEAT_SEEN, now / SECOND, heartbeat, source)
        else:
            self._set(table.SOURCE_SEEN, now / SECOND, source)

    def watched(self, states: Iterable[tuple[str, str, Millis | None, bool, bool]]) -> None:
        """Show what is watched.

        :param states: the heartbeat (empty: the webhooks of the source), the source, when it was last heard, whether it is
            silent, and whether its silence is reported
        """
        if not self.enabled:
            return
        shown: set[tuple[Definition, tuple[str, ...]]] = set()
        for heartbeat, source, seen_at, is_silent, is_reported in states:
            labels = (heartbeat, source) if heartbeat else (source,)
            seen, silent = (
                (table.HEARTBEAT_SEEN, table.HEARTBEAT_SILENT)
                if heartbeat
                else (table.SOURCE_SEEN, table.SOURCE_SILENT)
            )
            self._set(seen, (seen_at or 0) / SECOND, *labels)
            shown.add((seen, labels))
            if is_reported:
                self._set(silent, is_silent, *labels)
                shown.add((silent, labels))
        for definition, labels in [key for key in self._children if key[0] in _WATCH_METRICS]:
            if (definition, labels) not in shown:
                self._remove(definition, labels)

    def deadman(self, outcome: str, now: Millis) -> None:
        """Count a ping of the monitor outside. :param outcome: ok, failed or withheld"""
        self._count(table.DEADMAN_PINGS_TOTAL, outcome)
        if outcome == "ok":
            self._set(table.DEADMAN_SUCCESS_TIME, now / SECOND)

    def targets(self, ratios: Mapping[tuple[str, ...], float]) -> None:
        """Show the targets of the objectives, and their events from 0 on: Prometheus does not see the first increase of a
        counter that was not there before.

        :param ratios: by objective and tenant, between 0 and 1
        """
        self._replace(table.OBJECTIVE_RATIO, ratios)
        for labels in ratios:
            for outcome in ("good", "bad"):
                self._count(table.OBJECTIVE_EVENTS_TOTAL, *labels, outcome, by=0)

    # Objectives and tenants.

    def objective_event(self, objective: str, tenant: str, *, is_good: bool) -> None:
        """Count an event of an objective. :param tenant: empty: the objective has none, or none are configured"""
        self._count(table.OBJECTIVE_EVENTS_TOTAL, objective, tenant, "good" if is_good else "bad")

    def delivered_late_by(self, level: str, seconds: float) -> None:
        """Count a delivered change. :param seconds: from when it was due"""
        self._observe(table.DUE_TO_DELIVERED, seconds, level)

    def tenant_events(
        self, changes: Mapping[tuple[str, str, str], int], fates: Mapping[tuple[str, str], int]
    ) -> None:
        """Count what happened to alerts of tenants.

        :param changes: by tenant, level and kind
        :param fates: by tenant and fate
        """
        for labels, count in changes.items():
            self._count(table.TENANT_CHANGES_TOTAL, *labels, by=count)
        for fate_labels, count in fates.items():
            self._count(table.TENANT_FATES_TOTAL, *fate_labels, by=count)

    # The store, maintenance and HTTP.

    def batch(self, seconds: float, jobs: Iterable[tuple[str, float]]) -> None:
        """Record a batch that the store's writer has committed. :param jobs: the kind and the seconds of each"""
        self._observe(table.BATCH_SECONDS, seconds)
        for kind, taken in jobs:
            self._observe(table.JOB_SECONDS, taken, kind)

    def store_error(self, kind: str) -> None:
        """Count a read or a batch that failed because of the database. :param kind: read or write"""
        self._count(table.STORE_ERRORS_TOTAL, kind)

    def disk_usage(self, files: Mapping[str, int], free: int | None) -> None:
        """Show what the database takes on disk.

        :param files: bytes by file: main, and wal if there is one
        :param free: free bytes on its disk; None: unknown
        """
        for file, size in files.items():
            self._set(table.DATABASE_BYTES, size, file)
        self._set(table.DISK_FREE_BYTES, math.nan if free is None else free)

    def reconcile_failed(self, source: str) -> None:
        self._count(table.RECONCILE_FAILURES_TOTAL, source)

    def imbalance(self, difference: int) -> None:
        self._set(table.LEDGER_IMBALANCE, difference)

    def integrity(self, contradicted: int, empty: int, miscounted: int) -> None:
        self._set(table.CONTRADICTED_ALERTS, contradicted)
        self._set(table.EMPTY_CONVERSATIONS, empty)
        self._set(table.MISCOUNTED, miscounted)

    def request_began(self) -> None:
        """Count a request as in progress, until :meth:`request` is called for it."""
        self._count(table.REQUESTS_IN_PROGRESS)

    def request(self, method: str, path: str, code: int, seconds: float) -> None:
        """Count an HTTP request. :param path: the route's template, never the path of the request"""
        self._count(table.REQUESTS_IN_PROGRESS, by=-1)
        self._count(table.HTTP_REQUESTS_TOTAL, method, path, code)
        self._observe(table.HTTP_SECONDS, seconds, method, path)

    def connections(self, count: int) -> None:
        """Show how many accepted connections are open."""
        self._set(table.CONNECTIONS, count)

    def connection_closed(self, reason: str) -> None:
        """Count a connection that the router closed. :param reason: of :class:`router.web.connections.CloseReason`"""
        self._count(table.CONNECTIONS_CLOSED_TOTAL, reason)

    def tls_loaded(self, *, is_good: bool) -> None:
        """Show whether the last load of the TLS files succeeded. It did if there are none."""
        self._set(table.TLS_LOAD_SUCCESSFUL, is_good)

    def quarantine_dropped(self, count: int) -> None:
        self._count(table.QUARANTINE_DROPPED_TOTAL, by=count)

    def telemetry_dropped(self, kind: str, reason: str, count: int) -> None:
        """Count what Sentry or the collector did not get. It can be called from any thread.

        :param kind: ``error`` or ``span``
        :param reason: ``full``: too much waited; ``failed``: it could not be sent
        """
        self._count(table.TELEMETRY_DROPPED_TOTAL, kind, reason, by=count)

    # Backups.

    def backup_interval(self, every: Millis) -> None:
        """Record how often the service makes a backup, before it has tried. :param every: ms; 0: it makes none"""
        self._set(table.BACKUP_INTERVAL, every / SECOND)
        self._set(table.BACKUP_SUCCESSFUL, 1)

    def backup_found(self, at: Millis) -> None:
        """Record the last backup, which an earlier process has made. :param at: epoch ms"""
        self._set(table.BACKUP_TIME, at / SECOND)

    def backup_made(self, at: Millis) -> None:
        """Count a backup. :param at: epoch ms"""
        self._count(table.BACKUPS_TOTAL, "made")
        self._set(table.BACKUP_TIME, at / SECOND)
        self._set(table.BACKUP_SUCCESSFUL, 1)

    def backup_failed(self) -> None:
        self._count(table.BACKUPS_TOTAL, "failed")
        self._set(table.BACKUP_SUCCESSFUL, 0)

    # What Prometheus scrapes.

    def expose(self, lanes: Iterable[Mapping[str, Any]] | None, now: Millis) -> bytes:
        """Return the text that Prometheus scrapes. :param lanes: as in ``/status``; None: unknown"""
        shown: set[str] = set()
        for lane in lanes or ():
            key, is_due = lane["destination"], lane["backlog"] > 0
            shown.add(key)
            self._set(table.LANE_BACKLOG, lane["backlog"], key)
            self._set(
                table.LANE_OLDEST_PENDING, max(0, now - lane["oldest_at"]) / SECOND if is_due else 0, key
            )
            self._set(
                table.LANE_BACKLOG_SECONDS, max(0, lane["empty_at"] - now) / SECOND if is_due else 0, key
            )
            self._set(table.LANE_DEAD_LETTERS, lane["dead"], key)
            self._set(table.LANE_BROKEN, lane["broken_since"] is not None, key)
            self._set(table.LANE_PAUSED, lane["paused_since"] is not None, key)
        for key in self._lanes - shown:
            for definition in _LANE_METRICS:
                self._remove(definition, (key,))
        self._lanes = shown
        return self._text()

    def _bounded(self, reason: str) -> str:
        if reason not in self._reasons:
            if len(self._reasons) >= _MAX_REASONS:
                return "other"
            self._reasons.add(reason)
        return reason
