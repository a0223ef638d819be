"""Webhooks are kept and decided."""

from dataclasses import dataclass

from router.core.accept import Receipt, accept_webhook, want_accepted
from router.core.large_webhooks import accept_end, accept_some, give_up, keep
from router.core.release import UNRELEASED, release_some, unreleased
from router.core.rows import WebhookRow
from router.core.state import State
from router.decide import Policy
from router.model import Millis, Webhook
from router.store.jobs import job
from router.store.jobs.job import First, PieceJob, next_after


@dataclass(frozen=True, slots=True)
class Accept(First):
    webhook: Webhook
    source: str
    body: bytes
    policy: Policy
    now: Millis
    certain: bool = False

    @property
    def weight(self) -> int:
        return len(self.webhook.alerts)

    def want(self, state: State) -> None:
        want_accepted(state, self.webhook, self.source, self.policy, self.now)

    def run(self, state: State) -> Receipt:
        return accept_webhook(
            state, self.webhook, self.source, self.body, self.policy, self.now, certain=self.certain
        )


@dataclass(frozen=True, slots=True)
class Keep(First):
    """A webhook that is decided in pieces; its number in the order of arrival."""

    webhook: Webhook
    source: str
    body: bytes
    now: Millis

    def want(self, state: State) -> None:
        state.groups.want("key", ((self.source, self.webhook.receiver, self.webhook.group_key),))

    def run(self, state: State) -> int:
        return keep(state, self.webhook, self.source, self.body, self.now)


@dataclass(frozen=True, slots=True)
class AcceptSome(First):
    """:param webhook: with some of its alerts"""

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
class AcceptEnd(First):
    """All alerts of a webhook are decided. The destinations that may have something to do."""

    arrival: int
    webhook: Webhook
    source: str
    policy: Policy
    now: Millis

    def run(self, state: State) -> frozenset[str]:
        return accept_end(state, self.arrival, self.webhook, self.source, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class GiveUp(First):
    """Alerts of a webhook can't be decided: it is quarantined."""

    arrival: int
    reason: str

    def want(self, state: State) -> None:
        state.webhooks.want("id", (self.arrival,))
        state.conversations.want("deciding", (self.arrival,))

    def run(self, state: State) -> frozenset[str]:
        return frozenset(give_up(state, self.arrival, self.reason))


@dataclass(frozen=True, slots=True)
class ReleaseSome(PieceJob):
    """Judges alerts of the first inhibition key that ended and muted very many. The destinations that may have something
    to do, and the last id; None: no key is left.
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
        ids: list[int] = state.ask("muted by", (keys[0], self.after, job.PIECE))
        after = next_after(ids, job.PIECE)
        return release_some(state, self.policy, keys[0], ids, self.now, last=not after), after


@dataclass(frozen=True, slots=True)
class Quarantine(First):
    body: bytes
    source: str
    reason: str
    now: Millis
    encoding: str | None

    def run(self, state: State) -> int:
        row = WebhookRow(state.new_id(), self.source, self.now, self.body, self.reason, self.encoding)
        return state.webhooks.put(row).id
