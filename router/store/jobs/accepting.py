"""Jobs that keep webhooks and decide about their alerts."""

from dataclasses import dataclass
from typing import ClassVar

from router.core.accept import Receipt, accept_webhook, want_accepted
from router.core.head import Grant, OtherRules
from router.core.large_webhooks import (
    accept_end,
    accept_some,
    decide_kept,
    keep_webhook,
    quarantine_undecided,
    want_kept,
)
from router.core.release import UNRELEASED, release_some, unreleased
from router.core.rows import WebhookRow
from router.core.state import State
from router.core.undecided_count import MAX_UNDECIDED_ALERTS, want_undecided_count
from router.decide import Policy
from router.model import Millis, Webhook
from router.store.jobs import job
from router.store.jobs.job import BaseJob, PieceJob, next_after


@dataclass(frozen=True, slots=True)
class Accept(BaseJob):
    """Keeps a webhook and decides about its alerts. If other rules are in force by now, or webhooks wait that came before it,
    it is only kept.

    :param body: packed
    :param certain: firings that it reports are never in doubt. Such a webhook is the router's own, and is never only kept
    :param grant: the lease without which it is not accepted; None: it needs none
    """

    webhook: Webhook
    source: str
    body: bytes
    policy: Policy
    now: Millis
    certain: bool = False
    grant: Grant | None = None

    @property
    def weight(self) -> int:
        return len(self.webhook.alerts)

    def want(self, state: State) -> None:
        if self._is_only_kept(state):
            want_kept(state, self.webhook, self.source)
        elif state.head.agrees:
            want_accepted(state, self.webhook, self.source, self.policy, self.now)

    def _is_only_kept(self, state: State) -> bool:
        return not self.certain and (not state.head.agrees or state.head.has_undecided)

    def run(self, state: State) -> Receipt:
        """:raises OtherRules: it can't be kept, because it is the router's own
        :raises LeaseLost: the lease is not held any more
        """
        state.head.check_grant(self.grant)
        if self._is_only_kept(state):
            return Receipt(
                webhook=keep_webhook(state, self.webhook, self.source, self.body, self.now), kept=True
            )
        if not state.head.agrees:
            raise OtherRules
        return accept_webhook(
            state, self.webhook, self.source, self.body, self.policy, self.now, certain=self.certain
        )


@dataclass(frozen=True, slots=True)
class KeepWebhook(BaseJob):
    """Keeps a webhook that is decided later. Returns its number in the order of arrival.

    :param bound: how many alerts may wait
    """

    webhook: Webhook
    source: str
    body: bytes
    now: Millis
    bound: int = MAX_UNDECIDED_ALERTS

    def want(self, state: State) -> None:
        want_kept(state, self.webhook, self.source)

    def run(self, state: State) -> int:
        """:raises TooManyUndecided:"""
        return keep_webhook(state, self.webhook, self.source, self.body, self.now, self.bound)


@dataclass(frozen=True, slots=True)
class DecideKept(BaseJob):
    """Decides about all alerts of a small kept webhook. Returns None if that is done already.

    :param after: the number of the kept webhook that has to be decided before; None: this one is the oldest
    """

    arrival: int
    webhook: Webhook
    source: str
    policy: Policy
    now: Millis
    after: int | None = None
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return len(self.webhook.alerts)

    def want(self, state: State) -> None:
        state.webhooks.want("id", filter(None, (self.arrival, self.after)))
        want_undecided_count(state)
        want_accepted(state, self.webhook, self.source, self.policy, self.now)

    def run(self, state: State) -> Receipt | None:
        """:raises NotItsTurn:"""
        return decide_kept(state, self.arrival, self.webhook, self.source, self.policy, self.now, self.after)


@dataclass(frozen=True, slots=True)
class AcceptSome(BaseJob):
    """Decides about some alerts of a kept webhook.

    :param webhook: with these alerts only
    """

    arrival: int
    webhook: Webhook
    source: str
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return len(self.webhook.alerts)

    def want(self, state: State) -> None:
        want_accepted(state, self.webhook, self.source, self.policy, self.now, whole=False)

    def run(self, state: State) -> Receipt:
        return accept_some(state, self.arrival, self.webhook, self.source, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class AcceptEnd(BaseJob):
    """Marks a kept webhook as decided. Returns the keys of the destinations to wake."""

    arrival: int
    webhook: Webhook
    source: str
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def run(self, state: State) -> frozenset[str]:
        return accept_end(state, self.arrival, self.webhook, self.source, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class GiveUp(BaseJob):
    """Quarantines a kept webhook whose alerts can't be decided. Returns the keys of the destinations to wake."""

    arrival: int
    reason: str
    body: bytes | None = None
    """As it was received; None: it is stored without a learned dictionary."""

    def want(self, state: State) -> None:
        state.webhooks.want("id", (self.arrival,))
        state.conversations.want("deciding", (self.arrival,))
        want_undecided_count(state)

    def run(self, state: State) -> frozenset[str]:
        return frozenset(quarantine_undecided(state, self.arrival, self.reason, self.body))


@dataclass(frozen=True, slots=True)
class ReleaseSome(PieceJob):
    """Judges the next alerts that were muted by an inhibition key which has ended and which muted very many.

    Returns the keys of the destinations to wake, and the last id; None: no such inhibition key is left.
    """

    policy: Policy
    now: Millis
    after: int
    judges: ClassVar[bool] = True

    def want(self, state: State) -> None:
        state.meta.want("id", (UNRELEASED,))

    def run(self, state: State) -> tuple[frozenset[str], int] | None:
        keys = unreleased(state)
        if not keys:
            return None
        ids: list[int] = state.ask("muted by", (keys[0], self.after, job.MEMBERS_PER_BATCH))
        after = next_after(ids, job.MEMBERS_PER_BATCH)
        return release_some(state, self.policy, keys[0], ids, self.now, last=not after), after


@dataclass(frozen=True, slots=True)
class Quarantine(BaseJob):
    """Keeps a body that can't be used. Returns its id."""

    body: bytes
    source: str
    reason: str
    now: Millis
    encoding: str | None

    def run(self, state: State) -> int:
        row = WebhookRow(state.new_id(), self.source, self.now, self.body, self.reason, self.encoding)
        return state.webhooks.put(row).id
