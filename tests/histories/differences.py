"""Intended differences between the present results and the recorded ones, each with its reason.

An entry is as narrow as possible, because no other test checks what it hides. ``python -m tests.histories replay`` prints how
many histories need each entry; delete an entry that no history needs.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.histories.data import JobResult, Step


def _as_it_is(recorded: JobResult, replayed: JobResult) -> tuple[JobResult, JobResult]:
    return recorded, replayed


Results = Sequence[JobResult]
"""The recorded results of the steps before."""


def _never(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    return False


@dataclass(frozen=True)
class Difference:
    what: str
    """One line: what the present store does, and what the recorded one did."""
    why: str
    """The reason, and why it harms no user."""
    seed: int
    """The seed of a short history that needs the entry. The suite plays it."""
    see: Callable[[JobResult, JobResult], tuple[JobResult, JobResult]] = _as_it_is
    """Takes the recorded and the present result of a step, and returns the parts that are left to compare. It does not
    change its arguments.
    """
    excuses: Callable[[Step, JobResult, JobResult, Results], bool] = _never
    """Takes a step (empty: the end), its recorded and its present result, and the recorded results of the steps before it.
    Returns whether they differ in this way. Later steps of the history may differ because of it and are not compared.
    """


def _claims(result: JobResult) -> list[str]:
    """Return the claims as text, without numbers that depend on the order of claims."""
    claims = (
        {name: value for name, value in each.items() if name not in _NUMBERED}
        for each in result.get("claims", [])
    )
    return [json.dumps(each, sort_keys=True) for each in claims]


_NUMBERED = ("key", "remote")


def _ordered_otherwise(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
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


def _without(result: JobResult, *names: str) -> JobResult:
    return {name: each for name, each in result.items() if name not in names}


def _moved(recorded: JobResult, replayed: JobResult) -> dict[str, dict[str, int]]:
    """Return how many more fates of each kind there are in the present ledger, by destination."""
    found: dict[str, dict[str, int]] = {}
    counts: Counter[str] = Counter(replayed.get("ledger", {}))
    counts.subtract(recorded.get("ledger", {}))
    for name, more in counts.items():
        if more:
            destination, _, fate = name.rpartition(" ")
            found.setdefault(destination, {})[fate] = more
    return found


def _fates(before: Results, name: str) -> int:
    """Return how many fates there are before a step. :param name: destination and fate"""
    return sum(each.get("ledger", {}).get(name, 0) for each in before)


def _only_moved(recorded: JobResult, replayed: JobResult, was: Iterable[str], now: Iterable[str]) -> bool:
    """Return whether only the ledger differs, and only by fates that were one of some kinds and now are one of others."""
    moved = _moved(recorded, replayed)
    return (
        bool(moved)
        and _without(recorded, "ledger") == _without(replayed, "ledger")
        and all(
            sum(fates.values()) == 0
            and all(fate in (was if more < 0 else now) for fate, more in fates.items())
            for fates in moved.values()
        )
    )


def _has(step: Step, status: str) -> bool:
    """Return whether a step posts an alert of this status."""
    return step.get("do") == "post" and any(each[1] == status for each in step["alerts"])


def _given_up_end_repeated(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    return (
        _has(step, "resolved")
        and _only_moved(recorded, replayed, ("delivered",), ("pending",))
        and all(
            _fates(before, f"{destination} dead") >= fates["pending"]
            for destination, fates in _moved(recorded, replayed).items()
        )
    )


def _end_sent_without_a_report(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    was, now = _claims(recorded), _claims(replayed)
    more = Counter(was) - Counter(now)
    return (
        bool(more)
        and Counter(now) <= Counter(was)
        # No fate was about these ends.
        and recorded.get("ledger") == replayed.get("ledger")
        and all(_is_end_of_one_alert(json.loads(claim), before) for claim in more)
    )


def _is_end_of_one_alert(claim: Mapping[str, Any], before: Results) -> bool:
    return (
        claim["to"].startswith(_PER_ALERT)
        and [" resolved " in each for each in claim["alerts"]] == [True]
        and _fates(before, f"{claim['to']} dead") > 0
    )


_PER_ALERT = "pagerduty:each-"
"""The beginning of the key of the destination that has a conversation for each alert."""


def _end_sent_during_a_doubt(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    return (
        _has(step, "firing")
        and not _has(step, "resolved")
        and "fired" not in replayed["ledger"]
        and _only_moved(recorded, replayed, ("pending",), ("delivered",))
        and all(
            key.startswith(_PER_ALERT) and _fates(before, f"{key} dead") for key in _moved(recorded, replayed)
        )
    )


def _released_by_a_report(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    return _has(step, "firing") and _only_moved(
        recorded, replayed, ("inhibited",), ("pending", "held", "digest")
    )


def _judged_by_its_own_claim(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    moved = _moved(recorded, replayed)
    looks, looks_now = recorded.get("idle until", {}), replayed.get("idle until", {})
    return (
        step.get("do") in {"claim", "deliver"}
        and bool(moved)
        and _without(recorded, "ledger", "idle until") == _without(replayed, "ledger", "idle until")
        and all(
            sum(fates.values()) == 0
            and fates.get("pending", 0) > 0
            and fates.keys() <= {"pending", "held", "dropped"}
            for fates in moved.values()
        )
        and not any(claim["to"] in moved for claim in replayed.get("claims", []))
        and {key for key in {*looks, *looks_now} if looks.get(key) != looks_now.get(key)} <= moved.keys()
    )


def _retried_by_former_rules(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    texts = "reasons", "waits because"
    return (
        not step
        and any(each.get("settled") == "retried" for each in before)
        and _without(recorded, *texts) == _without(replayed, *texts)
        and all(
            _without_rules(recorded.get(name, {})) == _without_rules(replayed.get(name, {})) for name in texts
        )
    )


def _without_rules(counts: Mapping[str, int]) -> Counter[str]:
    """Return how many have each reason, without the rule; a decision to send and a retry by hand are the same."""
    found: Counter[str] = Counter()
    for text, count in counts.items():
        found[re.sub(r"route[^:]*: ", "", re.sub(r": (to \w+|tried again by hand)$", ": sent", text))] += (
            count
        )
    return found


def _of_the_last_group(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    was, now = recorded.get("claims", []), replayed.get("claims", [])
    if _without(recorded, "claims") != _without(replayed, "claims") or len(was) != len(now):
        return False
    pairs = [(old, new) for old, new in zip(was, now, strict=True) if old != new]
    return bool(pairs) and all(
        _without(old, "alerts") == _without(new, "alerts") and _are_sent_twice(old, new, now)
        for old, new in pairs
    )


def _are_sent_twice(recorded: JobResult, replayed: JobResult, claims: Iterable[JobResult]) -> bool:
    """Return whether a present claim has more alerts, and the destination gets each of them for another group as well."""
    others = {
        alert
        for claim in claims
        if claim["to"] == replayed["to"] and claim["key"] != replayed["key"]
        for alert in claim["alerts"]
    }
    more = set(replayed["alerts"]) - set(recorded["alerts"])
    return set(recorded["alerts"]) <= set(replayed["alerts"]) and more <= others


def _due_at_a_gone_destination(step: Step, recorded: JobResult, replayed: JobResult, before: Results) -> bool:
    if step:
        return _has(step, "resolved") and _only_moved(recorded, replayed, ("pending",), ("dropped",))
    was, now = recorded["backlog"], replayed["backlog"]
    more = [each for each in was if each not in now]
    return (
        bool(more)
        and all(each in was for each in now)
        and _without(recorded, "backlog") == _without(replayed, "backlog")
        # No fate is open there.
        and not any(_fates(before, f"{destination} pending") for destination, *_ in more)
    )


DIFFERENCES: tuple[Difference, ...] = (
    Difference(
        "conversations of one priority are claimed in the order of ``next_at``; before, in the order of ``due_at``",
        "The end of the backoff after a failure decides the position of a conversation, so that the order is one index.",
        891,
        excuses=_ordered_otherwise,
    ),
    Difference(
        "the time since when a conversation is due may be that of a member that is no longer due",
        "It is a lower bound. The exact time would need all alerts of the group at each change. A claim corrects it.",
        387,
        see=_without_due_since,
    ),
    Difference(
        "a lane may look for work before there is any",
        "For the same reason: the earliest time at which a member was due decides the position of a conversation.",
        271,
        see=_without_earlier_looks,
    ),
    Difference(
        "there is one next opening for all sources; before, each source had its own",
        "It is the first entry of an index. Every source is asked before it what still fires, some once more than necessary.",
        90,
        see=_by_the_first_source,
    ),
    Difference(
        "an end that was given up is sent again when it is reported again; before, the report counted as delivered",
        "Decision 8: what was given up is tried again with Alertmanager's repeats. The destination still shows the firing.",
        909,
        excuses=_given_up_end_repeated,
    ),
    Difference(
        "the end of one alert that was given up is not sent again; before, any whole webhook of its group sent it",
        "The dead letter keeps it until someone retries it or the end is reported again. No fate was about these messages.",
        1286,
        excuses=_end_sent_without_a_report,
    ),
    Difference(
        "a doubted firing does not send the end of one alert again that was given up; before, any whole webhook did",
        "As above. The doubt is settled first: the alert fires again, or its end is reported again and then sent.",
        1834,
        excuses=_end_sent_during_a_doubt,
    ),
    Difference(
        "a report after a silence releases the alert in its other groups immediately; before, the next claim might do it",
        "Alertmanager sends the alert again. Without this, the members in other groups may wait for hours.",
        779,
        excuses=_released_by_a_report,
    ),
    Difference(
        "a claim may leave members of other conversations as they are; before, it judged all members of its alerts",
        "A claim judges only what rules, hours or inhibitors can have changed. The other members are judged by the claim of "
        "their own conversation, before anything of them is sent: they are then held or dropped as before.",
        1074,
        excuses=_judged_by_its_own_claim,
    ),
    Difference(
        "an alert of a retried dead letter keeps the reason and the rule that it had; before, its claim replaced them",
        "For the same reason. What is sent, and where, is the same. The rule is one of the fate's recorded configuration.",
        994,
        excuses=_retried_by_former_rules,
    ),
    Difference(
        "a destination of new rules is notified for the group that reported the alert last; before, for its oldest group",
        "The other group is shown when Alertmanager reports it again, in either case. The last report is the better guess.",
        1526,
        excuses=_of_the_last_group,
    ),
    Difference(
        "nothing is due at a destination that the rules no longer name and that the store does not keep; before, an end was",
        "The destination has no lane, so the end was due forever. The dead letter stays.",
        333,
        excuses=_due_at_a_gone_destination,
    ),
)
