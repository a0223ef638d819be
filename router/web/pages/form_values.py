"""The parameters of a page that has a form for them."""

from typing import Any

from aiohttp import web

from router.web.api.cursors import Query
from router.web.api.endpoint import parameters_of


def filled_in(request: web.Request, model: type[Query]) -> dict[str, Any]:
    """Return the parameters of a page's address. A form also sends the fields that were left empty: these don't count.

    :raises ApiError: a parameter is given several times
    """
    given: dict[str, Any] = {}
    for name, value in {**request.match_info, **parameters_of(model, request)}.items():
        kept = [each for each in value if each.strip()] if isinstance(value, list) else value.strip()
        if kept and name != "done":
            given[name] = kept
    return given


def link_parameters(given: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters for links to other pages of the same list."""
    return {name: value for name, value in given.items() if name != "cursor"}
