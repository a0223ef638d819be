"""A Sentry that takes envelopes, and refuses what Sentry refuses.

https://develop.sentry.dev/sdk/data-model/envelopes/
"""

import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.world.fake_server import FakeServer, Fault

PUBLIC_KEY = "sentrykeyofnobody0123456789abcdef"
_PROJECT = "7"
_AUTH = re.compile(rf"Sentry sentry_key={PUBLIC_KEY}, sentry_version=7, sentry_client=sentry\.python/[\d.]+")


@dataclass(frozen=True, slots=True)
class Envelope:
    """A request as it came in. ``raw``: the body, not compressed"""

    headers: Mapping[str, str]
    raw: bytes

    @property
    def items(self) -> list[tuple[str, Any]]:
        """The type and the payload of each item."""
        lines = self.raw.splitlines()[1:]
        return [
            (json.loads(head)["type"], json.loads(payload))
            for head, payload in zip(lines[::2], lines[1::2], strict=True)
        ]

    @property
    def everything(self) -> bytes:
        """All that left the router, but the credentials."""
        headers = {name: value for name, value in self.headers.items() if name != "X-Sentry-Auth"}
        return json.dumps(headers).encode() + self.raw


class FakeSentry(FakeServer):
    """``async with FakeSentry() as sentry: … dsn: sentry.dsn``"""

    routes = (("POST", "/{path:.*}"),)

    def __init__(self) -> None:
        super().__init__()
        self.envelopes: list[Envelope] = []
        self.refusals: list[str] = []

    @property
    def dsn(self) -> str:
        return f"{self.url.replace('//', f'//{PUBLIC_KEY}@')}/{_PROJECT}"

    @property
    def events(self) -> list[Any]:
        assert not self.refusals
        items = [item for each in self.envelopes for item in each.items]
        assert {kind for kind, _ in items} <= {"event"}, "there is nothing but events"
        return [payload for _, payload in items]

    def _shown(self) -> str:
        return f"{self.envelopes}, refused: {self.refusals}"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        raw = await request.read()
        return "POST", Envelope(
            dict(request.headers), gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        )

    def _record(self, method: str, request: web.Request, body: Envelope, fault: Fault) -> None:
        if fault.status is None and not fault.close:
            self.envelopes.append(body)

    def _take(self, request: web.Request, body: Envelope) -> web.Response:
        if request.path != f"/api/{_PROJECT}/envelope/":
            self.refusals.append(f"no project at {request.path}")
            return web.Response(status=404)
        if not _AUTH.fullmatch(body.headers.get("X-Sentry-Auth", "")):
            self.refusals.append("wrong credentials")
            return web.Response(status=401)
        return web.json_response({"id": body.items[0][1].get("event_id", "")})
