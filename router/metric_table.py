"""All metrics as data: name, help text, labels. Their order is the order of ``/metrics``."""

from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from router.histogram import Histogram

# In seconds: from the time of a commit and a provider's answer, up to an outage of some hours.
_DELIVERY_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400)
# In seconds: up to a time that no job and no batch should need.
_JOB_BUCKETS = (0.0001, 0.0005, 0.002, 0.01, 0.03, 0.1, 0.5, 2.5)
# In seconds: the longest attempt is cut off after 90 s.
_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90)
_HTTP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """One metric."""

    type: type[Counter] | type[Gauge] | type[Histogram]
    name: str
    """For a counter: without ``_total``, which the library adds."""
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """The upper bounds of a histogram's buckets, in order."""


_DESTINATION = ("destination",)
_CHANNEL_AND_DESTINATION = ("channel", "destination")

WEBHOOKS_TOTAL = Definition(
    Counter, "alert_router_webhooks", "Webhooks, by source and outcome.", ("source", "outcome")
)
QUARANTINED_TOTAL = Definition(
    Counter, "alert_router_quarantined", "Webhooks kept in quarantine because a part of them can't be used."
)
QUARANTINE_DROPPED_TOTAL = Definition(
    Counter,
    "alert_router_quarantine_dropped",
    "Quarantined bodies that were deleted early, because the quarantine reached its limit of rows or bytes.",
)
TELEMETRY_DROPPED_TOTAL = Definition(
    Counter,
    "alert_router_telemetry_dropped",
    "Reports to Sentry and spans for the collector that were lost.",
    ("kind", "reason"),
)
REQUESTS_REFUSED_TOTAL = Definition(
    Counter, "alert_router_requests_refused", "Requests that may not reach a page or an action.", ("reason",)
)
REPLICAS = Definition(
    Gauge, "alert_router_replicas", "Replicas that serve from the same database, this one included."
)
LEASE_HELD = Definition(
    Gauge,
    "alert_router_lease_held",
    "Whether this replica holds a lease: it alone does that work.",
    ("lease",),
)
LEASE_TAKEOVERS_TOTAL = Definition(
    Counter,
    "alert_router_lease_takeovers",
    "Leases that this replica took after another one had held them.",
    ("lease",),
)
LEASES_LOST_TOTAL = Definition(
    Counter,
    "alert_router_leases_lost",
    "Times that this replica lost its leases, because it could not renew its session in time.",
)
UNDECIDED = Definition(
    Gauge, "alert_router_undecided_alerts", "Alerts of webhooks that are kept and not decided yet."
)
CHANGES_TOTAL = Definition(
    Counter, "alert_router_changes", "Accepted alert changes.", ("source", "kind", "level")
)
UNKNOWN_SEVERITY_TOTAL = Definition(
    Counter,
    "alert_router_unknown_severity",
    "Accepted changes whose severity label is no known level. They get the default level.",
    ("source",),
)
DECISIONS_TOTAL = Definition(
    Counter,
    "alert_router_decisions",
    "Decisions of the rules, by destination.",
    ("destination", "decision"),
)
DELIVERIES_TOTAL = Definition(
    Counter,
    "alert_router_deliveries",
    "Delivery attempts, by outcome.",
    (*_CHANNEL_AND_DESTINATION, "outcome"),
)
DELIVERY_FAILURES_TOTAL = Definition(
    Counter,
    "alert_router_delivery_failures",
    "Failed delivery attempts, by reason.",
    (*_CHANNEL_AND_DESTINATION, "reason"),
)
POSSIBLE_DUPLICATES_TOTAL = Definition(
    Counter,
    "alert_router_possible_duplicates",
    "Deliveries after an attempt without an answer, at a provider without deduplication.",
    _CHANNEL_AND_DESTINATION,
)
FALLBACKS_TOTAL = Definition(
    Counter,
    "alert_router_template_fallbacks",
    "Messages sent as plain text because their template failed.",
    ("channel",),
)
RECONCILE_FAILURES_TOTAL = Definition(
    Counter,
    "alert_router_reconcile_failures",
    "Requests to Alertmanager's API that failed, by source.",
    ("source",),
)
LANE_BACKLOG = Definition(
    Gauge, "alert_router_backlog", "Conversations that are due and not sent yet.", _DESTINATION
)
LANE_OLDEST_PENDING = Definition(
    Gauge,
    "alert_router_oldest_pending_age_seconds",
    "How long the oldest conversation of the backlog has been due.",
    _DESTINATION,
)
LANE_BACKLOG_SECONDS = Definition(
    Gauge,
    "alert_router_backlog_seconds",
    "How long it takes to send the backlog at the lane's rate, including a pause.",
    _DESTINATION,
)
LANE_DEAD_LETTERS = Definition(
    Gauge,
    "alert_router_dead_letters",
    "Conversations, and recipients of conversations, that were given up and are not settled yet.",
    _DESTINATION,
)
LANE_BROKEN = Definition(
    Gauge,
    "alert_router_destination_broken",
    "1 if a destination is reported: a person has to repair it, or no delivery succeeds.",
    _DESTINATION,
)
LANE_PAUSED = Definition(
    Gauge, "alert_router_destination_paused", "1 while an operator pauses a destination.", _DESTINATION
)
RELOAD_SUCCESSFUL = Definition(
    Gauge,
    "alert_router_config_last_reload_successful",
    "1 if the last load of routes.yaml succeeded.",
)
RELOAD_TIME = Definition(
    Gauge,
    "alert_router_config_last_reload_success_timestamp_seconds",
    "The time of the last successful load of routes.yaml.",
)
RULES_APPLIED = Definition(
    Gauge,
    "alert_router_config_applied",
    "1 if all firing alerts are judged by the rules in force. Until then, notifications may wait.",
)
RULES_IN_FORCE = Definition(
    Gauge,
    "alert_router_rules_in_force",
    "1 if the rules of this replica are those in force. If not, it keeps webhooks and decides nothing.",
)
CONFIG_HASH = Definition(
    Gauge, "alert_router_config_hash", "The first 48 bits of the SHA-256 of the routes.yaml in force."
)
FRAGMENT_SUCCESSFUL = Definition(
    Gauge,
    "alert_router_fragment_last_load_successful",
    "1 if the last load of an included file succeeded. If not, its last good version is in force.",
    ("fragment",),
)
LEDGER_IMBALANCE = Definition(
    Gauge,
    "alert_router_ledger_imbalance",
    "The difference between changes x destinations and their fates. More than zero is a bug.",
)
CONTRADICTED_ALERTS = Definition(
    Gauge,
    "alert_router_contradicted_alerts",
    "Alerts that are resolved here although their sender still reports them as firing. More than zero is a bug.",
)
EMPTY_CONVERSATIONS = Definition(
    Gauge,
    "alert_router_empty_conversations",
    "Open conversations in which nothing fires and nothing is left to send. More than zero is a bug.",
)
MISCOUNTED = Definition(
    Gauge,
    "alert_router_miscounted_counters",
    "Counters of the store that differ from the sum of their rows. More than zero is a bug.",
)
HEARTBEAT_SILENT = Definition(
    Gauge,
    "alert_router_heartbeat_silent",
    "1 while a heartbeat is reported as silent.",
    ("heartbeat", "source"),
)
HEARTBEAT_SEEN = Definition(
    Gauge,
    "alert_router_heartbeat_last_seen_timestamp_seconds",
    "When a heartbeat last came; 0: never.",
    ("heartbeat", "source"),
)
SOURCE_SILENT = Definition(
    Gauge,
    "alert_router_source_silent",
    "1 while a source is reported as silent. Only sources with silent_after have it.",
    ("source",),
)
SOURCE_SEEN = Definition(
    Gauge,
    "alert_router_source_last_webhook_timestamp_seconds",
    "When a webhook of a source was last accepted; 0: never.",
    ("source",),
)
DEADMAN_PINGS_TOTAL = Definition(
    Counter,
    "alert_router_deadman_pings",
    "Pings of the monitor outside, by outcome: ok, failed, or withheld because the router does not work.",
    ("outcome",),
)
DEADMAN_SUCCESS_TIME = Definition(
    Gauge,
    "alert_router_deadman_last_success_timestamp_seconds",
    "When the monitor outside last accepted a ping; 0: never since the start.",
)
STORE_ERRORS_TOTAL = Definition(
    Counter,
    "alert_router_store_errors",
    "Reads, and batches of writes, that failed because the database could not be used.",
    ("kind",),
)
DATABASE_BYTES = Definition(
    Gauge, "alert_router_database_bytes", "The size of the database on disk, by file.", ("file",)
)
DISK_FREE_BYTES = Definition(
    Gauge,
    "alert_router_disk_free_bytes",
    "Free bytes on the disk of the database's folder. NaN if unknown, as for PostgreSQL.",
)
CONNECTIONS = Definition(Gauge, "alert_router_connections", "Accepted connections that are open.")
CONNECTIONS_CLOSED_TOTAL = Definition(
    Counter,
    "alert_router_connections_closed",
    "Connections that the router closed because of a limit, by reason.",
    ("reason",),
)
TLS_LOAD_SUCCESSFUL = Definition(
    Gauge,
    "alert_router_tls_last_load_successful",
    "1 if the last load of the TLS files succeeded, or there are none. If not, the files before are in force.",
)
TESTS_TOTAL = Definition(
    Counter,
    "alert_router_tests",
    "Tests of receivers that have ended, at each destination.",
    ("receiver", "destination", "outcome"),
)
DRILL_LAST_SUCCESS = Definition(
    Gauge,
    "alert_router_drill_last_success_timestamp_seconds",
    "When the last drill of a receiver that succeeded was begun; 0: none has succeeded.",
    ("receiver",),
)
DRILL_SUCCESSFUL = Definition(
    Gauge,
    "alert_router_drill_last_successful",
    "1 if the last drill of a receiver succeeded.",
    ("receiver",),
)
REQUESTS_IN_PROGRESS = Definition(
    Gauge, "alert_router_http_requests_in_progress", "HTTP requests that are not answered yet, with this one."
)
BACKUPS_TOTAL = Definition(
    Counter, "alert_router_backups", "Attempts of the service to make a backup, by outcome.", ("outcome",)
)
BACKUP_TIME = Definition(
    Gauge,
    "alert_router_backup_last_success_timestamp_seconds",
    "The time of the last backup that the service has made. 0: there is none.",
)
BACKUP_SUCCESSFUL = Definition(
    Gauge,
    "alert_router_backup_last_successful",
    "1 if the last attempt of the service to make a backup succeeded, or there was none.",
)
BACKUP_INTERVAL = Definition(
    Gauge, "alert_router_backup_interval_seconds", "How often the service makes a backup. 0: it makes none."
)
HTTP_REQUESTS_TOTAL = Definition(Counter, "http_requests", "HTTP requests.", ("method", "path", "code"))
ACCEPT_TO_DELIVERED = Definition(
    Histogram,
    "alert_router_accept_to_delivered_seconds",
    "The time from the acceptance of a change to its delivery. Changes that were held on purpose are left out.",
    _CHANNEL_AND_DESTINATION,
    _DELIVERY_BUCKETS,
)
DUE_TO_DELIVERED = Definition(
    Histogram,
    "alert_router_due_to_delivered_seconds",
    "The time from when a change was due at a destination to its delivery there, by the level of its alert.",
    ("level",),
    _DELIVERY_BUCKETS,
)
OBJECTIVE_EVENTS_TOTAL = Definition(
    Counter,
    "alert_router_slo_events",
    "Good and bad events of each objective. The tenant is empty if the objective has none.",
    ("objective", "tenant", "outcome"),
)
OBJECTIVE_RATIO = Definition(
    Gauge,
    "alert_router_slo_objective_ratio",
    "The share of events of an objective that must be good, by the configuration.",
    ("objective", "tenant"),
)
TENANT_CHANGES_TOTAL = Definition(
    Counter,
    "alert_router_tenant_changes",
    "Accepted alert changes of each tenant.",
    ("tenant", "level", "kind"),
)
TENANT_FATES_TOTAL = Definition(
    Counter,
    "alert_router_tenant_fates",
    "How often changes of each tenant got a fate. A change has several fates one after the other.",
    ("tenant", "fate"),
)
PROVIDER_CALL = Definition(
    Histogram,
    "alert_router_provider_call_seconds",
    "The time of an attempt at a provider: all its calls, without waiting for the rate.",
    ("channel",),
    _CALL_BUCKETS,
)
JOB_SECONDS = Definition(
    Histogram,
    "alert_router_store_job_seconds",
    "The time of a job in the store's writer, by kind. Loading and saving of rows is left out.",
    ("job",),
    _JOB_BUCKETS,
)
BATCH_SECONDS = Definition(
    Histogram,
    "alert_router_store_batch_seconds",
    "The time of a batch in the store's writer: all jobs of one transaction, with loading, saving and the commit.",
    (),
    _JOB_BUCKETS,
)
HTTP_SECONDS = Definition(
    Histogram,
    "http_request_duration_seconds",
    "The time of an HTTP request.",
    ("method", "path"),
    _HTTP_BUCKETS,
)

ALL_METRICS = tuple(each for each in list(globals().values()) if isinstance(each, Definition))
