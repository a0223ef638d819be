"""Reports are sent in the background: bounded, counted, by the network settings, and within the time of a stop."""

import asyncio
import ssl
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from router.model import SentrySettings, TelemetrySettings, TracingSettings
from router.network import DIRECT, Network, Proxies
from router.telemetry import Telemetry
from tests.clock import ManualClock
from tests.unit.core.world import NOON, POLICY, SLACK, World, alert, webhook
from tests.waiting import until
from tests.world.fake_anything import Anything
from tests.world.fake_anything import http as answer
from tests.world.fake_collector import FakeCollector
from tests.world.fake_proxy import Asked, FakeProxy
from tests.world.fake_sentry import PUBLIC_KEY, FakeSentry
from tests.world.fake_server import HANG

ROOT = Path(__file__).parents[3]
SERVER = "reports.proxied.example:8443"


class Dropped:
    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def __call__(self, kind: str, reason: str, count: int) -> None:
        self.counts[kind, reason] += count


async def begun(settings: TelemetrySettings, dropped: Dropped, network: Network = DIRECT) -> Telemetry:
    telemetry = Telemetry(ManualClock(NOON), "0", dropped)
    with capture_logs() as logs:
        await telemetry.apply(settings, network)
    assert logs == []
    return telemetry


def errors_to(dsn: str) -> TelemetrySettings:
    return TelemetrySettings(sentry=SentrySettings(dsn, "test", "r1"))


def spans_to(url: str) -> TelemetrySettings:
    return TelemetrySettings(tracing=TracingSettings(f"{url}/v1/traces", sample_rate=1))


def report(telemetry: Telemetry, times: int = 1) -> None:
    for _ in range(times):
        telemetry.error("it failed", "router.test", ValueError())


def receive(telemetry: Telemetry, times: int = 1) -> None:
    for _ in range(times):
        telemetry.receive({}).answered(200)


async def test_errors_beyond_the_queue_are_counted_and_nobody_waits() -> None:
    async with FakeSentry() as sentry:
        sentry.fail(HANG)
        dropped = Dropped()
        telemetry = await begun(errors_to(sentry.dsn), dropped)
        report(telemetry, 150)
        assert dropped.counts["error", "full"] >= 49
        closing = asyncio.create_task(telemetry.close(0.1))
        await closing
        sentry.release()


async def test_spans_beyond_the_queue_are_counted_and_nobody_waits() -> None:
    async with FakeCollector() as collector:
        collector.fail(*[HANG] * 20)
        dropped = Dropped()
        telemetry = await begun(spans_to(collector.url), dropped)
        receive(telemetry, 5_000)
        assert dropped.counts["span", "full"] == 5_000 - 4_096
        await telemetry.close(0.1)
        assert dropped.counts["span", "failed"] == 4_096
        collector.release()


async def test_a_stop_sends_all_that_waits() -> None:
    async with FakeCollector() as collector:
        dropped = Dropped()
        telemetry = await begun(spans_to(collector.url), dropped)
        receive(telemetry, 2_000)
        await telemetry.close()
        assert len(collector.named("POST /webhook")) == 2_000
        assert dropped.counts == {}


async def test_an_event_that_another_thread_reports_is_sent() -> None:
    async with FakeSentry() as sentry:
        telemetry = await begun(errors_to(sentry.dsn), Dropped())
        thread = threading.Thread(target=report, args=(telemetry,))
        thread.start()
        await sentry.until(lambda: bool(sentry.envelopes))
        thread.join()
        await telemetry.close()


@pytest.mark.parametrize("kind", ["error", "span"])
async def test_reports_use_the_proxy_and_the_authority(
    kind: str, tls: ssl.SSLContext, certificate: tuple[Path, Path]
) -> None:
    async with Anything(tls) as server, FakeProxy(server.address) as proxy:
        server.speak = answer(200)
        network = Network(Proxies(proxy.url, proxy.url, proxy.url), certificate[0].read_text())
        dropped = Dropped()
        is_error = kind == "error"
        settings = (
            errors_to(f"https://{PUBLIC_KEY}@{SERVER}/7") if is_error else spans_to(f"https://{SERVER}")
        )
        telemetry = await begun(settings, dropped, network)
        (report if is_error else receive)(telemetry)
        await telemetry.close()
        assert proxy.asked == [Asked("CONNECT", SERVER)]
        assert dropped.counts == {}


@pytest.mark.parametrize("kind", ["error", "span"])
async def test_an_unknown_authority_is_refused_and_counted(kind: str, tls: ssl.SSLContext) -> None:
    async with Anything(tls) as server:
        server.speak = answer(200)
        dropped = Dropped()
        is_error = kind == "error"
        settings = (
            errors_to(f"https://{PUBLIC_KEY}@{server.address}/7")
            if is_error
            else spans_to(f"https://{server.address}")
        )
        telemetry = await begun(settings, dropped)
        (report if is_error else receive)(telemetry)

        async def is_counted() -> bool:
            return dropped.counts[kind, "failed"] == 1

        await until(is_counted, "the count")
        await telemetry.close(0.1)


async def test_reports_that_can_not_begin_are_logged_and_change_nothing() -> None:
    telemetry = Telemetry(ManualClock(NOON), "0", Dropped())
    with capture_logs() as logs:
        await telemetry.apply(errors_to("no DSN"), DIRECT)
    assert [each["event"] for each in logs] == ["telemetry can't begin"]
    report(telemetry)
    receive(telemetry)
    await telemetry.close()


@pytest.mark.parametrize("broken", ["begin", "remember", "origins"])
async def test_a_bug_of_an_sdk_is_logged_and_changes_nothing(broken: str) -> None:
    from router.telemetry.alert_traces import AlertTraces

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")

    async with FakeCollector() as collector:
        telemetry = await begun(spans_to(collector.url), Dropped())
        with pytest.MonkeyPatch.context() as patch, capture_logs() as logs:
            patch.setattr(AlertTraces, broken, fail)
            world = World()
            observer = telemetry.receive({})
            observer.deciding()
            receipt = world.post(alert("A", "critical"))
            observer.decided(webhook(alert("A", "critical")), "default", receipt, POLICY)
            observer.answered(200)
            delivery = telemetry.deliver(world.work_of(SLACK), SLACK, POLICY)
            with delivery.sending():
                sent = True
            delivery.ended(None)
        assert sent
        assert {each["event"] for each in logs} == {"telemetry failed"}
        await telemetry.close()


def _imported(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "routes.yaml")], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1]


def test_without_a_section_no_sdk_is_imported() -> None:
    code = """
import asyncio, sys
from pathlib import Path
from router.app import ServeOptions, Service
async def main():
    service = await Service.open(ServeOptions(Path(sys.argv[1]), ("127.0.0.1", 0), preview=True), {})
    await service.start()
    await service.stop()
asyncio.run(main())
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sentry_sdk", "opentelemetry"}))
"""
    assert _imported(code) == "[]"
