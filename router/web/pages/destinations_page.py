"""The pages of destinations: the list, and one destination."""

from aiohttp import web

from router.channels import REGISTRY
from router.web.api.destination_words import StateName
from router.web.api.destinations import LIST_DESTINATIONS, READ_DESTINATION
from router.web.pages.page import ask, page
from router.web.pages.rendering import render


async def _destinations(request: web.Request) -> web.Response:
    answer = await ask(request, LIST_DESTINATIONS)
    given = {
        name: [value for value in request.query.getall(name) if value]
        for name in request.query
        if request.query[name] and name not in {"cursor", "done"}
    }
    values = {"destinations": answer, "given": given, "states": list(StateName), "channels": REGISTRY}
    return await render(request, "destinations.html", values, active="destinations")


async def _destination(request: web.Request) -> web.Response:
    answer = await ask(request, READ_DESTINATION)
    return await render(request, "destination.html", {"destination": answer}, active="destinations")


ROUTES = (page("/destinations", _destinations), page("/destinations/{key}", _destination))
