"""Intended differences between the present results and the recorded ones, each with its reason.

An entry is as narrow as possible, because no other test checks what it hides. ``python -m tests.histories replay`` prints how
many histories need each entry; delete an entry that no history needs.
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
    """One line: what the present store does, and what the recorded one did."""
    why: str
    """The reason, and why it harms no user."""
    see: Callable[[JobResult, JobResult], tuple[JobResult, JobResult]] = _as_it_is
    """Takes the recorded and the present result of a step, and returns the parts that are left to compare. It does not
    change its arguments.
    """
    excuses: Callable[[Step, JobResult, JobResult], bool] = _never
    """Takes a step (empty: the end), its recorded and its present result, and returns whether they differ in this way. Later
    steps of the history may differ because of it and are not compared.
    """


def _claims(result: JobResult) -> list[str]:
    """Return the claims as text, without numbers that depend on the order of claims."""
    claims = (
        {name: value for name, value in each.items() if name not in _NUMBERED}
        for each in result.get("claims", [])
    )
    return [json.dumps(each, sort_keys=True) for each in claims]


_NUMBERED = ("key", "remote")


def _ordered_otherwise(step: Step, recorded: JobResult, replayed: JobResult) -> bool:
    """Return whether the first claims that differ have only changed their order. Later claims may differ more, because the
    outcomes of a step are assigned to its claims in their order.
    """
    was, now = _claims(recorded), _claims(replayed)
    if step.get("do") == "claim":  # of one conversation
        return len(was) == len(now) == 1 and was != now
    first = next((at for at, (old, new) in enumerate(zip(was, now, strict=False)) if old != new), None)
    return first is not None and was[first] in now[first:] and now[first] in was[first:]


def _without_due_since(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    """Ignore the time since when something is due, if it is earlier now."""
    was, now = recorded.get("backlog"), replayed.get("backlog")
    if was is None or now is None or [each[:2] for each in was] != [each[:2] for each in now]:
        return recorded, replayed
    if any(new[2] > old[2] for old, new in zip(was, now, strict=True)):
        return recorded, replayed
    return {**recorded, "backlog": now}, replayed


def _without_earlier_looks(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    """Ignore the times at which a lane looks again, if they are earlier now."""
    was, now = recorded.get("idle until", {}), replayed.get("idle until", {})
    left = {key: at for key, at in was.items() if at is None or now.get(key) is None or now[key] >= at}
    if was == left:
        return recorded, replayed
    gone = was.keys() - left.keys()
    kept = {key: at for key, at in now.items() if key not in gone}
    return {**recorded, "idle until": left}, {**replayed, "idle until": kept}


def _by_the_first_source(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    """Reduce the openings of each source to the first one."""
    openings = recorded.get("openings")
    if not isinstance(openings, dict):
        return recorded, replayed
    return {**recorded, "openings": min(openings.values(), default=None)}, replayed


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "conversations of one priority are claimed in the order of ``next_at``; before, in the order of ``due_at``",
        "The end of the backoff after a failure decides the position of a conversation, so that the order is one index.",
        excuses=_ordered_otherwise,
    ),
    Difference(
        "the time since when a conversation is due may be that of a member that is no longer due",
        "It is a lower bound. The exact time would need all alerts of the group at each change. A claim corrects it.",
        see=_without_due_since,
    ),
    Difference(
        "a lane may look for work before there is any",
        "For the same reason: the earliest time at which a member was due decides the position of a conversation.",
        see=_without_earlier_looks,
    ),
    Difference(
        "there is one next opening for all sources; before, each source had its own",
        "It is the first entry of an index. Every source is asked before it what still fires, some once more than necessary.",
        see=_by_the_first_source,
    ),
)
