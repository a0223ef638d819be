"""The alert rules, evaluated by promtool over what a real router exposes."""

import asyncio
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.deployed import RULE_FILES, alerts
from tests.world.conftest import World

PROMTOOL = shutil.which("promtool")
pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool: apt-get install prometheus")

_MINUTES = 200
_SAMPLE = re.compile(r"(?P<name>[\w:]+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
_TARGET = 'job="alert-router",instance="router:9099"'
# What a scrape of the others gives.
_OTHERS = {
    f"up{{{_TARGET}}}": "1", 'up{job="blackbox-exporter",instance="blackbox:9115"}': "1",
    'alertmanager_notifications_failed_total{job="alertmanager",integration="webhook"}': "0",
}  # fmt: skip


def series_of(lines: list[str]) -> dict[str, str]:
    """Return each series of a scrape as Prometheus stores it, and its value."""
    found = {}
    for line in lines:
        sample = _SAMPLE.fullmatch(line)
        if sample is None:
            continue
        own = re.sub(r"\bjob=", "exported_job=", sample["labels"] or "")
        value = float(sample["value"])
        name = f"{sample['name']}{{{','.join(filter(None, (_TARGET, own)))}}}"
        found[name] = str(int(value)) if value.is_integer() else f"{value:.9f}"
    return found


def values_of(name: str, value: str) -> str:
    """Return the samples of a series, one a minute. The time of promtool begins at 0, and so does the process."""
    if name.startswith("process_start_time_seconds"):
        return f"0x{_MINUTES}"
    if "timestamp_seconds" in name and value != "0":  # just now
        return f"0+60x{_MINUTES}"
    return f"NaN+0x{_MINUTES}" if value == "nan" else f"{value}x{_MINUTES}"  # promtool knows no "NaNx200"


async def fired(folder: Path, series: dict[str, str]) -> str:
    """Return what promtool says if alerts other than Watchdog fire within some hours; empty: none do."""
    times = [{"series": name, "values": values_of(name, value)} for name, value in series.items()]
    asked: list[dict[str, object]] = [
        {"eval_time": at, "alertname": name, "exp_alerts": []}
        for name in alerts()
        if name != "Watchdog"
        for at in ("12m", "40m", "3h")
    ]
    test = {"interval": "1m", "input_series": times, "alert_rule_test": asked}
    file = folder / "idle.test.yml"
    file.write_text(
        json.dumps(
            {"rule_files": [str(path) for path in RULE_FILES], "evaluation_interval": "1m", "tests": [test]}
        )
    )
    process = await asyncio.create_subprocess_exec(
        str(PROMTOOL), "test", "rules", str(file),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    printed, _ = await process.communicate()
    return "" if process.returncode == 0 else printed.decode()


async def test_a_healthy_router_without_traffic_fires_no_alert(world: World, tmp_path: Path) -> None:
    """Its ratios are 0 / 0, and the series of what never happened are missing or zero."""
    await world.start()
    series = series_of(await world.get("/metrics")) | _OTHERS
    assert len(series) > 100
    assert await fired(tmp_path, series) == ""
    # The same can fail.
    broken = series | {f"alert_router_ledger_imbalance{{{_TARGET}}}": "1"}
    assert "AlertRouterLedgerImbalance" in await fired(tmp_path, broken)


async def test_a_disk_that_was_not_measured_fires_no_alert(world: World, tmp_path: Path) -> None:
    """So it is until the first measurement after a start, and always on PostgreSQL."""
    await world.start()
    unknown = series_of(["alert_router_disk_free_bytes NaN"])
    series = series_of(await world.get("/metrics")) | _OTHERS
    assert unknown.keys() <= series.keys()
    assert await fired(tmp_path, series | unknown) == ""


async def test_a_single_refused_webhook_and_fallback_fire_alerts(world: World, tmp_path: Path) -> None:
    """Alertmanager does not repeat what got a 4xx, so one must be enough."""
    await world.start()
    series = series_of(await world.get("/metrics")) | _OTHERS
    for name, alert in (
        (
            f'alert_router_webhooks_total{{{_TARGET},outcome="unauthorized",source="unknown"}}',
            "AlertRouterWebhooksRejected",
        ),
        (f'alert_router_template_fallbacks_total{{{_TARGET},channel="slack"}}', "AlertRouterTemplateFailing"),
    ):
        assert series[name] == "0"
        once = series | {name: "0x4 1"}
        assert alert in await fired(tmp_path, once)
