"""Lists as JSON: deliveries, dead letters, the schedule, the ledger."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from router.rules.moments import InputError, parse_moment
from router.rules.timetable import as_json, timetables
from router.store import StoreUnavailable
from router.store.page_queries import PageQueries
from router.web.app_context import APP_CONTEXT, TOTAL_HEADER
from router.web.json_answers import refusal, store_unreadable

STATIC = Path(__file__).parent / "static"


def add_lists(app: web.Application) -> None:
    """Add the lists, and the files of the pages that are drawn in the browser."""
    app.add_routes(
        [
            web.static("/static", STATIC),
            web.get("/api/v1/ledger", _ledger),
            web.get("/api/v1/deliveries", _list_handler(PageQueries.attempts, "deliveries")),
            web.get("/api/v1/dead-letters", _list_handler(PageQueries.dead_letters, "dead-letters")),
            web.get("/api/v1/schedule", _schedule),
        ]
    )


async def _schedule(request: web.Request) -> web.Response:
    """Answer with the next days of each time interval."""
    context = request.app[APP_CONTEXT]
    return web.json_response(as_json(timetables(context.policy().intervals.values(), context.clock.now())))


async def _ledger(request: web.Request) -> web.Response:
    """Answer with the ledger of a period, ``?since=&until=`` (UTC unless they name a zone). Its times are epoch ms."""
    try:
        since, until = (
            parse_moment(text, ZoneInfo("UTC")) if (text := request.query.get(name)) else None
            for name in ("since", "until")
        )
    except InputError as error:
        return refusal(400, str(error))
    try:
        return web.json_response(await request.app[APP_CONTEXT].store.pages.ledger(since, until))
    except StoreUnavailable as error:
        return store_unreadable(error)


def _list_handler(
    ask: Callable[[PageQueries], Awaitable[list[dict[str, Any]]]], name: str
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return a handler that answers with the newest rows of a list. A header says how many rows there are in all.

    :param ask: reads the rows
    :param name: the name of the list, see :data:`router.store.ROWS_OF_LISTS`
    """

    async def answer(request: web.Request) -> web.Response:
        store = request.app[APP_CONTEXT].store
        try:
            rows, total = await ask(store.pages), await store.pages.total(name)
            return web.json_response(rows, headers={TOTAL_HEADER: str(total)})
        except StoreUnavailable as error:
            return store_unreadable(error)

    return answer
