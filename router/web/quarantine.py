"""Serves the quarantined bodies: a list with the start of each, and each body byte for byte."""

import codecs
from base64 import b64encode
from typing import Any

from aiohttp import web

from router.store import StoreUnavailable
from router.web.app_context import APP_CONTEXT, TOTAL_HEADER
from router.web.json_answers import refusal, store_unreadable
from router.web.path_ids import row_id

# Text may hold these control characters. A body with any other one is shown as base64.
_TEXT_CONTROLS = frozenset("\t\n\r\f")


def add_quarantine(app: web.Application) -> None:
    app.add_routes([web.get("/api/v1/quarantine", _newest), web.get("/api/v1/quarantine/{id}", _whole)])


async def _newest(request: web.Request) -> web.Response:
    """Answer with the newest quarantined bodies (``?limit=``), each with its start."""
    limit = request.query.get("limit", "20")
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= 100:
        return refusal(400, "limit must be a number from 1 to 100")
    try:
        store = request.app[APP_CONTEXT].store
        rows, total = await store.pages.quarantined(int(limit)), await store.pages.total("quarantine")
    except StoreUnavailable as error:
        return store_unreadable(error)
    shown = [{**row, **_shown(row["body"], row["size"])} for row in rows]
    return web.json_response(shown, headers={TOTAL_HEADER: str(total)})


async def _whole(request: web.Request) -> web.Response:
    """Answer with the original bytes. A browser saves them instead of showing them."""
    number = row_id(request.match_info["id"])
    try:
        body = (
            await request.app[APP_CONTEXT].store.pages.quarantined_body(number)
            if number is not None
            else None
        )
    except StoreUnavailable as error:
        return store_unreadable(error)
    if body is None:
        return refusal(404, "no body of this id is in quarantine")
    headers = {
        "Content-Disposition": f'attachment; filename="quarantined-{number}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    return web.Response(body=body, content_type="application/octet-stream", headers=headers)


def _shown(begin: bytes, size: int) -> dict[str, Any]:
    """Return the start of a body as text, or as base64 if it is not text, and whether it is cut."""
    cut = len(begin) < size
    try:
        # A character that is cut in the middle is left out.
        text = codecs.getincrementaldecoder("utf-8")().decode(begin, final=not cut)
    except UnicodeDecodeError:
        text = None
    if text is None or any(char < " " and char not in _TEXT_CONTROLS for char in text):
        return {"body": b64encode(begin).decode(), "body_is": "base64", "cut": cut}
    return {"body": text, "body_is": "text", "cut": cut}
