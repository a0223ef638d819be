"""Figures, and what is computed from them: medians, spreads, and ratios to goals."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ROUTER = "router"


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound for the router's figure: at least or at most ``bound``, or ``bound`` times the figure of ``beside``."""

    least: bool
    bound: float
    beside: str | None = None


def at_least(bound: float, beside: str | None = None) -> Goal:
    return Goal(least=True, bound=bound, beside=beside)


def at_most(bound: float, beside: str | None = None) -> Goal:
    return Goal(least=False, bound=bound, beside=beside)


@dataclass(slots=True)
class Measure:
    """One row of the table: the figures of each round, by the measured system."""

    row: str
    what: str
    unit: str
    goal: Goal | None = None
    figures: dict[str, list[float]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        return f"{self.what}, {self.unit}" if self.unit else self.what

    def add(self, who: str, figure: float) -> None:
        self.figures.setdefault(who, []).append(figure)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def achieved(self) -> float | None:
        """Return the figure to compare with the goal: the median, or the median of the ratios of each round."""
        own = self.figures.get(ROUTER, [])
        if self.goal is None or not own:
            return None
        if self.goal.beside is None:
            return statistics.median(own)
        return ratio(own, self.figures.get(self.goal.beside, []))

    def margin(self) -> float | None:
        """Return how many times better than the goal the figure is; below 1, the goal is missed."""
        achieved = self.achieved()
        if achieved is None or self.goal is None:
            return None
        if self.goal.least:
            return achieved / self.goal.bound
        return math.inf if achieved == 0 else self.goal.bound / achieved

    def line(self) -> str:
        """Return a line for the terminal."""
        parts = [f"{who} {median_and_spread(values)}" for who, values in self.figures.items()]
        achieved = self.achieved()
        end = "" if achieved is None else f" [{shown(achieved)}]"
        return f"{self.title}: {', '.join(parts)}{end} {'; '.join(self.notes)}".rstrip()

    def as_json(self) -> Mapping[str, Any]:
        goal = self.goal and {"least": self.goal.least, "bound": self.goal.bound, "beside": self.goal.beside}
        return {
            "row": self.row, "what": self.what, "unit": self.unit, "figures": self.figures, "goal": goal,
            "achieved": self.achieved(), "notes": self.notes,
        }  # fmt: skip


def ratio(own: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the median of the ratios of the rounds. Figures of one round were measured one after the other."""
    ratios = [a / b for a, b in zip(own, other, strict=False) if b]
    return statistics.median(ratios) if ratios else None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that ``percent`` percent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def shown(value: float) -> str:
    """Return the value with three digits: a noisy machine gives no more."""
    if math.isinf(value):
        return "∞"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def median_and_spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    middle = shown(statistics.median(values))
    if len(values) == 1 or min(values) == max(values):
        return middle
    return f"{middle} ({shown(min(values))}–{shown(max(values))})"
