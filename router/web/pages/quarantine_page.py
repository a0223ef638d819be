"""The pages of the quarantine: the list of bodies, and one body at a time."""

from aiohttp import web

from router.model import Role
from router.web.api.quarantine import (
    LIST_QUARANTINE,
    SETTLE_QUARANTINE,
    SETTLE_QUARANTINED,
    SHOW_QUARANTINED,
)
from router.web.app_context import APP_CONTEXT
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, fields, form, page, redirect


async def _quarantine(request: web.Request) -> web.Response:
    answer = await ask(request, LIST_QUARANTINE)
    chosen = request.query.get("source", "")
    named = {each.name for each in request.app[APP_CONTEXT].sources()} | {
        each.source for each in answer.items
    }
    values = {"bodies": answer, "source": chosen, "sources": sorted(named | ({chosen} - {""}))}
    return await render(request, "quarantine.html", values, active="quarantine")


async def _quarantined(request: web.Request) -> web.Response:
    answer = await ask(request, SHOW_QUARANTINED)
    return await render(request, "quarantined.html", {"body": answer}, active="quarantine")


async def _settle(request: web.Request) -> web.Response:
    await fields(request)
    await ask(request, SETTLE_QUARANTINED, dict(request.match_info))
    return redirect("/quarantine", "settled")


async def _settle_all(request: web.Request) -> web.Response:
    await ask(request, SETTLE_QUARANTINE, await fields(request))
    return redirect("/quarantine", "settled")


ROUTES = (
    page("/quarantine", _quarantine),
    page("/quarantine/{id}", _quarantined),
    form("/quarantine/settle", Role.OPERATE, _settle_all),
    form("/quarantine/{id}/settle", Role.OPERATE, _settle),
)
