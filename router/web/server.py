"""The web application: its routes and middlewares, ``/status`` and ``/metrics``."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web, web_response
from aiohttp.log import server_logger
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from router.metrics import Metrics
from router.model import Millis, Role
from router.package import package_version
from router.store import Integrity, StoreUnavailable
from router.web.access import PRINCIPAL, needs
from router.web.access.middleware import add_headers, control_access
from router.web.api import add_api
from router.web.api.configuration import RELOAD_CONFIGURATION
from router.web.api.cursors import Query
from router.web.api.destination_words import empty_at
from router.web.api.endpoint import perform
from router.web.api.problem_details import ApiError
from router.web.api.replica_endpoint import READ_REPLICAS
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.bad_requests import log_http_error
from router.web.connections import BoundedRunner, ConnectionBounds, MakeContext
from router.web.json_answers import refusal
from router.web.pages import add_pages
from router.web.probes import STARTED, WAITING, add_probes, add_waiting_probes
from router.web.receiving import RETRY_AFTER, add_webhook
from router.web.request_log import observe_request

log = structlog.get_logger(__name__)

_DEFAULT_BOUNDS = ConnectionBounds()
_SERVER_NAME = "alert-router"
_NOTHING_DUE = {"backlog": 0, "oldest_at": None, "backlog_more": False, "dead": 0}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(context: AppContext) -> web.Application:
    """Return the HTTP application: the webhook, the probes, ``/status``, ``/metrics``, API, pages and actions. The
    caller adds the preview.
    """
    app = web.Application(client_max_size=context.max_body, middlewares=[observe_request, control_access])
    app[APP_CONTEXT] = context
    app.on_response_prepare.append(add_headers)
    app.on_cleanup.append(_close_access)
    add_probes(app)
    app.add_routes(
        [
            web.get("/status", _status),
            web.post("/-/reload", _reload),
            *([web.get("/metrics", _metrics)] if context.metrics.enabled else []),
        ]
    )
    add_api(app)
    add_pages(app)
    add_webhook(app, context)
    return app


async def _close_access(app: web.Application) -> None:
    await app[APP_CONTEXT].access.close()


def make_waiting_app() -> web.Application:
    """Return what the service answers while its start waits for the database: it lives, and all else gets 503."""
    app = web.Application()
    app.on_response_prepare.append(add_headers)
    add_waiting_probes(app)
    app.router.add_route("*", "/{path:.*}", _not_yet)
    return app


async def _not_yet(_request: web.Request) -> web.Response:
    return refusal(503, WAITING, headers=RETRY_AFTER)


def make_runner(
    app: web.Application,
    metrics: Metrics,
    bounds: ConnectionBounds = _DEFAULT_BOUNDS,
    tls: MakeContext | None = None,
) -> BoundedRunner:
    """Return a server for the application. A handler runs to its end even if the sender closes the connection (commit,
    then answer), and bodies stay compressed.

    :param tls: None: connections are not encrypted
    """
    server_logger.addFilter(log_http_error)
    # Answers to requests that are not HTTP come from aiohttp itself, which would name its version there.
    web_response.SERVER_SOFTWARE = _SERVER_NAME  # type: ignore[attr-defined]  # aiohttp has no option for it
    return BoundedRunner(app, bounds, metrics, tls, handle_signals=False, shutdown_timeout=1.0)


@needs(Role.ADMIN, RELOAD_CONFIGURATION.action)
async def _reload(request: web.Request) -> web.Response:
    """Load routes.yaml again. A 500 says why the file can't be used."""
    context = request.app[APP_CONTEXT]
    try:
        await perform(RELOAD_CONFIGURATION, context, Query(), request[PRINCIPAL])
    except ApiError as error:
        return refusal(503 if error.status == 503 else 500, error.detail)
    return web.json_response({"status": "reloaded", **context.rules_status()})


async def _status(request: web.Request) -> web.Response:
    context = request.app[APP_CONTEXT]
    return web.json_response(await service_status(context, request.app[STARTED]))


async def service_status(context: AppContext, started: float) -> dict[str, Any]:
    """Return what ``/status`` shows: uptime, store, lanes, and the counts of the ledger.

    :param started: when the service started (seconds of the monotonic clock)
    """
    now = context.clock.now()
    base: dict[str, Any] = {
        "version": package_version(),
        "now": now,
        # From the monotonic clock, because the preview moves the other one.
        "uptime_seconds": time.monotonic() - started,
        "preview": context.preview,
        "stopping": context.stopping(),
        "config": context.rules_status(),
        "backups": context.backups(),
    }
    try:
        ledger, due = await context.store.pages.status_and_lanes(now)
        replicas = (await READ_REPLICAS.run(context, Query())).model_dump()
    except StoreUnavailable as error:
        return {
            **base,
            "store": {"location": context.store.location, "available": False, "error": str(error)},
        }
    return {
        **base,
        "store": {"location": context.store.location, "available": True, "trouble": context.store.trouble},
        "this_replica": replicas["this_replica"],
        "replicas": replicas["replicas"],
        "leases": replicas["leases"],
        "lanes": _lanes(context, due, now),
        "ledger": ledger,
        "undecided_alerts": context.undecided(),
        "quarantine": context.store.quarantine_limits.describe(),
        "integrity": _integrity(context.integrity()),
    }


def _integrity(found: Integrity | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "contradicted_alerts": found.contradicted.as_json(),
        "empty_conversations": found.empty.as_json(),
        "miscounted_counters": found.miscounted.as_json(),
    }


def _lanes(context: AppContext, due: Mapping[str, Mapping[str, Any]], now: Millis) -> list[dict[str, Any]]:
    """Return each lane with its backlog, the oldest due time, its dead letters, and ``empty_at``: when the backlog will be
    sent if nothing new arrives and nothing fails (epoch ms; None: nothing is due).

    :param due: by destination, see :meth:`router.store.page_queries.PageQueries.lanes`
    """
    rows = []
    for lane in context.lanes():
        found = due.get(lane["destination"], _NOTHING_DUE)
        begins, count = max(now, lane["paused_until"] or 0), found["backlog"]
        empty = empty_at(begins, count, lane["a_minute"]) if count else None
        rows.append({**lane, **found, "empty_at": empty})
    return rows


async def _metrics(request: web.Request) -> web.Response:
    context = request.app[APP_CONTEXT]
    now = context.clock.now()
    lanes = None
    try:
        lanes = _lanes(context, await context.store.pages.lanes(now), now)
    except StoreUnavailable as error:
        log.warning("metrics without the backlog: the store can't be read", reason=str(error))
    text = context.metrics.expose(lanes, now)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
