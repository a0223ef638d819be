"""The dashboard *Router internals*: the process, its HTTP server, its store, its checks, and who watches it."""

from deploy.grafana.panels import (
    BAD_IF_ANY,
    GOOD_IF_ONE,
    WARN_IF_ANY,
    Panel,
    Query,
    Row,
    dashboard,
    falling,
    found_in_background,
    query,
    rising,
    variable,
)

_I = 'instance=~"$instance"'
_J = f'job="alert-router", {_I}'
_RATE = "[$__rate_interval]"
_YES = {"0": ("no", "red"), "1": ("yes", "green")}


def _p(share: float, by: str, histogram: str) -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate({histogram}_bucket{{{_I}}}{_RATE})))"


_SERVICE = Row("Service", (
    Panel("Up", "Whether Prometheus can scrape it.",
          query(f"up{{{_J}}}", "{{instance}}"),
          "stat", width=4, height=4, steps=GOOD_IF_ONE, words={"0": ("down", "red"), "1": ("up", "green")}),
    Panel("Version", "The version that runs.",
          query(f"alert_router_build_info{{{_I}}}", "{{version}}"),
          "table", width=4, height=4, columns={"instance": "Instance", "version": "Version"}),
    Panel("Runs since", "The time since the start of the process.",
          query(f"time() - process_start_time_seconds{{{_J}}}", "{{instance}}"),
          "stat", "s", 4, 4),
    Panel("Last load of routes.yaml", "Whether it succeeded. If not, the rules before it are in force.",
          query(f"alert_router_config_last_reload_successful{{{_I}}}", "{{instance}}"),
          "stat", width=4, height=4, steps=GOOD_IF_ONE, words={"0": ("failed", "red"), "1": ("good", "green")}),
    Panel("Rules applied", "Whether all firing alerts are judged by the rules in force.",
          query(f"alert_router_config_applied{{{_I}}}", "{{instance}}"),
          "stat", width=4, height=4, steps=GOOD_IF_ONE, words=_YES),
    Panel("Rules agree", "Whether the rules of the replica are those in force. If not, it keeps webhooks and decides nothing.",
          query(f"alert_router_rules_in_force{{{_I}}}", "{{instance}}"),
          "stat", width=4, height=4, steps=GOOD_IF_ONE, words=_YES),
    Panel("TLS files", "Whether the last load of the TLS files succeeded, or there are none.",
          query(f"alert_router_tls_last_load_successful{{{_I}}}", "{{instance}}"),
          "stat", width=4, height=4, steps=GOOD_IF_ONE, words={"0": ("failed", "red"), "1": ("good", "green")}),
    Panel("Rules of each replica", "The configuration's hash: replicas with the same rules have the same value. A change is a load of other rules.",
          query(f"alert_router_config_hash{{{_I}}}", "{{instance}}"),
          "table", unit="none", width=8, height=6, columns={"instance": "Instance", "Value": "Hash"}),
    Panel("Time since the last load", "Of routes.yaml.",
          query(f"time() - alert_router_config_last_reload_success_timestamp_seconds{{{_I}}}", "{{instance}}"),
          "stat", "s", 8, 6),
    Panel("Included files", "Whether the last load of each included file succeeded.",
          query(f"alert_router_fragment_last_load_successful{{{_I}}}", "{{fragment}}"),
          "state-timeline", width=8, height=6, words={"0": ("broken", "red"), "1": ("good", "green")}),
))  # fmt: skip

_REPLICAS = Row("Replicas", (
    Panel("Serving", "Replicas that serve from the database. The smallest number that any of them shows.",
          query(f"min(alert_router_replicas{{{_I}}})"),
          "stat", width=4, height=6),
    Panel("Rules in force", "Whether the rules of a replica are those in force. If not, it accepts webhooks, and judges and sends nothing.",
          query(f"alert_router_rules_in_force{{{_I}}}", "{{instance}}"),
          "state-timeline", width=8, height=6, words={"0": ("other rules", "yellow"), "1": ("in force", "green")}),
    Panel("Leases", "Who holds which lease: all lanes of a section, or the work in the background.",
          query(f"alert_router_lease_held{{{_I}}}", "{{lease}}: {{instance}}"),
          "state-timeline", width=12, height=6, words={"0": ("not held", "transparent"), "1": ("held", "green")}),
    Panel("Takeovers", "How often a lease came from another replica, in an hour, without those before the first scrape of a process. A rolling update moves each a few times.",
          query(f"sum by (lease) (increase(alert_router_lease_takeovers_total{{{_I}}}[1h]))", "{{lease}}"),
          width=12, height=6, decimals=0),
    Panel("Lost leases", "How often a replica could not renew its session in time, in an hour. Others then take over, and messages may come twice.",
          query(f"sum by (instance) (increase(alert_router_leases_lost_total{{{_I}}}[1h]))", "{{instance}}"),
          width=12, height=6, decimals=0),
))  # fmt: skip

