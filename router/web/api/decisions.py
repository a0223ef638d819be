"""Decisions and what became of them, the newest first."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from router.model import Millis
from router.store.decision_list import DecisionFilter, ListedDecision
from router.web.api.alert_parameters import Text, titles_in_force
from router.web.api.cursors import Page, PageQuery, encode_cursor
from router.web.api.endpoint import Endpoint
from router.web.api.shown_alerts import Titles, safe
from router.web.app_context import AppContext

FateName = Literal["pending", "held", "inhibited", "digest", "delivered", "obsolete", "dropped", "dead"]


class DecisionsQuery(PageQuery):
    """Which decisions."""

    destination: Annotated[Text | None, Field(description="Only at the destination with this key.")] = None
    fate: Annotated[FateName | None, Field(description="Only those with this fate now.")] = None
    since: Annotated[
        Millis | None, Field(ge=0, lt=2**63, description="Only about reports since then (epoch ms).")
    ] = None


class DecisionRow(BaseModel):
    """A decision about a report of an alert at a destination, and what became of it."""

    id: int
    at: Millis = Field(description="When the report was accepted.")
    updated_at: Millis = Field(description="When its fate last changed.")
    alert: int = Field(description="The number of the alert.")
    title: str
    kind: str = Field(description="fired, resolved or repeated.")
    level: str
    destination: str
    fate: str
    rule: str = Field(description="The name of the rule that decided.")
    reason: str


class DecisionPageAnswer(Page[DecisionRow]):
    """A page of decisions."""

    is_partial: bool = Field(
        default=False, description="The search ended at the bound of its work: ``next`` continues it."
    )


async def list_decisions(context: AppContext, query: DecisionsQuery) -> DecisionPageAnswer:
    cursor = query.after(int)
    page = await context.store.pages.newest_decisions(
        DecisionFilter(query.destination, query.fate, query.since),
        None if cursor is None else int(cursor[0]),
        query.limit,
    )
    titles = titles_in_force(context)
    return DecisionPageAnswer(
        items=[_row(each, titles) for each in page.rows], total=page.total.count,
        total_is_exact=page.total.is_exact, next=encode_cursor(None if page.next is None else (page.next,)),
        is_partial=page.is_partial,
    )  # fmt: skip


def _row(found: ListedDecision, titles: Titles) -> DecisionRow:
    return DecisionRow(
        id=found.id, at=found.at, updated_at=found.updated_at, alert=found.alert,
        title=titles.of_one(found.labels, found.level), kind=found.kind, level=safe(found.level),
        destination=safe(found.destination), fate=found.fate, rule=safe(found.rule), reason=safe(found.reason),
    )  # fmt: skip


LIST_DECISIONS = Endpoint(
    "GET",
    "/api/v1/decisions",
    list_decisions,
    DecisionsQuery,
    DecisionPageAnswer,
    "Decisions about reports of alerts, and what became of them; the newest first.",
)
ENDPOINTS = (LIST_DECISIONS,)
