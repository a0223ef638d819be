"""The parts of the HTTP transport that need aiohttp: its requests, the errors that end them without an answer, and what each
error means for the message.

This is a separate module, because importing aiohttp takes time: commands that send nothing start faster without it.
"""

import asyncio
from typing import Any

import aiohttp

from router.channels.http import REDIRECT_REASONS, REDIRECTS
from router.channels.provider_words import tls_failure
from router.channels.steps import Steps, may_send
from router.model import Broken, Retry

# The errors that end a request without an answer. A timeout is an OSError.
REQUEST_FAULTS = (aiohttp.ClientError, OSError, ValueError)
# The type of the error, the reason to show, and whether the message may have arrived nevertheless. The first row that
# matches counts.
_FAULT_REASONS: tuple[tuple[type[Exception], str, bool], ...] = (
    (aiohttp.ConnectionTimeoutError, "connect timeout", False),
    (TimeoutError, "timeout", True),
    (aiohttp.ClientSSLError, "tls failed", False),
    (aiohttp.ClientProxyConnectionError, "proxy failed", False),
    (aiohttp.ClientHttpProxyError, "proxy failed", False),
    (aiohttp.ClientConnectorError, "connection failed", False),
    (aiohttp.InvalidURL, "no web address", False),
    (aiohttp.ClientResponseError, "bad answer", True),
    (Exception, "connection failed", True),
)


class RedirectError(aiohttp.ClientError):
    """A library that uses the session was redirected. ``status`` is the status of the redirect."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def fault_outcome(error: Exception, cause: str = "") -> Retry | Broken:
    """Return what an error of :data:`REQUEST_FAULTS` means for the message.

    :param cause: the name of a cause that other destinations share, see :class:`router.model.Retry`
    """
    if isinstance(error, RedirectError):
        return Broken(f"http {error.status}: {REDIRECT_REASONS[error.status]}", cause=cause)
    # The text of a ClientResponseError ends with the requested URL. For a proxy, that URL has its credentials.
    words = (
        f"{error.status} {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error)
    )
    if reason := tls_failure(error):
        return Broken(reason, words=words, cause=cause)
    return next(
        Retry(reason, ambiguous=ambiguous, words=words, cause=cause)
        for kind, reason, ambiguous in _FAULT_REASONS
        if isinstance(error, kind)
    )


async def refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Middleware of a session: end a request that is redirected. :raises RedirectError:"""
    response = await handler(request)
    if response.status in REDIRECTS:
        response.close()
        raise RedirectError(response.status)
    return response


class CheckedRequest(aiohttp.ClientRequest):
    """A request that is written only as long as its attempt may send. It checks that itself, because aiohttp writes it in another task."""

    async def write_bytes(self, writer: Any, conn: Any, content_length: int | None = None) -> None:
        try:
            await Steps(super().write_bytes(writer, conn, content_length), may_send.get())
        except asyncio.CancelledError:
            conn.close()  # nothing else would: the attempt still waits for the answer
            raise
