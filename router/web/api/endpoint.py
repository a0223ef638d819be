"""What an operation of the API is, and how it is served.

An operation is a function from a query to an answer, both pydantic models. The API, the pages and the OpenAPI document all
come from the same table of operations, so that they can't differ.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Generic, TypeVar

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from router.model import Millis, Role
from router.render.words import clip
from router.store import Audit, StoreBusy, StoreUnavailable
from router.web.access import PRINCIPAL, Principal, acting, needs
from router.web.api.cursors import Query
from router.web.api.problem_details import ApiError, FieldProblem, invalid_request, problem_response
from router.web.app_context import APP_CONTEXT, AppContext

log = structlog.get_logger(__name__)

Q = TypeVar("Q", bound=Query)
A = TypeVar("A", bound="BaseModel | Download")
_REQUEST_SECONDS = 30.0
_MAX_REASON_CHARS = 1_000
# Each holds a piece of its body in memory, for as long as its reader is slow.
_MAX_DOWNLOADS = 8
_DOWNLOADS: web.AppKey[set[object]] = web.AppKey("downloads", set)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A body that is read while it is sent, so that it is never in memory as a whole."""

    size: int
    """In bytes."""
    read: Callable[[], AsyncIterator[bytes]]
    """:raises StoreUnavailable: the rest can't be read; the connection is then closed"""


@dataclass(frozen=True, slots=True)
class Download:
    """An answer that a browser saves instead of showing it."""

    body: bytes | Pieces
    filename: str
    """Letters, digits, ``-``, ``_`` and ``.`` only."""


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
    result: Callable[[A], str] = lambda _answer: ""
    """What an action did, for the log of actions; empty: nothing that the target does not say."""
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
        with acting(principal):
            if endpoint.action is None:
                return await endpoint.run(context, query)
            return await _audited(endpoint, endpoint.action, context, query, principal)
    except StoreBusy as error:
        raise ApiError(503, str(error)) from error
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
    outcome, reason = "failed", "the router was stopped"
    try:
        answer = await endpoint.run(context, query)
        outcome, reason = "done", endpoint.result(answer)
    except ApiError as error:
        outcome, reason = "refused", clip(error.detail, _MAX_REASON_CHARS)
        raise
    except Exception as error:
        reason = type(error).__name__
        raise
    finally:
        await _end(audit, line, outcome, reason, context.clock.now())
    return answer


async def _end(audit: Audit, line: int, outcome: str, reason: str, now: Millis) -> None:
    """Store how an action ended. What was done stays done if that fails, so the answer says what was done."""
    try:
        await audit.end(line, outcome, reason, now)
    except StoreUnavailable as error:
        log.warning(
            "the end of an action is not in the log of actions", id=line, status=outcome, error=str(error)
        )


def add_endpoints(app: web.Application, endpoints: tuple[Endpoint[Any, Any], ...]) -> None:
    """Serve operations as JSON."""
    app[_DOWNLOADS] = set()
    for each in endpoints:
        add = web.get if each.method == "GET" else web.post
        app.add_routes([add(each.path, _handler(each))])


def _handler(endpoint: Endpoint[Q, A]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    @needs(endpoint.role, endpoint.action)
    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            query = await _read_query(endpoint, request)
            answer = await perform(endpoint, request.app[APP_CONTEXT], query, request[PRINCIPAL])
            if isinstance(answer, Download):
                return await _send_download(request, answer)
        except ApiError as error:
            return problem_response(error)
        return web.Response(text=answer.model_dump_json(by_alias=True), content_type="application/json")

    return handle


async def _send_download(request: web.Request, download: Download) -> web.StreamResponse:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{download.filename}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }
    if isinstance(download.body, bytes):
        return web.Response(body=download.body, headers=headers)
    downloads, this = request.app[_DOWNLOADS], object()
    if len(downloads) >= _MAX_DOWNLOADS:
        raise ApiError(
            503, f"{_MAX_DOWNLOADS} bodies are being downloaded already; try again when one has ended"
        )
    downloads.add(this)
    try:
        return await _send_pieces(request, download.body, headers)
    finally:
        downloads.discard(this)


