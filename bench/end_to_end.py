"""The time from the POST of an alert to its arrival at a webhook receiver: router, Alertmanager, durable skeleton."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from bench import bodies, rules, sinks, wire
from bench.machine import Server
from bench.results import ROUTER, Goal, Measure, at_least, at_most, percentile
from bench.run import ALERTMANAGER, Bench, say

CONNECTIONS = 16
ALERTS_PER_SECOND = 100
_WARMUP_ALERTS = 20
_MS_PER_SECOND = 1_000


@dataclass(frozen=True, slots=True)
class System:
    name: str
    start: Callable[[Bench, str], AbstractAsyncContextManager[Server]]
    requests: Callable[[Iterable[int]], Iterator[tuple[int, bytes]]] = bodies.webhooks


SYSTEMS = (
    System(ROUTER, lambda bench, sink: bench.router(rules.to_webhook(sink))),
    System("alertmanager", lambda bench, sink: bench.alertmanager(sink), bodies.posted_alerts),
    System("skeleton", lambda bench, sink: bench.reference("skeleton", sink)),
)


def systems() -> list[System]:
    return [each for each in SYSTEMS if each.name != "alertmanager" or ALERTMANAGER]


async def burst(bench: Bench) -> None:
    scale = bench.scale
    title = f"burst of {scale.burst:,} over {CONNECTIONS} connections"
    rate = bench.measure("burst", f"{title}: notifications", "1/s", at_least(1.0, "alertmanager"))
    middle = bench.measure("burst", f"{title}: p50", "ms")
    tail = bench.measure("burst", f"{title}: p99", "ms", at_most(0.2, "alertmanager"))
    cpu = bench.measure("burst", f"{title}: CPU a notification", "ms")
    own = bench.measure("burst", f"{title}: use of their own core by load generator and sink", "%")
    for number in range(scale.rounds):
        for system in systems():
            async with sinks.answering() as sink, system.start(bench, sink.url) as server:
                await _warm(bench, system, server, sink)
                numbers, before = bench.take(scale.burst), server.cpu()
                load = wire.Load(server.port, system.requests(numbers))
                await load.closed(CONNECTIONS, scale.burst_limit)
                complete = await sink.wait(_WARMUP_ALERTS + scale.burst, scale.burst_limit - load.seconds)
                used = server.cpu() - before
            came = [n for n in numbers if n in sink.arrived and n in load.sent]
            if not came:
                raise RuntimeError(f"nothing came from {system.name}")
            first, last = min(load.sent.values()), max(sink.arrived[n] for n in came)
            spans = _spans(load, sink, numbers, scale.burst_limit)
            rate.add(system.name, len(came) / (last - first))
            middle.add(system.name, _MS_PER_SECOND * percentile(spans, 50))
            tail.add(system.name, _MS_PER_SECOND * percentile(spans, 99))
            cpu.add(system.name, _MS_PER_SECOND * used / len(came))
            own.add(system.name, 100 * load.busy)
            _notes([rate, tail], system.name, load, scale.burst_limit, complete=complete)
            say(f"  round {number + 1}, {system.name}: {rate.figures[system.name][-1]:,.0f}/s, "
                f"p99 {tail.figures[system.name][-1]:,.1f} ms, load generator busy {load.busy:.0%}")  # fmt: skip


async def steady(bench: Bench) -> None:
    title = f"{ALERTS_PER_SECOND} a second"
    await paced(bench, "steady", title, systems(), at_most(2.0, "alertmanager"))


async def paced(bench: Bench, row: str, title: str, several: Iterable[System], goal: Goal) -> None:
    """Measure systems in turn, each with :data:`ALERTS_PER_SECOND`."""
    scale = bench.scale
    count = round(ALERTS_PER_SECOND * scale.steady_seconds)
    middle = bench.measure(row, f"{title}: p50", "ms")
    tail = bench.measure(row, f"{title}: p99", "ms", goal)
    for number in range(scale.rounds):
        for system in several:
            async with sinks.answering() as sink, system.start(bench, sink.url) as server:
                await _warm(bench, system, server, sink)
                # What was written before, also by other systems, is no load of this measurement.
                await asyncio.to_thread(os.sync)
                numbers = bench.take(count)
                load = wire.Load(server.port, system.requests(numbers))
                await load.paced(ALERTS_PER_SECOND, scale.steady_seconds + 1, scale.steady_seconds)
                complete = await sink.wait(_WARMUP_ALERTS + count, scale.steady_seconds)
            spans = _spans(load, sink, numbers, 2 * scale.steady_seconds)
            middle.add(system.name, _MS_PER_SECOND * percentile(spans, 50))
            tail.add(system.name, _MS_PER_SECOND * percentile(spans, 99))
            _notes([tail], system.name, load, 2 * scale.steady_seconds, complete=complete)
            say(f"  round {number + 1}, {system.name}: p50 {middle.figures[system.name][-1]:,.1f} ms, "
                f"p99 {tail.figures[system.name][-1]:,.1f} ms")  # fmt: skip


async def _warm(bench: Bench, system: System, server: Server, sink: sinks.Sink) -> None:
    load = wire.Load(server.port, system.requests(bench.take(_WARMUP_ALERTS)))
    await load.closed(2, 10)
    await sink.wait(_WARMUP_ALERTS, 10)


def _spans(load: wire.Load, sink: sinks.Sink, numbers: Iterable[int], limit: float) -> list[float]:
    """Return the times. An alert that did not arrive counts as if it had taken until the limit."""
    return [
        sink.arrived[n] - load.sent[n] if n in sink.arrived and n in load.sent else limit for n in numbers
    ]


def _notes(measures: list[Measure], name: str, load: wire.Load, limit: float, *, complete: bool) -> None:
    for each in measures:
        if not complete:
            each.note(f"{name}: cut after {limit:.0f} s")
        if load.refused:
            each.note(f"{name}: refused {dict(load.refused)}")