_PROCESS = Row("Process", (
    Panel("Processor", "1 is one core.",
          query(f"rate(process_cpu_seconds_total{{{_J}}}{_RATE})", "{{instance}}"),
          unit="percentunit"),
    Panel("Memory", "Resident memory.",
          query(f"process_resident_memory_bytes{{{_J}}}", "{{instance}}"),
          unit="bytes"),
    Panel("Open files", "And how many the process may open.",
          (Query(f"process_open_fds{{{_J}}}", "open {{instance}}"),
           Query(f"process_max_fds{{{_J}}}", "limit {{instance}}")),
          minimum=0),
))  # fmt: skip

_HTTP = Row("HTTP", (
    Panel("Requests by code", "Requests a second.",
          query(f"sum by (code) (rate(http_requests_total{{{_J}}}{_RATE}))", "{{code}}"),
          unit="reqps", stacked=True),
    Panel("Time of webhooks", "From the request to the answer, which comes after the commit. Pages are left out.",
          (Query(f'histogram_quantile(0.5, sum by (le) (rate(http_request_duration_seconds_bucket{{{_J}, method="POST", path=~"/webhook.*"}}{_RATE})))', "median"),
           Query(f'histogram_quantile(0.95, sum by (le) (rate(http_request_duration_seconds_bucket{{{_J}, method="POST", path=~"/webhook.*"}}{_RATE})))', "95 %")),
          unit="s", steps=rising(0.5, 2.5), shows_thresholds=True),
    Panel("Time of requests, 95 %", "By path.",
          query(f"histogram_quantile(0.95, sum by (path, le) (rate(http_request_duration_seconds_bucket{{{_J}}}{_RATE})))", "{{path}}"),
          unit="s"),
    Panel("Requests in progress", "Open pages that refresh hold one each.",
          query(f"alert_router_http_requests_in_progress{{{_I}}}", "{{instance}}"),
          minimum=0),
    Panel("Connections", "Accepted connections that are open.",
          query(f"alert_router_connections{{{_I}}}", "{{instance}}"),
          minimum=0),
    Panel("Connections closed because of a limit", "By reason, in five minutes.",
          query(f"sum by (reason) (increase(alert_router_connections_closed_total{{{_I}}}[5m]))", "{{reason}}"),
          decimals=0),
    Panel("Refused requests", "Requests for pages, the API and actions, in five minutes.",
          query(f"sum by (reason) (increase(alert_router_requests_refused_total{{{_I}}}[5m]))", "{{reason}}"),
          width=12, decimals=0),
    Panel("Quarantine", "Bodies that could not be used, and those that were deleted early, in an hour.",
          (Query(f"increase(alert_router_quarantined_total{{{_I}}}[1h])", "quarantined {{instance}}"),
           Query(f"increase(alert_router_quarantine_dropped_total{{{_I}}}[1h])", "dropped {{instance}}")),
          width=12, decimals=0),
))  # fmt: skip

_STORE = Row("Store", (
    Panel("Time of a batch", "All jobs of a transaction, with the commit. A webhook waits for the batch before its own.",
          (Query(_p(0.5, "", "alert_router_store_batch_seconds"), "median"),
           Query(_p(0.95, "", "alert_router_store_batch_seconds"), "95 %"),
           Query(_p(0.99, "", "alert_router_store_batch_seconds"), "99 %")),
          unit="s", steps=rising(0.1, 0.5), shows_thresholds=True),
    Panel("Time of jobs, 95 %", "One job in a batch, without loading and saving its rows. If batches are slow and jobs are not, the disk is slow.",
          query(_p(0.95, ", exported_job", "alert_router_store_job_seconds"), "{{exported_job}}"),
          unit="s"),
    Panel("Batches and jobs", "How many a second.",
          (Query(f"sum(rate(alert_router_store_batch_seconds_count{{{_I}}}{_RATE}))", "batches"),
           Query(f"sum(rate(alert_router_store_job_seconds_count{{{_I}}}{_RATE}))", "jobs")),
          unit="ops"),
    Panel("Errors", "Reads and batches that failed because of the database, in five minutes.",
          query(f"sum by (kind) (increase(alert_router_store_errors_total{{{_I}}}[5m]))", "{{kind}}"),
          decimals=0),
    Panel("Size of the database", "By file. With several replicas, as the holder of the background measures it.",
          query(f"max by (file) {found_in_background(f'alert_router_database_bytes{{{_I}}}')}", "{{file}}"),
          unit="bytes", minimum=0),
    Panel("Free disk", "On the disk of the database's folder; unknown for PostgreSQL.",
          query(f"alert_router_disk_free_bytes{{{_I}}}", "{{instance}}"),
          unit="bytes", steps=falling(268435456, 2147483648), minimum=0, shows_thresholds=True),
    Panel("Undecided alerts", "Alerts of kept webhooks that are not judged yet: of large ones, and of those that came to a replica with other rules.",
          query(f"max(alert_router_undecided_alerts{{{_I}}})", "undecided"),
          minimum=0),
    Panel("Time since the last good backup", "No value: there was none yet.",
          query(f"time() - (alert_router_backup_last_success_timestamp_seconds{{{_I}}} > 0)", "{{instance}}"),
          "stat", "s", 4),
    Panel("Last backup", "Whether it succeeded. Only meaningful if backups are on.",
          query(f"alert_router_backup_last_successful{{{_I}}}", "{{instance}}"),
          "stat", width=4, steps=GOOD_IF_ONE, words={"0": ("failed", "red"), "1": ("good", "green")}),
    Panel("Interval of backups", "0: backups are off.",
          query(f"alert_router_backup_interval_seconds{{{_I}}}", "{{instance}}"),
          "stat", "s", 4),
    Panel("Backups", "Attempts in the last day, by outcome.",
          query(f"sum by (outcome) (increase(alert_router_backups_total{{{_I}}}[1d]))", "{{outcome}}"),
          "stat", width=4, decimals=0),
    Panel("Reports dropped", "Errors for Sentry and spans for the collector that were lost, in the last day, by reason.",
          query(f"sum by (kind, reason) (increase(alert_router_telemetry_dropped_total{{{_I}}}[1d]))", "{{kind}} {{reason}}"),
          "stat", width=8, decimals=0, steps=WARN_IF_ANY),
))  # fmt: skip


