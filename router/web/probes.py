"""The probes: whether the process lives, and whether it can keep a webhook. They answer JSON, or text to programs that
prefer it.

A restart does not repair a database, so liveness says 200 whatever the database does, and names the trouble.
"""

import asyncio
import time
from collections.abc import Mapping

from aiohttp import hdrs, web

from router.store import StoreUnavailable
from router.web.access import needs
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.request_log import Handler

STARTED: web.AppKey[float] = web.AppKey("started", float)
"""When the service started (seconds of the monotonic clock)."""
_APPLYING = (
    "webhooks are accepted; notifications may wait until the new rules are applied to all firing alerts"
)
WAITING = "the start waits for the database; the log says why"
_MAX_RANGES = 20
_HEADERS = {"Cache-Control": "no-store"}


def add_probes(app: web.Application) -> None:
    _add(app, _healthy, _ready)


def add_waiting_probes(app: web.Application) -> None:
    """Add the probes of a service that waits for its database."""
    _add(app, _healthy_without_database, _waiting)


def _add(app: web.Application, healthy: Handler, ready: Handler) -> None:
    app[STARTED] = time.monotonic()
    app.add_routes(
        [
            web.get("/healthz", healthy),
            web.get("/-/healthy", healthy),
            web.get("/readyz", ready),
            web.get("/-/ready", ready),
        ]
    )


def prefers_text(accept: str) -> bool:
    """Return whether a program prefers ``text/plain`` to ``application/json``, by its Accept header.

    https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1
    """
    if not accept or accept == "*/*":
        return False
    quality: dict[str, float] = {}
    for each in accept.split(",", _MAX_RANGES)[:_MAX_RANGES]:
        media, *parameters = (part.strip().lower() for part in each.split(";"))
        weights = [value for name, _, value in map(_parameter, parameters) if name == "q"]
        quality.setdefault(media, _weight(weights[0]) if weights else 1.0)
    return _quality(quality, "text/plain") > _quality(quality, "application/json")


def _parameter(text: str) -> tuple[str, str, str]:
    name, sign, value = text.partition("=")
    return name.strip(), sign, value.strip()


def _weight(text: str) -> float:
    """Return a quality value. One that is not between 0 and 1 counts as 0."""
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return value if 0 <= value <= 1 else 0.0


def _quality(given: Mapping[str, float], media: str) -> float:
    """Return the quality of a media type: that of the most specific range that includes it."""
    ranges = (media, media.partition("/")[0] + "/*", "*/*")
    return next((given[each] for each in ranges if each in given), 0.0)


@needs(None)
async def _healthy(request: web.Request) -> web.Response:
    """Answer 200 while the process runs. Reads no file and no database, so that it answers while these hang."""
    return _answer(request, {"status": "ok"}, "alive", is_writable=_is_writable(request))


@needs(None)
async def _healthy_without_database(request: web.Request) -> web.Response:
    """Answer 200, as :func:`_healthy`."""
    return _answer(request, {"status": "ok"}, "alive", is_writable=False)


@needs(None)
async def _waiting(request: web.Request) -> web.Response:
    """Answer 503 while the start waits for the database."""
    fields = {"status": "not ready", "reason": WAITING}
    return _answer(request, fields, f"not ready: {WAITING}", is_writable=False, status=503)


@needs(None)
async def _ready(request: web.Request) -> web.Response:
    """Answer 200 if a commit just succeeded, every lane works, and the service is not stopping. While changed rules are
    applied to firing alerts the answer is 200 too, and says so: webhooks are accepted.
    """
    context = request.app[APP_CONTEXT]
    reason = await _why_not_ready(context)
    is_writable = _is_writable(request)
    if reason:
        fields = {"status": "not ready", "reason": reason}
        return _answer(request, fields, f"not ready: {reason}", is_writable=is_writable, status=503)
    if context.rules_status()["applied"]:
        return _answer(request, {"status": "ready"}, "ready", is_writable=is_writable)
    fields = {"status": "ready", "reason": _APPLYING}
    return _answer(request, fields, f"ready: {_APPLYING}", is_writable=is_writable)


def _is_writable(request: web.Request) -> bool:
    return request.app[APP_CONTEXT].store.trouble is None


async def _why_not_ready(context: AppContext) -> str:
    """Return why a webhook can't be kept and sent on; empty: it can."""
    if context.stopping():
        return "stopping"
    dead = [lane["destination"] for lane in context.lanes() if lane["is_here"] and not lane["alive"]]
    if dead:
        return f"lanes have ended: {', '.join(dead)}"
    try:
        async with asyncio.timeout(context.keep_seconds):
            await context.store.ready()
    except StoreUnavailable:
        return "the database can't be written; the log says why"
    except TimeoutError:
        return f"nothing could be written within {context.keep_seconds:g} s"
    return ""


def _answer(
    request: web.Request, fields: Mapping[str, str], text: str, *, is_writable: bool, status: int = 200
) -> web.Response:
    """Return the answer in the form that the program prefers. JSON also has the uptime, and whether the last write to the
    database succeeded.
    """
    if prefers_text(request.headers.get(hdrs.ACCEPT, "")):
        return web.Response(text=f"{text}\n", status=status, headers=_HEADERS)
    # Probes answer everybody, so they do not say where the database is, nor what it said.
    shown = {
        **fields,
        "uptimeSeconds": round(time.monotonic() - request.app[STARTED], 1),
        "database": "ok" if is_writable else "unwritable",
    }
    return web.json_response(shown, status=status, headers=_HEADERS)
