"""What the router counts about itself, for Prometheus. Labels come from the configuration only.

Counters start at zero with each process; the exact counts are the ledger's, at ``/status``.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import Metric

from router import histogram
from router.family import Family, head
from router.histogram import Histogram
from router.model import SECOND, Millis

T = TypeVar("T")

disable_created_metrics()  # type: ignore[no-untyped-call]

# From a commit and a provider's answer to a morning's outage.
_DELIVERY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400)
# Up to what no job and no batch should need.
_JOB_BUCKETS = (0.0001, 0.0005, 0.002, 0.01, 0.03, 0.1, 0.5, 2.5)
_HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
# Reasons come from tables; whatever a provider makes up beyond this many counts as "other".
_MOST_REASONS = 100


@cache
def package_version() -> str:
    """As it was installed. It is looked up in a file, so that is done once."""
    try:
        return version("alert-router")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"


def _tally(items: Iterable[T]) -> dict[T, int]:
    """How often each occurs. For the few of most webhooks, the standard library's takes several times as long."""
    times: dict[T, int] = {}
    for item in items:
        times[item] = times.get(item, 0) + 1
    return times


def _written(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        yield head(metric)
        for each in metric.samples:
            yield f"{histogram.sample(each.name, each.labels)} {histogram.written(each.value)}\n"


class Metrics:
    """One registry an app. Switched off, every method returns at once and there is nothing to serve."""

    def __init__(self, *, enabled: bool = True) -> None:
        self.enabled = enabled
        self._reasons: set[str] = set()
        self._children: dict[tuple[Any, tuple[Any, ...]], Any] = {}
        self._lanes: set[str] = set()
        """The destinations that the gauges show."""
        if not enabled:
            return
        self.registry = registry = CollectorRegistry()
        place = ("channel", "destination")
        self._webhooks = Counter(
            "alert_router_webhooks",
            "Webhooks, by source and what came of them.",
            ("source", "outcome"),
            registry=registry,
        )
        self._quarantined = Counter(
            "alert_router_quarantined", "Bodies kept because they could not be used whole.", registry=registry
        )
        self._undecided = Gauge(
            "alert_router_undecided_alerts",
            "Alerts of large webhooks that are kept and not decided yet.",
            registry=registry,
        )
        self._changes = Counter(
            "alert_router_changes", "Accepted alert changes.", ("source", "kind", "level"), registry=registry
        )
        self._unknown_level = Counter(
            "alert_router_unknown_severity",
            "Accepted changes whose severity label named no known level, and so got the default.",
            ("source",),
            registry=registry,
        )
        self._decisions = Counter(
            "alert_router_decisions",
            "Decisions of the rules.",
            ("destination", "decision"),
            registry=registry,
        )
        self._deliveries = Counter(
            "alert_router_deliveries",
            "Delivery attempts, by outcome.",
            (*place, "outcome"),
            registry=registry,
        )
        self._failures = Counter(
            "alert_router_delivery_failures",
            "Failed delivery attempts, by reason.",
            (*place, "reason"),
            registry=registry,
        )
        self._duplicates = Counter(
            "alert_router_possible_duplicates",
            "Deliveries after an attempt whose answer got lost, at a provider that tells no double apart.",
            place,
            registry=registry,
        )
        self._latency = Histogram(
            "alert_router_accept_to_delivered_seconds",
            "From the acceptance of a change to its delivery; what was held back on purpose is left out.",
            place,
            _DELIVERY_BUCKETS,
        )
        self._job_seconds = Histogram(
            "alert_router_store_job_seconds",
            "How long the store's writer took for a job, without loading and saving its rows, by kind.",
            ("job",),
            _JOB_BUCKETS,
        )
        self._batch_seconds = Histogram(
            "alert_router_store_batch_seconds",
            "How long the store's writer took for the jobs of one transaction, all of it.",
            (),
            _JOB_BUCKETS,
        )
        self._fallbacks = Counter(
            "alert_router_template_fallbacks",
            "Messages sent plain because their template failed.",
            ("channel",),
            registry=registry,
        )
        self._reconcile_failures = Counter(
            "alert_router_reconcile_failures",
            "Questions that Alertmanager did not answer, by source.",
            ("source",),
            registry=registry,
        )
        self._backlog = Gauge(
            "alert_router_backlog",
            "Conversations that are due and not told yet.",
            ("destination",),
            registry=registry,
        )
        self._oldest = Gauge(
            "alert_router_oldest_pending_age_seconds",
            "How long the oldest of them has been due.",
            ("destination",),
            registry=registry,
        )
        self._empty = Gauge(
            "alert_router_backlog_seconds",
            "How long they take at the lane's rate, its pause included.",
            ("destination",),
            registry=registry,
        )
        self._dead = Gauge(
            "alert_router_dead_letters",
            "Conversations, and recipients of them, that were given up and that nobody has settled yet.",
            ("destination",),
            registry=registry,
        )
        self._broken = Gauge(
            "alert_router_destination_broken",
            "1 if a destination is reported: somebody has to repair it, or no delivery succeeds.",
            ("destination",),
            registry=registry,
        )
        self._reload_success = Gauge(
            "alert_router_config_last_reload_successful",
            "Whether the last load of routes.yaml succeeded.",
            registry=registry,
        )
        self._reload_time = Gauge(
            "alert_router_config_last_reload_success_timestamp_seconds",
            "When routes.yaml was last loaded with success.",
            registry=registry,
        )
        self._applied = Gauge(
            "alert_router_config_applied",
            "Whether everything that fires is judged by the rules in force; notifications may wait until it is.",
            registry=registry,
        )
        self._config_hash = Gauge(
            "alert_router_config_hash",
            "The first 48 bits of the SHA-256 of routes.yaml in force.",
            registry=registry,
        )
        self._fragments = Gauge(
            "alert_router_fragment_last_load_successful",
            "Whether the last load of an included file succeeded; if not, it is in force as it last was good.",
            ("fragment",),
            registry=registry,
        )
        self._imbalance = Gauge(
            "alert_router_ledger_imbalance",
            "How far changes x destinations and their fates are apart: zero, or there is a bug.",
            registry=registry,
        )
        self._contradicted = Gauge(
            "alert_router_contradicted_alerts",
            "Alerts that are resolved here although their sender still reports them as firing. More than zero is a bug.",
            registry=registry,
        )
        self._empty_conversations = Gauge(
            "alert_router_empty_conversations",
            "Open conversations in which nothing fires and nothing is left to send. More than zero is a bug.",
            registry=registry,
        )
        self._miscounted = Gauge(
            "alert_router_miscounted_counters",
            "Counters of the store that differ from what their rows add up to. More than zero is a bug.",
            registry=registry,
        )
        self._requests = Counter(
            "http_requests", "HTTP requests.", ("method", "path", "code"), registry=registry
        )
        # In the order of their definitions, all of them.
        self._families = [Family(each) for each in vars(self).values() if isinstance(each, Counter | Gauge)]
        self._process = ProcessCollector(registry=registry)
        build = Info("alert_router_build", "This build.", registry=registry)
        build.info({"version": package_version()})
        self._build = "".join(_written(build.collect()))
        self._request_seconds = Histogram(
            "http_request_duration_seconds",
            "How long HTTP requests took.",
            ("method", "path"),
            _HTTP_BUCKETS,
        )
        self._histograms = (self._latency, self._job_seconds, self._batch_seconds, self._request_seconds)

    def webhook(self, source: str, outcome: str) -> None:
        """:param outcome: accepted, quarantined, unauthorized, too_large, unsupported or unavailable"""
        if self.enabled:
            self._one(self._webhooks, source, outcome).inc()

    def quarantined(self) -> None:
        if self.enabled:
            self._quarantined.inc()

    def undecided(self, alerts: int) -> None:
        if self.enabled:
            self._undecided.set(alerts)

    def decided(
        self,
        source: str,
        changes: Iterable[tuple[str, str, bool]],
        decisions: Iterable[tuple[str, str]],
    ) -> None:
        """Alerts of a webhook are. What is the same is counted at once: a group may have thousands of alerts.

        :param changes: kind, level, and whether the severity label named a known level
        :param decisions: destination, decision
        """
        if self.enabled:
            one = self._one
            for (kind, level, known_level), times in _tally(changes).items():
                one(self._changes, source, kind, level).inc(times)
                if not known_level:
                    one(self._unknown_level, source).inc(times)
            for place, times in _tally(decisions).items():
                one(self._decisions, *place).inc(times)

    def change(self, source: str, kind: str, level: str, *, known_level: bool) -> None:
        if self.enabled:
            self._one(self._changes, source, kind, level).inc()
            if not known_level:
                self._one(self._unknown_level, source).inc()

    def decision(self, destination: str, decision: str) -> None:
        if self.enabled:
            self._one(self._decisions, destination, decision).inc()

    def delivery(self, channel: str, destination: str, outcome: str, reason: str = "") -> None:
        if self.enabled:
            self._deliveries.labels(channel, destination, outcome).inc()
            if reason:
                self._failures.labels(channel, destination, self._bounded(reason)).inc()

    def possible_duplicate(self, channel: str, destination: str) -> None:
        if self.enabled:
            self._duplicates.labels(channel, destination).inc()

    def delivered_after(self, channel: str, destination: str, seconds: float) -> None:
        if self.enabled:
            self._latency.observe(seconds, channel, destination)

    def batch(self, seconds: float, jobs: Iterable[tuple[str, float]]) -> None:
        """The store's writer committed a batch. :param jobs: the kind and the seconds of each"""
        if self.enabled:
            self._batch_seconds.observe(seconds)
            for kind, taken in jobs:
                self._job_seconds.observe(taken, kind)

    def fallback(self, channel: str) -> None:
        if self.enabled:
            self._fallbacks.labels(channel).inc()

    def reconcile_failed(self, source: str) -> None:
        if self.enabled:
            self._reconcile_failures.labels(source).inc()

    def config_loaded(self, digest: str, now: Millis) -> None:
        """routes.yaml was loaded. :param digest: its SHA-256 in hex"""
        if self.enabled:
            self._reload_success.set(1)
            self._reload_time.set(now / SECOND)
            self._config_hash.set(int(digest[:12], 16))

    def rules_applied(self, *, is_complete: bool) -> None:
        if self.enabled:
            self._applied.set(is_complete)

    def fragments(self, good: Mapping[str, bool]) -> None:
        """:param good: by name, for each included file"""
        if self.enabled:
            self._fragments.clear()
            for name, is_good in good.items():
                self._fragments.labels(name).set(is_good)

    def config_load_failed(self) -> None:
        if self.enabled:
            self._reload_success.set(0)

    def imbalance(self, off: int) -> None:
        if self.enabled:
            self._imbalance.set(off)

    def integrity(self, contradicted: int, empty: int, miscounted: int) -> None:
        if self.enabled:
            self._contradicted.set(contradicted)
            self._empty_conversations.set(empty)
            self._miscounted.set(miscounted)

    def request(self, method: str, path: str, code: int, seconds: float) -> None:
        """:param path: the route's template, never the address that was asked for"""
        if self.enabled:
            self._one(self._requests, method, path, code).inc()
            self._request_seconds.observe(seconds, method, path)

    def expose(self, lanes: Iterable[Mapping[str, Any]] | None, now: Millis) -> bytes:
        """The text that Prometheus scrapes.

        :param lanes: as ``/status`` has them; None: unknown
        """
        shown: set[str] = set()
        one = self._one
        for lane in lanes or ():
            key, due = lane["destination"], lane["backlog"] > 0
            shown.add(key)
            one(self._backlog, key).set(lane["backlog"])
            one(self._oldest, key).set(max(0, now - lane["oldest_at"]) / SECOND if due else 0)
            one(self._empty, key).set(max(0, lane["empty_at"] - now) / SECOND if due else 0)
            one(self._dead, key).set(lane["dead"])
            one(self._broken, key).set(lane["broken_since"] is not None)
        for key in self._lanes - shown:
            for gauge in (self._backlog, self._oldest, self._empty, self._dead, self._broken):
                gauge.remove(key)
                del self._children[gauge, (key,)]
        self._lanes = shown
        return "".join(self._text()).encode()

    def _text(self) -> Iterator[str]:
        """As the library's ``generate_latest``, which takes ten times as long."""
        for family in self._families:
            yield from family.text()
        yield from _written(self._process.collect())
        yield self._build
        for each in self._histograms:
            yield from each.text()

    def _one(self, metric: Any, *labels: Any) -> Any:
        """Of a metric, the one with these labels. Looked up once: the library takes longer for that than to count."""
        key = (metric, labels)
        found = self._children.get(key)
        if found is None:
            found = self._children[key] = metric.labels(*labels)
        return found

    def _bounded(self, reason: str) -> str:
        if reason not in self._reasons:
            if len(self._reasons) >= _MOST_REASONS:
                return "other"
            self._reasons.add(reason)
        return reason
