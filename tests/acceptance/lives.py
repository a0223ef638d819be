"""Routers in their own processes that die at a named point; ``crashing`` is their side of the connection."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from router.model import Millis
from tests.acceptance.crashing import Life
from tests.acceptance.processes import ROOT
from tests.listening import hang_up


class Died(Exception):  # noqa: N818  (an event, not an error)
    """The router was killed."""


class Router:
    """One process, at the other end of a connection that ends with the process."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.pid = 0
        self.url = ""

    async def started(self) -> None:
        self.pid = (await self.hear())["pid"]
        self.url = (await self.hear())["url"]

    async def hear(self) -> dict[str, Any]:
        """Return the next report. :raises Died: the process ended instead"""
        with suppress(ConnectionError):
            if line := await self._reader.readline():
                heard: dict[str, Any] = json.loads(line)
                return heard
        raise Died

    async def begin(self, phase: str, point: str | None) -> None:
        """Begin a phase in which the process dies at the point."""
        await self._order(phase=phase, die_at=point)

    async def settle(self, now: Millis) -> None:
        """Set the time, and return when nothing is due. :raises Died: the process ended before"""
        await self._order(now=now)

    async def _order(self, **words: object) -> None:
        self._writer.write(json.dumps(words).encode() + b"\n")
        await self.hear()

    async def passed(self) -> list[str]:
        """End the process. :returns: the points that it passed"""
        self._writer.write_eof()
        passed: list[str] = (await self.hear())["passed"]
        await self.gone()
        return passed

    def kill(self) -> None:
        assert self.pid > 0
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def gone(self) -> None:
        with suppress(Died):
            await self.hear()
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Stable:
    """Starts routers from a process that has everything imported."""

    def __init__(self, process: asyncio.subprocess.Process, server: asyncio.Server) -> None:
        self._process = process
        self._port = server.sockets[0].getsockname()[1]
        self._one = asyncio.Lock()
        self.born: asyncio.Queue[Router] = asyncio.Queue()

    async def start(
        self,
        folder: Path,
        now: Millis,
        die_at: str | None = None,
        database: str | None = None,
        *,
        stops: bool = False,
    ) -> Router:
        """:param database: a URL; None: a file in the folder
        :param stops: it stops at its points with SIGSTOP, instead of dying there
        :raises Died: the process ended during its start
        """
        stdin = self._process.stdin
        assert stdin is not None
        async with self._one:
            stdin.write(
                json.dumps(asdict(Life(str(folder), self._port, now, die_at, database, stops))).encode()
                + b"\n"
            )
            router = await self.born.get()
        try:
            await router.started()
        except Died:
            await router.gone()
            raise
        return router


@asynccontextmanager
async def stable() -> AsyncIterator[Stable]:
    async def born(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await there.born.put(Router(reader, writer))

    server = await asyncio.start_server(born, "127.0.0.1", 0)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.acceptance.crashing", cwd=ROOT, stdin=asyncio.subprocess.PIPE
    )
    there = Stable(process, server)
    try:
        yield there
    finally:
        process.terminate()
        await process.wait()
        await hang_up(server)
