"""Answers with the HTML of a message, for the frame in which a page shows it."""

from aiohttp import web

# The page has the same origin as the message, so it can ask for the height of the message. The message has no scripts, so
# it can't use the shared origin.
_MESSAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin; frame-ancestors 'self'"
)


def framed_message(document: str) -> web.Response:
    """Return an answer that a frame of a page shows. Nothing in it runs, and nothing is loaded for it."""
    headers = {
        "Content-Security-Policy": _MESSAGE_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return web.Response(text=document, content_type="text/html", headers=headers)
