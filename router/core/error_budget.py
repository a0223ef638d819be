"""Error budgets: how many bad events an objective allows, how many are left, and how fast they are used up.

The formulas are in docs/slo.md. All functions are exact: shares are decimals, and results are rounded only at the end.
"""

from dataclasses import dataclass
from decimal import Decimal

_DIGITS = 6
_ALL = Decimal(100)


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """The bad events that an objective allows among those of its window."""

    allowed: float
    """How many events may be bad; not always a whole number."""
    left: float
    """How many more may be bad; below 0: the budget is used up."""
    left_share: float | None
    """The part of the budget that is left, 1: all of it; below 0: it is used up. None: there were no events."""


def budget_of(percent: Decimal, good: int, bad: int) -> ErrorBudget:
    """Return the error budget of a window.

    :param percent: how many percent of all events must be good; more than 0 and less than 100
    """
    allowed = (_ALL - percent) / 100 * (good + bad)
    left = allowed - bad
    return ErrorBudget(_rounded(allowed), _rounded(left), _rounded(left / allowed) if allowed else None)


def burn_rate(percent: Decimal, good: int, bad: int) -> float | None:
    """Return how fast the budget is used up; 1: in exactly one window. None: there were no events."""
    total = good + bad
    return None if not total else _rounded(Decimal(bad) / total / ((_ALL - percent) / 100))


def good_ratio(good: int, bad: int) -> float | None:
    """Return the share of good events, between 0 and 1; None: there were no events."""
    total = good + bad
    return None if not total else _rounded(Decimal(good) / total)


def _rounded(value: Decimal) -> float:
    return float(round(value, _DIGITS))
