"""Actions on a dead letter: retry and discard."""

from typing import Annotated

from pydantic import BaseModel, Field

from router.model import Role
from router.store import DeliveryUnderWay
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.api.problems import ApiError
from router.web.app_context import AppContext

_UNKNOWN = "There is no open dead letter with this number."
_UNDER_WAY = "A delivery to this destination is under way; try again when it has ended."


class DeadLetterQuery(Query):
    """Names a dead letter."""

    id: Annotated[int, Field(ge=1, lt=2**63, description="The number of the dead letter.")]


class DeadLetterSettled(BaseModel):
    """A dead letter that is no longer open."""

    status: str = Field(description="``to be tried again`` or ``discarded``.")


async def retry_dead_letter(context: AppContext, query: DeadLetterQuery) -> DeadLetterSettled:
    try:
        woken = await context.store.retry(query.id, context.policy(), context.clock.now())
    except DeliveryUnderWay:
        raise ApiError(409, _UNDER_WAY) from None
    if woken is None:
        raise ApiError(404, _UNKNOWN)
    context.wake_lanes(woken)
    return DeadLetterSettled(status="to be tried again")


async def discard_dead_letter(context: AppContext, query: DeadLetterQuery) -> DeadLetterSettled:
    try:
        is_found = await context.store.discard(query.id, context.clock.now())
    except DeliveryUnderWay:
        raise ApiError(409, _UNDER_WAY) from None
    if not is_found:
        raise ApiError(404, _UNKNOWN)
    return DeadLetterSettled(status="discarded")


RETRY_DEAD_LETTER = Endpoint(
    "POST", "/api/v1/dead-letters/{id}/retry", retry_dead_letter, DeadLetterQuery, DeadLetterSettled,
    "Send again the part of a dead letter that is still true. The rest becomes obsolete.",
    Role.OPERATE, {404: _UNKNOWN, 409: _UNDER_WAY}, action="retry dead letter", target=lambda query: str(query.id),
)  # fmt: skip
DISCARD_DEAD_LETTER = Endpoint(
    "POST", "/api/v1/dead-letters/{id}/discard", discard_dead_letter, DeadLetterQuery, DeadLetterSettled,
    "Settle a dead letter without sending anything.",
    Role.OPERATE, {404: _UNKNOWN, 409: _UNDER_WAY}, action="discard dead letter", target=lambda query: str(query.id),
)  # fmt: skip
ENDPOINTS = (RETRY_DEAD_LETTER, DISCARD_DEAD_LETTER)
