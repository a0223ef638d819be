"""Jobs by which the delivery of a large conversation begins: its members are marked in pieces, and then it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from router.core import large_conversations
from router.core.claimed_delivery import ClaimedDelivery
from router.core.conversations import DATABASE_ID
from router.core.head import Grant
from router.core.state import State
from router.decide import Policy
from router.model import Millis
from router.store.jobs import job
from router.store.jobs.job import BaseJob, PieceJob, next_after


@dataclass(frozen=True, slots=True)
class MarkMembers(PieceJob):
    """Marks the next members of a large conversation whose status its destination has not been notified of.

    Returns the status that the destination was notified of before, by member id; and the last id (0: there are no more).
    """

    id: int
    policy: Policy
    now: Millis
    grant: Grant | None
    after: int
    judges: ClassVar[bool] = True

    def run(self, state: State) -> tuple[dict[int, str], int]:
        state.head.check_grant(self.grant)
        ids: list[int] = state.ask("members of", (self.id, self.after, job.MEMBERS_PER_BATCH))
        return large_conversations.mark(state, self.id, ids, self.policy, self.now), next_after(
            ids, job.MEMBERS_PER_BATCH
        )


@dataclass(frozen=True, slots=True)
class StartLarge(BaseJob):
    """Begins the delivery of a large conversation whose members are marked, or makes a storm's message absorb it.

    :param before: the status that the destination was notified of before, by the id of each marked member
    :param storm: the storm that absorbs it; None: it gets a message of its own
    """

    id: int
    now: Millis
    before: Mapping[int, str]
    storm: ClaimedDelivery | None = None
    grant: Grant | None = None
    judges: ClassVar[bool] = True

    def want(self, state: State) -> None:
        state.meta.want("id", (DATABASE_ID,))
        state.conversations.want("id", (self.id,))
        state.dead_letters.want("open of conversation", (self.id,))
        state.ready()
        group = state.conversations[self.id].group_id
        state.groups.want("id", () if group is None else (group,))

    def run(self, state: State) -> large_conversations.LargeClaim | None:
        state.head.check_grant(self.grant)
        return large_conversations.start(state, self.id, self.now, self.before, self.storm)
