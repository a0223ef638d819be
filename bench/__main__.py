"""``make bench``: webhooks accepted durably a second, beside a bare aiohttp handler; and accept-to-sent latency.

Machines are noisy: the two servers are loaded in turn within one run, and the ratio is what counts.
"""

import asyncio
import contextlib
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench import decide

CONNECTIONS = 64
ROUNDS = 3
ACCEPTED_A_ROUND = 4_000
BARE_A_ROUND = 12_000
LANES = 8
A_SECOND_AND_LANE = 1.8  # PagerDuty's pace is two a second and routing key
LATENCY_SAMPLES = 240
ROOT = Path(__file__).parent.parent
_numbers = itertools.count(time.time_ns())


def webhook(**labels: str) -> bytes:
    """One firing alert of its own group, as Alertmanager posts it."""
    number = next(_numbers)
    everything = {"alertname": f"Bench{number}", "cluster": "eu-1", "severity": "critical", **labels}
    alert = {
        "status": "firing",
        "labels": everything,
        "annotations": {"summary": "a benchmark"},
        "startsAt": "2026-11-20T23:17:53.535706Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": f"{number:016x}",
    }
    body = {
        "version": "4", "groupKey": f'{{}}:{{alertname="Bench{number}"}}', "truncatedAlerts": 0, "status": "firing",
        "receiver": "bench", "groupLabels": {"alertname": everything["alertname"]}, "commonLabels": everything,
        "commonAnnotations": {}, "externalURL": "http://alertmanager.example", "alerts": [alert],
    }  # fmt: skip
    return json.dumps(body).encode()


async def load(url: str, count: int) -> float:
    """Requests a second over 64 connections, each answered with 200."""
    left = iter(range(count))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def connection() -> None:
            for _ in left:
                async with session.post(url, data=webhook()) as answer:
                    await answer.read()
                    if answer.status != 200:
                        raise RuntimeError(f"{url} answered {answer.status}")

        started = time.perf_counter()
        await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
        return count / (time.perf_counter() - started)


@asynccontextmanager
async def process(*arguments: str) -> AsyncIterator[str]:
    """A server in a process of its own that prints where it listens; its address."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert child.stdout is not None
        line = (await child.stdout.readline()).decode()
        yield next(word for word in line.split() if word.startswith("http://")).rstrip(".")
    finally:
        child.terminate()
        await child.wait()


async def throughput(folder: Path) -> None:
    service = ["-m", "router", "serve", "--preview", "--listen", "127.0.0.1:0", "--drain", "0"]
    service += ["--database", f"sqlite:///{folder}/throughput.db"]
    async with process(*service) as router, process("-m", "bench.bare") as bare:
        await load(f"{router}/webhook", 500)
        await load(f"{bare}/webhook", 500)
        print(f"{'':12}{'durable/s':>12}{'bare/s':>12}{'ratio':>10}")
        ratios = []
        for number in range(1, ROUNDS + 1):
            durable = await load(f"{router}/webhook", ACCEPTED_A_ROUND)
            plain = await load(f"{bare}/webhook", BARE_A_ROUND)
            ratios.append(durable / plain)
            print(f"round {number:<6}{durable:12.0f}{plain:12.0f}{ratios[-1]:10.2f}")
        print(
            f"median ratio {statistics.median(ratios):.2f} (1 alert, three destinations, {CONNECTIONS} connections)"
        )


class Sink:
    """A PagerDuty that notes when each event came."""

    def __init__(self) -> None:
        self.arrived: dict[str, float] = {}
        self.complete = asyncio.Event()

    async def enqueue(self, request: web.Request) -> web.Response:
        now = time.perf_counter()
        event: dict[str, Any] = await request.json()
        self.arrived[event["payload"]["class"]] = now
        if len(self.arrived) == LATENCY_SAMPLES:
            self.complete.set()
        return web.json_response({"status": "success", "dedup_key": event["dedup_key"]}, status=202)


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v2/enqueue", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def latency(folder: Path) -> None:
    sink = Sink()
    async with serving(sink.enqueue) as pagerduty:
        receivers = {f"lane{n}": [{"pagerduty": {"routing_key": f"{n:032d}"}}] for n in range(LANES)}
        rules = {
            "channels": {"pagerduty": {"events_url": pagerduty}},
            "receivers": receivers,
            "route": {
                "receiver": "lane0",
                "routes": [{"receiver": f"lane{n}", "matchers": [f'lane="{n}"']} for n in range(LANES)],
            },
        }
        path = folder / "latency.yaml"
        path.write_text(json.dumps(rules))  # JSON is YAML
        service = ["-m", "bench.quiet", str(path), f"sqlite:///{folder}/latency.db"]
        accepted: dict[str, float] = {}
        async with process(*service) as router, aiohttp.ClientSession() as session:
            for number in range(LATENCY_SAMPLES):
                body = webhook(lane=str(number % LANES))
                async with session.post(f"{router}/webhook", data=body) as answer:
                    await answer.read()
                name = json.loads(body)["alerts"][0]["labels"]["alertname"]
                accepted[name] = time.perf_counter()
                await asyncio.sleep(1 / (LANES * A_SECOND_AND_LANE))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sink.complete.wait(), 30)
    # An event may arrive before the client has read the answer to its webhook: that is no time at all.
    spans = sorted(
        max(0.0, sink.arrived[name] - at) * 1_000 for name, at in accepted.items() if name in sink.arrived
    )
    lost = LATENCY_SAMPLES - len(spans)
    quantiles = {q: spans[min(len(spans) - 1, int(len(spans) * q / 100))] for q in (50, 99)}
    print(f"accept to sent: p50 {quantiles[50]:.1f} ms, p99 {quantiles[99]:.1f} ms "
          f"({len(spans)} webhooks over {LANES} lanes, {lost} not sent)")  # fmt: skip


async def service(folder: Path) -> None:
    await throughput(folder)
    await latency(folder)


def main() -> None:
    parts = sys.argv[1:] or ["service", "decide"]
    with tempfile.TemporaryDirectory(prefix="alert-router-bench-") as folder:
        if "service" in parts:
            asyncio.run(service(Path(folder)))
        if "decide" in parts:
            decide.main(Path(folder))


main()
