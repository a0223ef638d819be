"""Shows a message as its reader saw it: drawn by its channel, its own HTML in a frame that may run nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from markupsafe import Markup

from router.channels import REGISTRY
from router.channels.cards import message_frame
from router.channels.drawing import SentMessage, indented_json, pretty_json
from router.render.words import clean

# The page has the same origin as the message, so it can ask for the height of the message. The message has no scripts, so
# it can't use the shared origin.
_FRAME_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-same-origin; frame-ancestors 'self'"
)
_MAX_DRAWN_CHARS = 500_000
_MAX_RAW_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A message for a page."""

    drawing: Markup | None
    """None: it is too large to draw, or it can't be drawn."""
    raw: str
    """The beginning of its body as JSON."""
    cut: int
    """How many characters the body has after that beginning."""


def show_message(channel: str, body: Mapping[str, Any], at: str, frame_address: str) -> ShownMessage:
    """Return a message as its reader saw it, and as it was sent.

    :param at: when it was sent, for people
    :param frame_address: where the page loads the message's own HTML from
    """
    raw = indented_json(body)
    drawing = None
    if len(raw) <= _MAX_DRAWN_CHARS:
        drawing = _draw(channel, body, at, frame_address)
    return ShownMessage(drawing, raw[:_MAX_RAW_CHARS], max(0, len(raw) - _MAX_RAW_CHARS))


def _draw(channel: str, body: Mapping[str, Any], at: str, frame_address: str) -> Markup | None:
    spec = REGISTRY.get(channel)
    if spec is None:  # of a version of the router with another channel
        return pretty_json(body)
    try:
        frame = message_frame(src=frame_address) if spec.html_of(body) else Markup()
        return cleaned(spec.draw(SentMessage(body, at=at, frame=frame)))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):  # a body of a former version
        return None


def cleaned(drawing: Markup) -> Markup:
    """Return a drawing without control characters and direction overrides."""
    return Markup(clean(str(drawing)))  # noqa: S704  (a drawing is escaped, and this only removes characters)


def html_of(channel: str, body: Mapping[str, Any]) -> str:
    """Return the HTML document of a message; empty: it has none."""
    spec = REGISTRY.get(channel)
    return "" if spec is None else spec.html_of(body)


def frame_response(document: str) -> web.Response:
    """Return the answer with a message's own HTML, for its frame."""
    headers = {
        "Content-Security-Policy": _FRAME_POLICY,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }
    return web.Response(text=document, content_type="text/html", headers=headers)
