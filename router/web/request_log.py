"""Counts every HTTP request, and logs those that are no webhooks. Webhooks have lines of their own, see ``receiving``."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import structlog
from aiohttp import hdrs, web

from router.web.access import PRINCIPAL
from router.web.app_context import APP_CONTEXT
from router.web.receiving_log import milliseconds_since

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_METHODS = frozenset({"GET", "HEAD", "POST"})
_MAX_PATH_CHARS = 200
_WEBHOOK_PATH = "/webhook"


@web.middleware
async def observe_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count a request, and log it if it is no webhook. It is the outermost middleware, so that it sees the answers of the others."""
    started = time.perf_counter()
    code, metrics = 500, request.app[APP_CONTEXT].metrics
    metrics.request_began()
    try:
        response = await handler(request)
    except web.HTTPException as refusal:
        code = refusal.status
        raise
    else:
        code = response.status
        return response
    finally:
        resource = request.match_info.route.resource
        path = "other" if resource is None else resource.canonical
        method = request.method if request.method in _METHODS else "other"
        metrics.request(method, path, code, time.perf_counter() - started)
        if method != hdrs.METH_POST or not path.startswith(_WEBHOOK_PATH):
            log.info("request", fields=partial(_fields, request, code, started))


def _fields(request: web.Request, code: int, started: float) -> dict[str, Any]:
    """Return the fields of a request's line. The query is left out, because people put secrets there."""
    principal = request.get(PRINCIPAL)  # None: refused, or open to everybody
    return {
        "status": "ok" if code < 400 else "refused" if code < 500 else "failed",
        "durationMs": milliseconds_since(started),
        "method": request.method[:_MAX_PATH_CHARS],
        "path": request.path[:_MAX_PATH_CHARS],
        "code": code,
        "peer": request.remote,
        "user": None if principal is None else principal.name,
    }
