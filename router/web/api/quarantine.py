"""The quarantine: the bodies that could not be used, and what an operator does about them."""

import codecs
from base64 import b64encode
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from router.model import Role
from router.web.api.cursors import Page, PageQuery, Query, rows_of_page
from router.web.api.endpoint import Download, Endpoint, Pieces
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

_MAX_SOURCE_CHARS = 500
# Text may hold these control characters. A body with any other one is shown as base64.
_TEXT_CONTROLS = frozenset("\t\n\r\f")
Id = Annotated[int, Field(ge=1, lt=2**63, description="The number of the body.")]


class QuarantineQuery(PageQuery):
    """Which bodies of the quarantine are listed."""

    source: Annotated[
        str | None, Field(max_length=_MAX_SOURCE_CHARS, description="Only bodies of this source.")
    ] = None


class BodyQuery(Query):
    """One body of the quarantine."""

    id: Id


class SettleAllQuery(Query):
    """Which bodies of the quarantine are settled."""

    source: Annotated[str, Field(max_length=_MAX_SOURCE_CHARS, description="The source that sent them.")]
    until: Annotated[
        int, Field(ge=1, lt=2**63, description="The number of the newest one: later ones stay in the list.")
    ]


class QuarantinedBodyAnswer(BaseModel):
    """What is known about a body in quarantine."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    source: str = Field(description="The source that sent it.")
    received_at: int
    reason: str = Field(description="Why it could not be used, or not completely.")
    encoding: str | None = Field(
        description="How it is compressed: gzip or deflate; null: it is not compressed."
    )
    size: int = Field(description="In bytes, as it was received.")
    settled_at: int | None = Field(
        description="When an operator settled it; null: it is in the list of the quarantine."
    )


class BodyBeginAnswer(QuarantinedBodyAnswer):
    """A body in quarantine, and how it begins."""

    begin: str = Field(description="How it begins: 20,000 bytes at most, inflated if that is possible.")
    begin_is: Literal["text", "base64"] = Field(description="base64: it is not text.")
    is_inflated: bool = Field(description="The body is compressed, and ``begin`` is inflated.")
    is_cut: bool = Field(description="The body goes on.")


class SettledBodies(BaseModel):
    """How many bodies left the list."""

    settled: int


async def list_quarantine(context: AppContext, query: QuarantineQuery) -> Page[QuarantinedBodyAnswer]:
    rows, total = await context.store.pages.quarantined(query.source, query.last_id(), query.limit + 1)
    shown, following = rows_of_page(rows, query, lambda each: each.id)
    return Page(
        items=[QuarantinedBodyAnswer.model_validate(each) for each in shown], total=total.count,
        total_is_exact=total.is_exact, next=following,
    )  # fmt: skip


async def show_quarantined(context: AppContext, query: BodyQuery) -> BodyBeginAnswer:
    found = await context.store.pages.body_begin(query.id)
    if found is None:
        raise _nothing(query.id)
    begin, kind = _shown(found.begin, is_cut=found.is_cut)
    about = QuarantinedBodyAnswer.model_validate(found.body)
    return BodyBeginAnswer(
        **about.model_dump(), begin=begin, begin_is=kind, is_inflated=found.is_inflated, is_cut=found.is_cut
    )


async def download_quarantined(context: AppContext, query: BodyQuery) -> Download:
    pages = context.store.pages
    found = await pages.quarantined_body(query.id)
    if found is None:
        raise _nothing(query.id)
    return Download(Pieces(found.size, lambda: pages.body_pieces(found)), f"quarantined-{query.id}")


async def settle_quarantined(context: AppContext, query: BodyQuery) -> SettledBodies:
    if not await context.store.settle_body(query.id, context.clock.now()):
        raise _nothing(query.id)
    return SettledBodies(settled=1)


async def settle_quarantine(context: AppContext, query: SettleAllQuery) -> SettledBodies:
    settled = await context.store.settle_bodies(query.source, query.until, context.clock.now())
    return SettledBodies(settled=settled)


def _nothing(number: int) -> ApiError:
    return ApiError(404, f"no body with the number {number} is in quarantine, or it was pruned")


def _shown(begin: bytes, *, is_cut: bool) -> tuple[str, Literal["text", "base64"]]:
    """Return the beginning of a body as text, or as base64 if it is not text."""
    try:
        # A character that is cut in the middle is left out.
        text = codecs.getincrementaldecoder("utf-8")().decode(begin, final=not is_cut)
    except UnicodeDecodeError:
        text = None
    if text is None or any(char < " " and char not in _TEXT_CONTROLS for char in text):
        return b64encode(begin).decode(), "base64"
    return text, "text"


LIST_QUARANTINE = Endpoint(
    "GET", "/api/v1/quarantine", list_quarantine, QuarantineQuery, Page[QuarantinedBodyAnswer],
    "The bodies that could not be used and are not settled, the newest first.",
)  # fmt: skip
SHOW_QUARANTINED = Endpoint(
    "GET", "/api/v1/quarantine/{id}", show_quarantined, BodyQuery, BodyBeginAnswer,
    "One body of the quarantine, settled or not, and how it begins.",
)  # fmt: skip
DOWNLOAD_QUARANTINED = Endpoint(
    "GET", "/api/v1/quarantine/{id}/body", download_quarantined, BodyQuery, Download,
    "The bytes of a body, as it was received.",
)  # fmt: skip
SETTLE_QUARANTINED = Endpoint(
    "POST", "/api/v1/quarantine/{id}/settle", settle_quarantined, BodyQuery, SettledBodies,
    "Settle a body: it leaves the list, and is deleted with the history.", role=Role.OPERATE,
    action="settle quarantined body", target=lambda query: str(query.id),
)  # fmt: skip
SETTLE_QUARANTINE = Endpoint(
    "POST", "/api/v1/quarantine/settle", settle_quarantine, SettleAllQuery, SettledBodies,
    "Settle all bodies of a source up to a number.", role=Role.OPERATE,
    action="settle quarantined bodies", target=lambda query: f"{query.source}, up to {query.until}",
)  # fmt: skip
ENDPOINTS = (LIST_QUARANTINE, SHOW_QUARANTINED, DOWNLOAD_QUARANTINED, SETTLE_QUARANTINE, SETTLE_QUARANTINED)
