"""Jobs that keep webhooks and decide about their alerts."""

from dataclasses import dataclass

from router.core.accept import Receipt, accept_webhook, want_accepted
from router.core.head import Grant
from router.core.large_webhooks import accept_end, accept_some, keep_webhook, quarantine_undecided
from router.core.release import UNRELEASED, release_some, unreleased
from router.core.rows import WebhookRow
from router.core.state import State
from router.decide import Policy
from router.model import Millis, Webhook
from router.store.jobs import job
from router.store.jobs.job import BaseJob, PieceJob, next_after


@dataclass(frozen=True, slots=True)
class Accept(BaseJob):
    """Keeps a webhook and decides about its alerts.

    :param body: packed
    :param certain: firings that it reports are never in doubt
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
        want_accepted(state, self.webhook, self.source, self.policy, self.now)

    def run(self, state: State) -> Receipt:
        """:raises LeaseLost: the lease is not held any more"""
        state.head.check_grant(self.grant)
        return accept_webhook(
            state, self.webhook, self.source, self.body, self.policy, self.now, certain=self.certain
        )


@dataclass(frozen=True, slots=True)
class KeepWebhook(BaseJob):
    """Keeps a webhook that is decided in pieces later. Returns its number in the order of arrival."""

    webhook: Webhook
    source: str
    body: bytes
    now: Millis

    def want(self, state: State) -> None:
        state.groups.want("key", ((self.source, self.webhook.receiver, self.webhook.group_key),))

    def run(self, state: State) -> int:
        return keep_webhook(state, self.webhook, self.source, self.body, self.now)


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

    def run(self, state: State) -> frozenset[str]:
        return accept_end(state, self.arrival, self.webhook, self.source, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class GiveUp(BaseJob):
    """Quarantines a kept webhook whose alerts can't be decided. Returns the keys of the destinations to wake."""

    arrival: int
    reason: str

    def want(self, state: State) -> None:
        state.webhooks.want("id", (self.arrival,))
        state.conversations.want("deciding", (self.arrival,))

    def run(self, state: State) -> frozenset[str]:
        return frozenset(quarantine_undecided(state, self.arrival, self.reason))


@dataclass(frozen=True, slots=True)
class ReleaseSome(PieceJob):
    """Judges the next alerts that were muted by an inhibition key which has ended and which muted very many.

    Returns the keys of the destinations to wake, and the last id; None: no such inhibition key is left.
    """

    policy: Policy
    now: Millis
    after: int

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
