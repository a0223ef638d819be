"""Alertmanager's answers to ``GET /api/v2/alerts``, as 0.25 gives them; strict about how it is asked.

https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from collections.abc import Callable
from email.utils import formatdate
from typing import Any

from aiohttp import web

from router.model import SECOND, Millis
from router.parse import fingerprint
from tests.world.fake_server import FakeServer


class FakeAlertmanager(FakeServer):
    """``async with FakeAlertmanager() as alertmanager: … alertmanager_url: {alertmanager.url}``

    :param authorization: the header that it wants, if any
    """

    routes = (("*", "/{path:.*}"),)
    path = "/behind/a/proxy"

    def __init__(self, authorization: str | None = None) -> None:
        super().__init__()
        self.authorization = authorization
        self.asked = 0
        self.refusals: list[str] = []
        self.clock: Callable[[], Millis] | None = None
        """Its own clock, which its answers are dated by; None: the machine's."""
        self._alerts: dict[str, dict[str, Any]] = {}
        self.silences: list[dict[str, Any]] = []

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
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

    def silence(self, by: str, comment: str, starts: str, ends: str, **labels: str) -> None:
        """Someone silences alerts with these labels."""
        matchers = [
            {"name": name, "value": value, "isRegex": False, "isEqual": True}
            for name, value in labels.items()
        ]
        self.silences.append(
            {
                "id": "e352fe2b-66c5-4a2f-898d-57e9c1ed9df4", "status": {"state": "active"}, "updatedAt": starts,
                "comment": comment, "createdBy": by, "startsAt": starts, "endsAt": ends, "matchers": matchers,
            }
        )  # fmt: skip

    def forget(self) -> None:
        """As at a restart."""
        self._alerts.clear()

    async def until_asked(self, times: int) -> None:
        """Return as soon as it has been asked so often in all."""
        await self.until(lambda: self.asked >= times)

    def _shown(self) -> str:
        return f"asked {self.asked} times"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.method, None

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await super()._serve(request)
        finally:
            self.asked += 1
            self._changes.notify()

    def _take(self, request: web.Request, body: Any) -> web.Response:
        if request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401, text="Unauthorized")
        if (request.method, request.path) == ("GET", "/behind/a/proxy/api/v2/silences") and not request.query:
            return web.json_response(self.silences)
        wanted = dict.fromkeys(("active", "silenced", "inhibited", "unprocessed"), "true")
        if (request.method, request.path, dict(request.query)) != (
            "GET",
            "/behind/a/proxy/api/v2/alerts",
            wanted,
        ):
            self.refusals.append(f"{request.method} {request.path_qs}")
            return web.Response(status=404)
        date = {} if self.clock is None else {"Date": formatdate(self.clock() / SECOND, usegmt=True)}
        return web.json_response(list(self._alerts.values()), headers=date)
