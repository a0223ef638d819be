"""Requests that are no valid HTTP: how they are answered and logged. aiohttp answers them before any handler or middleware."""

import logging
import re
from functools import partial
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from router.web.access.middleware import add_headers

log = structlog.get_logger(__name__)

_MAX_LOGGED_CHARS = 200
# What aiohttp quotes of the request. It may be a header with credentials.
_QUOTED = re.compile(r"""[\s:]*\bb['"].*""", re.DOTALL)


class _Request(web.Request):
    """A request whose answer has the headers of safety, even if it reached no handler."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        if self._match_info is None:
            await add_headers(self, response)
        else:
            await super()._prepare_hook(response)


def request_factory(app: web.Application) -> Any:
    """Return what makes the requests of a server, so that the answers to invalid ones have the headers of safety, too."""
    return partial(app._make_request, _cls=_Request)  # noqa: SLF001  (there is no public way)


def log_http_error(record: logging.LogRecord) -> bool:
    """Log an invalid HTTP request in one line, without a traceback and without its text, because it is the sender's fault.

    It is a filter that lets other records pass.
    """
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    words = " ".join(_QUOTED.sub("", error.message).split())
    log.warning("invalid HTTP request", status="refused", reason=words[:_MAX_LOGGED_CHARS])
    return False
