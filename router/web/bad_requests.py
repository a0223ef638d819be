"""Requests that are no valid HTTP: how they are answered and logged. aiohttp answers them before any handler or middleware."""

import logging
import re
from functools import partial

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from router.web.access.middleware import add_headers

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


class Runner(web.AppRunner):
    """Serves an application. It also adds the headers of safety to the answers to invalid requests."""

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        server.request_factory = partial(self.app._make_request, _cls=_Request)  # noqa: SLF001  (there is no public way)
        return server


def shorten_http_errors(record: logging.LogRecord) -> bool:
    """Log an invalid HTTP request in one line, without a traceback and without its text, because it is the sender's fault.

    It is a filter that changes such records and drops none.
    """
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
        words = " ".join(_QUOTED.sub("", error.message).split())
        record.msg, record.args = "invalid HTTP request: %s", (words[:_MAX_LOGGED_CHARS],)
    return True
