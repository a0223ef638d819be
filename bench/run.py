"""One run of the bench: its size, its folder, its figures, and how it starts each measured process."""

import asyncio
import json
import os
import shutil
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import rules
from bench.machine import SERVER_CORE, Server, free_port, python, server
from bench.results import Goal, Measure

ALERTMANAGER = shutil.which("prometheus-alertmanager")


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a run. Limits are in seconds."""

    rounds: int = 5
    burst: int = 5_000
    burst_limit: float = 20
    steady_seconds: float = 5
    ingest: int = 6_000
    ingest_limit: float = 10
    active: tuple[int, ...] = (10_000, 100_000)
    seed_limit: float = 240
    routes: tuple[int, int] = (10, 1_000)
    ledger: int = 10_000_000
    changes: int = 1_000_000
    groups: tuple[tuple[int, int], ...] = ((50_000, 300), (20_000, 800))
    group_limit: float = 180
    on_disk: int = 3_000
    row_limit: float = 1_200


QUICK = Scale(
    rounds=2, burst=500, burst_limit=5, steady_seconds=2, ingest=1_000, ingest_limit=4, active=(500, 2_000),
    seed_limit=10, ledger=200_000, changes=50_000, groups=((3_000, 300),), group_limit=15, on_disk=500, row_limit=120,
)  # fmt: skip


@dataclass(slots=True)
class Bench:
    scale: Scale
    folder: Path
    measures: list[Measure] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    """Texts for the page, by title."""
    loop: str = "asyncio"
    """The name of the router's event loop; the handlers to compare with use the same one."""
    load_before: str = field(default_factory=lambda: ", ".join(f"{each:.1f}" for each in os.getloadavg()))
    _numbers: int = 0

    def measure(self, row: str, what: str, unit: str, goal: Goal | None = None) -> Measure:
        found = Measure(row, what, unit, goal)
        self.measures.append(found)
        return found

    def take(self, count: int) -> range:
        """Return numbers of alerts that this run has not used yet."""
        first, self._numbers = self._numbers, self._numbers + count
        return range(first, first + count)

    @asynccontextmanager
    async def router(
        self, policy: Mapping[str, Any], *, database: Path | str | None = None, launch: tuple[str, ...] = ("router",),
        within: float = 60, cores: Collection[int] = (SERVER_CORE,),
    ) -> AsyncIterator[Server]:  # fmt: skip
        """Run ``alert-router serve`` with its defaults, on a new database if none is given.

        :param database: the path of a file, or a URL
        """
        port, number = free_port(), self.take(1)[0]
        database = database or self.folder / f"router-{number}.db"
        url = database if isinstance(database, str) else f"sqlite:///{database}"
        path = rules.write(self.folder / f"routes-{number}.yaml", policy)
        command = python("-m", *launch, "serve", "--config", str(path), "--listen", f"127.0.0.1:{port}",
                         "--database", url, "--drain", "1")  # fmt: skip
        log = self.folder / "router.log"
        async with server("the router", command, port, log, within=within, cores=cores) as found:
            self.loop = "uvloop" if found.has_loaded("uvloop") else "asyncio"
            yield found

    @asynccontextmanager
    async def alertmanager(self, sink: str) -> AsyncIterator[Server]:
        """Run Debian's Alertmanager as fast as possible: no cluster, no waits, one group per alert."""
        assert ALERTMANAGER is not None
        port, number = free_port(), self.take(1)[0]
        config = self.folder / f"alertmanager-{number}.yml"
        route = {"receiver": "bench", "group_by": ["..."], "group_wait": "0s", "group_interval": "5m"}
        receiver = {"name": "bench", "webhook_configs": [{"url": f"{sink}/receive", "send_resolved": True}]}
        config.write_text(
            json.dumps({"global": {"resolve_timeout": "1d"}, "route": route, "receivers": [receiver]})
        )
        command = [ALERTMANAGER, f"--config.file={config}", f"--storage.path={self.folder}/am-{number}",
                   f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=error"]  # fmt: skip
        log = self.folder / "alertmanager.log"
        async with server("Alertmanager", command, port, log, ready="/-/ready") as found:
            yield found

    @asynccontextmanager
    async def reference(self, kind: str, sink: str = "") -> AsyncIterator[Server]:
        port, number = free_port(), self.take(1)[0]
        command = python("-m", "bench.reference", kind, str(port), self.loop)
        if kind in {"durable", "skeleton"}:
            command += [f"{self.folder}/{kind}-{number}.db", sink]
        async with server(kind, command, port, self.folder / f"{kind}.log") as found:
            yield found

    async def row(self, name: str, measured: Callable[["Bench"], Awaitable[None]]) -> None:
        """Measure one row with a time limit; figures so far are kept."""
        started, before, cut = time.monotonic(), len(self.measures), ""
        say(f"{name} …")
        try:
            async with asyncio.timeout(self.scale.row_limit):
                await measured(self)
        except TimeoutError:
            cut = f"cut after {self.scale.row_limit:.0f} s"
        except Exception as error:  # noqa: BLE001  (the other rows are still measured)
            cut = f"failed: {error!r}"
            traceback.print_exc()
        for each in self.measures[before:]:
            if cut:
                each.note(cut)
            say("  " + each.line())
        say(f"{name}: {time.monotonic() - started:.0f} s {cut}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
