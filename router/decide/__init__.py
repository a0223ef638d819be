"""The rules, pure. ``decide()`` is the door: labels and a moment in, a decision for each destination out."""

from dataclasses import dataclass

from router.decide.policy import Outside, Policy, Route, Severity
from router.model import Decision, Labels, Millis


@dataclass(frozen=True, slots=True)
class Inhibitor:
    """The firing alert that mutes the one in question: by which key, and its fingerprint."""

    key: str
    rule: str
    fingerprint: str


def decide(labels: Labels, policy: Policy, now: Millis, inhibitor: Inhibitor | None = None) -> tuple[Decision, ...]:
    """One decision for each destination that the route tree names, in the tree's order.

    Several routes that name the same destination count once, by the strongest verdict:
    send > hold (earliest opening) > digest > drop.
    """
    raise NotImplementedError


__all__ = ["Inhibitor", "Outside", "Policy", "Route", "Severity", "decide"]
