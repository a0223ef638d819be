"""Jobs about Alertmanager's answers, doubts and stale alerts. The "next" alerts are the piece after the id ``after``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from router.core import doubts, presence, staleness, uptime
from router.core.accept import Receipt
from router.core.conclusions import ALERTS_PER_BATCH
from router.core.presence import Answer
from router.core.staleness import Listening
from router.core.state import State
from router.decide import Policy
from router.model import Millis
from router.store.jobs.job import AlertsJob, BaseJob, next_after

# How many doubts one batch settles. Each alert may be in many groups.
_DOUBTS = 20


@dataclass(frozen=True, slots=True)
class Confirm(BaseJob):
    """Ends those of the next firing alerts of a source that Alertmanager no longer lists, and marks those that it would
    not notify of.

    Returns what changed, and the id after which the next piece begins (0: there are no more).
    """

    answer: Answer
    policy: Policy
    now: Millis
    after: int
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return ALERTS_PER_BATCH

    def run(self, state: State) -> tuple[Receipt, int]:
        ids: list[int] = state.ask("firing of", (self.answer.source, self.after, ALERTS_PER_BATCH))
        presence.want_marked(state, self.policy, ids, self.now)
        return presence.confirm(state, self.answer, ids, self.policy, self.now), next_after(ids)


@dataclass(frozen=True, slots=True)
class FindDoubted(BaseJob):
    """Finds the next alerts of a source that are in doubt."""

    source: str
    after: int

    def run(self, state: State) -> list[int]:
        found: list[int] = state.ask("doubted", (self.source, self.after, ALERTS_PER_BATCH))
        return found


@dataclass(frozen=True, slots=True)
class SettleByAnswer(AlertsJob):
    """Settles the doubts about these alerts by Alertmanager's answer."""

    answer: Answer
    ids: Sequence[int]
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def run(self, state: State) -> Receipt:
        state.alerts.want("id", self.ids)
        state.ready()
        return presence.settle_by_answer(state, self.answer, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Reopen(BaseJob):
    """Opens resolved alerts again that Alertmanager's answer lists as firing.

    :param identities: the identities of alerts in the answer
    """

    answer: Answer
    identities: tuple[str, ...]
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return len(self.identities)

    def run(self, state: State) -> Receipt:
        return presence.reopen(state, self.answer, self.identities, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class FindMarked(BaseJob):
    """Finds the next firing alerts that carry a mark of an earlier answer."""

    after: int

    def run(self, state: State) -> list[int]:
        found: list[int] = state.ask("marked", (self.after, ALERTS_PER_BATCH))
        return found


@dataclass(frozen=True, slots=True)
class ForgetAnswers(AlertsJob):
    """Removes the marks of earlier answers, unless the alert's source is trusted.

    Returns the keys of the destinations to wake.
    """

    trusted: frozenset[str]
    ids: Sequence[int]
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def run(self, state: State) -> frozenset[str]:
        presence.want_marked(state, self.policy, self.ids, self.now)
        return presence.forget_answers(state, self.trusted, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class FindStale(BaseJob):
    """Finds the next firing alerts that were not repeated for too long."""

    listening: Listening
    now: Millis
    after: int

    def run(self, state: State) -> list[int]:
        state.meta.want("id", (uptime.SINCE,))
        state.ready()
        seen_up_to = staleness.silent_since(state, self.listening, self.now)
        found: list[int] = state.ask("unheard", (seen_up_to, self.now, self.after, ALERTS_PER_BATCH))
        return found


@dataclass(frozen=True, slots=True)
class Expire(AlertsJob):
    """Ends these alerts if they were not repeated for too long. Returns what changed, by source."""

    listening: Listening
    ids: Sequence[int]
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def run(self, state: State) -> dict[str, Receipt]:
        state.meta.want("id", (uptime.SINCE,))
        presence.want_marked(state, self.policy, self.ids, self.now)
        return staleness.expire(state, self.listening, self.ids, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class SettleDoubts(BaseJob):
    """Settles the next doubts that have lasted long enough.

    Returns what changed, by source; and when to settle the next doubt (epoch ms; None: there is none left).
    """

    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    @property
    def weight(self) -> int:
        return _DOUBTS

    def run(self, state: State) -> tuple[dict[str, Receipt], Millis | None]:
        ids, following = state.ask("lasting doubts", (self.now, _DOUBTS))
        state.alerts.want("id", ids)
        state.ready()
        settled, left = doubts.settle_doubts(state, ids, self.policy, self.now)
        return settled, following if left is None else left
