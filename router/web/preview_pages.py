"""The preview's own pages. They show every message as its reader would see it, and can move the clock forward.

All other pages are those of a service. In a preview, the page *Now* has the address ``/now``.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from aiohttp import web
from markupsafe import Markup
from pydantic import Field

from router.channels import REGISTRY
from router.channels.cards import card
from router.channels.outbox import Entry, Outbox
from router.clock import SystemClock
from router.model import DAY, HOUR, Millis, Role
from router.web.api.cursors import Query
from router.web.api.endpoint import parameters_of, read_query
from router.web.api.problem_details import ApiError
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.pages.message_frame import cleaned, frame_response
from router.web.pages.page_rendering import address, render
from router.web.pages.page_routes import fields, form, page

# How long a moving clock waits at each stop until the messages that are due at that time are sent.
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_MAX_MOVE = 366 * DAY
_DRAFT_LEAD = "As it would be sent now"
_CARDS_PER_PAGE = 100


@dataclass(frozen=True, slots=True)
class PreviewContext:
    """The objects and functions that :mod:`router.app` gives to the preview pages."""

    outbox: Outbox
    zone: Callable[[], str]
    """Returns the name of the time zone in which times are shown."""
    digests: Callable[[], Awaitable[list[Entry]]]
    """Returns each digest as it would be sent now."""
    jumps: Callable[[], Awaitable[list[tuple[str, Millis]]]]
    """Returns the times (label, epoch ms) at which something becomes due without a new webhook; the next one first."""
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)
    cards: dict[int, tuple[Entry, str, Markup]] = field(default_factory=dict)
    """Drawn cards by entry id: the entry, the time zone, and the HTML that shows them."""


_PREVIEW: web.AppKey[PreviewContext] = web.AppKey("preview", PreviewContext)


@dataclass(frozen=True, slots=True)
class ChannelTab:
    """The link to the messages of a channel that has a destination."""

    name: str
    title: str
    nothing_sent: str
    """What its page says while there is no message."""
    count: int
    """How many messages it has."""


class MessagesQuery(Query):
    """The parameters of the page."""

    channel: Annotated[str, Field(max_length=100)] = ""
    older: Annotated[int, Field(ge=0, le=10_000)] = 0
    """How many of the newest messages to leave out."""


def add_preview(app: web.Application, context: PreviewContext) -> None:
    """Add the preview's addresses."""
    app[_PREVIEW] = context
    app.add_routes(
        [
            page("/", _messages),
            web.get("/preview/state", _state),
            page("/preview/messages/{id}", _message),
            page("/preview/digests/{number}", _digest),
            form("/preview/clock", Role.OPERATE, _move_clock),
        ]
    )


async def _messages(request: web.Request) -> web.Response:
    """Show the messages of one channel."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    given = parameters_of(MessagesQuery, request)
    given.pop("done", None)
    query = read_query(MessagesQuery, given)
    tabs = _tabs(context, preview)
    tab = next((each for each in tabs if each.name == query.channel), tabs[0] if tabs else None)
    entries = [] if tab is None else [each for each in preview.outbox.entries if each.channel == tab.name]
    shown = entries[query.older : query.older + _CARDS_PER_PAGE]
    drafts = [
        _draft(preview, entry, number)
        for number, entry in enumerate(await preview.digests())
        if tab is not None and entry.channel == tab.name
    ]
    values = {
        "tabs": tabs, "tab": tab, "entries": [(entry.id, _card(preview, entry)) for entry in shown],
        "drafts": [(_fingerprint(draft), draft) for draft in drafts], "older": query.older, "total": len(entries),
        "older_than_shown": query.older + len(shown) if query.older + len(shown) < len(entries) else None,
        "jumps": await _jumps(context, preview),
    }  # fmt: skip
    return await render(request, "preview.html", values, active="messages")


async def _jumps(context: AppContext, preview: PreviewContext) -> list[tuple[str, Millis]]:
    """Return the times that the page offers to move the clock to; none if this clock can't be moved."""
    if not isinstance(context.clock, SystemClock):
        return []
    return [*await preview.jumps(), ("one hour on", context.clock.now() + HOUR)]


