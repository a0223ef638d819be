"""The router on PostgreSQL, beside the router on SQLite: the same bodies, the same disk, measured in turn."""

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial

import aiohttp

from bench import bodies, end_to_end, ingest, rules, sinks, wire
from bench.batches import SIZES
from bench.machine import LOAD_CORE, ROOT, SERVER_CORE, Server, on_cores, python
from bench.results import ROUTER, at_least, at_most
from bench.run import Bench, say
from tests import postgresql, waiting

SQLITE = "sqlite"
_REPLICAS = 2
_WAL_FILES = 4
"""More than a round of :func:`steady` fills; the server keeps five by default."""


@contextmanager
def durable_server(bench: Bench) -> Iterator[postgresql.Server]:
    """Run a server of the tests' wheel with its defaults: a commit waits for the disk.

    Its processes may use both cores. If they had only the load's core, a commit would also wait until the load generator
    gives the core away.
    """
    folder = bench.folder / f"postgresql-{bench.take(1)[0]}"
    folder.mkdir()
    with on_cores(SERVER_CORE, LOAD_CORE):
        server = postgresql.Server(folder, durable=True)
    try:
        ((version,),) = server.execute("SHOW server_version")
        said = {name: server.execute(f"SHOW {name}")[0][0] for name in ("fsync", "synchronous_commit")}
        bench.notes["PostgreSQL"] = (
            f"PostgreSQL {version} with its defaults ({', '.join(f'{name}={value}' for name, value in said.items())}), on both "
            "cores, by a socket of the file system. A network adds its round trips: see the rows of batches.\n"
        )
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def recycle_wal(server: postgresql.Server) -> None:
    """Make the server like one that has run for a while: it reuses the files of its write-ahead log. A new server makes each file,
    of 16 MiB, when it is first needed, and a commit waits for it (from 14 ms to 120 ms here).
    """
    for _ in range(_WAL_FILES):
        # PostgreSQL does not switch a file that has no content.
        server.execute("SELECT pg_logical_emit_message(false, 'bench', '')")
        server.execute("SELECT pg_switch_wal()")
    server.execute("CHECKPOINT")


async def ingest_beside(bench: Bench) -> None:
    with durable_server(bench) as server:

        @asynccontextmanager
        async def on_postgresql(port: int) -> AsyncIterator[Server]:
            with server.database() as url:
                async with bench.router(rules.to_three(port), database=url) as found:
                    yield replace(found, database_pid=server.pid)

        starts = {ROUTER: on_postgresql, SQLITE: lambda port: bench.router(rules.to_three(port))}
        await ingest.beside(
            bench, "postgresql", "on PostgreSQL, 1 alert a webhook", starts, at_least(0.5, SQLITE), bodies.webhooks,
            bench.scale.ingest,
        )  # fmt: skip


async def steady(bench: Bench) -> None:
    # The databases are only deleted at the end: the file system frees their blocks later, and the next commits wait for that.
    with durable_server(bench) as server, ExitStack() as databases:

        @asynccontextmanager
        async def on_postgresql(bench: Bench, sink: str) -> AsyncIterator[Server]:
            recycle_wal(server)
            url = databases.enter_context(server.database())
            async with bench.router(rules.to_webhook(sink), database=url) as found:
                yield found

        several = [
            end_to_end.System(ROUTER, on_postgresql),
            end_to_end.System(SQLITE, lambda bench, sink: bench.router(rules.to_webhook(sink))),
        ]
        title = f"on PostgreSQL, {end_to_end.ALERTS_PER_SECOND} a second"
        await end_to_end.paced(bench, "postgresql-steady", title, several, at_most(3.0, SQLITE))


