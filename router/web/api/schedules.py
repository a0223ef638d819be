"""When each time interval is open in the next days."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from router.decide.hours import NamedInterval
from router.model import Millis
from router.rules.timetable import Timetable, as_json, timetables
from router.web.api.cursors import Page, PageQuery, page_of
from router.web.api.endpoint import Endpoint
from router.web.app_context import AppContext


class SchedulesQuery(PageQuery):
    days: Annotated[int, Field(ge=1, le=62, description="How many days, from today.")] = 14


class DayOfInterval(BaseModel):
    """A local day: 23 or 25 hours where the clocks change."""

    date: str
    weekday: str
    starts_at: int
    ends_at: int
    open: list[tuple[int, int]] = Field(description="Spans, from and to, in order.")
    open_local: list[tuple[str, str]] = Field(description="The same spans, as the zone's clocks show them.")
    ruler: list[tuple[int, str]] = Field(description="Every third hour: the instant, and the hour.")
    holiday: str | None
    clock: str | None = Field(description="How the clocks change.")


class IntervalSchedule(BaseModel):
    """The next days of a time interval."""

    name: str
    zone: str = Field(description="Its days are those of this zone.")
    other_zones: list[str] = Field(description="It has hours of these zones as well.")
    now: int
    open: bool = Field(description="It is open now.")
    changes_at: int | None = Field(description="When it opens or closes next; null: not in these days.")
    days: list[DayOfInterval]


class Schedules(Page[IntervalSchedule]):
    """The time intervals, in the order of the files."""


async def list_schedules(context: AppContext, query: SchedulesQuery) -> Schedules:
    intervals = list(context.policy().intervals.values())
    some, following = page_of(intervals, query)
    shown = await context.threads.run(_schedules, some, context.clock.now(), query.days)
    return Schedules(items=shown, total=len(intervals), next=following)


def _schedules(intervals: Sequence[NamedInterval], now: Millis, days: int) -> list[IntervalSchedule]:
    tables = timetables(intervals, now, days)
    found = []
    for table, data in zip(tables, as_json(tables), strict=True):
        is_open, changes_at = _state(table)
        found.append(IntervalSchedule(**data, open=is_open, changes_at=changes_at))
    return found


def _state(table: Timetable) -> tuple[bool, Millis | None]:
    """Return whether an interval is open now, and when that changes; None: not in these days."""
    spans: list[list[Millis]] = []
    for opens, closes in (span for day in table.days for span in day.open):
        if spans and spans[-1][1] == opens:  # it is open over midnight
            spans[-1][1] = closes
        else:
            spans.append([opens, closes])
    for opens, closes in spans:
        if opens <= table.now < closes:
            return True, closes if closes < table.days[-1].ends_at else None
        if table.now < opens:
            return False, opens
    return False, None


LIST_SCHEDULES = Endpoint(
    "GET",
    "/api/v1/schedules",
    list_schedules,
    SchedulesQuery,
    Schedules,
    "The next days of each time interval: when it is open.",
)
ENDPOINTS = (LIST_SCHEDULES,)
