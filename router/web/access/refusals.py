"""How a refused or failed request is answered: a page for people in a browser, problem details for programs."""

from collections.abc import Mapping

from aiohttp import web

from router.model import AccessSettings
from router.web.api.problem_details import ApiError, problem_response
from router.web.pages.page_rendering import render_error

_REALM = "alert-router"


def wants_page(request: web.Request) -> bool:
    """Return whether the one who asks is a browser that shows pages.

    https://www.rfc-editor.org/rfc/rfc9110#name-accept
    """
    if request.path.startswith("/api/v1/"):
        return False
    weights = {"text/html": 0.0, "application/json": 0.0}
    for part in ",".join(request.headers.getall("Accept", []))[:2_000].split(","):
        kind, *parameters = (each.strip().lower() for each in part.split(";"))
        if kind in weights:
            weights[kind] = _weight(parameters)
    return weights["text/html"] > weights["application/json"]


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def challenge(settings: AccessSettings) -> str:
    """Return the header ``WWW-Authenticate`` of a 401. A browser asks for a password only if some user has one.

    https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
    """
    bearer = f'Bearer realm="{_REALM}"'
    if any(each.password_hash for each in settings.users):
        return f'Basic realm="{_REALM}", charset="UTF-8", {bearer}'
    return bearer


async def answer_error(
    request: web.Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> web.StreamResponse:
    """Return the answer to a request that is refused or has failed.

    :param detail: what happened and what to do, for people; it holds no secret
    """
    if not wants_page(request):
        return problem_response(ApiError(status, detail), headers)
    response = await render_error(request, status, detail)
    response.headers.update(headers or {})
    return response
