"""The preview pages. They show every message as its reader would see it, and can move the clock forward."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

from aiohttp import web

from router.channels import REGISTRY
from router.channels.cards import card
from router.channels.outbox import Entry, Outbox
from router.clock import SystemClock
from router.model import DAY, Millis
from router.web.app_context import APP_CONTEXT, AppContext
from router.web.json_answers import refusal
from router.web.message_frame import framed_message

# A proxy may close a connection that is silent for longer.
_HEARTBEAT_SECONDS = 15
# How long a moving clock waits at each stop until the messages that are due at that time are sent.
_STOP_SECONDS = 20.0
_POLL_SECONDS = 0.02
_MAX_MOVE = 366 * DAY
_DRAFT_LEAD = "As it would be sent now"


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
    cards: dict[int, tuple[Entry, str, str]] = field(default_factory=dict)
    """Drawn cards by entry id: the entry, the time zone, and the HTML that shows them."""


_PREVIEW: web.AppKey[PreviewContext] = web.AppKey("preview", PreviewContext)


def add_preview(app: web.Application, context: PreviewContext) -> None:
    """Add the preview's addresses."""
    app[_PREVIEW] = context
    app.add_routes(
        [
            web.get("/preview/state", _state),
            web.get("/preview/events", _events),
            web.get("/preview/messages/{id}", _message),
            web.get("/preview/digests/{number}", _digest),
            web.post("/preview/clock", _move_clock),
        ]
    )


async def _state(request: web.Request) -> web.Response:
    """Answer with everything that the page shows: tabs, drawn messages, digests as of now, what waits, decisions."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    jumps, digests, entries = await preview.jumps(), await preview.digests(), preview.outbox.entries
    return web.json_response(
        {
            "now": context.clock.now(),
            "zone": preview.zone(),
            "movable": isinstance(context.clock, SystemClock),
            "tabs": _tabs(context),
            "entries": [
                _shown(entry, card) for entry, card in zip(entries, _cards(preview, entries), strict=True)
            ],
            "digests": [
                _shown(entry, _draft(preview, entry, number)) for number, entry in enumerate(digests)
            ],
            "waiting": await context.store.pages.waiting(),
            "decisions": await context.store.pages.decisions(),
            "totals": {name: str(await context.store.pages.total(name)) for name in ("waiting", "decisions")},
            "jumps": [{"label": label, "at": at} for label, at in jumps],
        }
    )


def _tabs(context: AppContext) -> list[dict[str, str]]:
    """Return a tab for each channel that has a destination, in the order of the registry."""
    used = {each.channel for each in context.policy().destinations.values()}
    return [
        {"name": name, "title": spec.title or name, "nothing_sent": spec.nothing_sent}
        for name, spec in REGISTRY.items()
        if name in used
    ]


def _cards(preview: PreviewContext, entries: list[Entry]) -> list[str]:
    """Draw the entries; those that have not changed are not drawn again."""
    zone, before = preview.zone(), dict(preview.cards)
    preview.cards.clear()
    for entry in entries:
        drawn = before.get(entry.id)
        if drawn is None or drawn[0] is not entry or drawn[1] != zone:
            drawn = entry, zone, card(entry, ZoneInfo(zone), f"/preview/messages/{entry.id}")
        preview.cards[entry.id] = drawn
    return [preview.cards[entry.id][2] for entry in entries]


def _draft(preview: PreviewContext, entry: Entry, number: int) -> str:
    return card(entry, ZoneInfo(preview.zone()), f"/preview/digests/{number}", lead=_DRAFT_LEAD)


def _shown(entry: Entry, drawn: str) -> dict[str, Any]:
    """Return an entry as JSON. The page shows ``card``; the rest is for programs."""
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


async def _events(request: web.Request) -> web.StreamResponse:
    """Answer with server-sent events: one each time the page should load the state again."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    await response.prepare(request)
    changes = request.app[_PREVIEW].outbox.changes()
    upcoming: asyncio.Task[int] | None = None
    try:
        while not request.app[APP_CONTEXT].stopping():
            upcoming = upcoming or asyncio.ensure_future(anext(changes))
            done, _ = await asyncio.wait({upcoming}, timeout=_HEARTBEAT_SECONDS)
            if done:
                await response.write(f"data: {upcoming.result()}\n\n".encode())
                upcoming = None
            else:
                await response.write(b": still here\n\n")
    except ConnectionError:
        pass  # the page was closed
    finally:
        if upcoming is not None:
            upcoming.cancel()
    return response


async def _message(request: web.Request) -> web.Response:
    """Answer with the HTML of a message, for its frame."""
    entries = request.app[_PREVIEW].outbox.entries
    return _html(next((entry for entry in entries if str(entry.id) == request.match_info["id"]), None))


async def _digest(request: web.Request) -> web.Response:
    """Answer with the HTML of a digest as it would be sent now."""
    digests = await request.app[_PREVIEW].digests()
    number = request.match_info["number"]
    return _html(digests[int(number)] if number.isdecimal() and int(number) < len(digests) else None)


def _html(entry: Entry | None) -> web.Response:
    document = "" if entry is None else REGISTRY[entry.channel].html_of(entry.body)
    if not document:
        return refusal(404, "there is no such message here; newer messages may have replaced it")
    return framed_message(document)


async def _move_clock(request: web.Request) -> web.Response:
    """Move the clock to ``{"to": epoch ms}``. It stops at each time at which something becomes due."""
    context, preview = request.app[APP_CONTEXT], request.app[_PREVIEW]
    # A page of another origin can't send this type without a preflight request.
    if request.content_type != "application/json":
        return refusal(415, "send application/json")
    try:
        to = int((await request.json())["to"])
    except (ValueError, KeyError, TypeError):
        return refusal(400, 'send {"to": epoch milliseconds}')
    now = context.clock.now()
    if not isinstance(context.clock, SystemClock) or not now < to <= now + _MAX_MOVE:
        return refusal(400, "the preview's clock only moves forward, by at most a year")
    async with preview.moving:
        while context.clock.now() < to:
            stops = [at for _, at in await preview.jumps() if context.clock.now() < at < to]
            context.clock.shift(max(0, min([*stops, to]) - context.clock.now()))
            context.wake_lanes(context.policy().destinations)
            await preview.outbox.touch()
            await _until_sent(context)
    return web.json_response({"now": context.clock.now()})


async def _until_sent(context: AppContext) -> None:
    """Wait until nothing is due. A message that can't be sent delays the clock for at most :data:`_STOP_SECONDS`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_STOP_SECONDS):
            while any(  # noqa: ASYNC110  (no event says that a backlog has become empty)
                lane["backlog"] for lane in (await context.store.pages.lanes(context.clock.now())).values()
            ):
                await asyncio.sleep(_POLL_SECONDS)
