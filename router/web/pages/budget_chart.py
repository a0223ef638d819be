"""The chart of an error budget, as numbers for its template: what is left of it at the end of each day of the window."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from router.core.error_budget import budget_of
from router.model import DAY, SECOND, Millis, Objective, Targets
from router.web.api.objective_list import DayAnswer, ObjectiveAnswer

_WIDTH, _HEIGHT = 600, 100
_TICKS = 4


@dataclass(frozen=True, slots=True)
class BudgetDay:
    """A day of the window."""

    at: Millis
    name: str
    good: int
    bad: int
    left_percent: float
    """How much of the whole budget is left at its end; below 0: it is used up."""


@dataclass(frozen=True, slots=True)
class BudgetChart:
    """The whole chart. Lengths are in units of the SVG; the budget is used up at the bottom."""

    days: tuple[BudgetDay, ...]
    line: str
    """The points of the line, as the attribute ``points`` of a polyline."""
    area: str
    """The area below it, as the attribute ``points`` of a polygon."""
    ticks: tuple[str, ...]
    width: int
    height: int

    @property
    def busy_days(self) -> tuple[BudgetDay, ...]:
        """The days with events, the newest first."""
        return tuple(day for day in reversed(self.days) if day.good or day.bad)


def draw_budget(
    objective: ObjectiveAnswer, days: Sequence[DayAnswer], since: Millis, until: Millis, targets: Targets
) -> BudgetChart | None:
    """Return the chart of an objective; None: there were no events.

    :param days: with events, in order
    :param since: the beginning of the window (epoch ms)
    :param until: its end
    """
    total, by_day = sum(each.good + each.bad for each in days), {each.at: each for each in days}
    if not total:
        return None
    percent = targets.percent(Objective(objective.objective), objective.tenant)
    found: list[BudgetDay] = []
    bad = 0
    for at in range(since // DAY * DAY, until + 1, DAY):
        day = by_day.get(at)
        bad += day.bad if day is not None else 0
        share = budget_of(percent, total - bad, bad).left_share
        counts = (day.good, day.bad) if day is not None else (0, 0)
        found.append(BudgetDay(at, _day_name(at), *counts, round(100 * (share or 0), 1)))
    heights = [_HEIGHT * (1 - max(0.0, min(1.0, day.left_percent / 100))) for day in found]
    step = _WIDTH / len(found)
    points = ["0,0", *(f"{(number + 1) * step:.1f},{y:.1f}" for number, y in enumerate(heights))]
    ticks = dict.fromkeys(number * (len(found) - 1) // _TICKS for number in range(_TICKS + 1))
    return BudgetChart(
        tuple(found), " ".join(points), " ".join([f"0,{_HEIGHT}", *points, f"{_WIDTH},{_HEIGHT}"]),
        tuple(found[number].name for number in ticks), _WIDTH, _HEIGHT,
    )  # fmt: skip


def _day_name(at: Millis) -> str:
    return f"{datetime.fromtimestamp(at / SECOND, UTC):%a %d %b}"