async def _send_pieces(request: web.Request, body: Pieces, headers: Mapping[str, str]) -> web.StreamResponse:
    response = web.StreamResponse(headers=headers)
    response.content_length = body.size
    await response.prepare(request)
    try:
        if request.method != "HEAD":
            async with aclosing(body.read()) as pieces:  # type: ignore[type-var]  # an async generator
                async for piece in pieces:
                    await response.write(piece)
        await response.write_eof()
    except (StoreUnavailable, ConnectionError):  # the reader sees that the end is missing, or has gone
        response.force_close()
        if request.transport is not None:
            request.transport.abort()
    return response


async def _read_query(endpoint: Endpoint[Q, A], request: web.Request) -> Q:
    given = (
        await _body(request, endpoint.max_bytes)
        if endpoint.method == "POST"
        else parameters_of(endpoint.query, request)
    )
    return read_query(endpoint.query, with_path(request, given))


def with_path(request: web.Request, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a request together with those in its path.

    :raises ApiError: one of the path is given a second time
    """
    for name in request.match_info:
        if name in given:
            wrong = FieldProblem(parameter=name, problem="it is in the path already; leave it out")
            raise ApiError(400, f"{wrong.parameter}: {wrong.problem}", (wrong,))
    return {**given, **request.match_info}


def read_query(model: type[Q], given: Mapping[str, Any]) -> Q:
    """Return the query that these parameters make. :raises ApiError: 400, with what is wrong with each"""
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid_request(error, _names_of(model)) from None


@lru_cache(maxsize=256)
def _names_of(model: type[Query]) -> tuple[str, ...]:
    return tuple(each.alias or name for name, each in model.model_fields.items())


@lru_cache(maxsize=256)
def _lists_of(model: type[Query]) -> frozenset[str]:
    """Return the names of the parameters that may be given several times."""
    properties = model.model_json_schema()["properties"] if model.model_fields else {}
    return frozenset(name for name, schema in properties.items() if _is_list(schema))


def _is_list(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "array" or any(
        each.get("type") == "array" for each in schema.get("anyOf", ())
    )


def parameters_of(model: type[Query], request: web.Request) -> dict[str, Any]:
    """Return the parameters of an address. One that the model has as a list may be given several times.

    :raises ApiError: another one is given several times
    """
    given: dict[str, Any] = {}
    for name in request.query:
        values = request.query.getall(name)
        is_list = name in _lists_of(model)
        if len(values) > 1 and not is_list:
            wrong = FieldProblem(parameter=name[:100], problem="it is given more than once")
            raise ApiError(400, f"{wrong.parameter}: {wrong.problem}", (wrong,))
        given[name] = values if is_list else values[0]
    return given


async def _body(request: web.Request, max_bytes: int) -> dict[str, Any]:
    if request.query:
        raise ApiError(400, "this operation takes no parameters in its address; send them as JSON")
    if request.content_length == 0 or not request.can_read_body:
        return {}
    if request.content_type != "application/json":
        raise ApiError(415, "send application/json")
    try:
        body = json.loads(await read_bytes(request, max_bytes))
    except (ValueError, RecursionError):
        raise ApiError(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiError(400, "the body is not a JSON object")
    return body


async def read_bytes(request: web.Request, max_bytes: int) -> bytes:
    """Return the body of a request. :raises ApiError: it is too large, or does not arrive"""
    raw = bytearray()
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            async for chunk in request.content.iter_any():
                raw += chunk
                if len(raw) > max_bytes:
                    raise ApiError(413, f"the body is over the limit of {max_bytes} bytes")
    except TimeoutError:
        raise ApiError(408, f"the body did not arrive within {_REQUEST_SECONDS:g} s") from None
    except (ConnectionError, HttpProcessingError, web.RequestPayloadError):
        raise ApiError(400, "the body is incomplete") from None
    return bytes(raw)
