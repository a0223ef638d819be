"""What was measured, and what is made of it: medians, spreads, and ratios to goals."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ROUTER = "router"


@dataclass(frozen=True, slots=True)
class Goal:
    """What the router's figure is to be: at least, or at most, ``bound``, or so many times the figure of ``beside``."""

    least: bool
    bound: float
    beside: str | None = None


def at_least(bound: float, beside: str | None = None) -> Goal:
    return Goal(least=True, bound=bound, beside=beside)


def at_most(bound: float, beside: str | None = None) -> Goal:
    return Goal(least=False, bound=bound, beside=beside)


@dataclass(slots=True)
class Measure:
    """One line of the table: a figure of each round, by who was measured."""

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
        """What the goal is about: the median figure, or the median of the ratios of each round."""
        own = self.figures.get(ROUTER, [])
        if self.goal is None or not own:
            return None
        if self.goal.beside is None:
            return statistics.median(own)
        return ratio(own, self.figures.get(self.goal.beside, []))

    def margin(self) -> float | None:
        """How many times better than the goal; below 1, it is missed."""
        achieved = self.achieved()
        if achieved is None or self.goal is None:
            return None
        if self.goal.least:
            return achieved / self.goal.bound
        return math.inf if achieved == 0 else self.goal.bound / achieved

    def line(self) -> str:
        """For people who wait."""
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
    """The median of the ratios of the rounds, whose figures were taken one after the other."""
    ratios = [a / b for a, b in zip(own, other, strict=False) if b]
    return statistics.median(ratios) if ratios else None


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of them don't exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def shown(value: float) -> str:
    """Three digits are what a noisy machine can give."""
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
