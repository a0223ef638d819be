"""What a store may make of a history that differs from what was recorded: each difference with its reason.

An entry is as narrow as can be: what it hides, nothing else looks at.
``python -m tests.histories replay`` says how many histories each entry is needed for; one that none needs is deleted.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from tests.histories.data import JobResult, Step


def _as_it_is(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    return recorded, replayed


def _never(step: Step, recorded: JobResult, replayed: JobResult) -> bool:
    return False


@dataclass(frozen=True)
class Difference:
    what: str
    """One line: the recorded store does this, the present one that."""
    why: str
    """The reason, and why nobody is worse off."""
    see: Callable[[JobResult, JobResult], tuple[JobResult, JobResult]] = _as_it_is
    """Of what a step showed when it was recorded, and what it shows now: what is left to compare. It changes nothing in
    place.
    """
    excuses: Callable[[Step, JobResult, JobResult], bool] = _never
    """By the step (empty: the end), what it showed when it was recorded, and what it shows now: whether this is that
    difference. All that comes after it in that history may differ because of it, and is not compared.
    """


def _claims(result: JobResult) -> list[str]:
    """Without the numbers that are given in the order of claims."""
    claims = (
        {name: value for name, value in each.items() if name not in _NUMBERED}
        for each in result.get("claims", [])
    )
    return [json.dumps(each, sort_keys=True) for each in claims]


_NUMBERED = ("key", "remote")


def _ordered_otherwise(step: Step, recorded: JobResult, replayed: JobResult) -> bool:
    """The first claims that differ are two of one destination that changed places. What comes after them may differ
    more: the outcomes of a step go to its claims by their order.
    """
    was, now = _claims(recorded), _claims(replayed)
    if step.get("do") == "claim":  # of one conversation
        return len(was) == len(now) == 1 and was != now
    first = next((at for at, (old, new) in enumerate(zip(was, now, strict=False)) if old != new), None)
    return first is not None and was[first] in now[first:] and now[first] in was[first:]


def _without_due_since(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    """Without the moment since when something is due, where it is earlier now."""
    was, now = recorded.get("backlog"), replayed.get("backlog")
    if was is None or now is None or [each[:2] for each in was] != [each[:2] for each in now]:
        return recorded, replayed
    if any(new[2] > old[2] for old, new in zip(was, now, strict=True)):
        return recorded, replayed
    return {**recorded, "backlog": now}, replayed


def _without_earlier_looks(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    """Without the moments at which a lane looks again, where they are earlier now."""
    was, now = recorded.get("idle until", {}), replayed.get("idle until", {})
    left = {key: at for key, at in was.items() if at is None or now.get(key) is None or now[key] >= at}
    if was == left:
        return recorded, replayed
    gone = was.keys() - left.keys()
    kept = {key: at for key, at in now.items() if key not in gone}
    return {**recorded, "idle until": left}, {**replayed, "idle until": kept}


def _by_the_first_source(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    """With the first opening of those that each source has."""
    openings = recorded.get("openings")
    if not isinstance(openings, dict):
        return recorded, replayed
    return {**recorded, "openings": min(openings.values(), default=None)}, replayed


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "conversations of one priority are claimed in the order in which they may be sent; before, in that of when they became due",
        "A conversation that waits after a failure stands in the order by the end of its wait, so that the order is one index.",
        excuses=_ordered_otherwise,
    ),
    Difference(
        "the moment since when a conversation is due may be that of a member that is due no more",
        "It is a bound: to know it exactly, every change would look at all alerts of the group. A claim corrects it.",
        see=_without_due_since,
    ),
    Difference(
        "a lane may look for work earlier than there is some",
        "For the same reason: a conversation stands in the order at the earliest moment at which something of it was due.",
        see=_without_earlier_looks,
    ),
    Difference(
        "the next opening is that of all sources; before, each source had its own",
        "It is the first entry of an index. Every source is asked before it what still fires: once more than it has to be.",
        see=_by_the_first_source,
    ),
)
