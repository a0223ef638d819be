"""Metrics: named as Prometheus names them, bounded, and absent when switched off."""

import re
import shutil
import subprocess
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from router.histogram import Histogram
from router.metrics import Metrics

SLACK = "slack:C0CRITICAL"
MAIL = "email:a@b"
NOW = 1_795_216_673_535


def used(metrics: Metrics) -> Metrics:
    """Call every method once."""
    metrics.webhook("prod", "accepted")
    metrics.quarantined()
    metrics.request_refused("host")
    metrics.decided("prod", [("fired", "warning", False)], [(SLACK, "send")])
    metrics.delivery("slack", SLACK, "delivered")
    metrics.delivery("slack", SLACK, "retry", "ratelimited")
    metrics.delivered_after("slack", SLACK, 0.3)
    metrics.delivered_late_by("critical", 0.3)
    metrics.objective_event("in_time", "shop", is_good=True)
    metrics.targets({("accepted", ""): 0.999})
    metrics.tenant_events({("shop", "critical", "fired"): 2}, {("shop", "delivered"): 3})
    metrics.fallback("slack")
    metrics.possible_duplicate("slack", SLACK)
    metrics.reconcile_failed("prod")
    metrics.imbalance(3)
    metrics.integrity(0, 0, 1)
    metrics.batch(0.003, [("Accept", 0.001)])
    metrics.config_loaded("00000000002a" + "f" * 52, NOW)
    metrics.config_load_failed()
    metrics.request("POST", "/webhook", 200, 0.002)
    metrics.connections(3)
    metrics.connection_closed("gave_way")
    metrics.tls_loaded(is_good=True)
    metrics.quarantine_dropped(2)
    metrics.heard("watchdog", "prod", NOW)
    metrics.heard("", "prod", NOW)
    metrics.watched([("watchdog", "prod", NOW, True, True), ("", "prod", NOW, False, True)])
    metrics.deadman("ok", NOW)
    metrics.receiver_tested("oncall", SLACK, "failed")
    metrics.drills({"oncall": (NOW, True)})
    metrics.request_began()
    metrics.provider_call("slack", 0.2)
    metrics.store_error("write")
    metrics.disk_usage({"main": 4096, "wal": 0}, 10**9)
    metrics.telemetry_dropped("span", "full", 3)
    metrics.backup_interval(86_400_000)
    metrics.backup_found(NOW)
    metrics.backup_made(NOW + 1_000)
    metrics.backup_failed()
    metrics.replicas(2)
    metrics.leases({"background"}, ())
    metrics.lease_held("background", is_held=True)
    metrics.lease_taken_over("background")
    metrics.leases_lost()
    return metrics


def exposed(metrics: Metrics, *, count: int = 2) -> str:
    busy = {
        "backlog": count,
        "oldest_at": NOW - 90_000,
        "empty_at": NOW + 3_000,
        "dead": 4,
        "broken_since": NOW,
        "paused_since": NOW,
    }
    idle = {
        "backlog": 0,
        "oldest_at": None,
        "empty_at": None,
        "dead": 0,
        "broken_since": None,
        "paused_since": None,
    }
    return metrics.expose([{"destination": SLACK, **busy}, {"destination": MAIL, **idle}], NOW).decode()


def test_promtool_finds_no_fault() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: install Debian's package prometheus")
    text = exposed(used(Metrics()))
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


ODD = pytest.mark.parametrize("odd", ["slack:C0", 'a "b" \\ c\nd', "ü 🙂", ""])


@ODD
def test_the_text_equals_that_of_the_client_library(odd: str) -> None:
    metrics = used(Metrics())
    for _ in range(2):  # the second time uses the lines that the first time kept
        metrics.delivery("slack", odd, "retry", odd)
        text = metrics.expose([], NOW).decode()
        expected = generate_latest(metrics.registry).decode()
        lines = [line for line in expected.splitlines() if "process_" not in line]
        assert [line for line in text.splitlines() if "process_" not in line][: len(lines)] == lines


@ODD
def test_a_histogram_is_written_as_by_the_client_library(odd: str) -> None:
    registry, buckets = CollectorRegistry(), (0.001, 0.5, 2, 1_000_000)
    theirs = prometheus_client.Histogram("a_seconds", "A.", ("zone", "b"), buckets=buckets, registry=registry)
    ours = Histogram("a_seconds", "A.", ("zone", "b"), buckets)
    for value in (0, 0.001, 0.0011, 0.5, 1, 3.25, 7e9):
        for labels in ((odd, "x"), ("y", odd)):
            theirs.labels(*labels).observe(value)
            ours.observe(value, *labels)
        assert "".join(ours.text()) == generate_latest(registry).decode()


