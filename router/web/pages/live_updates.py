"""Server-sent events: one each time the pages may have something new to show.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import asyncio

from aiohttp import web

from router.model import Role
from router.web.access import PRINCIPAL, needs
from router.web.app_context import APP_CONTEXT, AppContext

# A page is refreshed at most this often.
_REFRESH_SECONDS = 2.0
# A proxy may close a connection that is silent for longer.
_HEARTBEAT_SECONDS = 15.0
_MAX_STREAMS = 100
_MAX_STREAMS_OF_USER = 50
_STREAMS: web.AppKey[dict[object, str]] = web.AppKey("streams", dict)
"""The name of the user of each stream."""


def add_live_updates(app: web.Application) -> None:
    app[_STREAMS] = {}
    app.add_routes([web.get("/events", _events, allow_head=False)])


@needs(Role.VIEW)
async def _events(request: web.Request) -> web.StreamResponse:
    context, streams = request.app[APP_CONTEXT], request.app[_STREAMS]
    user = request[PRINCIPAL].name
    if len(streams) >= _MAX_STREAMS or list(streams.values()).count(user) >= _MAX_STREAMS_OF_USER:
        # The page then asks again by itself, less often.
        return web.Response(status=503, headers={"Retry-After": "60"})
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    this = object()
    streams[this] = user
    try:
        await _write_changes(context, response)
    except ConnectionError:
        pass  # the page was closed
    finally:
        del streams[this]
    return response


async def _write_changes(context: AppContext, response: web.StreamResponse) -> None:
    seen, silent, config = context.store.commits, 0.0, context.config()
    # After a reload the user may be gone, so the page has to ask again.
    while not context.stopping() and context.config() is config:
        await asyncio.sleep(_REFRESH_SECONDS)
        silent += _REFRESH_SECONDS
        if (commits := context.store.commits) != seen:
            seen, silent = commits, 0.0
            await response.write(f"data: {commits}\n\n".encode())
        elif silent >= _HEARTBEAT_SECONDS:
            silent = 0.0
            await response.write(b": still here\n\n")
