"""Dead letters: what was given up, and the actions that settle it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from router.model import Role
from router.render.words import clip
from router.store import DeliveryUnderWay
from router.web.api.cursors import Page, PageQuery, Query, encode_cursor
from router.web.api.deliveries import (
    DeliveryTopic,
    DestinationKeys,
    RowId,
    cut_labels,
    topic_of,
)
from router.web.api.destination_receivers import receivers_of
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

_MAX_ALERTS = 500
_MAX_NAME_CHARS = 200
MAX_SETTLED = 2_000
"""How many dead letters one request settles at most."""
# So many are settled at a time: the store then writes them together.
_SETTLED_AT_ONCE = 100
_MAX_SKIPPED_NAMED = 20
UNDER_WAY = "a delivery to this destination is under way; try again when it has ended"
GONE = "there is no such open dead letter; it may be settled already"


class DeadLetterQuery(PageQuery):
    """Which dead letters to list."""

    destination: DestinationKeys = Field(default=[])


class UnsentAlert(BaseModel):
    """An alert that the destination was not notified of."""

    id: int
    name: str
    labels: dict[str, str]
    level: str
    status: str = Field(description="Now: firing or resolved.")
    unnotified: str = Field(description="The status that was not sent: firing or resolved.")


class DeadLetter(BaseModel):
    """What was given up at one destination, or at one recipient of it."""

    id: int
    destination: str = Field(description="The key of the destination.")
    receivers: list[str] = Field(description="The receivers in routes.yaml that name the destination.")
    recipient: str = Field(description="The only recipient that was not notified; empty: none was.")
    conversation: int
    at: int = Field(description="When it was given up.")
    reason: str
    state: str = Field(description="dead (it is open), retried or discarded.")
    settled_at: int | None
    topic: DeliveryTopic
    alerts: list[UnsentAlert] = Field(
        description="The first alerts: at most 10 in a list, at most 500 otherwise."
    )
    alerts_total: int


class OneDeadLetterQuery(Query):
    """Which dead letter."""

    id: RowId


class DeadLetterSettled(BaseModel):
    """What an action did."""

    status: str = Field(description="``to be tried again`` or ``discarded``.")


class SettleQuery(Query):
    """Which dead letters to settle: those with these ids, or all that fit a filter."""

    model_config = ConfigDict(strict=True)  # it is JSON, which has numbers and booleans

    ids: Annotated[
        list[RowId], Field(max_length=MAX_SETTLED, description="The dead letters with these ids.")
    ] = Field(default=[])
    all: Annotated[bool, Field(description="All open dead letters, or all of ``destination``.")] = False
    destination: DestinationKeys = Field(default=[])

    @model_validator(mode="after")
    def _names_some(self) -> "SettleQuery":
        if bool(self.ids) is self.all:
            raise ValueError("give ids, or set all")
        if self.ids and self.destination:
            raise ValueError("destination is a filter of all; do not give ids with it")
        return self


class SkippedDeadLetter(BaseModel):
    """A dead letter that was not settled."""

    id: int
    reason: str


class Settled(BaseModel):
    """What was settled, and what is left."""

    done: int
    skipped: int
    first_skipped: list[SkippedDeadLetter] = Field(description="The first 20 of them.")
    left: int = Field(
        description="How many dead letters are left with this filter; send the request again for the next ones. 0 if ids were "
        "given."
    )
    left_is_exact: bool = True


async def list_dead_letters(context: AppContext, query: DeadLetterQuery) -> Page[DeadLetter]:
    cursor = query.after(int, int)
    page = await context.store.pages.dead_letters(
        tuple(dict.fromkeys(query.destination)),
        None if cursor is None else (int(cursor[0]), int(cursor[1])),
        query.limit,
    )
    receivers = receivers_of(context.policy())
    return Page(
        items=[_dead_letter(context, row, receivers) for row in page.rows], total=page.total.count,
        total_is_exact=page.total.is_exact, next=encode_cursor(page.after),
    )  # fmt: skip


async def get_dead_letter(context: AppContext, query: OneDeadLetterQuery) -> DeadLetter:
    row = await context.store.pages.dead_letter(query.id, _MAX_ALERTS)
    if row is None:
        raise ApiError(404, f"there is no dead letter {query.id}; it may have been settled and pruned")
    return _dead_letter(context, row, receivers_of(context.policy()))


async def retry_dead_letter(context: AppContext, query: OneDeadLetterQuery) -> DeadLetterSettled:
    await _one(_retry, context, query.id)
    return DeadLetterSettled(status="to be tried again")


async def discard_dead_letter(context: AppContext, query: OneDeadLetterQuery) -> DeadLetterSettled:
    await _one(_discard, context, query.id)
    return DeadLetterSettled(status="discarded")


async def retry_dead_letters(context: AppContext, query: SettleQuery) -> Settled:
    return await _settle(_retry, context, query)


async def discard_dead_letters(context: AppContext, query: SettleQuery) -> Settled:
    return await _settle(_discard, context, query)


Settle = Callable[[AppContext, int], Awaitable[bool]]
"""Settles a dead letter. Returns False if it is not open. It may raise :class:`DeliveryUnderWay`."""


async def _retry(context: AppContext, number: int) -> bool:
    woken = await context.store.retry(number, context.policy(), context.clock.now())
    if woken is None:
        return False
    context.wake_lanes(woken)
    return True


async def _discard(context: AppContext, number: int) -> bool:
    return await context.store.discard(number, context.clock.now())


async def _one(settle: Settle, context: AppContext, number: int) -> None:
    if problem := await _problem_of(settle, context, number):
        raise ApiError(409 if problem == UNDER_WAY else 404, problem)


async def _problem_of(settle: Settle, context: AppContext, number: int) -> str:
    """Settle a dead letter. Return why that is not possible; empty: it is done."""
    try:
        return "" if await settle(context, number) else GONE
    except DeliveryUnderWay:
        return UNDER_WAY


async def _settle(settle: Settle, context: AppContext, query: SettleQuery) -> Settled:
    """Settle many dead letters in pieces: the most urgent ones first."""
    destinations = tuple(dict.fromkeys(query.destination))
    numbers = list(dict.fromkeys(query.ids))
    pages = context.store.pages
    if query.all:
        numbers = [id_ for _, id_ in await pages.unsettled_ids(destinations, None, MAX_SETTLED)]
    skipped: list[SkippedDeadLetter] = []
    for first in range(0, len(numbers), _SETTLED_AT_ONCE):
        some = numbers[first : first + _SETTLED_AT_ONCE]
        problems = await asyncio.gather(*(_problem_of(settle, context, each) for each in some))
        skipped += [
            SkippedDeadLetter(id=number, reason=problem)
            for number, problem in zip(some, problems, strict=True)
            if problem
        ]
    left = await pages.count_unsettled(destinations) if query.all else None
    return Settled(
        done=len(numbers) - len(skipped), skipped=len(skipped), first_skipped=skipped[:_MAX_SKIPPED_NAMED],
        left=0 if left is None else left.count, left_is_exact=left is None or left.is_exact,
    )  # fmt: skip


def _dead_letter(context: AppContext, row: dict[str, Any], receivers: dict[str, list[str]]) -> DeadLetter:
    alerts = [
        UnsentAlert(
            id=each["id"], name=clip(each["labels"].get("alertname", ""), _MAX_NAME_CHARS),
            labels=cut_labels(each["labels"]), level=each["level"], status=each["status"], unnotified=each["unnotified"],
        )
        for each in row["alerts"]
    ]  # fmt: skip
    return DeadLetter(
        id=row["id"], destination=row["destination"], receivers=receivers.get(row["destination"], []),
        recipient=row["recipient"], conversation=row["conversation_id"], at=row["at"], reason=row["reason"],
        state=row["state"], settled_at=row["settled_at"], topic=topic_of(context, row["topic"]), alerts=alerts,
        alerts_total=row["alerts_total"],
    )  # fmt: skip


def _number(query: OneDeadLetterQuery) -> str:
    return f"dead letter {query.id}"


def _several(query: SettleQuery) -> str:
    if query.all:
        return f"all of {', '.join(query.destination)}"[:1_000] if query.destination else "all"
    shown = ", ".join(map(str, query.ids[:_MAX_SKIPPED_NAMED]))
    more = len(query.ids) - _MAX_SKIPPED_NAMED
    return f"dead letters {shown}" + (f" and {more} more" if more > 0 else "")


def _result(done: Settled) -> str:
    left = f", {done.left} left" if done.left else ""
    return f"{done.done} settled, {done.skipped} skipped{left}"


_PROBLEMS = {404: "There is no such open dead letter.", 409: "A delivery to the destination is under way."}
LIST_DEAD_LETTERS = Endpoint(
    "GET", "/api/v1/dead-letters", list_dead_letters, DeadLetterQuery, Page[DeadLetter],
    "The open dead letters, the most urgent first, then the newest.",
)  # fmt: skip
GET_DEAD_LETTER = Endpoint(
    "GET", "/api/v1/dead-letters/{id}", get_dead_letter, OneDeadLetterQuery, DeadLetter, "One dead letter.",
    problems={404: "There is no such dead letter."},
)  # fmt: skip
RETRY = Endpoint(
    "POST", "/api/v1/dead-letters/{id}/retry", retry_dead_letter, OneDeadLetterQuery, DeadLetterSettled,
    "Try a dead letter again.", Role.OPERATE, _PROBLEMS, action="retry", target=_number,
)  # fmt: skip
DISCARD = Endpoint(
    "POST", "/api/v1/dead-letters/{id}/discard", discard_dead_letter, OneDeadLetterQuery, DeadLetterSettled,
    "Close a dead letter without sending it.", Role.OPERATE, _PROBLEMS, action="discard", target=_number,
)  # fmt: skip
RETRY_SEVERAL = Endpoint(
    "POST", "/api/v1/dead-letters/retry", retry_dead_letters, SettleQuery, Settled,
    f"Try many dead letters again, at most {MAX_SETTLED} a request.", Role.OPERATE, action="retry", target=_several, result=_result,
)  # fmt: skip
DISCARD_SEVERAL = Endpoint(
    "POST", "/api/v1/dead-letters/discard", discard_dead_letters, SettleQuery, Settled,
    f"Close many dead letters without sending them, at most {MAX_SETTLED} a request.", Role.OPERATE, action="discard",
    target=_several, result=_result,
)  # fmt: skip
ENDPOINTS = (LIST_DEAD_LETTERS, GET_DEAD_LETTER, RETRY, DISCARD, RETRY_SEVERAL, DISCARD_SEVERAL)
