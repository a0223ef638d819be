"""Small webhooks and /healthz under 1,100 idle connections, 50 bodies of 15 MiB and ten gzip bombs: time, memory, log."""

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench import bodies, flood, rules, sinks, wire
from bench.machine import ROOT, python
from bench.results import ROUTER, at_most
from bench.run import Bench

_SECONDS = 10.0
_PER_SECOND = 20
_PATIENCE_SECONDS = 30.0
_MS_PER_SECOND = 1_000


async def under_load(bench: Bench) -> None:
    title = (
        f"under {flood.IDLE_CONNECTIONS:,} idle connections, {flood.LARGE_BODIES} bodies of 15 MiB, "
        f"{flood.BOMBS} gzip bombs"
    )
    small = bench.measure("bounds", f"{title}: the slowest small webhook", "ms", at_most(1_000))
    probe = bench.measure("bounds", f"{title}: the slowest /healthz", "ms", at_most(1_000))
    refused = bench.measure("bounds", f"{title}: small webhooks and probes without 200", "", at_most(0))
    memory = bench.measure("bounds", f"{title}: peak memory of the router", "MiB", at_most(512))
    logged = bench.measure("bounds", f"{title}: log", "MB", at_most(1))
    for _ in range(bench.scale.rounds):
        log = bench.folder / "router.log"
        before = log.stat().st_size if log.exists() else 0
        async with (
            sinks.answering() as sink,
            bench.router(rules.to_webhook(sink.url)) as server,
            flooding(server.port) as statuses,
        ):
            numbers = bench.take(round(_SECONDS * _PER_SECOND))
            webhooks = wire.Load(server.port, bodies.webhooks(numbers))
            probes = wire.Load(server.port, ((number, wire.get("/healthz")) for number in numbers))
            await asyncio.gather(
                *(load.paced(_PER_SECOND, _SECONDS, _PATIENCE_SECONDS) for load in (webhooks, probes))
            )
            memory.add(ROUTER, peak_memory(server.pid))
        for measure, load in ((small, webhooks), (probe, probes)):
            measure.add(ROUTER, _MS_PER_SECOND * max(load.latencies(), default=_PATIENCE_SECONDS))
        refused.add(ROUTER, 2 * len(numbers) - len(webhooks.answered) - len(probes.answered))
        logged.add(ROUTER, (log.stat().st_size - before) / 1e6)
        small.note(f"answers to large bodies and bombs: {dict(statuses)}")


@asynccontextmanager
async def flooding(port: int) -> AsyncIterator[dict[str, dict[str, int]]]:
    """Run the flood. The statuses of its answers are in the dictionary when it has ended."""
    process = await asyncio.create_subprocess_exec(
        *python("-m", "bench.flood", str(port)), cwd=ROOT, stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    statuses: dict[str, dict[str, int]] = {}
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield statuses
        text, _ = await process.communicate(b"")  # without an argument, the pipe stays open
        statuses |= json.loads(text)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def peak_memory(pid: int) -> float:
    """Return the largest resident memory of a process so far, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
