"""Webhooks answered with 200 per second, compared with handlers that do less."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager

from bench import bodies, rules, sinks, wire
from bench.machine import Server
from bench.results import ROUTER, Goal, Measure, at_least
from bench.run import Bench, say

CONNECTIONS = 64
_WARMUP_WEBHOOKS = 300
Requests = Callable[[Iterable[int]], Iterator[tuple[int, bytes]]]
Start = Callable[[int], AbstractAsyncContextManager[Server]]


async def ingest(bench: Bench) -> None:
    """Measure with three destinations that never answer: the lanes are busy, and accepted alerts stay due."""
    await _beside_handlers(
        bench, "ingest", "1 alert a webhook", bodies.webhooks, ("durable", "bare"), bench.scale.ingest
    )


async def ingest_hundreds(bench: Bench) -> None:
    count = bench.scale.ingest // 20
    await _beside_handlers(bench, "hundreds", "100 alerts a webhook", bodies.hundreds, ("decode",), count)


async def _beside_handlers(
    bench: Bench, row: str, title: str, requests: Requests, kinds: tuple[str, ...], count: int
) -> None:
    starts: dict[str, Start] = {ROUTER: lambda port: bench.router(rules.to_three(port))}
    starts |= {kind: lambda _, kind=kind: bench.reference(kind) for kind in kinds}  # type: ignore[misc]
    await beside(bench, row, title, starts, at_least(0.5, kinds[0]), requests, count)


async def beside(
    bench: Bench, row: str, title: str, starts: Mapping[str, Start], goal: Goal, requests: Requests, count: int
) -> None:  # fmt: skip
    """Measure systems in turn. :param starts: each starts one; takes the port of three providers that never answer"""
    rate = bench.measure(row, f"{title}, 3 destinations, {CONNECTIONS} connections", "1/s", goal)
    cpu = bench.measure(row, f"{title}: CPU a webhook", "us")
    database = Measure(row, f"{title}: CPU of the database server a webhook", "us")
    own = bench.measure(row, f"{title}: the load generator's use of its own core", "%")
    for number in range(bench.scale.rounds):
        for name, start in starts.items():
            async with sinks.silent() as port, start(port) as server:
                load, used, by_database = await loaded(bench, server, requests, count)
            rate.add(name, load.rate)
            cpu.add(name, used * 1e6)
            own.add(name, 100 * load.busy)
            if by_database:
                database.add(name, by_database * 1e6)
            if load.refused:
                rate.note(f"{name}: refused {dict(load.refused)}")
            if not load.answered:
                rate.note(f"{name}: nothing was answered within {bench.scale.ingest_limit:.0f} s")
            say(f"  round {number + 1}, {name}: {load.rate:,.0f}/s, load generator busy {load.busy:.0%}")
    if database.figures:
        bench.measures.append(database)


async def loaded(
    bench: Bench, server: Server, requests: Requests, count: int
) -> tuple[wire.Load, float, float]:
    """Return the load, and the CPU seconds per webhook: of the measured process, and of its database server."""
    limit = bench.scale.ingest_limit
    await wire.Load(server.port, requests(bench.take(min(_WARMUP_WEBHOOKS, count // 10)))).closed(
        CONNECTIONS, limit
    )
    before, of_database = server.cpu(), server.database_cpu()
    load = wire.Load(server.port, requests(bench.take(count)))
    await load.closed(CONNECTIONS, limit)
    used, by_database = server.cpu() - before, server.database_cpu() - of_database
    answered = max(1, len(load.answered))
    return load, used / answered, by_database / answered
