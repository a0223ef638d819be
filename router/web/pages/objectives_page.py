"""The page of the objectives: each with its error budget drawn, of all tenants together or of one."""

from aiohttp import web

from router.model import Objective
from router.web.api.objective_list import GET_OBJECTIVE_HISTORY, LIST_OBJECTIVES
from router.web.app_context import APP_CONTEXT
from router.web.pages.budget_chart import draw_budget
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page

_TITLES = {
    Objective.ACCEPTED: "Webhooks accepted",
    Objective.ANSWERED: "Webhooks answered in time",
    Objective.URGENT_IN_TIME: "{level} delivered in time",
    Objective.IN_TIME: "All delivered in time",
    Objective.DELIVERED: "Delivered, not given up",
}
_MEANINGS = {
    Objective.ACCEPTED: "Webhooks whose answer was not a 5xx. Answers 401, 413 and 415 do not count.",
    Objective.ANSWERED: "Webhooks that were answered within 500 ms.",
    Objective.URGENT_IN_TIME: "Changes of the level {level} that a destination got within 30 s after they were due.",
    Objective.IN_TIME: "Changes of any level that a destination got within 5 min after they were due.",
    Objective.DELIVERED: "Changes that were due at a destination, and delivered there. Bad: they became dead letters.",
}


async def _objectives(request: web.Request) -> web.Response:
    tenant = request.query.get("tenant", "").strip()
    given = {"tenant": tenant} if tenant else {}
    found = await ask(request, LIST_OBJECTIVES, given)
    history = await ask(request, GET_OBJECTIVE_HISTORY, given)
    context = request.app[APP_CONTEXT]
    days = {each.objective: each.days for each in history.history}
    level, tenants = context.policy().severity.levels[0], context.policy().tenants
    shown = [each for each in found.objectives if each.tenant == tenant]
    charts = {
        each.objective: draw_budget(
            each, days.get(each.objective, ()), history.since, history.until, context.config().targets
        )
        for each in shown
    }
    words = {
        str(each): (_TITLES[each].format(level=level.capitalize()), _MEANINGS[each].format(level=level))
        for each in Objective
    }
    values = {
        "answer": found, "shown": shown, "charts": charts, "words": words, "tenant": tenant,
        "tenant_filter": tenants.matchers(tenant) if tenant else "",
        "of_tenants": [each for each in found.objectives if each.tenant and not tenant],
    }  # fmt: skip
    return await render(request, "slo.html", values, active="slo")


ROUTES = (page("/slo", _objectives),)
