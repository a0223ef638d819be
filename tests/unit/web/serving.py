"""Serves ``router.web`` with given bounds, and talks to it byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from router.web import BoundedRunner, ConnectionBounds, make_app, make_runner
from router.web.app_context import APP_CONTEXT
from router.web.connections import MakeContext
from tests.unit.web.harness import WebHarness

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
SLOW_POST = (
    b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"
    b"Expect: 100-continue\r\n\r\n"
)
SLOW_BODY = b'{"alerts":[]}'


@dataclass
class Talk:
    """One connection of a client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def status(self, request: bytes = GET) -> int:
        """Send a request, and return the status of the answer, whose body is read too."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )  # fmt: skip
        await self.reader.readexactly(length)
        return int(head.split()[1])

    async def begin_post(self) -> None:
        """Send the header of a webhook. Return when the router waits for the body, so that the request is in flight."""
        self.writer.write(SLOW_POST)
        assert b" 100 " in await self.reader.readuntil(b"\r\n\r\n")

    async def closed(self) -> bool:
        """Return when the router has closed the connection."""
        try:
            while await self.reader.read(2**16):
                pass
        except ConnectionError:
            pass
        return True


@dataclass
class Serving:
    runner: BoundedRunner
    harness: WebHarness
    port: int = 0
    talks: list[Talk] = field(default_factory=list)

    async def talk(self, address: str = "127.0.0.1", **options: Any) -> Talk:
        """Connect. :param address: the client's own address"""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, local_addr=(address, 0), **options
        )
        talk = Talk(reader, writer)
        self.talks.append(talk)
        return talk

    def closed_by(self, reason: str) -> float:
        """Return how many connections the router closed for a reason."""
        name, labels = "alert_router_connections_closed_total", {"reason": reason}
        return self.harness.metrics.registry.get_sample_value(name, labels) or 0.0

    def open_connections(self) -> float | None:
        return self.harness.metrics.registry.get_sample_value("alert_router_connections")


@asynccontextmanager
async def serving(
    harness: WebHarness,
    bounds: ConnectionBounds,
    tls: MakeContext | None = None,
    *more: web.RouteDef,
) -> AsyncIterator[Serving]:
    """:param more: routes in addition to the router's"""
    app = make_app(harness.parts())
    app.add_routes(more)
    runner = make_runner(app, app[APP_CONTEXT].metrics, bounds, tls)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found = Serving(runner, harness, runner.addresses[0][1])
    try:
        yield found
    finally:
        for talk in found.talks:
            talk.writer.transport.abort()
        await runner.cleanup()
