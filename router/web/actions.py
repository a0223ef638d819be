"""Actions on deliveries: resume a destination, retry a dead letter, discard it."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from router.model import Role
from router.store import DeliveryUnderWay, StoreUnavailable
from router.web.access import needs
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.json_answers import refusal, store_unwritable
from router.web.path_ids import row_id

Action = Callable[[AppContext, str], Awaitable[dict[str, str] | None]]
"""Acts on the destination or dead letter that the address names. Returns ``status`` (what was done), and a ``reason`` if
there is one; None: there is no such destination or dead letter.
"""


def add_actions(app: web.Application) -> None:
    app.add_routes(
        [
            web.post("/api/v1/destinations/{name}/resume", _authenticated(_resume)),
            web.post("/api/v1/dead-letters/{name}/retry", _authenticated(_retry)),
            web.post("/api/v1/dead-letters/{name}/discard", _authenticated(_discard)),
        ]
    )


async def _resume(context: AppContext, name: str) -> dict[str, str] | None:
    return await context.resume(name)


async def _retry(context: AppContext, name: str) -> dict[str, str] | None:
    number = row_id(name)
    if number is None:
        return None
    woken = await context.store.retry(number, context.policy(), context.clock.now())
    if woken is None:
        return None
    context.wake_lanes(woken)
    return {"status": "to be tried again"}


async def _discard(context: AppContext, name: str) -> dict[str, str] | None:
    number = row_id(name)
    found = number is not None and await context.store.discard(number, context.clock.now())
    return {"status": "discarded"} if found else None


def _authenticated(action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that runs an action."""

    @needs(Role.OPERATE)
    async def handler(request: web.Request) -> web.Response:
        context, name = request.app[APP_CONTEXT], request.match_info["name"]
        try:
            done = await action(context, name)
        except DeliveryUnderWay:
            reason = "a delivery to this destination is under way; try again when it has ended"
            return refusal(409, reason)
        except StoreUnavailable as error:
            return store_unwritable(error)
        if done is None:
            what = "there is no destination with this key, or no open dead letter with this number"
            return refusal(404, what)
        return web.json_response(done)

    return handler
