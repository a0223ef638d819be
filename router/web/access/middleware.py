"""The middleware that decides which requests reach a handler, and the headers that every answer has.

The order of the checks: an open handler (a probe, the webhook) answers everybody. Any other request has to name a host that
the router answers to; if it acts, it has to come from the router's own pages or from a program; then its sender is
identified; and then its role is compared with the one that the handler needs. So an unknown address is 401 before it is 404.
"""

from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from router.model import Role
from router.render.words import clip, line
from router.store import StoreUnavailable
from router.web.access.hosts import host_problem, origin_problem
from router.web.access.identification import AccessRefused
from router.web.access.principal import PRINCIPAL, Principal, action_of, role_needed
from router.web.access.refusals import answer_error, challenge
from router.web.app_context import APP_CONTEXT, AppContext

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_TARGET_CHARS = 200
_CSP = "Content-Security-Policy"


@web.middleware
async def control_access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request reach its handler, or answer why it may not; and answer what a handler refuses."""
    role = _role_needed(request)
    if role is None:
        return await handler(request)
    try:
        await _admit(request, role)
        return await handler(request)
    except AccessRefused as refused:
        return await _answer_refusal(request, refused)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        kept = {name: value for name, value in error.headers.items() if name == "Allow"}
        return await answer_error(request, error.status, _what_http_says(error), kept)
    except (ConnectionError, TimeoutError):
        raise
    except Exception:
        log.exception("request failed unexpectedly", method=request.method, path=_path_of(request))
        return await answer_error(request, 500, "An internal error; the log of the router says more.")


def _role_needed(request: web.Request) -> Role | None:
    if request.match_info.http_exception is not None:  # an unknown address, or an unknown method of one
        return Role.VIEW
    return role_needed(request.match_info.handler, request.method)


async def _admit(request: web.Request, role: Role) -> None:
    """Identify the sender. :raises AccessRefused: the request may not reach its handler"""
    context = request.app[APP_CONTEXT]
    access = context.config().access
    problem = host_problem(request, context.access.options.host, access.allowed_hosts)
    if problem is not None:
        raise AccessRefused(421, "host", problem)
    if request.method not in _READING and (problem := origin_problem(request)) is not None:
        raise AccessRefused(403, "origin", problem)
    principal = await context.access.principal_of(request, access, context.sources())
    request[PRINCIPAL] = principal
    if not principal.may(role):
        detail = (
            f"{principal.name} may not do this: it needs the role {role.word}, and has {principal.role.word}."
        )
        if request.method not in _READING:
            await _audit(context, request, principal, detail)
        raise AccessRefused(403, "role", detail)


async def _audit(context: AppContext, request: web.Request, principal: Principal, reason: str) -> None:
    """Write an action that a known user may not do to the log of actions. Others are only counted and logged, so that nobody
    can fill the table; and so are many of one user.
    """
    if not context.access.refused_lines.may_write(principal.name, principal.via, context.clock.now()):
        return
    action = action_of(request.match_info.handler) or f"{request.method} {_path_of(request)}"
    target = clip(line("/".join(request.match_info.values())), _MAX_TARGET_CHARS)
    try:
        await context.store.audit.refuse(
            principal.name, principal.via, action, target, reason, context.clock.now()
        )
    except StoreUnavailable as error:
        log.warning("a refused action is not in the log of actions", error=str(error))


async def _answer_refusal(request: web.Request, refused: AccessRefused) -> web.StreamResponse:
    context = request.app[APP_CONTEXT]
    context.metrics.request_refused(refused.reason)
    principal = request.get(PRINCIPAL)
    log.warning(
        "request refused", status=refused.status, why=refused.reason, peer=request.remote, method=request.method,
        path=_path_of(request), user=None if principal is None else line(principal.name),
    )  # fmt: skip
    headers = {}
    if refused.status == 401:
        headers["WWW-Authenticate"] = challenge(context.config().access)
    if refused.retry_after is not None:
        headers["Retry-After"] = str(refused.retry_after)
    return await answer_error(request, refused.status, refused.detail, headers)


def _path_of(request: web.Request) -> str:
    """Return the template of a path, which holds no text of the sender."""
    resource = request.match_info.route.resource
    return "unknown" if resource is None else resource.canonical


def _what_http_says(error: web.HTTPException) -> str:
    match error.status:
        case 404:
            return "There is no page or operation with this address."
        case 405:
            allowed = ", ".join(sorted(getattr(error, "allowed_methods", ())))
            return f"This address does not take this method; it takes {allowed}."
    return error.reason


async def add_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Add the headers that every answer has. It is a signal, so it is called for errors and files, too."""
    headers = response.headers
    headers.pop("Server", None)  # it names the versions of Python and aiohttp
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if (
        "frame-ancestors" not in headers[_CSP]
    ):  # the frames of messages may be shown by the router's own pages
        headers[_CSP] = f"{headers[_CSP]}; {_HEADERS[_CSP]}"


_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    # Pages and messages have a stricter policy of their own.
    _CSP: "frame-ancestors 'none'",
    # Not no-referrer: with it, a browser sends `Origin: null` with the router's own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
