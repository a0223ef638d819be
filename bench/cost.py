"""The cost of a webhook in a router with much data or many rules, compared with a router with little."""

import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext
from functools import partial

from bench import bodies, ledger, rules, sinks, wire
from bench.ingest import CONNECTIONS, loaded
from bench.machine import Server
from bench.results import ROUTER, Measure, at_most, percentile
from bench.run import ALERTMANAGER, Bench, say

_PROBES = 40
_MAX_WAIT_SECONDS = 30.0
_Start = Callable[[], AbstractAsyncContextManager[Server]]


async def size(bench: Bench) -> None:
    """Measure memory, the cost of a webhook, and the probes while many alerts are active and due."""
    async with AsyncExitStack() as open_until_the_end:
        port = await open_until_the_end.enter_async_context(sinks.silent())
        policy = rules.to_three(port)
        full = await open_until_the_end.enter_async_context(bench.router(policy))
        await _probes(bench, full, 0)
        active, memories = 0, []
        for count in bench.scale.active:
            load = wire.Load(full.port, bodies.webhooks(bench.take(count - active)))
            await load.closed(CONNECTIONS, bench.scale.seed_limit)
            active += len(load.answered)
            title = f"memory at {active:,} active alerts"
            memory = bench.measure("size", title, "MiB", at_most(1.0, "alertmanager"))
            if active < count:
                memory.note(f"cut after {bench.scale.seed_limit:.0f} s; of {count:,}")
            memory.add(ROUTER, full.memory())
            memories.append((active, memory))
            say(f"  {active:,} alerts are active: {full.memory():.0f} MiB, taken at {load.rate:,.0f}/s")
        await _probes(bench, full, active)
        title = f"{active:,} alerts active and due"
        await _beside(bench, "size", title, "empty", lambda: bench.router(policy), lambda: nullcontext(full))
    if ALERTMANAGER:
        await _memory_of_alertmanager(bench, memories)


async def _memory_of_alertmanager(bench: Bench, memories: list[tuple[int, Measure]]) -> None:
    async with sinks.answering() as sink, bench.alertmanager(sink.url) as server:
        for count, memory in memories:
            load = wire.Load(server.port, bodies.posted_alerts(bench.take(count - len(sink.arrived))))
            await load.closed(16, bench.scale.seed_limit)
            await sink.wait(count, 30)
            memory.add("alertmanager", server.memory())


async def _probes(bench: Bench, server: Server, active: int) -> None:
    took: dict[str, list[float]] = {"/healthz": [], "/status": [], "/metrics": []}
    for _ in range(_PROBES // 10):
        for path in took:
            load = wire.Load(server.port, [(number, wire.get(path)) for number in range(_PROBES // 4)])
            await load.closed(1, _MAX_WAIT_SECONDS)
            took[path] += load.latencies() or [_MAX_WAIT_SECONDS]
    for path in ("/status", "/metrics"):
        measure = bench.measure("size", f"{path} with {active:,} alerts: p50", "ms", at_most(10, "healthz"))
        measure.add(ROUTER, percentile(took[path], 50) * 1e3)
        measure.add("healthz", percentile(took["/healthz"], 50) * 1e3)


async def routes(bench: Bench) -> None:
    few, many = bench.scale.routes
    async with sinks.silent() as port:
        await _beside(
            bench, "routes", f"{many:,} routes", f"{few} routes",
            lambda: bench.router(rules.many_routes(port, few)), lambda: bench.router(rules.many_routes(port, many)),
        )  # fmt: skip


async def long_ledger(bench: Bench) -> None:
    """Measure with the history of months, in which the same alerts were repeated very often."""
    async with sinks.silent() as port:
        policy, database = rules.to_three(port), bench.folder / "ledger.db"
        async with bench.router(policy, database=database) as server:
            groups = bodies.hundreds(bench.take(ledger.WEBHOOKS))
            await wire.Load(server.port, groups).closed(1, bench.scale.seed_limit)
        rows = await ledger.multiply(database, bench.scale.ledger)
        say(f"  the ledger has {rows:,} rows")
        async with bench.router(policy, database=database, within=bench.scale.seed_limit) as full:
            title = f"a ledger of {rows:,} rows"
            await _beside(
                bench, "ledger", title, "empty", lambda: bench.router(policy), lambda: nullcontext(full)
            )
    database.unlink()


async def _beside(bench: Bench, row: str, title: str, other: str, little: _Start, much: _Start) -> None:
    cost = bench.measure(row, f"{title}: cost of a webhook", "us", at_most(1.10, other))
    cpu = bench.measure(row, f"{title}: CPU a webhook", "us", at_most(1.10, other))
    requests = partial(bodies.webhooks, team=rules.TEAM)
    for number in range(bench.scale.rounds):
        for name, start in ((other, little), (ROUTER, much)):
            async with start() as server:
                load, used, _ = await loaded(bench, server, requests, bench.scale.ingest // 3)
            spent = 1e6 / load.rate if load.answered else math.inf
            cost.add(name, spent)
            cpu.add(name, used * 1e6)
            if load.refused:
                cost.note(f"{name}: refused {dict(load.refused)}")
            say(f"  round {number + 1}, {name if name != ROUTER else title}: {spent:,.0f} us a webhook")
