"""What may bring a server down: idle connections, very large bodies, gzip bombs. It runs as a process of its own, so that it
does not delay the requests that are measured: ``python -m bench.flood PORT``.

It prints a line when everything stands, sends until its standard input ends, then prints the statuses of the answers.
"""

import argparse
import asyncio
import contextlib
import gzip
import json
import sys
from collections import Counter

from bench import bodies, wire

IDLE_CONNECTIONS, LARGE_BODIES, BOMBS = 1_100, 50, 10
LARGE_BYTES = 15 * 2**20
_ALERT_BYTES = 600
_BOMB_BYTES = 64 * 2**20
"""What a bomb inflates to: four times the default of --max-body."""
_WRITE_BYTES = 256 * 1024
_PAUSE_SECONDS = 0.25
"""After an answer. Alertmanager waits at least half a second before it sends again."""
NO_ANSWER = 0
"""Counted as a status: the connection ended without an answer."""


class Flood:
    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[asyncio.StreamWriter] = []
        self.statuses: dict[str, Counter[int]] = {"large": Counter(), "bombs": Counter()}

    async def open_idle(self, count: int) -> None:
        """Open connections that send one request, and then nothing."""
        for _ in range(count):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            self._idle.append(writer)
            writer.write(wire.get("/healthz"))
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")

    async def send(self, kind: str, request: bytes) -> None:
        """Send a request again and again, each on a new connection."""
        while True:
            status = NO_ANSWER
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                status = await self._sent(request)
            self.statuses[kind][status] += 1
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _sent(self, request: bytes) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            answer = asyncio.ensure_future(reader.readuntil(b"\r\n"))  # it may come before all is sent
            view = memoryview(request)
            with contextlib.suppress(OSError):
                for begin in range(0, len(view), _WRITE_BYTES):
                    if answer.done():
                        break
                    writer.write(view[begin : begin + _WRITE_BYTES])
                    await writer.drain()
            return int((await answer).split()[1])
        finally:
            answer.cancel()
            writer.transport.abort()


def large_webhooks(count: int) -> list[bytes]:
    """Return requests with a body of 15 MiB each: a group of its own with some ten thousand alerts."""
    body = bodies.big_group(LARGE_BYTES // _ALERT_BYTES, _ALERT_BYTES - 8)
    return [
        wire.post("/webhook", body.replace(b"BigGroup", b"Group%03d" % number)) for number in range(count)
    ]


def bomb() -> bytes:
    body = gzip.compress(json.dumps({"version": "4", "alerts": []}).encode() + b" " * _BOMB_BYTES)
    return wire.post("/webhook", body).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)


async def flood(port: int, idle: int, large: int, bombs: int) -> None:
    it, loop = Flood(port), asyncio.get_running_loop()
    await it.open_idle(idle)
    requests = [("large", each) for each in large_webhooks(large)]
    requests += [("bombs", bomb())] * bombs
    tasks = [asyncio.create_task(it.send(kind, request)) for kind, request in requests]
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(it.statuses), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--idle", type=int, default=IDLE_CONNECTIONS)
    parser.add_argument("--large", type=int, default=LARGE_BODIES)
    parser.add_argument("--bombs", type=int, default=BOMBS)
    given = parser.parse_args()
    asyncio.run(flood(given.port, given.idle, given.large, given.bombs))


if __name__ == "__main__":
    main()
