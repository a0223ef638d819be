"""Jobs that write, retry and discard dead letters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from router.core import dead_letter_settling, dead_letters
from router.core.claimed_delivery import ClaimedDelivery
from router.core.fencing import is_fenced
from router.core.state import State
from router.decide import Policy
from router.model import Millis
from router.store.jobs.job import BaseJob, PieceJob


@dataclass(frozen=True, slots=True)
class WriteDeadLetter(PieceJob):
    """Writes the dead letter of a large conversation, before its alerts are given up in pieces. While other rules are in
    force, nothing is given up.
    """

    work: ClaimedDelivery
    reason: str
    recipient: str
    now: Millis

    def run(self, state: State) -> None:
        if not state.head.agrees:
            return
        state.dead_letters.want("open of conversation", (self.work.id,))
        state.conversations.want("id", (self.work.id,))
        state.ready()
        if is_fenced(state, self.work):
            return
        dead_letters.write_dead_letter(state, self.work, self.reason, self.now, self.recipient)


@dataclass(frozen=True, slots=True)
class NoticesByMember:
    """A dead letter is too large for one batch, so it is settled in pieces. Its notices, by member id."""

    by_member: dict[int, dict[str, str]]


@dataclass(frozen=True, slots=True)
class RetryDeadLetter(BaseJob):
    """Retries a dead letter: sends again what it is about.

    Returns the keys of the destinations to wake; or the notices, if there are too many for one batch; None: there is no
    such unsettled dead letter.
    """

    dead_letter: int
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def want(self, state: State) -> None:
        dead_letter_settling.want_dead_letter(state, self.dead_letter)

    def run(self, state: State) -> frozenset[str] | NoticesByMember | None:
        many = dead_letter_settling.notices_if_many(state, self.dead_letter)
        return (
            NoticesByMember(many)
            if many
            else dead_letter_settling.retry_dead_letter(state, self.dead_letter, self.policy, self.now)
        )


@dataclass(frozen=True, slots=True)
class DiscardDeadLetter(BaseJob):
    """Settles a dead letter without another attempt.

    Returns whether there was such an unsettled dead letter; or its notices, if there are too many for one batch.
    """

    dead_letter: int
    now: Millis

    def want(self, state: State) -> None:
        dead_letter_settling.want_dead_letter(state, self.dead_letter)

    def run(self, state: State) -> bool | NoticesByMember:
        many = dead_letter_settling.notices_if_many(state, self.dead_letter)
        return (
            NoticesByMember(many)
            if many
            else dead_letter_settling.discard_dead_letter(state, self.dead_letter, self.now)
        )


@dataclass(frozen=True, slots=True)
class RetryMembers(BaseJob):
    """Sends some alerts of a large dead letter again. Returns False if it is settled already."""

    dead_letter: int
    notices: Mapping[int, dict[str, str]]
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return len(self.notices)

    def want(self, state: State) -> None:
        dead_letter_settling.want_some(state, self.dead_letter, list(self.notices))

    def run(self, state: State) -> bool:
        dead_letter_settling.want_some(state, self.dead_letter, list(self.notices))
        return dead_letter_settling.retry_some(state, self.dead_letter, self.notices, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class DiscardMembers(BaseJob):
    """Discards some alerts of a large dead letter. Returns False if it is settled already."""

    dead_letter: int
    members: Sequence[int]
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.members)

    def run(self, state: State) -> bool:
        dead_letter_settling.want_some(state, self.dead_letter, self.members)
        return dead_letter_settling.discard_some(state, self.dead_letter, self.members, self.now)


@dataclass(frozen=True, slots=True)
class SettleDeadLetter(BaseJob):
    """Settles a large dead letter, when all its alerts are retried or discarded.

    Returns the keys of the destinations to wake; None: it is settled already.

    :param how: ``retried`` or ``discarded``
    """

    dead_letter: int
    how: str
    now: Millis

    def run(self, state: State) -> frozenset[str] | None:
        dead_letter_settling.want_some(state, self.dead_letter, ())
        return dead_letter_settling.settle(state, self.dead_letter, self.how, self.now)