async def _state(request: web.Request) -> web.Response:
    """Answer with everything that the page shows, for programs."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    jumps, digests, entries = await preview.jumps(), await preview.digests(), preview.outbox.entries
    return web.json_response(
        {
            "now": context.clock.now(),
            "zone": preview.zone(),
            "tabs": [
                {"name": each.name, "title": each.title, "nothing_sent": each.nothing_sent}
                for each in _tabs(context, preview)
            ],
            "entries": [_shown(entry, _card(preview, entry)) for entry in entries],
            "digests": [
                _shown(entry, _draft(preview, entry, number)) for number, entry in enumerate(digests)
            ],
            "jumps": [{"label": label, "at": at} for label, at in jumps],
        }
    )


def _tabs(context: AppContext, preview: PreviewContext) -> list[ChannelTab]:
    """Return a tab for each channel that has a destination, in the order of the registry."""
    used = {each.channel for each in context.policy().destinations.values()}
    counts = dict.fromkeys(used, 0)
    for entry in preview.outbox.entries:
        counts[entry.channel] = counts.get(entry.channel, 0) + 1
    return [
        ChannelTab(name, spec.title or name, spec.nothing_sent, counts[name])
        for name, spec in REGISTRY.items()
        if name in used
    ]


def _card(preview: PreviewContext, entry: Entry) -> Markup:
    """Draw an entry; one that has not changed is not drawn again."""
    zone, drawn = preview.zone(), preview.cards.get(entry.id)
    if drawn is None or drawn[0] is not entry or drawn[1] != zone:
        drawn = entry, zone, cleaned(card(entry, ZoneInfo(zone), f"/preview/messages/{entry.id}"))
        kept = {each.id for each in preview.outbox.entries}
        for number in preview.cards.keys() - kept:
            del preview.cards[number]
        preview.cards[entry.id] = drawn
    return drawn[2]


def _draft(preview: PreviewContext, entry: Entry, number: int) -> Markup:
    drawn = card(entry, ZoneInfo(preview.zone()), f"/preview/digests/{number}", lead=_DRAFT_LEAD)
    return cleaned(drawn)


def _fingerprint(drawing: Markup) -> str:
    """Return an id of a drawing, so that a page replaces it, and its frame, when it changes."""
    return hashlib.sha256(drawing.encode(errors="replace")).hexdigest()[:12]


def _shown(entry: Entry, drawn: Markup) -> dict[str, Any]:
    """Return an entry as JSON."""
    return {
        "id": entry.id,
        "at": entry.at,
        "updated_at": entry.updated_at,
        "channel": entry.channel,
        "destination": entry.destination,
        "state": entry.state,
        "level": entry.level,
        "updates": entry.updates,
        "fallback": entry.fallback,
        "body": {name: value for name, value in entry.body.items() if name != "html"},
        "card": drawn,
    }


async def _message(request: web.Request) -> web.Response:
    """Answer with the HTML of a message, for its frame."""
    entries = request.app[_PREVIEW].outbox.entries
    return _html(next((entry for entry in entries if str(entry.id) == request.match_info["id"]), None))


async def _digest(request: web.Request) -> web.Response:
    """Answer with the HTML of a digest as it would be sent now."""
    digests = await request.app[_PREVIEW].digests()
    number = request.match_info["number"]
    is_one = number.isascii() and number.isdecimal() and len(number) < 10 and int(number) < len(digests)
    return _html(digests[int(number)] if is_one else None)


def _html(entry: Entry | None) -> web.Response:
    document = "" if entry is None else REGISTRY[entry.channel].html_of(entry.body)
    if not document:
        raise ApiError(404, "there is no such message here; newer messages may have replaced it")
    return frame_response(document)


async def _move_clock(request: web.Request) -> web.Response:
    """Move the clock to ``to`` (epoch ms). It stops at each time at which something becomes due."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    given = await fields(request)
    text = given.get("to", "")
    if not (text.isascii() and text.isdecimal() and len(text) < 16):
        raise ApiError(400, "send the field to: epoch milliseconds")
    to, now = int(text), context.clock.now()
    if not isinstance(context.clock, SystemClock) or not now < to <= now + _MAX_MOVE:
        raise ApiError(400, "the preview's clock only moves forward, by at most a year")
    async with preview.moving:
        while context.clock.now() < to:
            stops = [at for _, at in await preview.jumps() if context.clock.now() < at < to]
            context.clock.shift(max(0, min([*stops, to]) - context.clock.now()))
            context.wake_lanes(context.policy().destinations)
            await _until_sent(context)
    location = address("/", channel=given.get("channel", ""), done="moved")
    return web.Response(status=303, headers={"Location": location})


async def _until_sent(context: AppContext) -> None:
    """Wait until nothing is due. A message that can't be sent delays the clock for at most :data:`_STOP_SECONDS`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            while any(  # noqa: ASYNC110  (no event says that a backlog has become empty)
                lane["backlog"] for lane in (await context.store.pages.lanes(context.clock.now())).values()
            ):
                await asyncio.sleep(_POLL_SECONDS)
