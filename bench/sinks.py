"""Targets of the measured process: a sink that answers immediately, and a provider that never answers."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import cast

from bench.wire import clock, message

_NUMBER = re.compile(rb"Bench(\d+)E")
_PAGERDUTY = b'{"status":"success","message":"Event processed","dedup_key":"bench"}'


class Sink:
    """Accepts requests, and records when each numbered alert first arrived."""

    def __init__(self) -> None:
        self.arrived: dict[int, float] = {}
        self.requests = 0
        self.url = ""
        self.port = 0
        self._wanted = (0, 0)
        self._complete = asyncio.Event()

    def take(self, body: bytes) -> None:
        now = clock()
        self.requests += 1
        for number in set(_NUMBER.findall(body)):
            self.arrived.setdefault(int(number), now)
        self._look()

    async def wait(self, count: int, limit: float, *, requests: int = 0) -> bool:
        """Wait for ``count`` alerts in ``requests`` requests. :returns: False if the limit passed first"""
        self._wanted = (count, requests)
        self._complete.clear()
        self._look()
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._complete.wait()
        return self._complete.is_set()

    def _look(self) -> None:
        if len(self.arrived) >= self._wanted[0] and self.requests >= self._wanted[1]:
            self._complete.set()


class _Served(asyncio.Protocol):
    _stamps = itertools.count(1)

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (request := message(self._buffer)) is not None:
            head, body = request
            self._sink.take(body)
            self._transport.write(self._answer(head))

    def _answer(self, head: bytes) -> bytes:
        """Return an answer that the clients of PagerDuty, Slack and webhooks accept."""
        if head.startswith(b"POST /v2/enqueue "):
            status, body = b"202 Accepted", _PAGERDUTY
        else:
            stamp = b"1700000000.%06d" % next(self._stamps)
            status, body = b"200 OK", b'{"ok":true,"channel":"C0BENCH","ts":"' + stamp + b'"}'
        return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
            status, len(body), body,
        )  # fmt: skip


@asynccontextmanager
async def answering() -> AsyncIterator[Sink]:
    found = Sink()
    server = await asyncio.get_running_loop().create_server(lambda: _Served(found), "127.0.0.1", 0)
    try:
        found.port = server.sockets[0].getsockname()[1]
        found.url = f"http://127.0.0.1:{found.port}"
        yield found
    finally:
        server.close()


@asynccontextmanager
async def silent() -> AsyncIterator[int]:
    """Yield the port of a provider that accepts connections and never answers."""
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
