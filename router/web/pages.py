"""The page of a running service: is it well, what waits and why, what became of the last alerts."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from router.rules.inputs import InputError, moment
from router.rules.timetable import as_json, timetables
from router.store import Store, StoreUnavailable
from router.web.answers import refusal, store_unreadable
from router.web.app_context import APP_CONTEXT, TOTAL

STATIC = Path(__file__).parent / "static"
# Nothing but our own files runs; a mail is shown in a frame that may do nothing at all.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'"
)


def add_pages(app: web.Application, *, home: str) -> None:
    """:param home: the file that ``/`` shows"""

    async def page(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(
            STATIC / home,
            headers={
                "Content-Security-Policy": _POLICY,
                "Cache-Control": "no-store",
                "Content-Type": "text/html; charset=utf-8",
            },
        )

    app.add_routes(
        [
            web.get("/", page),
            web.static("/static", STATIC),
            web.get("/api/v1/waiting", _answers(Store.waiting, "waiting")),
            web.get("/api/v1/decisions", _answers(Store.decisions, "decisions")),
            web.get("/api/v1/ledger", _ledger),
            web.get("/api/v1/deliveries", _answers(Store.attempts, "deliveries")),
            web.get("/api/v1/dead-letters", _answers(Store.dead_letters, "dead-letters")),
            web.get("/api/v1/schedule", _schedule),
        ]
    )


async def _schedule(request: web.Request) -> web.Response:
    """The next days of each time interval, as JSON."""
    context = request.app[APP_CONTEXT]
    return web.json_response(as_json(timetables(context.policy().intervals.values(), context.clock.now())))


async def _ledger(request: web.Request) -> web.Response:
    """The ledger of a period, ``?since=&until=`` (UTC unless they say another zone); its times are epoch ms."""
    try:
        since, until = (
            moment(text, ZoneInfo("UTC")) if (text := request.query.get(name)) else None
            for name in ("since", "until")
        )
    except InputError as error:
        return refusal(400, str(error))
    try:
        return web.json_response(await request.app[APP_CONTEXT].store.ledger(since, until))
    except StoreUnavailable as error:
        return store_unreadable(error)


def _answers(
    ask: Callable[[Store], Awaitable[list[dict[str, Any]]]], name: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The newest rows of a part of the ledger, as JSON; a header says how many there are.

    :param name: the part's, see :data:`router.store.LISTS`
    """

    async def answer(request: web.Request) -> web.Response:
        store = request.app[APP_CONTEXT].store
        try:
            rows, total = await ask(store), await store.total(name)
            return web.json_response(rows, headers={TOTAL: total})
        except StoreUnavailable as error:
            return store_unreadable(error)

    return answer
