"""The list of alerts: what fires, the most urgent first; or what ended; and the search for one by name or fingerprint."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from router.decide.matchers import Matcher, MatcherError, parse_matchers
from router.store.alert_filters import AlertFilter
from router.store.alert_rows import ListedAlert
from router.web.api.alert_parameters import AlertsQuery, Text, titles_in_force
from router.web.api.cursors import Page, Query, encode_cursor
from router.web.api.destination_notes import DestinationNote, Facts, facts_of, note_of
from router.web.api.endpoint import Endpoint
from router.web.api.moment_parameters import read_moment
from router.web.api.shown_alerts import AlertSummary, Titles, alert_summary
from router.web.app_context import AppContext

_MAX_FOUND = 10


class AlertWithDestinations(AlertSummary):
    """An alert, and what each of its destinations was notified of."""

    destinations: list[DestinationNote] = Field(
        description="Those that are to be notified of its present state."
    )
    destinations_left_out: int = Field(description="How many more there are.")


class AlertPageAnswer(Page[AlertWithDestinations]):
    """A page of alerts."""

    is_partial: bool = Field(
        default=False, description="The search ended at the bound of its work: ``next`` continues it."
    )


class FindQuery(Query):
    """What to find."""

    q: Annotated[
        Text, Field(description="A name, a fingerprint, matchers, or a part of the value of a label.")
    ]


class FoundAlerts(BaseModel):
    """Alerts that fit, found by the first of these that finds any: fingerprint, name, labels, text."""

    by: Literal["fingerprint", "name", "filter", "search"] = Field(
        description="How they were found: the parameter of the list of alerts that lists them all."
    )
    items: list[AlertWithDestinations] = Field(
        description="The first ones, those that fire before those that ended."
    )
    is_only: bool = Field(description="There is exactly one.")


async def list_alerts(context: AppContext, query: AlertsQuery) -> AlertPageAnswer:
    cursor = query.after(str, int)
    after = None if cursor is None else (str(cursor[0]), int(cursor[1]))
    since = read_moment(context, "since", query.since)
    which = replace(query.as_filter(None if query.status == "any" else query.status), since=since)
    page, inhibitors = await context.store.pages.alerts(which, context.policy().severity, after, query.limit)
    titles = titles_in_force(context)
    facts = facts_of(context, titles, inhibitors)
    return AlertPageAnswer(
        items=[with_destinations(each, titles, facts) for each in page.alerts], total=page.total.count,
        total_is_exact=page.total.is_exact, next=encode_cursor(page.next), is_partial=page.is_partial,
    )  # fmt: skip


async def find_alerts(context: AppContext, query: FindQuery) -> FoundAlerts:
    for by, which in _ways(query.q.strip()):
        page, inhibitors = await context.store.pages.alerts(
            which, context.policy().severity, None, _MAX_FOUND
        )
        if page.alerts or by == "search":
            titles = titles_in_force(context)
            facts = facts_of(context, titles, inhibitors)
            items = [with_destinations(each, titles, facts) for each in page.alerts]
            return FoundAlerts(by=by, items=items, is_only=len(items) == 1 and page.next is None)
    return FoundAlerts(by="search", items=[], is_only=False)


Way = Literal["fingerprint", "name", "filter", "search"]


def _ways(text: str) -> list[tuple[Way, AlertFilter]]:
    """Return the filters that a text may mean, in the order in which they are tried."""
    ways: list[tuple[Way, AlertFilter]] = [
        ("fingerprint", AlertFilter(None, fingerprint=text)),
        ("name", AlertFilter(None, (Matcher("alertname", "=", text),))),
    ]
    try:
        matchers = parse_matchers(text)
    except MatcherError:
        matchers = ()
    if matchers:
        ways.append(("filter", AlertFilter(None, matchers)))
    return [*ways, ("search", AlertFilter(None, search=text))]


def with_destinations(alert: ListedAlert, titles: Titles, facts: Facts) -> AlertWithDestinations:
    """Return an alert for a list."""
    return AlertWithDestinations(
        **dict(alert_summary(alert, titles)),
        destinations=[note_of(state, alert, facts) for state in alert.destinations],
        destinations_left_out=alert.destinations_left_out,
    )


LIST_ALERTS = Endpoint(
    "GET",
    "/api/v1/alerts",
    list_alerts,
    AlertsQuery,
    AlertPageAnswer,
    "What fires, the most urgent level first, then what was first seen last; or what has ended.",
)
FIND_ALERTS = Endpoint(
    "GET",
    "/api/v1/find",
    find_alerts,
    FindQuery,
    FoundAlerts,
    "Alerts with this name, fingerprint or labels.",
)
ENDPOINTS = (LIST_ALERTS, FIND_ALERTS)
