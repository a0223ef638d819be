"""Actions on a destination: pause and resume."""

from typing import Annotated

from pydantic import BaseModel, Field

from router.model import Role
from router.web.access import actor
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

_UNKNOWN = "There is no destination with this key."


class DestinationQuery(Query):
    """Names a destination."""

    key: Annotated[
        str,
        Field(min_length=1, max_length=2_000, description="The destination's key, such as slack:C0CRITICAL."),
    ]


class DestinationResumed(BaseModel):
    """What a delivery found after the pause had ended."""

    status: str = Field(
        description="delivered, still broken, nothing was due to try, or is being tried (the outcome comes later)."
    )
    reason: str = Field(description="Why it is still broken, or what happens next; empty: nothing to add.")


class DestinationPaused(BaseModel):
    """A destination to which nothing is sent."""

    status: str = Field(description="paused")
    since: int = Field(description="Since when it is paused.")
    reason: str = Field(
        description="Empty: nothing more is sent from now on. Otherwise no replica serves the destination, or the one that does "
        "has not confirmed the pause yet."
    )


async def resume_destination(context: AppContext, query: DestinationQuery) -> DestinationResumed:
    done = await context.resume(query.key)
    if done is None:
        raise ApiError(404, _UNKNOWN)
    return DestinationResumed(status=done["status"], reason=done["reason"])


async def pause_destination(context: AppContext, query: DestinationQuery) -> DestinationPaused:
    done = await context.pause(query.key, actor())
    if done is None:
        raise ApiError(404, _UNKNOWN)
    since, reason = done
    return DestinationPaused(status="paused", since=since, reason=reason)


RESUME_DESTINATION = Endpoint(
    "POST", "/api/v1/destinations/{key}/resume", resume_destination, DestinationQuery, DestinationResumed,
    "End the pause of a destination and try one delivery.", Role.OPERATE, {404: _UNKNOWN},
    action="resume destination", target=lambda query: query.key,
)  # fmt: skip
PAUSE_DESTINATION = Endpoint(
    "POST", "/api/v1/destinations/{key}/pause", pause_destination, DestinationQuery, DestinationPaused,
    "Send nothing to a destination until it is resumed. What becomes due there waits, also over restarts.",
    Role.OPERATE, {404: _UNKNOWN}, action="pause destination", target=lambda query: query.key,
)  # fmt: skip
ENDPOINTS = (RESUME_DESTINATION, PAUSE_DESTINATION)
