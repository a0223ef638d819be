"""The pages that operators look at. They are rendered here, and ask the operations of the API for all that they show."""

from aiohttp import web

from router.web.pages import action_page, api_page, configuration_page, ledger_page, quarantine_page
from router.web.pages.live_updates import add_live_updates
from router.web.pages.rendering import FOLDER, set_up_templates

ROUTES = (
    *quarantine_page.ROUTES,
    *configuration_page.ROUTES,
    *ledger_page.ROUTES,
    *action_page.ROUTES,
    *api_page.ROUTES,
)


def add_pages(app: web.Application) -> None:
    """Add the pages, their styles and scripts, and the events that refresh them."""
    set_up_templates(app)
    add_live_updates(app)
    app.add_routes([*ROUTES, web.static("/pages", FOLDER / "static")])
