"""Heartbeats and sources: when each was last heard. Also the dead man's switch."""

from typing import Literal

from pydantic import BaseModel, Field

from router.model import DeadmanSettings, Millis, WatchState
from router.web.api.cursors import Page, PageQuery, page_of
from router.web.api.endpoint import Endpoint
from router.web.app_context import AppContext

WatchStateName = Literal["silent", "not seen yet", "in time", "not watched"]


class HeartbeatRow(BaseModel):
    """A heartbeat of one source, or all webhooks of a source."""

    heartbeat: str | None = Field(description="Its name; null: any webhook of the source counts.")
    source: str
    state: WatchStateName = Field(description="not watched: the source has no silent_after.")
    within: int | None = Field(
        description="How long it may be silent (ms); null: its silence is not reported."
    )
    receiver: str | None = Field(
        description="Who is notified of its silence; null: the operators, or whom the routes name."
    )
    last_seen_at: int | None = Field(description="null: never.")
    silent_since: int | None = Field(description="When its silence was reported; null: it is not silent.")
    silent_at: int | None = Field(
        description="When it will be silent if nothing comes; null: it is silent, or not watched."
    )


class DeadmanAnswer(BaseModel):
    """The pings of the monitor outside."""

    every: int = Field(description="How often it is pinged (ms).")
    tried_at: int | None = Field(description="When the last ping was sent or withheld; null: none was yet.")
    succeeded_at: int | None = Field(
        description="When it last accepted a ping; null: not since the start of the router."
    )
    withheld: str = Field(description="Why the last ping was not sent; empty: it was sent.")
    failure: str = Field(description="Why the last ping failed; empty: it did not.")


class HeartbeatPage(Page[HeartbeatRow]):
    """Heartbeats of each source, and sources; those that are silent come first."""

    watching: bool = Field(description="false: in a preview, silence is not reported, and nothing is pinged.")
    deadman: DeadmanAnswer | None = Field(description="null: routes.yaml has no `deadman:`.")


async def list_heartbeats(context: AppContext, query: PageQuery) -> HeartbeatPage:
    states = sorted(context.watched(), key=lambda each: each.silent_since is None)
    shown, following = page_of(states, query)
    return HeartbeatPage(
        items=[_row(each) for each in shown], total=len(states), next=following, watching=not context.preview,
        deadman=_deadman(context, context.config().deadman),
    )  # fmt: skip


def _row(state: WatchState) -> HeartbeatRow:
    watched, heard = state.watched, state.heard
    is_watched = watched.within > 0
    return HeartbeatRow(
        heartbeat=watched.heartbeat or None, source=watched.source, state=_state(state),
        within=watched.within or None, receiver=watched.receiver, last_seen_at=heard.seen_at,
        silent_since=state.silent_since,
        silent_at=_silent_at(state) if is_watched and state.silent_since is None else None,
    )  # fmt: skip


def _state(state: WatchState) -> WatchStateName:
    if not state.watched.within:
        return "not watched"
    if state.silent_since is not None:
        return "silent"
    return "not seen yet" if state.heard.seen_at is None else "in time"


def _silent_at(state: WatchState) -> Millis:
    return state.heard.counts_from + state.watched.within


def _deadman(context: AppContext, settings: DeadmanSettings | None) -> DeadmanAnswer | None:
    if settings is None:
        return None
    state = context.deadman()
    return DeadmanAnswer(
        every=settings.every, tried_at=state.tried_at, succeeded_at=state.succeeded_at, withheld=state.withheld,
        failure=state.failure,
    )  # fmt: skip


LIST_HEARTBEATS = Endpoint(
    "GET",
    "/api/v1/heartbeats",
    list_heartbeats,
    PageQuery,
    HeartbeatPage,
    "When each heartbeat last came, and each source last posted; and the pings of the dead man's switch.",
)
ENDPOINTS = (LIST_HEARTBEATS,)
