"""The page of a running service and the lists behind it: waiting alerts, decisions, deliveries."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from router.rules.moments import InputError, parse_moment
from router.store import StoreUnavailable
from router.store.page_queries import PageQueries
from router.web.app_context import APP_CONTEXT, TOTAL_HEADER
from router.web.json_answers import refusal, store_unreadable

STATIC = Path(__file__).parent / "static"
# Only scripts of the router itself run. A message with its own HTML is shown in a frame that may run nothing.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'"
)


def add_lists(app: web.Application, *, home: str | None) -> None:
    """Add the pages and the lists. :param home: the file that ``/`` shows; None: another page has this address"""

    async def page(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(
            STATIC / (home or ""),
            headers={
                "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
                "Cache-Control": "no-store",
                "Content-Type": "text/html; charset=utf-8",
            },
        )

    app.add_routes(
        [
            *([] if home is None else [web.get("/", page)]),
            web.static("/static", STATIC),
            web.get("/api/v1/ledger", _ledger),
        ]
    )


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
