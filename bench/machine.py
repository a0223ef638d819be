"""Measured processes, pinned to one core; the load generator and the sinks use another."""

import asyncio
import contextlib
import os
import random
import socket
import sys
import time
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import wire

ROOT = Path(__file__).parent.parent
_TICKS = os.sysconf("SC_CLK_TCK")
# Only Linux can pin a process and reports its use in /proc.
_CORES = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else [0]
SERVER_CORE, LOAD_CORE = _CORES[0], _CORES[-1]
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Server:
    """A process that listens on a port."""

    name: str
    port: int
    pid: int
    database_pid: int | None = None
    """The first process of the database server that it uses."""

    def cpu(self) -> float:
        """Return the CPU seconds so far, of all threads."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def database_cpu(self) -> float:
        """Return the CPU seconds so far of its database server; 0: it has none."""
        return 0.0 if self.database_pid is None else family_cpu(self.database_pid)

    def memory(self) -> float:
        """Return the resident memory in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    def has_loaded(self, library: str) -> bool:
        return library in Path(f"/proc/{self.pid}/maps").read_text()


def family_cpu(pid: int) -> float:
    """Return the CPU seconds so far of a process and of its children, also of those that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            fields = stat.read_text().rpartition(")")[2].split()
            if int(stat.parent.name) == pid:
                ticks += sum(map(int, fields[11:15]))
            elif int(fields[1]) == pid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


@contextmanager
def on_cores(*cores: int) -> Iterator[None]:
    """Start processes on these cores: they inherit them from the thread that starts them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a port outside the ephemeral range, so that no connection takes it before the server does."""
    dice = random.SystemRandom()
    while True:
        port = dice.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@asynccontextmanager
async def server(
    name: str, command: Sequence[str], port: int, log: Path, *, ready: str = "/healthz", within: float = 60,
    cores: Collection[int] = (SERVER_CORE,),
) -> AsyncIterator[Server]:  # fmt: skip
    """:param ready: the path that it answers with 200 when it serves"""
    with log.open("ab") as output, on_cores(*cores):
        child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=output, stderr=output)
    try:
        end = time.monotonic() + within
        while not await _serves(port, ready) or child.returncode is not None:
            if child.returncode is not None or time.monotonic() > end:
                raise RuntimeError(f"{name} does not start; {log} says why")
            await asyncio.sleep(0.05)
        yield Server(name, port, child.pid)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


async def _serves(port: int, path: str) -> bool:
    load = wire.Load(port, [(0, wire.get(path))])
    with contextlib.suppress(OSError):
        await load.closed(1, limit=5)
    return 0 in load.answered


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]
