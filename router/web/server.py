"""The web application: its routes, its middleware, its probes, ``/status`` and ``/metrics``."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from aiohttp import web
from aiohttp.log import server_logger
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from router.metrics import package_version
from router.model import MINUTE, Millis, Role
from router.store import Integrity, StoreUnavailable
from router.web.access import PRINCIPAL, needs
from router.web.access.middleware import add_headers, control_access
from router.web.api import add_api
from router.web.api.cursors import Query
from router.web.api.endpoint import perform
from router.web.api.problems import ApiError
from router.web.api.rule_actions import RELOAD_RULES
from router.web.app_context import APP_CONTEXT, KEEPALIVE_SECONDS, AppContext
from router.web.bad_requests import Runner, shorten_http_errors
from router.web.json_answers import refusal
from router.web.pages import add_pages
from router.web.quarantine import add_quarantine
from router.web.receiving import add_webhook

log = structlog.get_logger(__name__)

_READY_WHILE_APPLYING = "ready: webhooks are accepted; notifications may wait until the new rules are applied to all firing alerts\n"
_NOTHING_DUE = {"backlog": 0, "oldest_at": None, "backlog_more": False, "dead": 0}
_STARTED: web.AppKey[float] = web.AppKey("started", float)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def make_app(context: AppContext) -> web.Application:
    """Return the HTTP application: the webhook, the probes, ``/status``, ``/metrics``, quarantine and actions. The
    caller adds the pages.
    """
    app = web.Application(
        client_max_size=context.max_body,
        middlewares=[*([_count_request] if context.metrics.enabled else []), control_access],
    )
    app[APP_CONTEXT] = context
    app[_STARTED] = time.monotonic()
    app.on_response_prepare.append(add_headers)
    app.on_cleanup.append(_close_access)
    app.add_routes(
        [
            web.get("/healthz", _healthy),
            web.get("/-/healthy", _healthy),
            web.get("/readyz", _ready),
            web.get("/-/ready", _ready),
            web.get("/status", _status),
            web.post("/-/reload", _reload),
            *([web.get("/metrics", _metrics)] if context.metrics.enabled else []),
        ]
    )
    add_api(app)
    add_pages(app)
    add_quarantine(app)
    add_webhook(app, context)
    return app


async def _close_access(app: web.Application) -> None:
    await app[APP_CONTEXT].access.close()


def make_runner(app: web.Application) -> web.AppRunner:
    """Return a server for the application. A handler runs to its end even if the sender closes the connection (commit,
    then answer), and bodies stay compressed.
    """
    server_logger.addFilter(shorten_http_errors)
    return Runner(
        app, handle_signals=False, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS,
        handler_cancellation=False, shutdown_timeout=1.0, auto_decompress=False,
    )  # fmt: skip


@web.middleware
async def _count_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    started = time.perf_counter()
    code = 500
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
        method = request.method if request.method in {"GET", "HEAD", "POST"} else "other"
        request.app[APP_CONTEXT].metrics.request(method, path, code, time.perf_counter() - started)


@needs(None)
async def _healthy(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n")


@needs(None)
async def _ready(request: web.Request) -> web.Response:
    """Answer 200 if a commit just succeeded, every lane works, and the service is not stopping. While changed rules are
    applied to firing alerts the answer is 200 too, and says so: webhooks are accepted.
    """
    context = request.app[APP_CONTEXT]
    reason = "stopping" if context.stopping() else ""
    dead = [lane["destination"] for lane in context.lanes() if not lane["alive"]]
    if not reason and dead:
        reason = f"lanes have ended: {', '.join(dead)}"
    if not reason:
        try:
            async with asyncio.timeout(context.keep_seconds):
                await context.store.ready()
        except StoreUnavailable as error:
            reason = str(error)
        except TimeoutError:
            reason = f"nothing could be written within {context.keep_seconds:g} s"
    if reason:
        return web.Response(text=f"not ready: {reason}\n", status=503)
    return web.Response(text="ready\n" if context.rules_status()["applied"] else _READY_WHILE_APPLYING)


@needs(Role.ADMIN, RELOAD_RULES.action)
async def _reload(request: web.Request) -> web.Response:
    """Load routes.yaml again. A 500 says why the file can't be used."""
    context = request.app[APP_CONTEXT]
    try:
        await perform(RELOAD_RULES, context, Query(), request[PRINCIPAL])
    except ApiError as error:
        return refusal(503 if error.status == 503 else 500, error.detail)
    return web.json_response({"status": "reloaded", **context.rules_status()})


async def _status(request: web.Request) -> web.Response:
    context = request.app[APP_CONTEXT]
    return web.json_response(await service_status(context, request.app[_STARTED]))


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
    }
    try:
        ledger, due = await context.store.pages.status_and_lanes(now)
    except StoreUnavailable as error:
        return {
            **base,
            "store": {"location": context.store.location, "available": False, "error": str(error)},
        }
    return {
        **base,
        "store": {"location": context.store.location, "available": True, "trouble": context.store.trouble},
        "lanes": _lanes(context, due, now),
        "ledger": ledger,
        "undecided_alerts": context.undecided(),
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
        empty_at = _empty_at(begins, count, lane["a_minute"]) if count else None
        rows.append({**lane, **found, "empty_at": empty_at})
    return rows


def _empty_at(begins: Millis, count: int, a_minute: float | None) -> Millis:
    return begins if a_minute is None else begins + int(count * MINUTE / a_minute)


async def _metrics(request: web.Request) -> web.Response:
    context = request.app[APP_CONTEXT]
    now = context.clock.now()
    lanes = None
    try:
        lanes = _lanes(context, await context.store.pages.lanes(now), now)
    except StoreUnavailable as error:
        log.warning("metrics without the backlog: the store can't be read", error=str(error))
    text = context.metrics.expose(lanes, now)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})
