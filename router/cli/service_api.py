"""A client of the running service's API, for ``alert-router deliveries``."""

import asyncio
from typing import Any
from urllib.parse import quote

import aiohttp

from router.cli.shared import Failure

_JSON_TYPES = frozenset({"application/json", "application/problem+json"})
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)  # seconds


class ServiceApi:
    """Makes the requests of ``alert-router deliveries``, each on an event loop of its own."""

    def __init__(self, url: str, authorization: str | None) -> None:
        """:param authorization: the header ``Authorization`` of each request; None: it has none"""
        self._url = url.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}

    def deliveries(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._request("GET", "/api/v1/deliveries")
        return rows

    def dead_letters(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._request("GET", "/api/v1/dead-letters")
        return rows

    def settle(self, dead_letter: int, action: str) -> dict[str, str]:
        """Retry or discard a dead letter. :param action: ``retry`` or ``discard``"""
        answer: dict[str, str] = self._request("POST", f"/api/v1/dead-letters/{dead_letter}/{action}")
        return answer

    def resume(self, destination: str) -> dict[str, str]:
        path = f"/api/v1/destinations/{quote(destination, safe='')}/resume"
        answer: dict[str, str] = self._request("POST", path)
        return answer

    def _request(self, method: str, path: str) -> Any:
        """:raises Failure: the service doesn't answer, or refuses"""
        return asyncio.run(self._send(method, path))

    def pause(self, destination: str) -> dict[str, Any]:
        path = f"/api/v1/destinations/{quote(destination, safe='')}/pause"
        answer: dict[str, Any] = self._request("POST", path)
        return answer

    async def _send(self, method: str, path: str) -> Any:
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=_REQUEST_TIMEOUT) as session,
                session.request(method, f"{self._url}{path}") as response,
            ):
                if response.content_type not in _JSON_TYPES:
                    raise Failure(f"{self._url} is not an alert-router; give its --url")
                answer = await response.json()
                if response.status >= 400:
                    raise Failure(
                        f"{path}: {answer.get('detail') or answer.get('reason') or response.reason}"
                    )
                return answer
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            what = f"{self._url} does not answer ({type(error).__name__})"
            raise Failure(f"{what}; is `alert-router serve` running there?") from None
