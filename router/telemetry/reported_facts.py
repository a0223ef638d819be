"""What may leave the router: counts, words of fixed tables, ids, and names that routes.yaml gives.

No text of an alert, of a webhook or of a provider is in it: no label value, no annotation, no address, no group key. A
destination is named by its receiver and its position there, because its key can be an address.
"""

import re
from collections import Counter
from dataclasses import dataclass

from router.core.accept import Receipt
from router.core.claimed_delivery import ClaimedDelivery
from router.decide import Policy
from router.model import Broken, Delivered, Destination, Outcome, Retry, Status, Webhook

Fact = str | int | bool
Facts = dict[str, Fact]

_MAX_RULES = 10
_MAX_DECISIONS = 32
_HTTP_REASON = re.compile(r"http (\d{3})\b")
_UNLISTED = "not in routes.yaml"


class DestinationNames:
    """Names destinations by the rules in force: ``oncall[0]`` is the first destination of the receiver ``oncall``."""

    def __init__(self) -> None:
        self._policy: Policy | None = None
        self._names: dict[str, str] = {}

    def name(self, key: str, policy: Policy) -> str:
        if policy is not self._policy:
            self._policy, self._names = policy, {}
            for receiver, several in policy.receivers.items():
                for position, destination in enumerate(several):
                    self._names.setdefault(destination.key, f"{receiver}[{position}]")
        return self._names.get(key, _UNLISTED)


@dataclass(frozen=True, slots=True)
class DecisionCount:
    """How many alerts of a webhook got the same decision at one destination."""

    destination: str
    decision: str
    alerts: int

    @property
    def facts(self) -> Facts:
        return {"destination": self.destination, "decision": self.decision, "alerts": self.alerts}


def webhook_facts(webhook: Webhook, source: str, number: int) -> Facts:
    """Return the facts of a stored webhook. :param number: its id"""
    firing = sum(alert.status is Status.FIRING for alert in webhook.alerts)
    return {
        "source": source,
        "webhook": number,
        "firing": firing,
        "resolved": len(webhook.alerts) - firing,
    }


def decision_counts(receipt: Receipt, names: DestinationNames, policy: Policy) -> tuple[DecisionCount, ...]:
    """Return the decisions of a webhook, equal ones counted together, the first 32 of them."""
    counted = Counter((key, str(kind)) for key, kind in receipt.decisions)
    return tuple(
        DecisionCount(names.name(key, policy), kind, alerts)
        for (key, kind), alerts in counted.most_common(_MAX_DECISIONS)
    )


def decision_sums(receipt: Receipt) -> Facts:
    """Return how often each decision was made for a webhook."""
    return {
        f"decisions.{kind}": times
        for kind, times in Counter(str(kind) for _, kind in receipt.decisions).items()
    }


def delivery_facts(
    work: ClaimedDelivery, destination: Destination, names: DestinationNames, policy: Policy
) -> Facts:
    """Return the facts of a delivery that begins."""
    conversation = work.conversation
    notices = [each for part in (work, *work.parts) for each in part.notices]
    kind = "storm" if work.is_storm else "digest" if conversation.digest is not None else "group"
    rules = sorted({each.rule for each in notices if each.rule})
    decision = "digest" if kind == "digest" else "hold" if any(each.held for each in notices) else "send"
    return {
        "channel": destination.channel,
        "destination": names.name(destination.key, policy),
        "kind": kind,
        "decision": decision,
        "rules": ", ".join(rules[:_MAX_RULES]),
        "rules.count": len(rules),
        "changes": len(notices),
        "attempt": conversation.attempt,
        "delivery": work.delivery,
        "conversation": conversation.token[:8],
        "version": conversation.version,
    }


def outcome_facts(outcome: Outcome | None) -> Facts:
    """Return the facts of an outcome. Of its reason, only the status of HTTP is used: a provider can make up the rest.

    :param outcome: None: it is not known
    """
    if outcome is None:
        return {"outcome": "unknown"}
    if isinstance(outcome, Retry) and outcome.unfinished:
        return {"outcome": "unfinished"}
    facts: Facts = {"outcome": type(outcome).__name__.lower()}
    if not isinstance(outcome, Delivered):
        if (found := _HTTP_REASON.match(outcome.reason)) is not None:
            facts["http_status"] = int(found[1])
        if isinstance(outcome, Retry | Broken) and outcome.ambiguous:
            facts["may_have_arrived"] = True
    return facts


def is_failure(outcome: Outcome | None) -> bool:
    """Return whether an attempt failed. One that only has parts left to send did not."""
    return not (isinstance(outcome, Delivered) or (isinstance(outcome, Retry) and outcome.unfinished))
