"""The rules, pure. ``decide()`` takes labels and a moment, and returns a decision for each destination."""

from collections.abc import Callable, Iterator

from router.decide.heartbeats import Heartbeat, first_of
from router.decide.inhibition import Key, source_text
from router.decide.policy import (
    RECEIVER_LABEL,
    TEST_ALERTNAME,
    Matched,
    Outside,
    Policy,
    Route,
    Severity,
    is_test,
)
from router.model import Decision, DecisionKind, Destination, Labels, Millis

# If several routes name the same destination, the strongest decision counts.
_STRENGTH = {DecisionKind.SEND: 3, DecisionKind.HOLD: 2, DecisionKind.DIGEST: 1, DecisionKind.DROP: 0}

FindSource = Callable[[Key], Labels | None]
"""Returns the labels of a firing alert that mutes the alerts with a key; None: none fires."""


def nothing_fires(_key: Key) -> None:
    return None


def decide(
    labels: Labels,
    policy: Policy,
    now: Millis,
    source: FindSource = nothing_fires,
    about: frozenset[str] | None = None,
    identity: str = "",
    sender: str | None = None,
) -> tuple[Decision, ...]:
    """Return one decision for each destination that the route tree names, in the tree's order. A heartbeat has none.

    If several routes name the same destination, the strongest decision counts:
    send > hold (earliest opening) > digest > drop.

    :param source: finds a firing alert that mutes this one; for a two-sided key only one-sided sources count
    :param about: only for a self-alert: the keys of the broken destinations that it is about. These are left out. The
        self-alert goes to the receiver that its label ``receiver`` names, otherwise to the ``operators`` receiver. If
        all destinations of this receiver are broken, it goes where the route tree sends it; and if all of these are
        broken, to the receiver of the root route. A test (:data:`TEST_ALERTNAME`) goes to the receiver of its label only.
    :param identity: see :meth:`Policy.match`
    :param sender: the source that reports the alert; None: it is not known, and any source may send the heartbeats
    """
    matched = policy.match(labels, identity, own=about is not None)
    if matched.heartbeats and first_of(matched.heartbeats, sender) is not None:
        return ()
    # An alert that some rule may mute waits a little for its source to arrive; the most urgent level does not wait.
    wait = policy.inhibit_wait if matched.muted_by and policy.severity.rank(matched.level) > 0 else 0
    strongest: dict[str, Decision] = {}
    for routes in matched.ways:
        for decision in (each for route in routes for each in _decisions_of_route(route, policy, now, wait)):
            key = decision.destination.key
            if key in (about or ()):
                continue
            if key not in strongest or _strength(decision) > _strength(strongest[key]):
                strongest[key] = decision
        if strongest:
            break
    for inhibition in matched.muted_by:
        if (inhibitor := source(inhibition)) is not None:
            reason = f"inhibited by {source_text(inhibitor, labels)} ({inhibition.rule.name})"
            return tuple(
                each if each.kind is DecisionKind.DROP else _muted(each, inhibition, reason)
                for each in strongest.values()
            )
    return tuple(strongest.values())


def _decisions_of_route(route: Route, policy: Policy, now: Millis, wait: Millis) -> Iterator[Decision]:
    closed = route.hours is not None and not route.hours.is_open(now)
    why = route.hours.closed_by(now) if route.hours is not None and closed else ""
    for destination in policy.destinations_of(route, route.receiver):
        repeat = route.repeats(destination, open_=not closed or route.outside is Outside.SEND)
        if closed and route.outside is Outside.DROP:
            yield Decision(destination, DecisionKind.DROP, None, route.path, f"{why}, dropped", repeat=repeat)
        elif destination.digest:
            yield _digest_decision(destination, policy, now, route.path, why)
        elif not closed or route.outside is Outside.SEND:
            reason = f"{why}, sent anyway" if closed else f"to {route.receiver}"
            yield Decision(destination, DecisionKind.SEND, now + wait, route.path, reason, repeat=repeat)
        elif route.outside is Outside.HOLD:
            yield _hold_decision(destination, route, now, wait, why)
    if closed and route.outside is Outside.DIGEST and route.outside_digest is not None:
        for destination in policy.receivers[route.outside_digest]:
            if destination.digest:
                yield _digest_decision(destination, policy, now, route.path, why)


def _hold_decision(destination: Destination, route: Route, now: Millis, wait: Millis, why: str) -> Decision:
    opening = route.hours.next_opening(now) if route.hours is not None else None
    if opening is None or route.hours is None:
        reason = f"{why}, which never opens again: sent immediately"
        repeat = route.repeats(destination, open_=True)
        return Decision(destination, DecisionKind.SEND, now + wait, route.path, reason, repeat=repeat)
    return Decision(
        destination, DecisionKind.HOLD, opening, route.path, f"{why}, held until {route.hours.describe(opening)}",
        repeat=route.repeats(destination, open_=False),
    )  # fmt: skip


def _digest_decision(destination: Destination, policy: Policy, now: Millis, rule: str, why: str) -> Decision:
    reason = f"{why}, for the next digest" if why else "for the next digest"
    return Decision(
        destination, DecisionKind.DIGEST, policy.schedules[destination.key].next(now), rule, reason
    )


def _muted(decision: Decision, key: Key, reason: str) -> Decision:
    repeat = decision.repeat if decision.destination.machine else None
    return Decision(
        decision.destination, DecisionKind.INHIBITED, None, decision.rule, reason, key.text, repeat
    )


def _strength(decision: Decision) -> tuple[int, Millis]:
    return _STRENGTH[decision.kind], -(decision.at or 0)


__all__ = [
    "RECEIVER_LABEL",
    "TEST_ALERTNAME",
    "FindSource",
    "Heartbeat",
    "Matched",
    "Outside",
    "Policy",
    "Route",
    "Severity",
    "decide",
    "is_test",
    "nothing_fires",
]