def test_every_wanted_lease_is_shown_and_no_other() -> None:
    metrics = Metrics()
    metrics.leases({"background", "lanes slack"}, {"background"})
    lines = exposed(metrics).splitlines()
    assert 'alert_router_lease_held{lease="background"} 1.0' in lines
    assert (
        'alert_router_lease_held{lease="lanes slack"} 0.0' in lines
    )  # nobody holds it, or another replica does
    assert 'alert_router_lease_takeovers_total{lease="lanes slack"} 0.0' in lines
    metrics.leases({"background"}, ())
    assert [line for line in exposed(metrics).splitlines() if "lease_held{" in line] == [
        'alert_router_lease_held{lease="background"} 0.0'
    ]


def test_jobs_and_batches_of_the_store_are_timed_by_kind() -> None:
    metrics = Metrics()
    metrics.batch(0.2, [("Accept", 0.0003), ("Accept", 0.02), ("Claim", 3)])
    lines = exposed(metrics).splitlines()
    for line in (
        'alert_router_store_job_seconds_bucket{job="Accept",le="0.0005"} 1.0',
        'alert_router_store_job_seconds_count{job="Accept"} 2.0',
        'alert_router_store_job_seconds_bucket{job="Claim",le="2.5"} 0.0',
        'alert_router_store_job_seconds_bucket{job="Claim",le="+Inf"} 1.0',
        'alert_router_store_batch_seconds_bucket{le="0.1"} 0.0',
        "alert_router_store_batch_seconds_sum 0.2",
    ):
        assert line in lines


def test_every_event_is_counted() -> None:
    lines = exposed(used(Metrics())).splitlines()
    for line in (
        'alert_router_webhooks_total{outcome="accepted",source="prod"} 1.0',
        "alert_router_quarantined_total 1.0",
        'alert_router_changes_total{kind="fired",level="warning",source="prod"} 1.0',
        'alert_router_unknown_severity_total{source="prod"} 1.0',
        f'alert_router_decisions_total{{decision="send",destination="{SLACK}"}} 1.0',
        f'alert_router_deliveries_total{{channel="slack",destination="{SLACK}",outcome="delivered"}} 1.0',
        f'alert_router_deliveries_total{{channel="slack",destination="{SLACK}",outcome="retry"}} 1.0',
        f'alert_router_delivery_failures_total{{channel="slack",destination="{SLACK}",reason="ratelimited"}} 1.0',
        f'alert_router_accept_to_delivered_seconds_count{{channel="slack",destination="{SLACK}"}} 1.0',
        'alert_router_due_to_delivered_seconds_count{level="critical"} 1.0',
        'alert_router_slo_events_total{objective="in_time",outcome="good",tenant="shop"} 1.0',
        'alert_router_slo_objective_ratio{objective="accepted",tenant=""} 0.999',
        'alert_router_slo_events_total{objective="accepted",outcome="bad",tenant=""} 0.0',
        'alert_router_tenant_changes_total{kind="fired",level="critical",tenant="shop"} 2.0',
        'alert_router_tenant_fates_total{fate="delivered",tenant="shop"} 3.0',
        'alert_router_template_fallbacks_total{channel="slack"} 1.0',
        f'alert_router_tests_total{{destination="{SLACK}",outcome="failed",receiver="oncall"}} 1.0',
        'alert_router_drill_last_success_timestamp_seconds{receiver="oncall"} 1.795216673535e+09',
        'alert_router_drill_last_successful{receiver="oncall"} 1.0',
        'alert_router_provider_call_seconds_bucket{channel="slack",le="0.25"} 1.0',
        'alert_router_store_errors_total{kind="read"} 0.0',
        'alert_router_store_errors_total{kind="write"} 1.0',
        'alert_router_database_bytes{file="main"} 4096.0',
        "alert_router_disk_free_bytes 1e+09",
        "alert_router_http_requests_in_progress 0.0",
        f'alert_router_possible_duplicates_total{{channel="slack",destination="{SLACK}"}} 1.0',
        'alert_router_reconcile_failures_total{source="prod"} 1.0',
        "alert_router_ledger_imbalance 3.0",
        "alert_router_config_last_reload_successful 0.0",
        "alert_router_config_last_reload_success_timestamp_seconds 1.795216673535e+09",
        "alert_router_config_hash 42.0",
        'alert_router_heartbeat_silent{heartbeat="watchdog",source="prod"} 1.0',
        (
            'alert_router_heartbeat_last_seen_timestamp_seconds{heartbeat="watchdog",source="prod"} '
            "1.795216673535e+09"
        ),
        'alert_router_source_silent{source="prod"} 0.0',
        'alert_router_source_last_webhook_timestamp_seconds{source="prod"} 1.795216673535e+09',
        'alert_router_deadman_pings_total{outcome="ok"} 1.0',
        "alert_router_deadman_last_success_timestamp_seconds 1.795216673535e+09",
        'alert_router_backups_total{outcome="made"} 1.0',
        'alert_router_backups_total{outcome="failed"} 1.0',
        "alert_router_backup_last_success_timestamp_seconds 1.795216674535e+09",
        "alert_router_backup_last_successful 0.0",
        "alert_router_backup_interval_seconds 86400.0",
        'http_requests_total{code="200",method="POST",path="/webhook"} 1.0',
        'http_request_duration_seconds_count{method="POST",path="/webhook"} 1.0',
    ):
        assert line in lines
    assert any(line.startswith("alert_router_build_info{version=") for line in lines)
    assert not any("_created" in line for line in lines)


