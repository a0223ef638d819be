"""The page of a running service and the lists behind it: waiting alerts, decisions, deliveries, the schedule."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from router.rules.timetable import as_json, timetables
from router.store import StoreUnavailable
from router.store.page_queries import PageQueries
from router.web.app_context import APP_CONTEXT, TOTAL_HEADER
from router.web.json_answers import store_unreadable

STATIC = Path(__file__).parent / "static"
# Only scripts of the router itself run. A message with its own HTML is shown in a frame that may run nothing.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'"
)


def add_lists(app: web.Application, *, home: str) -> None:
    """Add the pages and the lists. :param home: the file that ``/`` shows"""

    async def page(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(
            STATIC / home,
            headers={
                "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
                "Cache-Control": "no-store",
                "Content-Type": "text/html; charset=utf-8",
            },
        )

    app.add_routes(
        [
            web.get("/", page),
            web.static("/static", STATIC),
            web.get("/api/v1/waiting", _list_handler(PageQueries.waiting, "waiting")),
            web.get("/api/v1/decisions", _list_handler(PageQueries.decisions, "decisions")),
            web.get("/api/v1/deliveries", _list_handler(PageQueries.attempts, "deliveries")),
            web.get("/api/v1/dead-letters", _list_handler(PageQueries.dead_letters, "dead-letters")),
            web.get("/api/v1/schedule", _schedule),
        ]
    )


async def _schedule(request: web.Request) -> web.Response:
    """Answer with the next days of each time interval."""
    context = request.app[APP_CONTEXT]
    return web.json_response(as_json(timetables(context.policy().intervals.values(), context.clock.now())))


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
