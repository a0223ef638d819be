"""Pairs the messages that providers accepted with the attempts of the ledger that were under way then."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from router.model import Millis
from tests.database import rows

_LOST_ANSWERS = frozenset({"connection failed", "disconnected", "timeout"})
"""The reasons of attempts that ended without an answer."""


class Attempt(NamedTuple):
    started: Millis
    finished: float
    outcome: str
    reason: str


def paired(moments: list[Millis], attempts: list[Attempt]) -> list[Attempt | None]:
    """Return for each moment an attempt that was under way then. Each attempt is used for one moment at most.

    As many moments as possible have an attempt, and as many of these as possible were delivered. The algorithm extends a
    matching along augmenting paths.
    """
    chosen: dict[int, int] = {}
    """The number of the attempt, by the number of its moment."""

    def extend(attempt: int, tried: set[int]) -> bool:
        started, finished, _, _ = attempts[attempt]
        for number, at in enumerate(moments):
            if started <= at <= finished and number not in tried:
                tried.add(number)
                if number not in chosen or extend(chosen[number], tried):
                    chosen[number] = attempt
                    return True
        return False

    for attempt in sorted(range(len(attempts)), key=lambda each: attempts[each].outcome != "delivered"):
        extend(attempt, set())
    return [attempts[chosen[number]] if number in chosen else None for number in range(len(moments))]


def attempts_of(database: Path | str, *, may_wake_up: bool = False) -> dict[str, list[Attempt]]:
    """Return the attempts by destination, in order, with their times and outcomes.

    :param may_wake_up: the process of an interrupted attempt may have been stalled: what it sends can arrive at any time later
    """
    found: dict[str, list[Attempt]] = {}
    attempts = "SELECT destination, started_at, finished_at, outcome, reason FROM deliveries ORDER BY id"
    for destination, started, finished, outcome, reason in rows(database, attempts):
        key = "pagerduty" if destination.startswith("pagerduty:") else destination
        is_open = finished is None or (may_wake_up and outcome == "interrupted")
        until = math.inf if is_open else finished
        found.setdefault(key, []).append(Attempt(started, until, outcome, reason))
    return found


def causes_of_duplicates(
    taken: Iterable[tuple[str, Millis]], attempts: Mapping[str, list[Attempt]]
) -> Counter[str]:
    """Return the number of duplicates by cause: messages of attempts that are not recorded as delivered.

    :param taken: the destination and the time of each message that a provider accepted
    :raises AssertionError: a message arrived twice without such a cause
    """
    causes: Counter[str] = Counter()
    by_destination: dict[str, list[Millis]] = {}
    for destination, at in taken:
        by_destination.setdefault(destination, []).append(at)
    for destination, moments in by_destination.items():
        # An edit of Slack's message is followed by a reply in its thread.
        once = 2 if destination.startswith("slack:") else 1
        found = paired(moments, attempts.get(destination, []) * once)
        for at, attempt in zip(moments, found, strict=True):
            assert attempt, f"{destination} got a message twice, or before an attempt began, at {at}"
            if attempt.outcome != "delivered":
                causes[_cause(destination, attempt.outcome, attempt.reason)] += 1
    return causes


def without_an_answer(attempts: Mapping[str, list[Attempt]]) -> Counter[str]:
    """Return by destination how many attempts may have arrived without a record of it. Each can cause one repeat."""
    return Counter(
        destination
        for destination, several in attempts.items()
        for each in several
        if each.outcome == "interrupted" or each.reason in _LOST_ANSWERS
    )


def _cause(destination: str, outcome: str, reason: str) -> str:
    if outcome == "interrupted":
        return "killed before it was recorded"
    if reason in _LOST_ANSWERS:
        return "the answer was lost"
    assert destination.startswith("slack:"), f"{destination}: {outcome} {reason}, but the message arrived"
    return "the message was edited, and its reply failed"
