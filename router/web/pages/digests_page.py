"""The page of digests: the next one as its reader would see it, and those that were sent."""

import hashlib
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from aiohttp import web
from pydantic import Field

from router.channels import REGISTRY
from router.channels.cards import card
from router.channels.outbox import Entry
from router.web.api.cursors import Query
from router.web.api.digest_slots import LIST_DIGESTS, LIST_SENT_DIGESTS, NEXT_DIGEST, DigestOfRules, digest_of
from router.web.api.endpoint import parameters_of, read_query
from router.web.api.problem_details import ApiError
from router.web.app_context import APP_CONTEXT
from router.web.pages.message_frame import frame_response
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page

_MAX_DIGESTS = 200
_SENT_PER_PAGE = 20


class DigestsPageQuery(Query):
    """What the address of the page can have."""

    digest: str = Field(default="", max_length=500)
    cursor: str | None = None


async def _digests(request: web.Request) -> web.Response:
    query = read_query(DigestsPageQuery, parameters_of(DigestsPageQuery, request))
    digests = await ask(request, LIST_DIGESTS, {"limit": _MAX_DIGESTS})
    chosen = _chosen(digests.items, query.digest)
    values: dict[str, Any] = {"digests": digests, "chosen": chosen}
    if chosen is not None:
        name = {"destination": chosen.destination}
        entry = await _draft(request, chosen.destination)
        sent = {**name, "limit": _SENT_PER_PAGE, **({"cursor": query.cursor} if query.cursor else {})}
        values |= {
            "draft": await ask(request, NEXT_DIGEST, name), "sent": await ask(request, LIST_SENT_DIGESTS, sent),
            "card": _card(request, entry), "version": _version(entry),
        }  # fmt: skip
    return await render(request, "digests.html", values, active="digests")


def _chosen(digests: list[DigestOfRules], key: str) -> DigestOfRules | None:
    """Return the digest that the page shows in full; None: there are no digests. :raises ApiError: there is none of this key"""
    if not key:
        return digests[0] if digests else None
    found = next((each for each in digests if each.destination == key), None)
    if found is None:
        raise ApiError(404, f"there is no digest {key!r} in the rules in force; /digests lists them")
    return found


async def _draft(request: web.Request, key: str) -> Entry:
    context = request.app[APP_CONTEXT]
    return (await context.draft_digest(digest_of(context, key))).entry


def _card(request: web.Request, entry: Entry) -> str:
    zone = ZoneInfo(request.app[APP_CONTEXT].config().timezone)
    frame = f"/digests/{quote(entry.destination, safe='')}/next/message"
    return card(entry, zone, frame, lead="As it would be sent now")


def _version(entry: Entry) -> str:
    """Return a text that changes with the message: then its frame is loaded again."""
    return hashlib.sha256(repr(entry.body).encode(errors="replace")).hexdigest()[:12]


async def _next_message(request: web.Request) -> web.Response:
    """Answer with the HTML of a digest as it would be sent now, for its frame."""
    entry = await _draft(request, request.match_info["destination"])
    document = REGISTRY[entry.channel].html_of(entry.body)
    if not document:
        raise ApiError(404, "this digest has no HTML")
    return frame_response(document)


ROUTES = (page("/digests", _digests), page("/digests/{destination}/next/message", _next_message))
