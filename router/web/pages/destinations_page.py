"""The pages of destinations: the list, and one destination."""

from aiohttp import web

from router.channels import REGISTRY
from router.model import Role
from router.web.api.destination_actions import PAUSE_DESTINATION, RESUME_DESTINATION
from router.web.api.destination_words import StateName
from router.web.api.destinations import LIST_DESTINATIONS, READ_DESTINATION
from router.web.api.overview import destination_address
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, form, page, redirect
from router.web.pages.tests_page import last_tests


async def _destinations(request: web.Request) -> web.Response:
    answer = await ask(request, LIST_DESTINATIONS)
    given = {
        name: [value for value in request.query.getall(name) if value]
        for name in request.query
        if request.query[name] and name not in {"cursor", "done"}
    }
    values = {
        "destinations": answer,
        "given": given,
        "states": list(StateName),
        "channels": REGISTRY,
        "last_tests": await last_tests(request),
    }
    return await render(request, "destinations.html", values, active="destinations")


async def _destination(request: web.Request) -> web.Response:
    answer = await ask(request, READ_DESTINATION)
    values = {"destination": answer, "last_tests": await last_tests(request)}
    return await render(request, "destination.html", values, active="destinations")


async def _resume(request: web.Request) -> web.Response:
    await ask(request, RESUME_DESTINATION, dict(request.match_info))
    return redirect(destination_address(request.match_info["key"]), "resumed")


async def _pause(request: web.Request) -> web.Response:
    await ask(request, PAUSE_DESTINATION, dict(request.match_info))
    return redirect(destination_address(request.match_info["key"]), "paused")


ROUTES = (
    page("/destinations", _destinations),
    page("/destinations/{key}", _destination),
    form("/destinations/{key}/resume", Role.OPERATE, _resume),
    form("/destinations/{key}/pause", Role.OPERATE, _pause),
)
