"""What waits: firing alerts that a destination was not notified of, why, until when, and what happens next."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from router.model import Millis
from router.store.waiting_alerts import WaitingFilter
from router.web.api.alert_parameters import Text, titles_in_force
from router.web.api.cursors import Page, PageQuery, Query, encode_cursor
from router.web.api.destination_notes import DestinationNote, facts_of, note_of
from router.web.api.endpoint import Endpoint
from router.web.api.shown_alerts import safe
from router.web.app_context import AppContext

WaitingFate = Literal["pending", "held", "inhibited", "digest", "dead"]


class WaitingQuery(PageQuery):
    """Which rows."""

    destination: Annotated[Text | None, Field(description="Only at the destination with this key.")] = None
    fate: Annotated[
        WaitingFate | None,
        Field(description="Only what is pending (due now or soon), held, inhibited, for a digest, or given up (dead)."),
    ] = None  # fmt: skip
    severity: Annotated[
        tuple[Text, ...], Field(max_length=20, description="Only alerts of one of these levels.")
    ] = ()


class WaitingRow(BaseModel):
    """An alert that fires, and a destination that was not notified of it."""

    id: int = Field(description="The number of the alert.")
    member: int = Field(description="The number of the alert at the destination.")
    title: str
    level: str
    source: str
    starts_at: Millis | None
    note: DestinationNote


class WaitingPageAnswer(Page[WaitingRow]):
    """A page of what waits."""

    is_partial: bool = Field(
        default=False, description="The search ended at the bound of its work: ``next`` continues it."
    )


class WaitingCountAnswer(BaseModel):
    """How many alerts wait for the same."""

    fate: str
    count: int
    until: Millis | None = Field(
        description="Of held ones and those for a digest: until when; null: several times, or it is not known."
    )


class WaitingSummaryAnswer(BaseModel):
    """What waits, in numbers."""

    total: int
    total_is_exact: bool = Field(description="False: more wait than ``total`` says.")
    counts: list[WaitingCountAnswer]
    counts_are_whole: bool = Field(
        description="False: so many wait that ``counts`` are only about the oldest of them."
    )


async def list_waiting(context: AppContext, query: WaitingQuery) -> WaitingPageAnswer:
    cursor = query.after(str, int, int)
    after = None if cursor is None else (str(cursor[0]), int(cursor[1]), int(cursor[2]))
    which = WaitingFilter(
        query.destination, query.fate, tuple(each.strip().casefold() for each in query.severity)
    )
    page, inhibitors = await context.store.pages.waiting_alerts(
        which, context.policy().severity, after, query.limit
    )
    titles = titles_in_force(context)
    facts = facts_of(context, titles, inhibitors)
    items = [
        WaitingRow(
            id=each.alert.id, member=each.state.member, title=titles.of_one(each.alert.labels, each.alert.level),
            level=safe(each.alert.level), source=safe(each.alert.source), starts_at=each.alert.starts_at,
            note=note_of(each.state, each.alert, facts),
        )
        for each in page.rows
    ]  # fmt: skip
    return WaitingPageAnswer(
        items=items, total=page.total.count, total_is_exact=page.total.is_exact, next=encode_cursor(page.next),
        is_partial=page.is_partial,
    )  # fmt: skip


async def summarize_waiting(context: AppContext, _query: Query) -> WaitingSummaryAnswer:
    found = await context.store.pages.waiting_summary()
    return WaitingSummaryAnswer(
        total=found.total.count, total_is_exact=found.total.is_exact, counts_are_whole=found.is_whole,
        counts=[WaitingCountAnswer(fate=each.fate, count=each.count, until=each.until) for each in found.counts],
    )  # fmt: skip


LIST_WAITING = Endpoint(
    "GET",
    "/api/v1/waiting",
    list_waiting,
    WaitingQuery,
    WaitingPageAnswer,
    "Firing alerts that a destination was not notified of, why, and until when; the most urgent first.",
)
SUMMARIZE_WAITING = Endpoint(
    "GET",
    "/api/v1/waiting/summary",
    summarize_waiting,
    Query,
    WaitingSummaryAnswer,
    "How many alerts wait, and until when.",
)
ENDPOINTS = (LIST_WAITING, SUMMARIZE_WAITING)
