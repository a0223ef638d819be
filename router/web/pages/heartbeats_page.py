"""The page *Heartbeats*: when each heartbeat last came, and each source last posted."""

from aiohttp import web

from router.web.api.heartbeat_list import LIST_HEARTBEATS
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page


async def _heartbeats(request: web.Request) -> web.Response:
    answer = await ask(request, LIST_HEARTBEATS)
    return await render(request, "heartbeats.html", {"heartbeats": answer}, active="heartbeats")


ROUTES = (page("/heartbeats", _heartbeats),)
