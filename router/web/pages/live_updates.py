"""Server-sent events: one each time the pages may have something new to show.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio

from aiohttp import web

from router.model import Role
from router.web.access import needs
from router.web.app_context import APP_CONTEXT, AppContext

# A page is refreshed at most this often.
_REFRESH_SECONDS = 2.0
# A proxy may close a connection that is silent for longer.
_HEARTBEAT_SECONDS = 15.0
_MAX_STREAMS = 100
_STREAMS: web.AppKey[set[object]] = web.AppKey("streams", set)


def add_live_updates(app: web.Application) -> None:
    app[_STREAMS] = set()
    app.add_routes([web.get("/events", _events)])


@needs(Role.VIEW)
async def _events(request: web.Request) -> web.StreamResponse:
    context, streams = request.app[APP_CONTEXT], request.app[_STREAMS]
    if len(streams) >= _MAX_STREAMS:  # the page then asks again by itself, less often
        return web.Response(status=503, headers={"Retry-After": "60"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    this = object()
    streams.add(this)
    try:
        await _write_changes(context, response)
    except ConnectionError:
        pass  # the page was closed
    finally:
        streams.discard(this)
    return response


async def _write_changes(context: AppContext, response: web.StreamResponse) -> None:
    seen, silent = context.store.commits, 0.0
    while not context.stopping():
        await asyncio.sleep(_REFRESH_SECONDS)
        silent += _REFRESH_SECONDS
        if (commits := context.store.commits) != seen:
            seen, silent = commits, 0.0
            await response.write(f"data: {commits}\n\n".encode())
        elif silent >= _HEARTBEAT_SECONDS:
            silent = 0.0
            await response.write(b": still here\n\n")
