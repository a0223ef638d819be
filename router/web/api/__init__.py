"""The API under ``/api/v1``: the table of all operations, and the OpenAPI document that is made from it."""

from typing import Any

from aiohttp import web

from router.metrics import package_version
from router.web.api import action_log, configuration, ledger_accounts, quarantine
from router.web.api.endpoint import Endpoint, add_endpoints
from router.web.api.openapi import openapi_document
from router.web.api.problems import answer_with_problems

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *quarantine.ENDPOINTS,
    *configuration.ENDPOINTS,
    *ledger_accounts.ENDPOINTS,
    *action_log.ENDPOINTS,
)
"""All operations, in the order of the documentation."""
DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi", dict)
"""The OpenAPI document."""


def add_api(app: web.Application) -> None:
    """Add all operations, and their document."""
    app.middlewares.append(answer_with_problems)  # the innermost one: credentials are checked before
    add_endpoints(app, ENDPOINTS)
    app[DOCUMENT] = openapi_document(ENDPOINTS, package_version())
    app.add_routes([web.get("/api/v1/openapi.json", _openapi)])


async def _openapi(request: web.Request) -> web.Response:
    return web.json_response(request.app[DOCUMENT])
