"""The bodies that could not be used: a list of how they begin, and each one whole, as it came."""

import codecs
from base64 import b64encode
from typing import Any

from aiohttp import web

from router.store import StoreUnavailable
from router.web.answers import refusal, store_unreadable
from router.web.app_context import APP_CONTEXT, TOTAL

# Control characters that text is made of; with others it is taken for something else.
_TEXT_CONTROLS = frozenset("\t\n\r\f")


def add_quarantine(app: web.Application) -> None:
    app.add_routes([web.get("/api/v1/quarantine", _list), web.get("/api/v1/quarantine/{id}", _whole)])


async def _list(request: web.Request) -> web.Response:
    """The newest bodies that could not be used (``?limit=``), each as far as a page shows it."""
    limit = request.query.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= 100:
        return refusal(400, "limit is a number from 1 to 100")
    try:
        store = request.app[APP_CONTEXT].store
        rows, total = await store.quarantined(int(limit)), await store.total("quarantine")
    except StoreUnavailable as error:
        return store_unreadable(error)
    shown = [{**row, **_shown(row["body"], row["size"])} for row in rows]
    return web.json_response(shown, headers={TOTAL: total})


async def _whole(request: web.Request) -> web.Response:
    """The bytes as they came, for a program that knows what to do with them; a browser saves them."""
    name = request.match_info["id"]
    known = name.isdecimal() and name.isascii() and len(name) < 19
    try:
        body = await request.app[APP_CONTEXT].store.quarantined_body(int(name)) if known else None
    except StoreUnavailable as error:
        return store_unreadable(error)
    if body is None:
        return refusal(404, "no body of this id is in quarantine")
    headers = {
        "Content-Disposition": f'attachment; filename="quarantined-{name}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(body=body, content_type="application/octet-stream", headers=headers)


def _shown(begin: bytes, size: int) -> dict[str, Any]:
    """How a body begins: as text where it is text, as base64 where it isn't, and whether that is all of it."""
    cut = len(begin) < size
    try:
        # A character that the cut goes through is left out.
        text = codecs.getincrementaldecoder("utf-8")().decode(begin, final=not cut)
    except UnicodeDecodeError:
        text = None
    if text is None or any(char < " " and char not in _TEXT_CONTROLS for char in text):
        return {"body": b64encode(begin).decode(), "body_is": "base64", "cut": cut}
    return {"body": text, "body_is": "text", "cut": cut}
