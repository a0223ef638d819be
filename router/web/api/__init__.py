"""The API under ``/api/v1``: the table of all operations, and the OpenAPI document that is made from it."""

from typing import Any

from aiohttp import web

from router.package import package_version
from router.web.api import (
    action_log,
    alert_story,
    configuration,
    dead_letter_endpoints,
    decisions,
    deliveries,
    destination_actions,
    destinations,
    digest_slots,
    explanations,
    file_findings,
    firing_group_list,
    firing_list,
    heartbeat_list,
    incidents,
    ledger_accounts,
    objective_list,
    overview,
    quarantine,
    replica_endpoint,
    route_tree,
    schedules,
    tests_of_receivers,
    waiting_list,
)
from router.web.api.endpoint import Endpoint, add_endpoints
from router.web.api.openapi import openapi_document

ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    *overview.ENDPOINTS,
    *alert_story.ENDPOINTS,
    *configuration.ENDPOINTS,
    *dead_letter_endpoints.ENDPOINTS,
    *decisions.ENDPOINTS,
    *deliveries.ENDPOINTS,
    *destination_actions.ENDPOINTS,
    *destinations.ENDPOINTS,
    *digest_slots.ENDPOINTS,
    *explanations.ENDPOINTS,
    *file_findings.ENDPOINTS,
    *firing_group_list.ENDPOINTS,
    *firing_list.ENDPOINTS,
    *heartbeat_list.ENDPOINTS,
    *incidents.ENDPOINTS,
    *ledger_accounts.ENDPOINTS,
    *objective_list.ENDPOINTS,
    *quarantine.ENDPOINTS,
    *replica_endpoint.ENDPOINTS,
    *route_tree.ENDPOINTS,
    *schedules.ENDPOINTS,
    *tests_of_receivers.ENDPOINTS,
    *waiting_list.ENDPOINTS,
    *action_log.ENDPOINTS,
)
"""All operations, in the order of the documentation."""
DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi", dict)
"""The OpenAPI document."""


def add_api(app: web.Application) -> None:
    """Add all operations, and their document."""
    add_endpoints(app, ENDPOINTS)
    app[DOCUMENT] = openapi_document(ENDPOINTS, package_version())
    app.add_routes([web.get("/api/v1/openapi.json", _openapi)])


async def _openapi(request: web.Request) -> web.Response:
    return web.json_response(request.app[DOCUMENT])
