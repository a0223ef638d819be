"""The page *Replicas*: which processes serve from the database, and which leases each of them holds."""

from aiohttp import web

from router.web.api.replica_endpoint import READ_REPLICAS
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page
from router.web.pages.replica_drawing import draw_replicas


async def _replicas(request: web.Request) -> web.Response:
    found = await ask(request, READ_REPLICAS)
    values = {"found": found, "drawing": draw_replicas(found)}
    return await render(request, "replicas.html", values, active="replicas")


ROUTES = (page("/replicas", _replicas),)
