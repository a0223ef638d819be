"""Jobs that put rules in force and judge alerts by them."""

from dataclasses import dataclass
from typing import ClassVar

from router.core import adopt as rules
from router.core.adopt import Adopted, Adoption, Phase
from router.core.conversations import DATABASE_ID
from router.core.indexes import ALL
from router.core.judging import rejudge_all
from router.core.rules_in_force import RULES
from router.core.state import State
from router.decide import Policy
from router.model import Millis
from router.store.jobs.job import BaseJob, next_after

RULES_PIECE = 128
"""How many alerts one batch judges after the rules changed."""


@dataclass(frozen=True, slots=True)
class LoadFragments(BaseJob):
    """Returns the text of each included file as it was last in force, by name."""

    def run(self, state: State) -> dict[str, str]:
        return rules.known_fragments(state)


@dataclass(frozen=True, slots=True)
class Adopt(BaseJob):
    """Puts rules in force, or joins those in force, see :func:`router.core.rules_in_force.choose`."""

    adoption: Adoption
    now: Millis

    def want(self, state: State) -> None:
        state.fragments.want(ALL, ((),))
        state.destinations.want(ALL, ((),))
        state.meta.want("id", (rules.POLICY, rules.CURSOR, RULES, DATABASE_ID))

    def run(self, state: State) -> Adopted:
        return rules.adopt_rules(state, self.adoption, self.now)


@dataclass(frozen=True, slots=True)
class Retire(BaseJob):
    """Forgets destinations that the rules no longer name and that are not needed.

    Returns the removed destinations that still have to be notified of an end: their JSON, by key.
    """

    policy: Policy
    judges: ClassVar[bool] = True

    def want(self, state: State) -> None:
        state.destinations.want(ALL, ((),))

    def run(self, state: State) -> dict[str, str]:
        return rules.retire(state, self.policy, state.ask("still notified", ()))


@dataclass(frozen=True, slots=True)
class JudgeSome(BaseJob):
    """Indexes or judges the next firing alerts, from the stored position on, by the rules in force.

    Returns what is left to do (None: nothing), and the keys of the destinations to wake.
    """

    policy: Policy
    now: Millis
    skip: bool = False
    """These alerts can't be judged; they keep their last decisions."""

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
        rules.save_cursor(state, left)
        return (None if left is None else left.phase), woken