def test_the_backlog_is_zero_if_nothing_waits_and_absent_if_unknown() -> None:
    metrics = Metrics()
    lines = exposed(metrics).splitlines()
    assert f'alert_router_backlog{{destination="{SLACK}"}} 2.0' in lines
    assert f'alert_router_oldest_pending_age_seconds{{destination="{SLACK}"}} 90.0' in lines
    assert 'alert_router_backlog{destination="email:a@b"} 0.0' in lines
    assert 'alert_router_oldest_pending_age_seconds{destination="email:a@b"} 0.0' in lines
    assert SLACK not in metrics.expose([], NOW).decode()  # a destination that the rules no longer name
    assert "alert_router_backlog{" not in metrics.expose(None, NOW).decode()


def test_lanes_have_backlog_dead_letters_and_broken_state() -> None:
    lines = exposed(Metrics()).splitlines()
    for name, busy, idle in (("backlog_seconds", 3, 0), ("dead_letters", 4, 0), ("destination_broken", 1, 0)):
        assert f'alert_router_{name}{{destination="{SLACK}"}} {busy}.0' in lines
        assert f'alert_router_{name}{{destination="{MAIL}"}} {idle}.0' in lines


def test_the_docs_name_only_existing_metrics() -> None:
    """What rules of Prometheus record has a level before its name, as in ``objective:alert_router_…``."""
    root = Path(__file__).parents[2]
    pages = [*root.glob("docs/*.md"), root / "README.md"]
    named = {name for page in pages for name in re.findall(r"(?<![\w:])alert_router_\w+", page.read_text())}
    heads = re.findall(r"^# TYPE (\w+)", exposed(Metrics()), re.MULTILINE)
    assert named - set(heads) == set()
    assert len(named) > 5


def test_reasons_are_bounded() -> None:
    metrics = Metrics()
    for number in range(500):
        metrics.delivery("slack", SLACK, "retry", f"reason {number}")
    metrics.delivery("slack", SLACK, "retry", "reason 0")
    lines = [
        line
        for line in exposed(metrics).splitlines()
        if line.startswith("alert_router_delivery_failures_total{")
    ]
    assert len(lines) <= 101
    assert sum(float(line.rsplit(" ", 1)[1]) for line in lines) == 501
    assert any('reason="reason 0"' in line and line.endswith(" 2.0") for line in lines)


def test_two_services_in_one_process_do_not_share_counts() -> None:
    one, other = Metrics(), Metrics()
    one.quarantined()
    assert "alert_router_quarantined_total 0.0" in exposed(other)


def test_switched_off_metrics_keep_nothing() -> None:
    metrics = used(Metrics(enabled=False))
    assert not metrics.enabled
    assert list(metrics.registry.collect()) == []


def test_what_is_not_watched_any_more_is_not_shown() -> None:
    metrics = Metrics()
    metrics.watched([("watchdog", "prod", NOW, True, True), ("", "prod", None, False, False)])
    text = exposed(metrics)
    assert 'alert_router_heartbeat_silent{heartbeat="watchdog",source="prod"} 1.0' in text
    assert 'alert_router_source_last_webhook_timestamp_seconds{source="prod"} 0.0' in text
    assert "alert_router_source_silent{" not in text
    metrics.watched([("", "prod", NOW, False, False)])
    text = exposed(metrics)
    assert "alert_router_heartbeat_silent{" not in text
    assert "alert_router_heartbeat_last_seen_timestamp_seconds{" not in text
    assert 'alert_router_source_last_webhook_timestamp_seconds{source="prod"} 1.795216673535e+09' in text
