"""The page that writes up an incident."""

from zoneinfo import ZoneInfo

from aiohttp import web

from router.web.api.incidents import DOWNLOAD_INCIDENT, SHOW_INCIDENT, IncidentQuery
from router.web.api.problem_details import ApiError
from router.web.app_context import APP_CONTEXT
from router.web.pages.form_values import filled_in
from router.web.pages.moment_fields import field_moment, field_text
from router.web.pages.page_rendering import address, render
from router.web.pages.page_routes import ask, page

_DEFAULT_SINCE = "2h"


async def _incident(request: web.Request) -> web.StreamResponse:
    given = filled_in(request, IncidentQuery)
    context = request.app[APP_CONTEXT]
    zone = ZoneInfo(context.config().timezone)
    incident, wrong, download = None, "", ""
    if "name" in given:
        try:
            moments = {
                name: field_moment(name, given[name], zone, context.clock.now())
                for name in ("since", "until")
                if name in given
            }
            given = {"since": _DEFAULT_SINCE} | given | moments
            incident = await ask(request, SHOW_INCIDENT, given)
            exact = {**given, "since": incident.since, "until": incident.until}
            download = address(DOWNLOAD_INCIDENT.path, **exact)
        except ApiError as error:
            if error.status != 400:
                raise
            wrong = error.detail
    shown = {
        "since": field_text(incident.since, zone) if incident else given.get("since", ""),
        "until": field_text(incident.until, zone)
        if incident and "until" in given
        else given.get("until", ""),
    }
    values = {"incident": incident, "wrong": wrong, "given": {**given, **shown}, "download": download}
    return await render(request, "incident.html", values, active="now", status=400 if wrong else 200)


ROUTES = (page("/incident", _incident),)
