"""What an operation of the API is, and how it is served.

An operation is a function from a query to an answer, both pydantic models. The API, the pages and the OpenAPI document all
come from the same table of operations, so that they can't differ.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from router.model import Role
from router.store import StoreUnavailable
from router.web.access import PRINCIPAL, Principal, needs
from router.web.api.cursors import Query
from router.web.api.problems import ApiError, FieldProblem, invalid_request, problem_response
from router.web.app_context import APP_CONTEXT, AppContext

Q = TypeVar("Q", bound=Query)
A = TypeVar("A", bound="BaseModel | Download")


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that a browser saves instead of showing it."""

    body: bytes
    filename: str


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Q, A]):
    """One operation: its address, what it takes, what it answers, and who may ask it."""

    method: str
    """GET or POST."""
    path: str
    """Each ``{name}`` in it is a field of the query."""
    run: Callable[[AppContext, Q], Awaitable[A]]
    """:raises ApiError: the request can't be answered"""
    query: type[Q]
    """Its fields that are not in the path come from the query string, or from the JSON body of a POST."""
    answer: type[A]
    summary: str
    role: Role = Role.VIEW
    problems: Mapping[int, str] = field(default_factory=dict)
    """The statuses of errors and what each means, beyond those that every operation may answer."""
    action: str | None = None
    """What it does, for the log of actions (``retry dead letter``); None: it changes nothing."""
    target: Callable[[Q], str] = lambda _query: ""
    """What an action acts on, for the log of actions."""
    max_bytes: int = 64 * 1024
    """The largest JSON body, in bytes."""


async def perform(endpoint: Endpoint[Q, A], context: AppContext, query: Q, principal: Principal) -> A:
    """Run an operation. If it is an action, it is written to the log of actions.

    :raises ApiError: it can't be answered, or the principal may not ask it
    """
    if not principal.may(endpoint.role):
        raise ApiError(
            403,
            f"{principal.name} may not do this: it needs the role {endpoint.role.word}, and has {principal.role.word}",
        )
    try:
        if endpoint.action is None:
            return await endpoint.run(context, query)
        return await _audited(endpoint, endpoint.action, context, query, principal)
    except StoreUnavailable as error:
        raise ApiError(
            503, f"the store can't be {'written' if endpoint.action else 'read'}: {error}"
        ) from error


async def _audited(
    endpoint: Endpoint[Q, A], action: str, context: AppContext, query: Q, principal: Principal
) -> A:
    audit = context.store.audit
    line = await audit.begin(
        principal.name, principal.via, action, endpoint.target(query), context.clock.now()
    )
    try:
        answer = await endpoint.run(context, query)
    except ApiError as error:
        await audit.end(line, "refused", error.detail, context.clock.now())
        raise
    except BaseException as error:
        await audit.end(line, "failed", type(error).__name__, context.clock.now())
        raise
    await audit.end(line, "done", "", context.clock.now())
    return answer


def add_endpoints(app: web.Application, endpoints: tuple[Endpoint[Any, Any], ...]) -> None:
    """Serve operations as JSON."""
    for each in endpoints:
        add = web.get if each.method == "GET" else web.post
        app.add_routes([add(each.path, _handler(each))])


def _handler(endpoint: Endpoint[Q, A]) -> Callable[[web.Request], Awaitable[web.Response]]:
    @needs(endpoint.role)
    async def handle(request: web.Request) -> web.Response:
        try:
            query = await _read_query(endpoint, request)
            answer = await perform(endpoint, request.app[APP_CONTEXT], query, request[PRINCIPAL])
        except ApiError as error:
            return problem_response(error)
        if isinstance(answer, Download):
            disposition = f'attachment; filename="{answer.filename}"'
            return web.Response(
                body=answer.body,
                content_type="application/octet-stream",
                headers={"Content-Disposition": disposition},
            )
        return web.Response(text=answer.model_dump_json(by_alias=True), content_type="application/json")

    return handle


async def _read_query(endpoint: Endpoint[Q, A], request: web.Request) -> Q:
    given: dict[str, Any] = dict(request.match_info)
    given |= (
        await _body(request, endpoint.max_bytes)
        if endpoint.method == "POST"
        else parameters_of(endpoint.query, request)
    )
    return read_query(endpoint.query, given)


def read_query(model: type[Q], given: Mapping[str, Any]) -> Q:
    """Return the query that these parameters make. :raises ApiError: 400, with what is wrong with each"""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid_request(error, tuple(model.model_fields)) from None


def parameters_of(model: type[Query], request: web.Request) -> dict[str, Any]:
    """Return the parameters of an address. One that the model has as a list may be given several times.

    :raises ApiError: another one is given several times
    """
    given: dict[str, Any] = {}
    lists = _list_fields(model)
    for name in request.query:
        values = request.query.getall(name)
        is_list = name in lists
        if len(values) > 1 and not is_list:
            wrong = FieldProblem(parameter=name[:100], problem="it is given more than once")
            raise ApiError(400, f"{wrong.parameter}: {wrong.problem}", (wrong,))
        given[name] = values if is_list else values[0]
    return given


@lru_cache
def _list_fields(model: type[Query]) -> frozenset[str]:
    """Return the parameters of a model that are lists."""
    properties = model.model_json_schema()["properties"] if model.model_fields else {}
    return frozenset(name for name, schema in properties.items() if schema.get("type") == "array")


async def _body(request: web.Request, max_bytes: int) -> dict[str, Any]:
    if request.query:
        raise ApiError(400, "this operation takes no parameters in its address; send them as JSON")
    if request.content_length == 0 or not request.can_read_body:
        return {}
    if request.content_type != "application/json":
        raise ApiError(415, "send application/json")
    raw = b""
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > max_bytes:
            raise ApiError(413, f"the body is over the limit of {max_bytes} bytes")
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "the body is not a JSON object")
    return body