def _check(gauge: str, function: str = "") -> str:
    """Return the worst value of a check. :param function: of PromQL, applied to the value"""
    shown = f"{gauge}{{{_I}}}"
    return f"max {found_in_background(f'{function}({shown})' if function else shown)}"


_CHECKS = Row("Checks: anything but 0 is a bug", (
    Panel("Ledger imbalance", "How far changes × destinations and the fates differ.",
          query(_check("alert_router_ledger_imbalance", "abs")),
          "stat", width=6, height=4, steps=BAD_IF_ANY),
    Panel("Contradicted alerts", "Resolved here, and firing at their sender.",
          query(_check("alert_router_contradicted_alerts")),
          "stat", width=6, height=4, steps=BAD_IF_ANY),
    Panel("Empty conversations", "Open with nothing in them.",
          query(_check("alert_router_empty_conversations")),
          "stat", width=6, height=4, steps=WARN_IF_ANY),
    Panel("Miscounted counters", "Counters that differ from the sum of their rows.",
          query(_check("alert_router_miscounted_counters")),
          "stat", width=6, height=4, steps=WARN_IF_ANY),
))  # fmt: skip

_WATCH = Row("Heartbeats and the dead man's switch", (
    Panel("Heartbeats", "An alert that must keep coming.",
          query(f"max by (heartbeat, source) {found_in_background(f'alert_router_heartbeat_silent{{{_I}}}')}", "{{heartbeat}} of {{source}}"),
          "state-timeline", words={"0": ("comes", "green"), "1": ("silent", "red")}),
    Panel("Time since the last heartbeat", "By heartbeat and source.",
          query(f"time() - max by (heartbeat, source) (alert_router_heartbeat_last_seen_timestamp_seconds{{{_I}}} > 0)", "{{heartbeat}} of {{source}}"),
          unit="s", minimum=0),
    Panel("Time since the last webhook", "By source.",
          query(f"time() - max by (source) (alert_router_source_last_webhook_timestamp_seconds{{{_I}}} > 0)", "{{source}}"),
          unit="s", minimum=0),
    Panel("Sources", "Whether a source has been silent for longer than its limit.",
          query(f"max by (source) {found_in_background(f'alert_router_source_silent{{{_I}}}')}", "{{source}}"),
          "state-timeline", words={"0": ("posts", "green"), "1": ("silent", "red")}),
    Panel("Pings of the monitor outside", "In fifteen minutes. Withheld: the router could not receive, store or deliver.",
          query(f"sum by (outcome) (increase(alert_router_deadman_pings_total{{{_I}}}[15m]))", "{{outcome}}"),
          decimals=0),
    Panel("Time since the last good ping", "Of the monitor outside.",
          query(f"time() - max(alert_router_deadman_last_success_timestamp_seconds{{{_I}}} > 0)", "last ping"),
          unit="s", minimum=0),
    Panel("Alertmanagers that do not answer", "Failed questions in fifteen minutes.",
          query(f"sum by (source) (increase(alert_router_reconcile_failures_total{{{_I}}}[15m]))", "{{source}}"),
          width=24, height=6, decimals=0),
))  # fmt: skip

INTERNALS = dashboard(
    "alert-router-internals", "Alert router / Router internals",
    "The process, its HTTP server, its store, its checks, and who watches it.",
    (variable("instance", "Instance", "label_values(alert_router_build_info, instance)"),),
    (_SERVICE, _REPLICAS, _PROCESS, _HTTP, _STORE, _CHECKS, _WATCH),
)  # fmt: skip
