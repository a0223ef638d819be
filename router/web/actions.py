"""The action on destinations: resume one."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from router.model import Role
from router.store import StoreUnavailable
from router.web.access import needs
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.json_answers import refusal, store_unwritable

Action = Callable[[AppContext, str], Awaitable[dict[str, str] | None]]
"""Acts on the destination that the address names. Returns ``status`` (what was done), and a ``reason`` if there is one;
None: there is no such destination.
"""


def add_actions(app: web.Application) -> None:
    app.add_routes(
        [
            web.post("/api/v1/destinations/{name}/resume", _authenticated(_resume)),
        ]
    )


async def _resume(context: AppContext, name: str) -> dict[str, str] | None:
    return await context.resume(name)


def _authenticated(action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that runs an action."""

    @needs(Role.OPERATE)
    async def handler(request: web.Request) -> web.Response:
        context, name = request.app[APP_CONTEXT], request.match_info["name"]
        try:
            done = await action(context, name)
        except StoreUnavailable as error:
            return store_unwritable(error)
        if done is None:
            what = "there is no destination with this key"
            return refusal(404, what)
        return web.json_response(done)

    return handler
