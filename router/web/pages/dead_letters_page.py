"""The pages of dead letters: the list, one dead letter, and the forms that retry and discard them."""

from typing import Any

from aiohttp import web

from router.model import Role
from router.web.api.dead_letter_endpoints import (
    DISCARD,
    DISCARD_SEVERAL,
    GET_DEAD_LETTER,
    GONE,
    LIST_DEAD_LETTERS,
    MAX_SETTLED,
    RETRY,
    RETRY_SEVERAL,
    UNDER_WAY,
    DeadLetterQuery,
    SettleQuery,
)
from router.web.api.endpoint import read_query
from router.web.api.problem_details import ApiError
from router.web.app_context import APP_CONTEXT
from router.web.pages.form_values import filled_in, link_parameters
from router.web.pages.page_rendering import address, render
from router.web.pages.page_routes import ask, fields, form, page, redirect
from router.web.path_ids import row_id

_ACTIVE = "dead-letters"
# The parameters of the notice about dead letters that were settled together.
_NOTICE = ("settled", "count", "skipped", "left", "why")
_LETTER, _DESTINATION = "letter.", "destination."
"""How the names of form fields begin that may be given several times. A number follows."""


async def _dead_letters(request: web.Request) -> web.Response:
    given = filled_in(request, DeadLetterQuery)
    notice = {name: given.pop(name, "") for name in _NOTICE}
    # Anybody can make an address, so it gives numbers and known reasons only.
    notice |= {name: "" for name in ("count", "skipped", "left") if not notice[name].isdecimal()}
    notice["why"] = notice["why"] if notice["why"] in {GONE, UNDER_WAY} else ""
    found = await ask(request, LIST_DEAD_LETTERS, given)
    chosen = given.get("destination", [])
    values = {
        "dead_letters": found, "filters": link_parameters(given), "chosen": chosen, "notice": notice, "max_settled": MAX_SETTLED,
        "destinations": sorted({*request.app[APP_CONTEXT].policy().destinations, *chosen}),
        "all_fields": _all_fields(chosen),
    }  # fmt: skip
    return await render(request, "dead_letters.html", values, active=_ACTIVE)


def _all_fields(destinations: list[str]) -> dict[str, str]:
    """Return the fields of a form that settles all dead letters of these destinations."""
    return {"all": "1", **{f"{_DESTINATION}{number}": key for number, key in enumerate(destinations)}}


async def _dead_letter(request: web.Request) -> web.Response:
    values = {"dead_letter": await ask(request, GET_DEAD_LETTER)}
    return await render(request, "dead_letter.html", values, active=_ACTIVE)


async def _retry(request: web.Request) -> web.Response:
    await ask(request, RETRY, dict(request.match_info))
    return redirect("/dead-letters", "retried")


async def _confirm(request: web.Request) -> web.Response:
    found = await ask(request, GET_DEAD_LETTER)
    values = {
        "dead_letter": found, "count": 1, "path": f"/dead-letters/{found.id}/discard", "given": {}, "back": "/dead-letters",
    }  # fmt: skip
    return await render(request, "dead_letter_discard.html", values, active=_ACTIVE)


async def _discard(request: web.Request) -> web.Response:
    await ask(request, DISCARD, dict(request.match_info))
    return redirect("/dead-letters", "discarded")


async def _several(request: web.Request) -> web.Response:
    """Retry or discard many. Discarding first asks whether it is meant."""
    given = await fields(request)
    wanted = _settle_query(given)
    destinations = list(wanted.destination)
    if given.get("do") == "discard" and not given.get("confirmed"):
        return await _confirm_several(request, given, wanted)
    endpoint = DISCARD_SEVERAL if given.get("do") == "discard" else RETRY_SEVERAL
    done = await ask(request, endpoint, wanted.model_dump())
    why = done.first_skipped[0].reason if done.first_skipped else ""
    notice = {
        "settled": "discarded" if endpoint is DISCARD_SEVERAL else "retried", "count": done.done,
        "skipped": done.skipped or "", "left": done.left or "", "why": why,
    }  # fmt: skip
    where = address("/dead-letters", destination=destinations, **notice)
    return web.Response(status=303, headers={"Location": where})


async def _confirm_several(request: web.Request, given: dict[str, str], wanted: SettleQuery) -> web.Response:
    destinations = list(wanted.destination)
    count: Any = len(wanted.ids)
    if wanted.all:
        count = (await ask(request, LIST_DEAD_LETTERS, {"destination": destinations, "limit": 1})).total
    values = {
        "dead_letter": None, "count": count, "path": "/dead-letters/several", "given": {**given, "confirmed": "1"},
        "back": address("/dead-letters", destination=destinations), "destinations": destinations,
    }  # fmt: skip
    return await render(request, "dead_letter_discard.html", values, active=_ACTIVE)


def _settle_query(given: dict[str, str]) -> SettleQuery:
    """:raises ApiError: no dead letter is chosen"""
    letters = [name.removeprefix(_LETTER) for name in given if name.startswith(_LETTER)]
    query: dict[str, Any] = {
        "ids": [number for each in letters if (number := row_id(each)) is not None],
        "all": bool(given.get("all")),
        "destination": [value for name, value in given.items() if name.startswith(_DESTINATION)],
    }
    if not query["ids"] and not query["all"]:
        raise ApiError(400, "no dead letter is selected; go back, and select some in the first column")
    return read_query(SettleQuery, query)


ROUTES = (
    page("/dead-letters", _dead_letters),
    form("/dead-letters/several", Role.OPERATE, _several),
    page("/dead-letters/{id}", _dead_letter),
    form("/dead-letters/{id}/retry", Role.OPERATE, _retry),
    page("/dead-letters/{id}/discard", _confirm),
    form("/dead-letters/{id}/discard", Role.OPERATE, _discard),
)
