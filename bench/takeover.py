"""How long a lane of a lost replica waits for another one: to the lease, and to the first message of the new owner.

Two replicas on one PostgreSQL, each behind a TCP proxy. The one that has the lanes is killed, stopped, or cut off from the
database; at that moment an alert is posted to the other one. ``python -m bench.takeover serve …`` runs a replica that says
nothing about its process, as if it ran on another machine: on the same machine, the end of a process is noticed sooner.
"""

import asyncio
import os
import shutil
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import bodies, rules, sinks, wire
from bench.machine import Server, free_port, python, server
from bench.results import at_most
from bench.run import Bench, say
from router.store import LONGEST_BATCH
from tests import postgresql
from tests.tcp_proxy import TcpProxy

TAKEOVERS, QUICK_TAKEOVERS = 50, 3
TERM_SECONDS = 3
"""The shortest that ``serve --lease-seconds`` accepts. The default is 10."""
# A session that is not renewed expires after its term. Another replica notices that with its next renewal, and renews
# four times in a term.
BOUND_SECONDS = TERM_SECONDS * 1.25
# If a replica is cut off in the middle of a batch, the server holds the lock of its session for a while, and the others can't
# renew meanwhile.
_LIMIT_SECONDS = 60.0
_SOCKET = ".s.PGSQL.5432"
_OWNER = """
SELECT r.name, l.since FROM leases l JOIN replicas r ON r.id = l.replica
WHERE l.name = 'lanes webhook' AND r.expires_at > extract(epoch FROM clock_timestamp()) * 1000
"""
_LIVE = "SELECT count(*) FROM replicas WHERE expires_at > extract(epoch FROM clock_timestamp()) * 1000"


@dataclass
class _Replica:
    """A process of the router that is started again after it was lost."""

    bench: Bench
    name: str
    config: Path
    proxy: TcpProxy
    database: str
    module: str
    port: int = field(default_factory=free_port)
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)
    _server: Server | None = None

    async def start(self) -> None:
        url = f"postgresql://postgres@127.0.0.1:{self.proxy.port}/{self.database}"
        command = python("-m", self.module, "serve", "--config", str(self.config), "--listen", f"127.0.0.1:{self.port}",
                         "--database", url, "--replica-name", self.name, "--lease-seconds", str(TERM_SECONDS))  # fmt: skip
        log = self.bench.folder / f"{self.name}.log"
        self._server = await self._running.enter_async_context(
            server(self.name, command, self.port, log, ready="/readyz")
        )

    def send_signal(self, number: int) -> None:
        assert self._server is not None
        os.kill(self._server.pid, number)

    async def end(self) -> None:
        await self._running.aclose()


class _Pair:
    """Two replicas, of which one is lost again and again."""

    def __init__(self, database: postgresql.Server, name: str, replicas: list[_Replica]) -> None:
        self._database, self._name = database, name
        self.replicas = replicas

    def ask(self, query: str) -> list[Any]:
        return self._database.execute(query, self._name)

    async def owner(self) -> _Replica:
        """Return the replica that has the lanes, once both live."""
        end = wire.clock() + _LIMIT_SECONDS
        while wire.clock() < end:
            found = self.ask(_OWNER)
            if found and self.ask(_LIVE) == [(2,)]:
                return next(each for each in self.replicas if each.name == found[0][0])
            await asyncio.sleep(0.05)
        raise RuntimeError("no replica has the lanes, or one does not come back")

    async def lose(
        self, bench: Bench, sink: sinks.Sink, lose: Callable[[_Replica], None]
    ) -> tuple[float, float, _Replica]:
        """Lose the owner. :returns: the seconds to the lease and to the message of the other one, and the lost one"""
        lost = await self.owner()
        (other,) = (each for each in self.replicas if each is not lost)
        began, moment = wire.clock(), time.time()
        lose(lost)
        numbers = bench.take(1)
        load = wire.Load(other.port, bodies.webhooks(numbers))
        await load.closed(1, _LIMIT_SECONDS)
        while numbers[0] not in sink.arrived:
            if wire.clock() - began > _LIMIT_SECONDS:
                raise RuntimeError(f"nobody took over within {_LIMIT_SECONDS:.0f} s")
            await asyncio.sleep(0.005)
        message = sink.arrived[numbers[0]] - began
        ((name, since),) = self.ask(_OWNER)
        # Before it stopped, the lost one may have sent the alert itself.
        grant = since / 1_000 - moment if name == other.name else message
        return grant, message, lost


@asynccontextmanager
async def _pair(bench: Bench, sink: sinks.Sink, module: str) -> AsyncIterator[_Pair]:
    folder = bench.folder / f"takeover-{bench.take(1)[0]}"
    folder.mkdir()
    database = postgresql.Server(folder)
    name = database.create()
    proxies = [TcpProxy(folder / _SOCKET) for _ in range(2)]
    replicas = [
        _Replica(bench, f"replica-{number}", rules.write(bench.folder / f"takeover-{number}.yaml", rules.to_webhook(sink.url)),
                 proxy, name, module)
        for number, proxy in enumerate(proxies)
    ]  # fmt: skip
    try:
        for each in replicas:
            await each.start()
        yield _Pair(database, name, replicas)
    finally:
        for each in replicas:
            each.proxy.flow()
            await each.end()
            each.proxy.close()
        database.stop()
        shutil.rmtree(folder)


async def takeover(bench: Bench) -> None:
    count = TAKEOVERS if bench.scale.rounds > 2 else QUICK_TAKEOVERS
    kinds: list[tuple[str, str, Callable[[_Replica], None], float]] = [
        ("kill -9", __name__, lambda each: each.send_signal(signal.SIGKILL), BOUND_SECONDS),
        (
            "kill -9 on the same machine",
            "router",
            lambda each: each.send_signal(signal.SIGKILL),
            BOUND_SECONDS,
        ),
        ("SIGTERM", __name__, lambda each: each.send_signal(signal.SIGTERM), BOUND_SECONDS),
        (
            "cut off from the database",
            __name__,
            lambda each: each.proxy.hang(),
            BOUND_SECONDS + LONGEST_BATCH / 1_000,
        ),
    ]
    for what, module, lose, bound in kinds:
        title = f"takeover after {what}, a term of {TERM_SECONDS} s"
        grants = bench.measure("takeover", f"{title}: to the lease", "s")
        worst = bench.measure("takeover", f"{title}: to the lease, worst of {count}", "s", at_most(bound))
        messages = bench.measure("takeover", f"{title}: to the first message", "s")
        async with sinks.answering() as sink, _pair(bench, sink, module) as pair:
            for _ in range(count):
                grant, message, lost = await pair.lose(bench, sink, lose)
                grants.add("router", grant)
                messages.add("router", message)
                lost.proxy.flow()
                if what != kinds[-1][0]:
                    await lost.end()
                    await lost.start()
        worst.add("router", max(grants.figures["router"]))
        found = messages.figures["router"]
        say(f"  {what}: lease median {statistics.median(grants.figures['router']):.2f} s, worst "
            f"{max(grants.figures['router']):.2f} s; message median {statistics.median(found):.2f} s, worst {max(found):.2f} s")  # fmt: skip


if __name__ == "__main__":
    from unittest.mock import patch

    from router.cli import main

    with patch("router.replicas.membership.own_mark", return_value=""):
        main(sys.argv[1:])
