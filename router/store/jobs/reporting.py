"""Jobs of digests: they build what a digest reports, and begin its delivery."""

from dataclasses import dataclass
from typing import ClassVar

from router.core import claim as claims
from router.core import digests
from router.core.claimed_delivery import ClaimedDelivery
from router.core.conversations import DATABASE_ID
from router.core.head import Grant
from router.core.state import State
from router.decide import Policy
from router.model import Conversation, Destination, Millis
from router.store.jobs.job import BaseJob


@dataclass(frozen=True, slots=True)
class ReportDigest(BaseJob):
    """Builds the work of a large digest whose members are judged. It changes nothing."""

    id: int
    destination: Destination
    policy: Policy
    now: Millis

    def run(self, state: State) -> ClaimedDelivery:
        state.conversations.want("id", (self.id,))
        state.members.want("conversation", (self.id,))
        state.members.want("held", (1,))
        state.ready()
        scope = digests.scope_of(self.destination, self.policy)
        return claims.report(state, self.id, self.policy, self.now, scope)


@dataclass(frozen=True, slots=True)
class StartDigest(BaseJob):
    """Begins the delivery of a digest that was built on a reader's connection.

    Returns None if the digest has nothing to report or is no longer due.
    """

    work: ClaimedDelivery
    destination: Destination
    policy: Policy
    now: Millis
    grant: Grant | None = None
    judges: ClassVar[bool] = True

    def want(self, state: State) -> None:
        state.meta.want("id", (DATABASE_ID,))
        state.conversations.want("id", (self.work.id,))
        if self.work.conversation.digest is not None and self.work.conversation.digest.empty:
            state.members.want("conversation", (self.work.id,))

    def run(self, state: State) -> ClaimedDelivery | None:
        state.head.check_grant(self.grant)
        quiet = self.destination.sends_empty_digests
        return claims.start_report(state, self.work, self.policy, self.now, quiet=quiet)


@dataclass(frozen=True, slots=True)
class PreviewDigest(BaseJob):
    """Builds what a digest would report if its next slot were now."""

    destination: Destination
    policy: Policy
    now: Millis

    def run(self, state: State) -> Conversation:
        scope = digests.scope_of(self.destination, self.policy)
        return claims.upcoming(state, self.destination.key, self.policy, self.now, scope)
