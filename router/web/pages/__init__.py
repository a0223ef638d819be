"""The pages that operators look at. They are rendered here, and ask the operations of the API for all that they show."""

from aiohttp import web

from router.web.app_context import APP_CONTEXT
from router.web.pages import (
    action_page,
    alert_pages,
    api_page,
    configuration_page,
    dead_letters_page,
    deliveries_page,
    destinations_page,
    digests_page,
    heartbeats_page,
    incident_page,
    ledger_page,
    now_page,
    objectives_page,
    quarantine_page,
    replicas_page,
    routes_page,
    tests_page,
)
from router.web.pages.live_updates import add_live_updates
from router.web.pages.page_rendering import FOLDER, set_up_templates

ROUTES = (
    *alert_pages.ROUTES,
    *api_page.ROUTES,
    *configuration_page.ROUTES,
    *dead_letters_page.ROUTES,
    *deliveries_page.ROUTES,
    *destinations_page.ROUTES,
    *digests_page.ROUTES,
    *heartbeats_page.ROUTES,
    *incident_page.ROUTES,
    *ledger_page.ROUTES,
    *now_page.ROUTES,
    *objectives_page.ROUTES,
    *quarantine_page.ROUTES,
    *replicas_page.ROUTES,
    *routes_page.ROUTES,
    *tests_page.ROUTES,
    *action_page.ROUTES,
)


def add_pages(app: web.Application) -> None:
    """Add the pages, their styles and scripts, and the events that refresh them."""
    set_up_templates(app)
    add_live_updates(app)
    api_page.add_api_page(app)
    # In a preview, ``/`` shows the messages.
    is_preview = app[APP_CONTEXT].preview
    routes = (each for each in ROUTES if not (is_preview and each.path == "/"))
    app.add_routes([*routes, web.static("/pages", FOLDER / "static")])
