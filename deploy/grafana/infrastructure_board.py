"""The dashboard *Infrastructure*: machines, endpoints, and the monitoring itself."""

from deploy.grafana.panels import (
    GOOD_IF_ONE,
    Panel,
    Query,
    Row,
    dashboard,
    falling,
    query,
    rising,
    variable,
)

_N = 'job="node", instance=~"$node"'
_DISKS = f'{_N}, fstype!~"tmpfs|ramfs|squashfs|proc|sysfs|devtmpfs"'
_RATE = "[$__rate_interval]"

_MACHINES = Row("Machines", (
    Panel("Processor", "The share of time that is not idle.",
          query(f'1 - avg by (instance) (rate(node_cpu_seconds_total{{{_N}, mode="idle"}}{_RATE}))', "{{instance}}"),
          unit="percentunit", minimum=0, maximum=1, steps=rising(0.8, 0.95), shows_thresholds=True),
    Panel("Load of a core", "Processes that run or wait, over five minutes. More than 1: they wait.",
          query(f'node_load5{{{_N}}} / on (instance) count by (instance) (node_cpu_seconds_total{{{_N}, mode="idle"}})', "{{instance}}"),
          minimum=0, steps=rising(1, 2), shows_thresholds=True),
    Panel("Memory in use", "What programs can't get any more without swapping.",
          query(f"1 - node_memory_MemAvailable_bytes{{{_N}}} / node_memory_MemTotal_bytes{{{_N}}}", "{{instance}}"),
          unit="percentunit", minimum=0, maximum=1, steps=rising(0.85, 0.95), shows_thresholds=True),
    Panel("Disk space in use", "By file system.",
          query(f"1 - node_filesystem_avail_bytes{{{_DISKS}}} / node_filesystem_size_bytes{{{_DISKS}}}", "{{instance}} {{mountpoint}}"),
          unit="percentunit", minimum=0, maximum=1, steps=rising(0.85, 0.95), shows_thresholds=True),
    Panel("Busy disks", "The share of time in which a disk works.",
          query(f"rate(node_disk_io_time_seconds_total{{{_N}}}{_RATE})", "{{instance}} {{device}}"),
          unit="percentunit", minimum=0),
    Panel("Network", "Received and sent, without the loopback device.",
          (Query(f'sum by (instance) (rate(node_network_receive_bytes_total{{{_N}, device!="lo"}}{_RATE}))', "in {{instance}}"),
           Query(f'sum by (instance) (rate(node_network_transmit_bytes_total{{{_N}, device!="lo"}}{_RATE}))', "out {{instance}}")),
          unit="Bps", minimum=0),
    Panel("Runs since", "The time since the machine started.",
          query(f"time() - node_boot_time_seconds{{{_N}}}", "{{instance}}"),
          "stat", "s"),
    Panel("Open files of the machine", "The share of those that the kernel allows.",
          query(f"node_filefd_allocated{{{_N}}} / node_filefd_maximum{{{_N}}}", "{{instance}}"),
          unit="percentunit", minimum=0),
    Panel("Clock", "How far the machine's clock is from this Prometheus' clock.",
          query(f"node_time_seconds{{{_N}}} - timestamp(node_time_seconds{{{_N}}})", "{{instance}}"),
          unit="s"),
))  # fmt: skip

_ENDPOINTS = Row("Endpoints, from outside", (
    Panel("Up", "What blackbox_exporter sees.",
          query("probe_success", "{{instance}}"),
          "state-timeline", width=12, words={"0": ("down", "red"), "1": ("up", "green")}),
    Panel("Time of a probe", "The whole probe, with the look-up of the name and TLS.",
          query("probe_duration_seconds", "{{instance}}"),
          unit="s", width=12, minimum=0, steps=rising(1, 2), shows_thresholds=True),
    Panel("Availability of 30 days", "The objective is 99.5 %.",
          query("instance:probe_success:ratio30d", "{{instance}}"),
          "stat", "percentunit", steps=falling(0.995, 0.999), decimals=2),
    Panel("Error budget left", "Of the 0.5 % of 30 days in which an endpoint may be down.",
          query("instance:probe_budget_left:ratio30d", "{{instance}}"),
          "bargauge", "percentunit", steps=falling(0, 0.25), minimum=0, maximum=1),
    Panel("Certificates end in", "The first certificate of the chain.",
          query("probe_ssl_earliest_cert_expiry - time()", "{{instance}}"),
          "stat", "s", steps=falling(259200, 1209600)),
))  # fmt: skip

_MONITORING = Row("The monitoring itself", (
    Panel("Targets", "What Prometheus scrapes, and whether it can.",
          query("up", "{{job}} {{instance}}"),
          "state-timeline", width=12, words={"0": ("down", "red"), "1": ("up", "green")}, steps=GOOD_IF_ONE),
    Panel("Firing alerts", "As Prometheus sees them, before silences, inhibition and routing.",
          query('sort_desc(count by (alertname, severity) (ALERTS{alertstate="firing"}))'),
          "table", width=12, columns={"alertname": "Alert", "severity": "Severity", "Value": "Firing"}),
    Panel("Notifications of Alertmanager", "To the router (webhook) and to the last resort.",
          query(f"sum by (integration) (rate(alertmanager_notifications_total{_RATE}))", "{{integration}}"),
          unit="ops"),
    Panel("Failed notifications", "Alertmanager could not post them, and tries again.",
          query("sum by (integration) (increase(alertmanager_notifications_failed_total[5m]))", "{{integration}}"),
          decimals=0),
    Panel("Failed rules of Prometheus", "Evaluations that failed in five minutes.",
          query("sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total[5m]))", "{{rule_group}}"),
          decimals=0),
))  # fmt: skip

INFRASTRUCTURE = dashboard(
    "alert-router-infrastructure", "Alert router / Infrastructure",
    "Machines (node exporter), endpoints (blackbox_exporter), Prometheus and Alertmanager.",
    (variable("node", "Machine", 'label_values(node_boot_time_seconds{job="node"}, instance)'),),
    (_MACHINES, _ENDPOINTS, _MONITORING),
)  # fmt: skip
