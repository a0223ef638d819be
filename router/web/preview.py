"""The preview: every message as its reader would see it, live, and a clock that can be moved on."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from router.channels.outbox import Entry, Outbox
from router.clock import SystemClock
from router.model import DAY, Millis
from router.web.app_context import APP_CONTEXT, AppContext

# Slower than this, and a proxy may take the silence for the end.
_HEARTBEAT_SECONDS = 15
# Of the same origin, so that the page can ask how tall a mail is; without scripts, it can do nothing with that.
_MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin; frame-ancestors 'self'"
)
# A clock that moves on waits so long at each stop for what is due there.
_STOP_SECONDS = 20.0
_LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class PreviewContext:
    outbox: Outbox
    zone: Callable[[], str]
    digests: Callable[[], Awaitable[list[Entry]]]
    """Each digest as it would go out now."""
    jumps: Callable[[], Awaitable[list[tuple[str, Millis]]]]
    """The moments at which something happens by itself: what, and when; the next one first."""
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)


_PREVIEW: web.AppKey[PreviewContext] = web.AppKey("preview", PreviewContext)


def add_preview(app: web.Application, context: PreviewContext) -> None:
    app[_PREVIEW] = context
    app.add_routes(
        [
            web.get("/preview/state", _state),
            web.get("/preview/events", _events),
            web.get("/preview/mail/{id}", _mail),
            web.get("/preview/digest/{number}", _digest),
            web.post("/preview/clock", _move_clock),
        ]
    )


async def _state(request: web.Request) -> web.Response:
    """All that the page shows: messages, digests as of now, what waits and why, what was decided."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    jumps = await preview.jumps()
    return web.json_response(
        {
            "now": context.clock.now(),
            "zone": preview.zone(),
            "movable": isinstance(context.clock, SystemClock),
            "channels": sorted({each.channel for each in context.policy().destinations.values()}),
            "entries": [_shown(entry) for entry in preview.outbox.entries],
            "digests": [_shown(entry) for entry in await preview.digests()],
            "waiting": await context.store.pages.waiting(),
            "decisions": await context.store.pages.decisions(),
            "totals": {name: await context.store.pages.total(name) for name in ("waiting", "decisions")},
            "jumps": [{"label": label, "at": at} for label, at in jumps],
        }
    )


def _shown(entry: Entry) -> dict[str, Any]:
    shown = asdict(entry)
    shown["body"] = {name: value for name, value in entry.body.items() if name != "html"}
    shown["has_html"] = bool(entry.body.get("html"))
    return shown


async def _events(request: web.Request) -> web.StreamResponse:
    """Server-sent events: a line whenever the page should look again."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    changes = request.app[_PREVIEW].outbox.changes()
    upcoming: asyncio.Task[int] | None = None
    try:
        while not request.app[APP_CONTEXT].stopping():
            upcoming = upcoming or asyncio.ensure_future(anext(changes))
            done, _ = await asyncio.wait({upcoming}, timeout=_HEARTBEAT_SECONDS)
            if done:
                await response.write(f"data: {upcoming.result()}\n\n".encode())
                upcoming = None
            else:
                await response.write(b": still here\n\n")
    except ConnectionError:
        pass  # the page was closed
    finally:
        if upcoming is not None:
            upcoming.cancel()
    return response


async def _mail(request: web.Request) -> web.Response:
    entries = request.app[_PREVIEW].outbox.entries
    return _html(next((entry for entry in entries if str(entry.id) == request.match_info["id"]), None))


async def _digest(request: web.Request) -> web.Response:
    digests = await request.app[_PREVIEW].digests()
    number = request.match_info["number"]
    return _html(digests[int(number)] if number.isdecimal() and int(number) < len(digests) else None)


def _html(entry: Entry | None) -> web.Response:
    if entry is None or not entry.body.get("html"):
        raise web.HTTPNotFound(text="There is no such mail here; it may have made room for newer ones.\n")
    headers = {"Content-Security-Policy": _MAIL_POLICY, "X-Content-Type-Options": "nosniff"}
    return web.Response(text=entry.body["html"], content_type="text/html", headers=headers)


async def _move_clock(request: web.Request) -> web.Response:
    """{"to": epoch milliseconds}: forward only, and at most a year. What happens on the way happens in its time."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    # A page of somebody else's can't send this type without asking first.
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(text="Send application/json.\n")
    try:
        to = int((await request.json())["to"])
    except (ValueError, KeyError, TypeError):
        raise web.HTTPBadRequest(text='Send {"to": epoch milliseconds}.\n') from None
    now = context.clock.now()
    if not isinstance(context.clock, SystemClock) or not now < to <= now + 366 * DAY:
        raise web.HTTPBadRequest(text="The preview's clock moves forward only, and at most a year.\n")
    async with preview.moving:
        while context.clock.now() < to:
            stops = [at for _, at in await preview.jumps() if context.clock.now() < at < to]
            context.clock.shift(max(0, min([*stops, to]) - context.clock.now()))
            context.wake(context.policy().destinations)
            await preview.outbox.touch()
            await _told(context)
    return web.json_response({"now": context.clock.now()})


async def _told(context: AppContext) -> None:
    """Returns when nothing is due any more; what can't be told now holds up the clock for a moment only."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            while any(  # noqa: ASYNC110  (no event says that a backlog has become empty)
                lane["backlog"] for lane in (await context.store.pages.lanes(context.clock.now())).values()
            ):
                await asyncio.sleep(_LOOK_SECONDS)
