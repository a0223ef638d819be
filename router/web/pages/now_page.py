"""The page *Now*: what fires, the most urgent first, and who was notified of it. It is the home page."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from router.web.api.destinations import LIST_DESTINATIONS
from router.web.api.firing_group_list import LIST_FIRING_GROUPS, DestinationOfGroup, FiringGroupsQuery
from router.web.api.problem_details import ApiError
from router.web.api.waiting_list import SUMMARIZE_WAITING
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.pages.deliveries_page import chart_for
from router.web.pages.form_values import filled_in, link_parameters
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page

_GROUPS_PER_PAGE = 10
_DESTINATIONS_SHOWN = 50


async def _now(request: web.Request) -> web.StreamResponse:
    given = filled_in(request, FiringGroupsQuery)
    groups, wrong = None, ""
    try:
        groups = await ask(request, LIST_FIRING_GROUPS, {"limit": _GROUPS_PER_PAGE, **given})
    except ApiError as error:
        if error.status != 400:
            raise
        wrong = error.detail  # shown beside the form, so that it can be corrected
    values = {
        "groups": groups, "wrong": wrong, "waiting": await ask(request, SUMMARIZE_WAITING, {}), "given": given,
        "parameters": link_parameters(given), "merged": merged, **choices(request.app[APP_CONTEXT]),
        "destination_panel": await ask(request, LIST_DESTINATIONS, {"limit": _DESTINATIONS_SHOWN}),
        "chart": await chart_for(request, []),
    }  # fmt: skip
    return await render(request, "now.html", values, active="now", status=400 if wrong else 200)


def merged(notes: Sequence[DestinationOfGroup]) -> list[tuple[DestinationOfGroup, list[str]]]:
    """Return the notes of a group, those that say the same together, each with the names of its destinations."""
    found: dict[tuple[str, str, str, int], tuple[DestinationOfGroup, list[str]]] = {}
    for note in notes:
        key = note.state, note.words, note.next, note.count
        found.setdefault(key, (note, []))[1].append(note.destination)
    return list(found.values())


def choices(context: AppContext) -> dict[str, Any]:
    """Return what the forms of lists of alerts let one choose from."""
    policy = context.policy()
    return {"levels": policy.severity.levels, "destinations": sorted(policy.destinations)}


ROUTES = (page("/", _now), page("/now", _now))
