"""Outcomes that a replica records while other rules are in force than its own.

What happened to the attempt is a fact and is recorded. What follows from it for others is a decision: the failover, the next
slot of a digest, an end that is or is not sent. It is left to the replica that claims the conversation next, by the rules in
force.
"""

from dataclasses import replace

from router.core.state import State
from router.decide import Policy
from router.model import Broken, Delivered, Outcome, Rejected, Retry

_LEFT = "other rules are in force, so the next attempt decides"


def left_to_others(state: State, outcome: Outcome) -> Outcome:
    """Return the outcome to record. Nothing is given up by rules that are not in force: the next attempt gives it up."""
    if state.head.agrees:
        return outcome
    match outcome:
        case Rejected():
            words = f"{outcome.words}; {_LEFT}" if outcome.words else _LEFT
            return Retry(outcome.reason, words=words, ambiguous=outcome.ambiguous)
        case Delivered() if outcome.refused:
            # The recipients that were notified may be notified again. Otherwise no failover would be notified for those that
            # were refused.
            return Retry("refused for some recipients", words=_LEFT, ambiguous=True, reached=outcome.reached)
        case Retry() if outcome.refused:
            return replace(outcome, refused=(), late=(), remote=None, ambiguous=True, further=False)
        case Delivered() | Retry() | Broken():
            return outcome


def policy_for_outcomes(state: State, policy: Policy) -> Policy:
    """Return the policy by which outcomes are recorded. While other rules are in force, it names nothing. Then the rows of
    destinations say what the rules in force say: whether ends are sent, and whether there is a lane.
    """
    return policy if state.head.agrees else replace(policy, receivers={}, schedules={})
