"""The pages of deliveries: the list with its filters, and one delivery with its message."""

from datetime import datetime
from zoneinfo import ZoneInfo

from aiohttp import web

from router.model import SECOND
from router.web.api.deliveries import GET_DELIVERY, GET_DELIVERY_HOURS, LIST_DELIVERIES, DeliveryQuery
from router.web.api.problem_details import ApiError
from router.web.app_context import APP_CONTEXT
from router.web.pages.delivery_chart import DeliveryChart, draw_chart
from router.web.pages.form_values import filled_in, link_parameters
from router.web.pages.message_frame import frame_response, html_of, show_message
from router.web.pages.page_rendering import render
from router.web.pages.page_routes import ask, page

OUTCOMES = {
    "": "all", "failed": "failed, for any reason", "delivered": "delivered", "retry": "failed, to be tried again",
    "rejected": "refused and given up", "broken": "the destination is broken", "interrupted": "interrupted by a restart",
    "under way": "under way",
}  # fmt: skip
"""Outcomes as a filter, and their words."""


async def chart_for(request: web.Request, destinations: list[str]) -> DeliveryChart:
    """Return the chart of the last 48 hours, for the template ``deliveries_chart.html``.

    :param destinations: only these (keys); empty: all
    """
    hours = await ask(request, GET_DELIVERY_HOURS, {"destination": destinations})
    return draw_chart(hours, _zone(request))


async def _deliveries(request: web.Request) -> web.Response:
    given = filled_in(request, DeliveryQuery)
    found = await ask(request, LIST_DELIVERIES, given)
    chosen = given.get("destination", [])
    known = {*request.app[APP_CONTEXT].policy().destinations, *chosen}
    values = {
        "deliveries": found, "given": given, "filters": link_parameters(given), "destinations": sorted(known),
        "outcomes": OUTCOMES, "chart": await chart_for(request, chosen),
    }  # fmt: skip
    return await render(request, "deliveries.html", values, active="deliveries")


async def _delivery(request: web.Request) -> web.Response:
    found = await ask(request, GET_DELIVERY)
    shown = None
    if found.message is not None and found.message.body is not None:
        at = datetime.fromtimestamp(found.started_at / SECOND, _zone(request))
        address = f"/deliveries/{found.id}/message"
        shown = show_message(found.message.channel, found.message.body, f"{at:%a %H:%M}", address)
    values = {"delivery": found, "shown": shown, "outcomes": OUTCOMES}
    return await render(request, "delivery.html", values, active="deliveries")


async def _message(request: web.Request) -> web.Response:
    """Answer with the HTML of a message, for its frame."""
    message = (await ask(request, GET_DELIVERY)).message
    document = "" if message is None else html_of(message.channel, message.body or {})
    if not document:
        raise ApiError(404, "this message has no HTML of its own")
    return frame_response(document)


def _zone(request: web.Request) -> ZoneInfo:
    return ZoneInfo(request.app[APP_CONTEXT].config().timezone)


ROUTES = (
    page("/deliveries", _deliveries),
    page("/deliveries/{id}", _delivery),
    page("/deliveries/{id}/message", _message),
)
