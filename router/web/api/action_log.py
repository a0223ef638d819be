"""The log of actions: who did what."""

from pydantic import BaseModel, ConfigDict, Field

from router.web.api.cursors import Page, PageQuery, rows_of_page
from router.web.api.endpoint import Endpoint
from router.web.app_context import AppContext


class ActionLine(BaseModel):
    """One action of an operator."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    at: int = Field(description="When it began.")
    actor: str = Field(description="The user's name.")
    via: str = Field(description="How the user was recognized: password, token, proxy or loopback.")
    action: str = Field(description="What was done.")
    target: str = Field(description="What it acted on; empty: nothing in particular.")
    outcome: str | None = Field(
        description="done, refused or failed; null: it has not ended, or its end was not stored."
    )
    reason: str
    ended_at: int | None


async def list_actions(context: AppContext, query: PageQuery) -> Page[ActionLine]:
    lines, total = await context.store.pages.actions(query.last_id(), query.limit + 1)
    shown, following = rows_of_page(lines, query, lambda each: each.id)
    return Page(
        items=[ActionLine.model_validate(each) for each in shown], total=total.count, total_is_exact=total.is_exact,
        next=following,
    )  # fmt: skip


LIST_ACTIONS = Endpoint(
    "GET",
    "/api/v1/actions",
    list_actions,
    PageQuery,
    Page[ActionLine],
    "The actions of operators, the newest first.",
)
ENDPOINTS = (LIST_ACTIONS,)
