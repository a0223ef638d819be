"""Jobs that record the outcomes of deliveries, or take back claims."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from router.core import large_conversations
from router.core import record as records
from router.core.claimed_delivery import ClaimedDelivery
from router.core.closing import close_some
from router.core.conversations import DATABASE_ID
from router.core.left_outcomes import left_to_others, policy_for_outcomes
from router.core.record import Recorded
from router.core.rows import CLOSING
from router.core.state import State
from router.core.unclaim import NOT_BEGUN, undo_claim
from router.decide import Policy
from router.model import Millis, Outcome
from router.store.jobs import job
from router.store.jobs.job import BaseJob, PieceJob


@dataclass(frozen=True, slots=True)
class RecordSome(BaseJob):
    """Records the outcome for some members of a large conversation.

    :param work: with the notices of these members only
    """

    work: ClaimedDelivery
    outcome: Outcome
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.work.notices)

    def run(self, state: State) -> Recorded:
        outcome, policy = left_to_others(state, self.outcome), policy_for_outcomes(state, self.policy)
        return large_conversations.record_some(state, self.work, outcome, policy, self.now)


@dataclass(frozen=True, slots=True)
class CloseSome(PieceJob):
    """Closes some members of a conversation that is closing, see :mod:`router.core.closing`.

    Returns whether there may be more to close.
    """

    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def want(self, state: State) -> None:
        state.conversations.want("closing", (CLOSING,))

    def run(self, state: State) -> bool:
        found = state.conversations.of("closing", CLOSING)
        if not found:
            return False
        ids = state.ask("left open", (found[0].id, job.MEMBERS_PER_BATCH))
        state.members.want("id", ids)
        state.meta.want("id", (DATABASE_ID,))
        state.ready()
        close_some(state, found[0].id, ids, self.policy, self.now)
        return True


@dataclass(frozen=True, slots=True)
class Record(BaseJob):
    """Records the outcome of a delivery."""

    work: ClaimedDelivery
    outcome: Outcome
    policy: Policy
    now: Millis
    not_before: Millis
    message: bytes | None = None
    """What was sent, packed; None: nothing was sent."""

    def want(self, state: State) -> None:
        outcome, policy = left_to_others(state, self.outcome), policy_for_outcomes(state, self.policy)
        records.want_recorded(state, (self.work,), outcome, policy, self.now)

    def run(self, state: State) -> Recorded:
        outcome, policy = left_to_others(state, self.outcome), policy_for_outcomes(state, self.policy)
        return records.record_outcome(
            state, self.work, outcome, policy, self.now, self.not_before, self.message
        )


@dataclass(frozen=True, slots=True)
class RecordParts(BaseJob):
    """Records the outcome of a storm's message for conversations that it absorbed."""

    works: tuple[ClaimedDelivery, ...]
    outcome: Outcome
    policy: Policy
    now: Millis
    not_before: Millis

    def want(self, state: State) -> None:
        outcome, policy = left_to_others(state, self.outcome), policy_for_outcomes(state, self.policy)
        records.want_recorded(state, self.works, outcome, policy, self.now)

    def run(self, state: State) -> Recorded:
        outcome, policy = left_to_others(state, self.outcome), policy_for_outcomes(state, self.policy)
        return records.record_parts(state, self.works, outcome, policy, self.now, self.not_before)


@dataclass(frozen=True, slots=True)
class Unclaim(BaseJob):
    """Takes back claims of which nothing was sent."""

    works: tuple[ClaimedDelivery, ...]
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return sum(max(1, len(each.notices)) for each in self.works)

    def want(self, state: State) -> None:
        policy = policy_for_outcomes(state, self.policy)
        records.want_recorded(state, self.works, NOT_BEGUN, policy, self.now)

    def run(self, state: State) -> None:
        policy = policy_for_outcomes(state, self.policy)
        state.run_all(partial(undo_claim, state, each, policy, self.now) for each in self.works)
