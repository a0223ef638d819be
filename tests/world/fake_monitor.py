"""A monitor outside that waits for pings, as healthchecks.io answers them.

https://healthchecks.io/docs/http_api/
"""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.world.fake_server import FakeServer, Fault

PING_TOKEN = "f1e2d3c4-token-of-nobody"  # not a token of anything


@dataclass(frozen=True, slots=True)
class Ping:
    """One ping that was accepted or refused."""

    method: str
    body: str
    status: int


class FakeMonitor(FakeServer):
    """``async with FakeMonitor() as monitor: … url=monitor.url``"""

    routes = (("*", "/{path:.*}"),)
    path = f"/ping/{PING_TOKEN}"

    def __init__(self) -> None:
        super().__init__()
        self.pings: list[Ping] = []

    def _shown(self) -> str:
        return str(self.pings)

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.method, await request.text()

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        if fault.status is not None or fault.close:
            self.pings.append(Ping(method, body, fault.status or 0))

    def _take(self, request: web.Request, body: str) -> web.Response:
        status, text = 200, "OK"
        if request.raw_path != self.path:
            status, text = 404, f"not found: {request.raw_path}"
        elif request.method not in {"GET", "HEAD", "POST"}:
            status, text = 405, "method not allowed"
        elif len(body) > 100_000:
            status, text = 413, "too much"
        self.pings.append(Ping(request.method, body, status))
        return web.Response(status=status, text=text)
