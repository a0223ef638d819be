"""Objectives: how many events were good, how much of the error budget is left, and how fast it is used up."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, Field

from router.core.error_budget import budget_of, burn_rate, good_ratio
from router.model import (
    ANSWERED_WITHIN,
    ANY_WITHIN,
    DAY,
    HOUR,
    OF_CHANGES,
    OF_WEBHOOKS,
    URGENT_WITHIN,
    Millis,
    Objective,
    Targets,
)
from router.store.delivery_hours import hour_of
from router.web.api.alert_parameters import Text
from router.web.api.cursors import Query
from router.web.api.endpoint import Endpoint
from router.web.api.moment_parameters import wrong_parameter
from router.web.app_context import AppContext

_BURN_PERIODS: dict[str, Millis] = {"1h": HOUR, "6h": 6 * HOUR, "3d": 3 * DAY}
_LIMITS: dict[Objective, Millis] = {
    Objective.ANSWERED: ANSWERED_WITHIN,
    Objective.URGENT_IN_TIME: URGENT_WITHIN,
    Objective.IN_TIME: ANY_WITHIN,
}


class ObjectiveQuery(Query):
    """Whose objectives."""

    tenant: Annotated[
        Text | None, Field(description="Only this tenant; without it, all together and each tenant.")
    ] = None


class BudgetAnswer(BaseModel):
    """The bad events that the target allows in the window."""

    allowed: float = Field(description="How many events may be bad.")
    left: float = Field(description="How many more may be bad; below 0: the budget is used up.")
    left_share: float | None = Field(
        description="The part that is left: 1 is all of it; below 0: it is used up. Null: no events."
    )


class ObjectiveAnswer(BaseModel):
    """An objective of a tenant, or of all together."""

    objective: str = Field(description="accepted, answered, urgent_in_time, in_time or delivered.")
    tenant: str = Field(description="Empty: all together.")
    target: float = Field(description="The share of events that must be good, like 0.999.")
    within: Millis | None = Field(description="How long a good event may take; null: it is not about time.")
    good: int
    bad: int
    ratio: float | None = Field(description="The share of good events; null: there were none.")
    is_met: bool | None = Field(description="Whether the ratio reaches the target; null: no events.")
    budget: BudgetAnswer
    burn_rates: dict[str, float | None] = Field(
        description="How fast the budget is used up, over the last 1h, 6h and 3d and the rest of the first hour: 1 uses all of it in one window. Null: no events."
    )


class OverdueAnswer(BaseModel):
    """What is due and not delivered although its time has passed. It is counted when it is settled."""

    conversations: int
    urgent: int = Field(description="Those with an alert of the most urgent level.")
    is_exact: bool = Field(description="False: there are more.")
    oldest: Millis | None = Field(description="When the first of them was due; null: there is none.")


class ObjectivesAnswer(BaseModel):
    """All objectives."""

    window: Millis = Field(description="How long the window is (ms). It ends now.")
    since: Millis = Field(description="The beginning of the window, which is that of an hour.")
    counted_since: Millis | None = Field(description="The first hour with counts; null: there is none yet.")
    tenants: list[str] = Field(description="All tenants; empty: none are configured.")
    objectives: list[ObjectiveAnswer]
    overdue: OverdueAnswer = Field(description="Of all tenants together.")


class DayAnswer(BaseModel):
    """The events of a day."""

    at: Millis = Field(description="The beginning of the day (UTC).")
    good: int
    bad: int


class ObjectiveHistory(BaseModel):
    """The days of an objective, the oldest first. Days without events are left out."""

    objective: str
    days: list[DayAnswer]


class HistoryAnswer(BaseModel):
    """The days of all objectives."""

    since: Millis
    until: Millis
    history: list[ObjectiveHistory]


Events = dict[tuple[str, str], tuple[tuple[int, int], ...]]
"""By objective and tenant: good and bad events of the window, and of each period of a burn rate."""


async def list_objectives(context: AppContext, query: ObjectiveQuery) -> ObjectivesAnswer:
    targets, tenants, now = context.config().targets, context.policy().tenants.names, context.clock.now()
    _check_tenant(tenants, query.tenant)
    starts = (now - targets.window, *(now - period for period in _BURN_PERIODS.values()))
    counts, first, overdue = await context.store.pages.objectives(
        starts, now - URGENT_WITHIN, now - ANY_WITHIN
    )
    events: Events = {}
    for each in counts:
        for tenant in {"", each.tenant}:  # "" is the sum of all
            before = events.get((each.objective, tenant), ((0, 0),) * len(starts))
            events[each.objective, tenant] = tuple(
                (good + more, bad + worse)
                for (good, bad), (more, worse) in zip(before, each.events, strict=True)
            )
    return ObjectivesAnswer(
        window=targets.window, since=hour_of(now - targets.window), counted_since=first, tenants=list(tenants),
        objectives=list(_answers(targets, events, tenants, query.tenant)),
        overdue=OverdueAnswer(
            conversations=overdue.count, urgent=overdue.urgent, is_exact=overdue.is_exact, oldest=overdue.oldest
        ),
    )  # fmt: skip


def _check_tenant(tenants: tuple[str, ...], tenant: str | None) -> None:
    """:raises ApiError: there is no such tenant"""
    if tenant is not None and tenant not in tenants:
        known = ", ".join(tenants[:10]) or "none are configured"
        raise wrong_parameter("tenant", f"there is no such tenant; tenants are: {known}")


def _answers(
    targets: Targets, events: Events, tenants: Iterable[str], only: str | None
) -> Iterable[ObjectiveAnswer]:
    if only is None:
        for objective in (*OF_WEBHOOKS, *OF_CHANGES):
            yield _answer(targets, objective, "", events)
    for tenant in tenants if only is None else (only,):
        for objective in OF_CHANGES:
            yield _answer(targets, objective, tenant, events)


def _answer(targets: Targets, objective: Objective, tenant: str, events: Events) -> ObjectiveAnswer:
    (good, bad), *recent = events.get((objective, tenant), ((0, 0),) * (1 + len(_BURN_PERIODS)))
    percent, ratio = targets.percent(objective, tenant), good_ratio(good, bad)
    budget = budget_of(percent, good, bad)
    return ObjectiveAnswer(
        objective=objective, tenant=tenant, target=targets.ratio(objective, tenant), within=_LIMITS.get(objective),
        good=good, bad=bad, ratio=ratio, is_met=None if ratio is None else budget.left >= 0,
        budget=BudgetAnswer(allowed=budget.allowed, left=budget.left, left_share=budget.left_share),
        burn_rates={
            name: burn_rate(percent, *counts) for name, counts in zip(_BURN_PERIODS, recent, strict=True)
        },
    )  # fmt: skip


async def get_objective_history(context: AppContext, query: ObjectiveQuery) -> HistoryAnswer:
    _check_tenant(context.policy().tenants.names, query.tenant)
    now = context.clock.now()
    since = hour_of(now - context.config().targets.window)
    days: dict[str, list[DayAnswer]] = {
        each: [] for each in ((*OF_WEBHOOKS, *OF_CHANGES) if query.tenant is None else OF_CHANGES)
    }
    for objective, at, good, bad in await context.store.pages.objective_days(since, query.tenant):
        if objective in days:
            days[objective].append(DayAnswer(at=at, good=good, bad=bad))
    return HistoryAnswer(
        since=since, until=now,
        history=[ObjectiveHistory(objective=name, days=found) for name, found in days.items()],
    )  # fmt: skip


LIST_OBJECTIVES = Endpoint(
    "GET", "/api/v1/slo", list_objectives, ObjectiveQuery, ObjectivesAnswer,
    "The objectives of the router: good and bad events, the error budget that is left, and burn rates.",
)  # fmt: skip
GET_OBJECTIVE_HISTORY = Endpoint(
    "GET", "/api/v1/slo/history", get_objective_history, ObjectiveQuery, HistoryAnswer,
    "The good and bad events of each day of the window.",
)  # fmt: skip
ENDPOINTS = (LIST_OBJECTIVES, GET_OBJECTIVE_HISTORY)
