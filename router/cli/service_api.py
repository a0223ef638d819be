"""A client of the running service's API, for ``alert-router deliveries`` and ``alert-router explain``."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from router.cli.shared import Failure

_NEWEST = 100
_ROWS_PER_PAGE = 500
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds
_JSON_TYPES = ("application/json", "application/problem+json")


class NoService(Failure):
    """No alert-router answers at the address."""


class Refused(Failure):
    """The service has answered, and refuses the request. :attr:`detail` is its reason, ``status`` the HTTP status."""

    def __init__(self, message: str, detail: str, status: int) -> None:
        super().__init__(message)
        self.detail = detail
        self.status = status


class ServiceApi:
    """Makes the requests of the commands, each on an event loop of its own."""

    def __init__(self, url: str, authorization: str | None) -> None:
        """:param authorization: the header ``Authorization`` of each request; None: it has none"""
        self._url = url.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}

    def deliveries(self) -> list[dict[str, Any]]:
        """Return the newest deliveries."""
        rows: list[dict[str, Any]] = self._request("GET", f"/api/v1/deliveries?limit={_NEWEST}")["items"]
        return rows

    def dead_letters(self) -> list[dict[str, Any]]:
        """Return all open dead letters, the most urgent first."""
        rows: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = self._request("GET", f"/api/v1/dead-letters?limit={_ROWS_PER_PAGE}{cursor}")
            rows += page["items"]
            if page["next"] is None:
                return rows
            cursor = f"&cursor={page['next']}"

    def settle(self, dead_letter: int, action: str) -> dict[str, str]:
        """Retry or discard a dead letter. :param action: ``retry`` or ``discard``"""
        answer: dict[str, str] = self._request("POST", f"/api/v1/dead-letters/{dead_letter}/{action}")
        return answer

    def resume(self, destination: str) -> dict[str, str]:
        path = f"/api/v1/destinations/{quote(destination, safe='')}/resume"
        answer: dict[str, str] = self._request("POST", path)
        return answer

    def explain(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Explain alerts by the rules in force. :param query: see :class:`router.web.api.explanations.ExplainQuery`"""
        answer: dict[str, Any] = self._request("POST", "/api/v1/explain", query)
        return answer

    def pause(self, destination: str) -> dict[str, Any]:
        path = f"/api/v1/destinations/{quote(destination, safe='')}/pause"
        answer: dict[str, Any] = self._request("POST", path)
        return answer

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """
        :raises NoService: the service doesn't answer
        :raises Refused: it refuses
        """
        return asyncio.run(self._send(method, path, body))

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> Any:
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=_REQUEST_TIMEOUT) as session,
                session.request(method, f"{self._url}{path}", json=body) as response,
            ):
                if response.status in {401, 403} and response.content_type not in _JSON_TYPES:
                    raise Refused(f"{path}: {response.reason}", str(response.reason), response.status)
                if response.content_type not in _JSON_TYPES:
                    raise NoService(f"{self._url} is not an alert-router; give its --url")
                answer = json.loads(await response.read())
                if response.status >= 400:
                    detail = str(answer.get("detail") or answer.get("reason") or response.reason)
                    raise Refused(f"{path}: {detail}", detail, response.status)
                return answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            what = f"{self._url} does not answer ({type(error).__name__})"
            raise NoService(f"{what}; is `alert-router serve` running there?") from None
