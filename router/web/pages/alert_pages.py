"""The pages about alerts: the list, one alert with its story, what waits, and the decisions."""

from aiohttp import web

from router.web.api.alert_parameters import AlertsQuery
from router.web.api.alert_story import GET_ALERT, GET_STORY
from router.web.api.decisions import LIST_DECISIONS, DecisionsQuery
from router.web.api.firing_list import FIND_ALERTS, LIST_ALERTS
from router.web.api.problem_details import ApiError
from router.web.api.waiting_list import LIST_WAITING, SUMMARIZE_WAITING, WaitingQuery
from router.web.app_context import APP_CONTEXT
from router.web.pages.form_values import filled_in, link_parameters
from router.web.pages.now_page import choices
from router.web.pages.page_rendering import address, render
from router.web.pages.page_routes import ask, page

_EVENTS_PER_PAGE = "10"
_ROWS_PER_PAGE = 25


async def _alerts(request: web.Request) -> web.StreamResponse:
    given = filled_in(request, AlertsQuery)
    alerts, wrong = None, ""
    try:
        alerts = await ask(request, LIST_ALERTS, {"limit": _ROWS_PER_PAGE, **given})
    except ApiError as error:
        if error.status != 400:
            raise
        wrong = error.detail
    values = {
        "alerts": alerts, "wrong": wrong, "given": given, "parameters": link_parameters(given),
        **choices(request.app[APP_CONTEXT]),
    }  # fmt: skip
    return await render(request, "alerts.html", values, active="now", status=400 if wrong else 200)


async def _find(request: web.Request) -> web.StreamResponse:
    """Lead to the only alert that fits, or to the list of those that fit."""
    text = request.query.get("q", "").strip()
    if not text:
        return web.Response(status=302, headers={"Location": "/alerts"})
    found = await ask(request, FIND_ALERTS, {"q": text})
    where = (
        f"/alerts/{found.items[0].id}"
        if found.is_only
        else address("/alerts", status="any", **{found.by: text})
    )
    return web.Response(status=302, headers={"Location": where})


async def _alert(request: web.Request) -> web.StreamResponse:
    number, before = request.match_info["id"], request.query.get("before", "").strip()
    alert = await ask(request, GET_ALERT, {"id": number})
    given = {"id": number, "limit": _EVENTS_PER_PAGE, **({"before": before} if before else {})}
    story = await ask(request, GET_STORY, given)
    values = {"alert": alert, "story": story, "is_newest": not before, **choices(request.app[APP_CONTEXT])}
    return await render(request, "alert.html", values, active="now")


async def _waiting(request: web.Request) -> web.StreamResponse:
    given = filled_in(request, WaitingQuery)
    values = {
        "waiting": await ask(request, LIST_WAITING, {"limit": _ROWS_PER_PAGE, **given}), "summary": await ask(request, SUMMARIZE_WAITING, {}),
        "given": given, "parameters": link_parameters(given), **choices(request.app[APP_CONTEXT]),
    }  # fmt: skip
    return await render(request, "waiting.html", values, active="now")


async def _decisions(request: web.Request) -> web.StreamResponse:
    given = filled_in(request, DecisionsQuery)
    values = {
        "decisions": await ask(request, LIST_DECISIONS, given), "given": given, "parameters": link_parameters(given),
        **choices(request.app[APP_CONTEXT]),
    }  # fmt: skip
    return await render(request, "decisions.html", values, active="ledger")


ROUTES = (
    page("/alerts", _alerts),
    page("/alerts/{id}", _alert),
    page("/find", _find),
    page("/waiting", _waiting),
    page("/decisions", _decisions),
)
