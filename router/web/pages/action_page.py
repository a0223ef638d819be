"""The page of the log of actions."""

from aiohttp import web

from router.web.api.action_log import LIST_ACTIONS
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page


async def _actions(request: web.Request) -> web.Response:
    answer = await ask(request, LIST_ACTIONS)
    return await render(request, "actions.html", {"actions": answer}, active="actions")


ROUTES = (page("/actions", _actions),)
