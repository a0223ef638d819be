"""A client of the running service's API, for the commands that ask it.

It uses Python's own HTTP client, which is imported in a fraction of the time that others take.
"""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from router.cli.shared import Failure

if TYPE_CHECKING:
    import ssl

_TIMEOUT_SECONDS = 30.0
_MAX_ROWS_PER_PAGE = 500
_JSON_TYPES = frozenset({"application/json", "application/problem+json"})
# The service has closed the connection, which was idle for too long.
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
_NO_ANSWER = (OSError, http.client.HTTPException, ValueError)
Parameters = Mapping[str, Any]
"""The parameters of an address. Those that are None or empty are left out; a list gives a parameter several times."""


class NoService(Failure):
    """No alert-router answers at the address."""


class Refused(Failure):
    """The service has answered, and refuses the request. :attr:`detail` is its reason, ``status`` the HTTP status."""

    def __init__(self, message: str, detail: str, status: int) -> None:
        super().__init__(message)
        self.detail = detail
        self.status = status


class ServiceApi:
    """Makes requests, one at a time, on one connection.

    Every method raises :class:`NoService` if the service doesn't answer, and :class:`Refused` if it refuses.
    """

    def __init__(
        self,
        url: str,
        authorization: str | None,
        timeout: float = _TIMEOUT_SECONDS,
        tls: "ssl.SSLContext | None" = None,
    ) -> None:
        """
        :param authorization: the header ``Authorization`` of each request; None: it has none
        :param timeout: seconds without an answer
        :param tls: for an address with https; None: the authorities of the system are trusted
        :raises Failure: the address is none
        """
        self.url = url.rstrip("/")
        self._headers = {"Authorization": authorization} if authorization else {}
        self._timeout = timeout
        self._tls = tls
        self._connection, self._prefix = self._open()

    def _open(self) -> tuple[http.client.HTTPConnection, str]:
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if host is None or parts.scheme not in {"http", "https"}:
            raise Failure(f"{self.url!r} is no address; write it like http://127.0.0.1:9099")
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=self._timeout), parts.path
        return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=self._tls), parts.path

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def get(self, path: str, **parameters: Any) -> Any:
        """Return the answer to a GET. See :data:`Parameters`"""
        return self._request("GET", _address(path, parameters), None)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the answer to a POST. :param body: sent as JSON"""
        return self._request("POST", path, None if body is None else json.dumps(body).encode())

    def pages(self, path: str, parameters: Parameters, most: int | None) -> Iterator[dict[str, Any]]:
        """Yield the pages of a list.

        :param most: how many rows they have together at most; None: all of the list
        """
        cursor, left = None, most
        while True:
            limit = _MAX_ROWS_PER_PAGE if left is None else min(left, _MAX_ROWS_PER_PAGE)
            page = self.get(path, **parameters, limit=limit, cursor=cursor)
            yield page
            cursor = page["next"]
            left = None if left is None else left - len(page["items"])
            if cursor is None or (left is not None and left <= 0):
                return

    def _request(self, method: str, target: str, body: bytes | None) -> Any:
        try:
            status, reason, content_type, answer = self._send(method, target, body)
            found = json.loads(answer) if content_type in _JSON_TYPES else None
        except _NO_ANSWER as error:
            self._connection.close()
            what = f"{self.url} does not answer ({_words(error)})"
            raise NoService(f"{what}; is `alert-router serve` running there?") from None
        path = target.partition("?")[0]
        if status in {401, 403, 421} or (status >= 400 and found is not None):
            detail = str((found or {}).get("detail") or (found or {}).get("reason") or reason)
            raise Refused(f"{path}: {detail}", detail, status)
        if found is None or status >= 300:
            raise NoService(f"{self.url} is not an alert-router; give its --url")
        return found

    def _send(self, method: str, target: str, body: bytes | None) -> tuple[int, str, str, bytes]:
        headers = self._headers | ({} if body is None else {"Content-Type": "application/json"})
        is_fresh = self._connection.sock is None
        try:
            self._connection.request(method, self._prefix + target, body, headers)
            response = self._connection.getresponse()
        except _CLOSED:
            self._connection.close()
            if is_fresh or method != "GET":
                raise
            self._connection.request(method, self._prefix + target, body, headers)
            response = self._connection.getresponse()
        answer = response.read()
        return response.status, response.reason, response.headers.get_content_type(), answer

    # Operations.

    def overview(self) -> dict[str, Any]:
        """Return what is wrong now, the time of the service and its timezone."""
        found: dict[str, Any] = self.get("/api/v1/overview")
        return found

    def destination(self, key: str) -> dict[str, Any]:
        """Return how one destination is."""
        found: dict[str, Any] = self.get(_destination(key))
        return found

    def settle(self, dead_letter: int, action: str) -> dict[str, str]:
        """Retry or discard a dead letter. :param action: ``retry`` or ``discard``"""
        answer: dict[str, str] = self.post(f"/api/v1/dead-letters/{dead_letter}/{action}")
        return answer

    def resume(self, destination: str) -> dict[str, str]:
        """End the pause of a destination and try one delivery. Return ``status`` and ``reason``."""
        answer: dict[str, str] = self.post(f"{_destination(destination)}/resume")
        return answer

    def pause(self, destination: str) -> dict[str, Any]:
        """Send nothing to a destination until it is resumed. Return ``status`` and ``since`` (epoch ms)."""
        answer: dict[str, Any] = self.post(f"{_destination(destination)}/pause")
        return answer

    def explain(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Explain alerts by the rules in force. :param query: see :class:`router.web.api.explanations.ExplainQuery`"""
        answer: dict[str, Any] = self.post("/api/v1/explain", query)
        return answer


def _words(error: Exception) -> str:
    """Return the type of an error, and why a certificate is refused."""
    reason = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    return f"{type(error).__name__}: {reason}" if isinstance(reason, str) and reason else type(error).__name__


def _destination(key: str) -> str:
    return f"/api/v1/destinations/{quote(key, safe='')}"


def _address(path: str, parameters: Parameters) -> str:
    given = [(name, each) for name, value in parameters.items() for each in _values(value)]
    return f"{path}?{urlencode(given)}" if given else path


def _values(value: Any) -> Sequence[Any]:
    several = value if isinstance(value, list | tuple) else (value,)
    return [each for each in several if each not in (None, "")]
