"""Alertmanager's answers, doubts and stale alerts."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.core import presence, uptime
from router.core.accept import Receipt
from router.core.presence import Answer, Listening
from router.core.state import State
from router.decide import Policy
from router.model import Millis
from router.store.jobs.job import AlertsJob, BaseJob, next_after

# Each may be one of many groups.
_DOUBTS = 20


@dataclass(frozen=True, slots=True)
class Confirm(BaseJob):
    answer: Answer
    policy: Policy
    now: Millis
    after: int

    @property
    def weight(self) -> int:
        return presence.BATCH

    def run(self, state: State) -> tuple[Receipt, int]:
        ids: list[int] = state.ask("firing of", (self.answer.source, self.after, presence.BATCH))
        presence.want_marked(state, self.policy, ids, self.now)
        return presence.confirm(state, self.answer, ids, self.policy, self.now), next_after(ids)


@dataclass(frozen=True, slots=True)
class FindDoubted(BaseJob):
    """The next alerts of a source that are in doubt."""

    source: str
    after: int

    def run(self, state: State) -> list[int]:
        found: list[int] = state.ask("doubted", (self.source, self.after, presence.BATCH))
        return found


@dataclass(frozen=True, slots=True)
class SettleByAnswer(AlertsJob):
    answer: Answer
    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> Receipt:
        state.alerts.want("id", self.ids)
        state.ready()
        return presence.settle_by_answer(state, self.answer, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Reopen(BaseJob):
    answer: Answer
    identities: tuple[str, ...]
    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return len(self.identities)

    def run(self, state: State) -> Receipt:
        return presence.reopen(state, self.answer, self.identities, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class FindMarked(BaseJob):
    """The next firing alerts of which Alertmanager said something."""

    after: int

    def run(self, state: State) -> list[int]:
        found: list[int] = state.ask("marked", (self.after, presence.BATCH))
        return found


@dataclass(frozen=True, slots=True)
class ForgetAnswers(AlertsJob):
    trusted: frozenset[str]
    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> frozenset[str]:
        presence.want_marked(state, self.policy, self.ids, self.now)
        return presence.forget_answers(state, self.trusted, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class FindStale(BaseJob):
    """The next firing alerts of which nothing was heard for too long."""

    listening: Listening
    now: Millis
    after: int

    def run(self, state: State) -> list[int]:
        state.meta.want("id", (uptime.SINCE,))
        state.ready()
        seen_up_to = presence.silent_since(state, self.listening, self.now)
        found: list[int] = state.ask("unheard", (seen_up_to, self.now, self.after, presence.BATCH))
        return found


@dataclass(frozen=True, slots=True)
class Expire(AlertsJob):
    listening: Listening
    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> dict[str, Receipt]:
        state.meta.want("id", (uptime.SINCE,))
        presence.want_marked(state, self.policy, self.ids, self.now)
        return presence.expire(state, self.listening, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class SettleDoubts(BaseJob):
    """What it came to, by source; and when to settle the next one (None: there is no doubt left)."""

    policy: Policy
    now: Millis

    @property
    def weight(self) -> int:
        return _DOUBTS

    def run(self, state: State) -> tuple[dict[str, Receipt], Millis | None]:
        ids, following = state.ask("lasting doubts", (self.now, _DOUBTS))
        state.alerts.want("id", ids)
        state.ready()
        settled, left = presence.settle_doubts(state, ids, self.policy, self.now)
        return settled, following if left is None else left
