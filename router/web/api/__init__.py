"""The API under ``/api/v1``: the table of all operations, and the OpenAPI document that is made from it."""

from typing import Any

from aiohttp import web

from router.metrics import package_version
from router.web.api import action_log, dead_letter_actions, destination_actions, rule_actions
from router.web.api.endpoint import Endpoint, add_endpoints
from router.web.api.openapi import openapi_document

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *action_log.ENDPOINTS,
    *destination_actions.ENDPOINTS,
    *dead_letter_actions.ENDPOINTS,
    *rule_actions.ENDPOINTS,
)
"""All operations, in the order of the documentation."""
_DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi", dict)


def add_api(app: web.Application) -> None:
    add_endpoints(app, ENDPOINTS)
    app[_DOCUMENT] = openapi_document(ENDPOINTS, package_version())
    app.add_routes([web.get("/api/v1/openapi.json", _openapi)])


async def _openapi(request: web.Request) -> web.Response:
    return web.json_response(request.app[_DOCUMENT])
