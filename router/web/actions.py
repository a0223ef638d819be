"""What somebody may do about deliveries: resume a destination, try a dead letter again, let it rest."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from router.store import StoreUnavailable, UnderWay
from router.web.answers import refusal, store_unwritable
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.auth import Unauthorized, authenticate

Action = Callable[[AppContext, str], Awaitable[dict[str, str] | None]]
"""Does it to what the address names: ``status``, what was done, and maybe ``reason``; None: there is no such thing."""


def add_actions(app: web.Application) -> None:
    app.add_routes(
        [
            web.post("/api/v1/destinations/{name}/resume", _does(_resume)),
            web.post("/api/v1/dead-letters/{name}/retry", _does(_retry)),
            web.post("/api/v1/dead-letters/{name}/discard", _does(_discard)),
        ]
    )


async def _resume(context: AppContext, name: str) -> dict[str, str] | None:
    return await context.resume(name)


async def _retry(context: AppContext, name: str) -> dict[str, str] | None:
    woken = (
        await context.store.retry(int(name), context.policy(), context.clock.now()) if _is_id(name) else None
    )
    if woken is None:
        return None
    context.wake(woken)
    return {"status": "to be tried again"}


async def _discard(context: AppContext, name: str) -> dict[str, str] | None:
    found = _is_id(name) and await context.store.discard(int(name), context.clock.now())
    return {"status": "discarded"} if found else None


def _is_id(name: str) -> bool:
    return name.isdecimal() and name.isascii() and len(name) < 19


def _does(action: Action) -> Callable[[web.Request], Awaitable[web.Response]]:
    """For whoever may post alerts, and nobody else."""

    async def handler(request: web.Request) -> web.Response:
        context, name = request.app[APP_CONTEXT], request.match_info["name"]
        try:
            authenticate(request, context.sources(), None)
            done = await action(context, name)
        except Unauthorized as error:
            return refusal(401, str(error))
        except UnderWay:
            reason = "a delivery to this destination is under way; try again when it has ended"
            return refusal(409, reason)
        except StoreUnavailable as error:
            return store_unwritable(error)
        if done is None:
            what = "there is no destination with this key, or no open dead letter with this number"
            return refusal(404, what)
        return web.json_response(done)

    return handler
