"""Rules are put in force."""

from dataclasses import dataclass

from router.core import adopt as rules
from router.core.adopt import Adoption, Phase
from router.core.conversations import DATABASE_ID
from router.core.indexes import ALL
from router.core.judging import rejudge_all
from router.core.state import State
from router.decide import Policy
from router.model import Millis
from router.store.jobs.job import First, next_after

RULES_PIECE = 128
"""How many alerts one batch judges when the rules have changed."""


@dataclass(frozen=True, slots=True)
class KnownFragments(First):
    def run(self, state: State) -> dict[str, str]:
        return rules.known_fragments(state)


@dataclass(frozen=True, slots=True)
class Adopt(First):
    """What is left to do until everything that fires is judged by these rules; None: nothing."""

    adoption: Adoption
    now: Millis

    def want(self, state: State) -> None:
        state.fragments.want(ALL, ((),))
        state.destinations.want(ALL, ((),))
        state.meta.want("id", (rules.POLICY, rules.CURSOR, DATABASE_ID))

    def run(self, state: State) -> Phase | None:
        return rules.adopt_rules(state, self.adoption, self.now)


@dataclass(frozen=True, slots=True)
class Retire(First):
    """How to reach the destinations that the rules name no more, and that have yet to be notified of an end."""

    policy: Policy

    def want(self, state: State) -> None:
        state.destinations.want(ALL, ((),))

    def run(self, state: State) -> dict[str, str]:
        return rules.retire(state, self.policy, state.ask("still notified", ()))


@dataclass(frozen=True, slots=True)
class JudgeSome(First):
    """The next piece of what fires is indexed or judged by the rules in force, where the cursor stands. What is left
    to do (None: nothing), and the destinations that may have something to do.
    """

    policy: Policy
    now: Millis
    skip: bool = False
    """The piece can't be judged: its alerts stay as they were judged last."""

    @property
    def weight(self) -> int:
        return RULES_PIECE

    def want(self, state: State) -> None:
        state.meta.want("id", (rules.POLICY, rules.CURSOR))

    def run(self, state: State) -> tuple[Phase | None, frozenset[str]]:
        at, woken = rules.cursor(state, self.policy), frozenset[str]()
        if at is None:
            return None, woken
        ids: list[int] = state.ask("firing of", (None, at.after, RULES_PIECE))
        if self.skip:
            pass
        elif at.phase is Phase.INDEX:
            rules.reindex(state, self.policy, ids)
        else:
            woken = rejudge_all(state, self.policy, ids, self.now)
        left = rules.following(at, next_after(ids, RULES_PIECE))
        rules.move(state, left)
        return (None if left is None else left.phase), woken
