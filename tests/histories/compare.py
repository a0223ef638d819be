"""Compares the results of a history with the recorded ones, and shows the first difference."""

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.histories.data import JobResult, Recorded, Step
from tests.histories.differences import DIFFERENCES, Difference


@dataclass(frozen=True)
class Comparison:
    problem: str = ""
    """The first unintended difference, with the steps before it; empty: there is none."""
    needed: frozenset[str] = frozenset()
    """The intended differences that occurred."""


def compare(
    recorded: Recorded, replayed: list[JobResult], intended: tuple[Difference, ...] = DIFFERENCES
) -> Comparison:
    needed: set[str] = set()
    steps = [*recorded["steps"], {}]
    unbalanced = [number for number, result in enumerate(replayed) if "imbalance" in result.get("ledger", {})]
    for number, (step, was, now) in enumerate(zip(steps, recorded["results"], replayed, strict=True)):
        if was == now:
            continue
        left = was, now
        for each in intended:
            seen = each.see(*left)
            if seen != left:
                needed.add(each.what)
            left = seen
        if left[0] == left[1]:
            continue
        excuse = next(
            (each.what for each in intended if each.excuses(step, *left, recorded["results"][:number])), None
        )
        if excuse is None:
            return Comparison(_shown(recorded, number, *left), frozenset(needed))
        needed.add(excuse)
        break
    if unbalanced:  # no entry excuses this
        number = unbalanced[0]
        problem = _shown(recorded, number, recorded["results"][number], replayed[number])
        return Comparison(problem, frozenset(needed))
    return Comparison(needed=frozenset(needed))


def _shown(recorded: Recorded, number: int, was: JobResult, now: JobResult) -> str:
    """Return the history up to the difference: ``-`` is recorded, ``+`` is the present result."""
    lines = [
        f"History {recorded['seed']} under {recorded['policy']}.yaml, from second {recorded['start']} on:"
    ]
    lines += [f"  alert {name}: {_json(labels)}" for name, labels in recorded["alerts"].items()]
    lines += [f"  group {name}: {_json(about)}" for name, about in recorded["groups"].items()]
    for done, (step, result) in enumerate(
        zip(recorded["steps"][:number], recorded["results"], strict=False), 1
    ):
        lines += [f"{done:3} {_step(step)}", *(f"      {line}" for line in _lines(result))]
    last = recorded["steps"][number] if number < len(recorded["steps"]) else None
    lines.append(f"{number + 1:3} {'in the end' if last is None else _step(last)}   <-- differs")
    difference = difflib.ndiff(list(_lines(was)), list(_lines(now)))
    return "\n".join([*lines, *(f"    {line}" for line in difference if not line.startswith("?"))])


def _step(step: Step) -> str:
    given = (f"{name}={_json(value)}" for name, value in step.items() if name != "do")
    return " ".join((step["do"], *given))


def _lines(result: JobResult) -> Iterator[str]:
    """Yield a line for each claim, count, dead letter, and so on."""
    for name, value in result.items():
        several: Iterable[str] = (
            map(_json, value)
            if isinstance(value, list)
            else (f"{key}: {_json(each)}" for key, each in value.items())
            if isinstance(value, dict)
            else (_json(value),)
        )
        yield from (f"{name}: {each}" for each in several)


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