async def batches(bench: Bench) -> None:
    """Measure the writer alone: so many webhooks in one batch, on a core of its own, as the router's."""
    spent = {
        size: bench.measure("batches", f"on PostgreSQL, {size} webhooks in a batch: time a webhook", "us")
        for size in SIZES
    }
    statements = bench.measure(
        "batches", f"on PostgreSQL, statements of a batch of {', '.join(map(str, SIZES))} webhooks", ""
    )
    trips = bench.measure("batches", "on PostgreSQL, round trips of these batches", "")
    with durable_server(bench) as server:
        for number in range(bench.scale.rounds):
            for name in (ROUTER, SQLITE):
                if name == SQLITE:
                    found = await _batches(f"sqlite:///{bench.folder}/batches-{number}.db")
                else:
                    with server.database() as url:
                        found = await _batches(url)
                for each in found:
                    spent[int(each["size"])].add(name, each["us"])
                    statements.add(name, each["statements"])
                    if name == ROUTER:
                        trips.add(name, each["round_trips"])
                say(
                    f"  round {number + 1}, {name}: "
                    + ", ".join(f"{each['size']}: {each['us']:,.0f} us" for each in found)
                )


async def _batches(url: str) -> list[dict[str, float]]:
    with on_cores(SERVER_CORE):
        child = await asyncio.create_subprocess_exec(
            *python("-m", "bench.batches", url), cwd=ROOT, stdout=subprocess.PIPE
        )
    out, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError("bench.batches failed")
    found: list[dict[str, float]] = json.loads(out)
    return found


async def replicas(bench: Bench) -> None:
    """Measure several routers on one database, with the load spread over them, beside one with the same cores."""
    title = f"on PostgreSQL, {_REPLICAS} replicas, 3 destinations, {ingest.CONNECTIONS} connections"
    rate = bench.measure("replicas", title, "1/s", at_least(1.0, "one replica"))
    with durable_server(bench) as server:
        for number in range(bench.scale.rounds):
            for name, count in ((ROUTER, _REPLICAS), ("one replica", 1)):
                with server.database() as url:
                    async with sinks.silent() as port, _several(bench, port, url, count) as routers:
                        rate.add(name, await _spread(bench, routers))
                say(f"  round {number + 1}, {name}: {rate.figures[name][-1]:,.0f}/s")


async def kept(bench: Bench) -> None:
    """Measure a replica whose file is not in force: it keeps webhooks, and another replica, which shares its core, decides them."""
    title = f"on PostgreSQL, a replica whose rules are not in force, {ingest.CONNECTIONS} connections"
    accepted = bench.measure("kept", title, "1/s")
    decided = bench.measure("kept", f"{title}: decided by another replica", "1/s")
    with durable_server(bench) as server:
        for number in range(bench.scale.rounds):
            with server.database() as url:
                async with (
                    sinks.silent() as port,
                    bench.router(rules.to_three(port), database=url) as disagreeing,
                    bench.router(rules.many_routes(port, 1), database=url) as agreeing,
                ):
                    began = wire.clock()
                    load, _, _ = await ingest.loaded(bench, disagreeing, bodies.webhooks, bench.scale.ingest)
                    await waiting.until(partial(_all_is_decided, agreeing), "all is decided", pause=0.05)
                    took = wire.clock() - began
            accepted.add(ROUTER, load.rate)
            decided.add(ROUTER, len(load.answered) / took)
            say(
                f"  round {number + 1}: {load.rate:,.0f}/s accepted, {decided.figures[ROUTER][-1]:,.0f}/s decided"
            )


async def _all_is_decided(router: Server) -> bool:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{router.port}/status") as answer,
    ):
        return bool((await answer.json())["undecided_alerts"] == 0)


@asynccontextmanager
async def _several(bench: Bench, port: int, url: str, count: int) -> AsyncIterator[list[Server]]:
    async with AsyncExitStack() as stack:
        start = [
            bench.router(rules.to_three(port), database=url, cores=(SERVER_CORE, LOAD_CORE))
            for _ in range(count)
        ]
        yield [await stack.enter_async_context(each) for each in start]


async def _spread(bench: Bench, routers: list[Server]) -> float:
    """Post to all routers in parallel. Return how many webhooks a second all of them accepted together."""
    each = len(routers)
    for share in (bench.scale.ingest // 10, bench.scale.ingest):
        loads = [wire.Load(router.port, bodies.webhooks(bench.take(share // each))) for router in routers]
        began = wire.clock()
        await asyncio.gather(
            *(load.closed(ingest.CONNECTIONS // each, bench.scale.ingest_limit) for load in loads)
        )
        ended = max((at for load in loads for at in load.answered.values()), default=wire.clock())
    return sum(len(load.answered) for load in loads) / (ended - began)
