"""Outcomes of deliveries are recorded, or claims taken back."""

from dataclasses import dataclass
from functools import partial

from router.core import large_conversations
from router.core import record as records
from router.core.claim import Work
from router.core.closing import close_some
from router.core.conversations import DATABASE_ID
from router.core.record import Recorded
from router.core.rows import CLOSING
from router.core.state import State
from router.core.unclaim import NOT_BEGUN, undo_claim
from router.decide import Policy
from router.model import Millis, Outcome
from router.store.jobs import job
from router.store.jobs.job import First, PieceJob


@dataclass(frozen=True, slots=True)
class RecordSome(First):
    """:param work: with some of its tellings"""

    work: Work
    outcome: Outcome
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.work.notice)

    def run(self, state: State) -> Recorded:
        return large_conversations.record_some(state, self.work, self.outcome, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class CloseSome(PieceJob):
    """Some members of a conversation that is closing, see :mod:`router.core.closing`. Whether there may be more."""

    policy: Policy
    now: Millis

    def want(self, state: State) -> None:
        state.conversations.want("closing", (CLOSING,))

    def run(self, state: State) -> bool:
        found = state.conversations.of("closing", CLOSING)
        if not found:
            return False
        ids = state.ask("left open", (found[0].id, job.PIECE))
        state.members.want("id", ids)
        state.meta.want("id", (DATABASE_ID,))
        state.ready()
        close_some(state, found[0].id, ids, self.policy, self.now)
        return True


@dataclass(frozen=True, slots=True)
class Record(First):
    work: Work
    outcome: Outcome
    policy: Policy
    now: Millis
    not_before: Millis
    message: bytes | None = None
    """What was sent, packed."""

    def want(self, state: State) -> None:
        records.want_recorded(state, (self.work,), self.outcome, self.policy, self.now)

    def run(self, state: State) -> Recorded:
        return records.record_outcome(
            state, self.work, self.outcome, self.policy, self.now, self.not_before, self.message
        )


@dataclass(frozen=True, slots=True)
class RecordParts(First):
    works: tuple[Work, ...]
    outcome: Outcome
    policy: Policy
    now: Millis
    not_before: Millis

    def want(self, state: State) -> None:
        records.want_recorded(state, self.works, self.outcome, self.policy, self.now)

    def run(self, state: State) -> Recorded:
        return records.record_parts(state, self.works, self.outcome, self.policy, self.now, self.not_before)


@dataclass(frozen=True, slots=True)
class Unclaim(First):
    """Takes claims back of which nothing was sent."""

    works: tuple[Work, ...]
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return sum(max(1, len(each.notice)) for each in self.works)

    def want(self, state: State) -> None:
        records.want_recorded(state, self.works, NOT_BEGUN, self.policy, self.now)

    def run(self, state: State) -> None:
        state.run_all(partial(undo_claim, state, each, self.policy, self.now) for each in self.works)
