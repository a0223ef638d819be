"""Alertmanager's answers to ``GET /api/v2/alerts``, as 0.25 gives them; strict about how it is asked.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Self

from aiohttp import web

from router.model import SECOND, Millis
from router.parse import fingerprint
from tests.listening import Site
from tests.waiting import guarded


@dataclass(frozen=True, slots=True)
class Fault:
    """What comes instead of an answer."""

    status: int = 200
    text: str = ""
    close: bool = False


class FakeAlertmanager:
    """``async with FakeAlertmanager() as alertmanager: … alertmanager_url: {alertmanager.url}``

    :param authorization: the header that it wants, if any
    """

    def __init__(self, authorization: str | None = None) -> None:
        self.authorization = authorization
        self.asked = 0
        self.refusals: list[str] = []
        self.url = ""
        self.clock: Callable[[], Millis] | None = None
        """Its own clock, which its answers are dated by; None: the machine's."""
        self._alerts: dict[str, dict[str, Any]] = {}
        self._faults: deque[Fault] = deque()
        self._changed = asyncio.Condition()
        self._site: Site | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._site = await Site.open(app)
        self.url = f"http://{self._site.address}/behind/a/proxy"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._site is not None
        await self._site.close()
        assert not self.refusals

    def has(
        self,
        name: str,
        severity: str,
        *,
        silenced: bool = False,
        updated: str = "2026-11-23T11:00:00.000Z",
        **labels: str,
    ) -> None:
        """An alert with the labels that the world posts. :param updated: when Prometheus last sent it"""
        labels = {"alertname": name, "cluster": "eu-1", "severity": severity, **labels}
        self._alerts[fingerprint(labels)] = {
            "annotations": {},
            "endsAt": "2026-11-24T11:04:00.000Z",
            "fingerprint": fingerprint(labels),
            "receivers": [{"name": "r"}],
            "startsAt": "2026-11-23T11:00:00.000Z",
            "status": {
                "inhibitedBy": [],
                "silencedBy": ["e352fe2b-66c5-4a2f-898d-57e9c1ed9df4"] if silenced else [],
                "state": "suppressed" if silenced else "active",
            },
            "updatedAt": updated,
            "labels": labels,
        }

    def forget(self) -> None:
        """As at a restart."""
        self._alerts.clear()

    def fail(self, *faults: Fault) -> None:
        """The next questions come to this, one after the other."""
        self._faults.extend(faults)

    async def until_asked(self, times: int) -> None:
        """Return as soon as it has been asked so often in all."""
        await self._until(lambda: self.asked >= times)

    async def _until(self, ready: Callable[[], bool]) -> None:
        async with guarded(lambda: f"asked {self.asked} times"), self._changed:
            await self._changed.wait_for(ready)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return self._answer(request)
        finally:
            self.asked += 1
            async with self._changed:
                self._changed.notify_all()

    def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401, text="Unauthorized")
        wanted = dict.fromkeys(("active", "silenced", "inhibited", "unprocessed"), "true")
        if (request.method, request.path, dict(request.query)) != (
            "GET",
            "/behind/a/proxy/api/v2/alerts",
            wanted,
        ):
            self.refusals.append(f"{request.method} {request.path_qs}")
            return web.Response(status=404)
        if not self._faults:
            date = {} if self.clock is None else {"Date": formatdate(self.clock() / SECOND, usegmt=True)}
            return web.json_response(list(self._alerts.values()), headers=date)
        fault = self._faults.popleft()
        if fault.close:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=fault.status, text=fault.text)
