"""How a page is served: it asks operations of the API, fills a template, and shows errors as pages."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import BaseModel

from router.model import Role
from router.web.access import PRINCIPAL, needs
from router.web.api.cursors import Query
from router.web.api.endpoint import (
    Download,
    Endpoint,
    parameters_of,
    perform,
    read_bytes,
    read_query,
    with_path,
)
from router.web.api.problem_details import ApiError
from router.web.app_context import APP_CONTEXT
from router.web.pages.page_rendering import address, render_error

Q = TypeVar("Q", bound=Query)
A = TypeVar("A", bound="BaseModel | Download")
_MAX_FORM_BYTES = 64 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_MAX_FIELDS = 1_000


async def ask(request: web.Request, endpoint: Endpoint[Q, A], given: Mapping[str, Any] | None = None) -> A:
    """Ask an operation in the name of the one who asks for the page.

    :param given: the parameters; None: those of the page's address
    :raises ApiError: it can't be answered
    """
    if given is None:
        given = _filled(parameters_of(endpoint.query, request))
        given.pop("done", None)  # the notice of a form that was carried out
        given = with_path(request, given)
    return await perform(
        endpoint, request.app[APP_CONTEXT], read_query(endpoint.query, given), request[PRINCIPAL]
    )


def _filled(given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out empty parameters: a form sends the fields that nobody filled in, too."""
    lists = {
        name: [each for each in value if each] for name, value in given.items() if isinstance(value, list)
    }
    return {name: value for name, value in {**given, **lists}.items() if value not in ("", [])}


def page(path: str, handler: Handler) -> web.RouteDef:
    """Return the route of a page."""
    return web.get(path, needs(Role.VIEW)(_with_error_pages(handler)))


def form(path: str, role: Role, handler: Handler) -> web.RouteDef:
    """Return the route that a form of a page posts to. The handler ends with :func:`redirect`."""
    return web.post(path, needs(role)(_with_error_pages(handler)))


async def fields(request: web.Request) -> dict[str, str]:
    """Return the fields of a posted form. :raises ApiError: it is too large, or no form"""
    if request.content_type != "application/x-www-form-urlencoded":
        raise ApiError(415, "send a form")
    text = (await read_bytes(request, _MAX_FORM_BYTES)).decode(errors="replace")
    try:
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS))
    except ValueError:
        raise ApiError(400, f"the form has more than {_MAX_FIELDS} fields") from None


def redirect(path: str, done: str) -> web.Response:
    """Return the answer to a form that was carried out. A reload of the page then repeats nothing.

    :param done: the words of the notice on the page, one of ``NOTICES`` in ``templates/base.html``
    """
    return web.Response(status=303, headers={"Location": address(path, done=done)})


def _with_error_pages(handler: Handler) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ApiError as error:
            return await render_error(request, error.status, error.detail)

    return handle
