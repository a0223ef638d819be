"""The log of actions: who did what."""

from pydantic import BaseModel, ConfigDict, Field

from router.web.api.cursors import Page, PageQuery, encode_cursor
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
    cursor = query.after(int)
    lines, total = await context.store.pages.actions(
        None if cursor is None else int(cursor[0]), query.limit + 1
    )
    shown = [ActionLine.model_validate(each) for each in lines[: query.limit]]
    more = len(lines) > query.limit
    return Page(
        items=shown, total=total.count, total_is_exact=total.is_exact,
        next=encode_cursor((shown[-1].id,)) if more else None,
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
