"""The API under ``/api/v1``: the table of all operations, and the OpenAPI document that is made from it."""

from typing import Any

from aiohttp import web

from router.metrics import package_version
from router.web.api import action_log, alert_story, decisions, firing_group_list, firing_list, waiting_list
from router.web.api.endpoint import Endpoint, add_endpoints
from router.web.api.openapi import openapi_document

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *firing_list.ENDPOINTS,
    *firing_group_list.ENDPOINTS,
    *alert_story.ENDPOINTS,
    *waiting_list.ENDPOINTS,
    *decisions.ENDPOINTS,
    *action_log.ENDPOINTS,
)
"""All operations, in the order of the documentation."""
_DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi", dict)


def add_api(app: web.Application) -> None:
    add_endpoints(app, ENDPOINTS)
    app[_DOCUMENT] = openapi_document(ENDPOINTS, package_version())
    app.add_routes([web.get("/api/v1/openapi.json", _openapi)])


async def _openapi(request: web.Request) -> web.Response:
    return web.json_response(request.app[_DOCUMENT])
