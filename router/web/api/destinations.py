"""Destinations: how each one is, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from router.channels import REGISTRY
from router.decide import Policy
from router.model import Millis
from router.store.destination_history import DestinationHistory, EndedAttempt
from router.web.api.cursors import Page, PageQuery, encode_cursor
from router.web.api.destination_actions import DestinationQuery
from router.web.api.destination_receivers import receivers_of
from router.web.api.destination_words import DestinationFacts, StateName, advice, describe
from router.web.api.endpoint import Endpoint
from router.web.api.problem_details import ApiError
from router.web.app_context import AppContext

_MAX_TEXT_CHARS = 1_000
_NO_HISTORY = DestinationHistory()
_NOTHING_DUE: Mapping[str, Any] = {"backlog": 0, "oldest_at": None, "backlog_more": False, "dead": 0}
_KEY_DESCRIPTION = "The destination's key, like ``slack:C0CRITICAL``."


class LastAttempt(BaseModel):
    """An attempt that ended."""

    model_config = ConfigDict(from_attributes=True)

    delivery: int = Field(description="The number of the delivery.")
    at: int = Field(description="When it ended.")
    outcome: str
    reason: str
    words: str = Field(description="The provider's answer.")


class DestinationReport(BaseModel):
    """How a destination is."""

    key: str = Field(description=_KEY_DESCRIPTION)
    name: str = Field(description="Its name for people.")
    channel: str
    receivers: list[str] = Field(description="The receivers in routes.yaml that have it.")
    is_in_rules: bool = Field(description="False: routes.yaml no longer has it, and it still gets ends.")
    state: StateName
    words: str = Field(description="The state in a sentence for people, in the timezone of the rules.")
    advice: str | None = Field(description="What to do about the state; null: nothing has to be done.")
    since: int | None = Field(
        description="Since when it fails or is paused; null: it does not, or not since a known time."
    )
    reason: str | None = Field(
        description="The last failure, in the provider's words; null: the last attempt did not fail."
    )
    last_success: int | None = Field(
        description="When a delivery last succeeded; null: none of its last attempts did."
    )
    last_failure: LastAttempt | None = Field(
        description="The last failed attempt; null: none of its last attempts failed."
    )
    next_try: int | None = Field(
        description="When something is tried next; null: nothing waits, or it waits for a person."
    )
    paused_until: int | None
    operator_pause_since: int | None = Field(
        description="Since when an operator pauses it; null: no operator does."
    )
    paused_by: str | None = Field(description="The operator who paused it.")
    backlog: int = Field(description="How many messages wait.")
    backlog_is_exact: bool = Field(description="False: more messages wait than ``backlog`` says.")
    oldest_at: int | None = Field(description="Since when the first of them waits.")
    empty_at: int | None = Field(
        description="When all of them will be sent; null: none waits, or a person has to act before."
    )
    dead_letters: int = Field(description="How many dead letters it has.")
    unsent_ends: int = Field(
        description="If routes.yaml no longer has it: of how many ends it has yet to be notified."
    )
    rate: str | None = Field(description="Its rate; null: no limit.")
    shared_rate: str | None = Field(description="The rate of its section of ``channels:``; null: no limit.")
    max_concurrency: int | None = Field(description="How many deliveries are sent to it at the same time.")
    storm_above: int | None = Field(description="A storm begins when more messages than this wait.")
    replica: str | None = Field(
        description="The replica that serves it; null: none does, or the database can have one only."
    )


class DestinationPage(Page[DestinationReport]):
    """A page of destinations."""

    states: dict[StateName, int] = Field(
        description="How many destinations are in each state, with all filters but the one of the state."
    )


class DestinationsQuery(PageQuery):
    """The parameters of the list of destinations."""

    state: Annotated[
        tuple[StateName, ...],
        Field(max_length=len(StateName), description="Only those in one of these states."),
    ] = ()
    channel: Annotated[
        str | None, Field(max_length=_MAX_TEXT_CHARS, description="Only those of this channel.")
    ] = None
    receiver: Annotated[
        str | None, Field(max_length=_MAX_TEXT_CHARS, description="Only those of this receiver.")
    ] = None
    search: Annotated[
        str | None, Field(max_length=_MAX_TEXT_CHARS, description="Only those with this text in their key, name or receivers.")
    ] = None  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Known:
    """A destination as it is known without its history."""

    lane: Mapping[str, Any]
    """See :meth:`router.deliver.Lanes.describe`."""
    facts: DestinationFacts
    name: str
    receivers: tuple[str, ...]

    @property
    def order(self) -> tuple[int, str]:
        """The most urgent state first, then by key."""
        return self.facts.state.rank, self.facts.key

    def matches(self, query: DestinationsQuery) -> bool:
        """Return whether it meets all filters but the one of the state."""
        texts = (self.facts.key, self.name, *self.receivers)
        return (
            (query.channel is None or query.channel == self.lane["channel"])
            and (query.receiver is None or query.receiver in self.receivers)
            and (query.search is None or any(query.search.casefold() in text.casefold() for text in texts))
        )


async def list_destinations(context: AppContext, query: DestinationsQuery) -> DestinationPage:
    cursor, now = query.after(int, str), context.clock.now()
    found = [each for each in await _known_destinations(context, now) if each.matches(query)]
    states = Counter(each.facts.state for each in found)
    wanted = [each for each in found if not query.state or each.facts.state in query.state]
    wanted.sort(key=lambda each: each.order)
    left = [each for each in wanted if cursor is None or each.order > cursor]
    shown = await _with_history(context, left[: query.limit], now)
    more = len(left) > query.limit
    return DestinationPage(
        items=shown, total=len(wanted), next=encode_cursor(left[query.limit - 1].order) if more else None,
        states={state: states[state] for state in StateName},
    )  # fmt: skip


async def read_destination(context: AppContext, query: DestinationQuery) -> DestinationReport:
    now = context.clock.now()
    found = await _known_destinations(context, now, query.key)
    if not found:
        raise ApiError(404, "there is no destination with this key, and no end is left to send to it")
    return (await _with_history(context, found, now))[0]


async def _known_destinations(context: AppContext, now: Millis, key: str | None = None) -> list[_Known]:
    """Return all destinations. :param key: only the one with this key"""
    due, used = await context.store.pages.lanes_and_used_destinations(now)
    policy = context.policy()
    receivers, routed = receivers_of(policy), _routed(policy) | _named_outside_routes(context)
    return [
        _known(lane, due.get(lane["destination"], _NOTHING_DUE), tuple(receivers.get(lane["destination"], ())), routed, used)
        for lane in context.lanes()
        if key in (None, lane["destination"])
    ]  # fmt: skip


def _routed(policy: Policy) -> frozenset[str]:
    """Return the receivers to which the rules send anything."""
    by_routes = {
        name for route, _, _ in policy.root.walk() for name in (route.receiver, route.outside_digest)
    }
    by_failures = {each.on_failure for each in policy.destinations.values()}
    return frozenset(name for name in (*by_routes, *by_failures, policy.operators) if name is not None)


def _named_outside_routes(context: AppContext) -> frozenset[str]:
    """Return the receivers that are notified of silence, and of a drill that fails."""
    drill = context.config().drill
    silent = (
        *(each.receiver for each in context.policy().watched.heartbeats),
        *(each.silent_receiver for each in context.sources()),
    )
    names = (*silent, None if drill is None else drill.report_to)
    return frozenset(name for name in names if name is not None)


def _known(
    lane: Mapping[str, Any], due: Mapping[str, Any], receivers: tuple[str, ...], routed: frozenset[str],
    used: frozenset[str],
) -> _Known:  # fmt: skip
    key = lane["destination"]
    title = _title(lane["channel"])
    facts = DestinationFacts(
        key=key, provider=title, is_named=bool(receivers), is_routed=not routed.isdisjoint(receivers), is_used=key in used,
        is_alive=lane["alive"], is_here=lane["is_here"], failing_since=lane["failing_since"], reason=lane["failing_reason"] or "",
        needs_repair=lane["needs_repair"], is_reported=lane["broken_since"] is not None,
        paused_until=lane["paused_until"], pause_reason=lane["pause_reason"] or "", is_rate_limited=lane["is_rate_limited"],
        paused_since=lane["paused_since"], paused_by=lane["paused_by"],
        last_success=lane["succeeded_at"], backlog=due["backlog"], backlog_is_exact=not due["backlog_more"],
        oldest_at=due["oldest_at"], a_minute=lane["a_minute"], dead_letters=due["dead"],
    )  # fmt: skip
    address = key.partition(":")[2] or key
    return _Known(lane, facts, f"{title} {address.replace(',', ', ')}", receivers)


def _title(channel: str) -> str:
    spec = REGISTRY.get(channel)
    return (spec.title if spec is not None else "") or channel


async def _with_history(context: AppContext, found: Sequence[_Known], now: Millis) -> list[DestinationReport]:
    pages, zone = context.store.pages, ZoneInfo(context.config().timezone)
    histories = await pages.destination_histories([each.facts.key for each in found])
    retired = [each.facts.key for each in found if not each.facts.is_named]
    ends = await pages.unsent_ends(retired) if retired else {}
    shown = []
    for each in found:
        history = histories.get(each.facts.key, _NO_HISTORY)
        successes = (
            each.facts.last_success,
            None if history.last_success is None else history.last_success.at,
        )
        facts = replace(
            each.facts, last_success=max((at for at in successes if at is not None), default=None),
            next_at=history.next_at, unsent_ends=ends.get(each.facts.key, 0),
        )  # fmt: skip
        shown.append(_state(each, facts, history.last_failure, now, zone))
    return shown


def _state(
    known: _Known, facts: DestinationFacts, last_failure: EndedAttempt | None, now: Millis, zone: ZoneInfo
) -> DestinationReport:
    lane = known.lane
    return DestinationReport(
        key=facts.key, name=known.name, channel=lane["channel"], receivers=list(known.receivers), is_in_rules=facts.is_named,
        state=facts.state, words=describe(facts, now, zone), advice=advice(facts), since=facts.since,
        reason=facts.reason or None, last_success=facts.last_success,
        last_failure=None if last_failure is None else LastAttempt.model_validate(last_failure),
        next_try=facts.next_try(now), paused_until=facts.paused_until, operator_pause_since=facts.paused_since, paused_by=facts.paused_by,
        backlog=facts.backlog, backlog_is_exact=facts.backlog_is_exact, oldest_at=facts.oldest_at, empty_at=facts.empty_at(now),
        dead_letters=facts.dead_letters, unsent_ends=facts.unsent_ends, rate=lane["rate"], shared_rate=lane["shared_rate"],
        max_concurrency=lane["max_concurrency"], storm_above=lane["storm_above"], replica=lane["replica"],
    )  # fmt: skip


LIST_DESTINATIONS = Endpoint(
    "GET", "/api/v1/destinations", list_destinations, DestinationsQuery, DestinationPage,
    "How each destination is, in words; the most urgent first.",
)  # fmt: skip
READ_DESTINATION = Endpoint(
    "GET", "/api/v1/destinations/{key}", read_destination, DestinationQuery, DestinationReport,
    "How one destination is, in words.", problems={404: "There is no such destination."},
)  # fmt: skip
ENDPOINTS = (LIST_DESTINATIONS, READ_DESTINATION)
