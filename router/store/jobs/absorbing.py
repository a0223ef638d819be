"""Jobs by which the message of a storm absorbs the conversations that are due."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from router.core import storms
from router.core.claimed_delivery import ClaimedDelivery, Share
from router.core.head import Grant
from router.core.state import State
from router.core.storms import Room
from router.decide import Policy
from router.model import Millis, StormView
from router.store.jobs.job import BaseJob, PieceJob

Position = tuple[int, int]
"""The urgency and the id of the last conversation that was handled. Storms absorb conversations in this order."""
FIRST_POSITION: Position = (-1, -1)
CONVERSATIONS_PER_LOOK = 2_000
"""How many conversations one job finds. In most cases, that is more than a message has space for."""


@dataclass(frozen=True, slots=True)
class FindAbsorbable(BaseJob):
    """Finds the next conversations of a destination that are due and belong in a storm's message, most urgent first."""

    destination: str
    now: Millis
    share: Share
    after: Position

    def run(self, state: State) -> list[Position]:
        found: list[Position] = state.ask(
            "due after", (self.destination, self.now, self.share, self.after, CONVERSATIONS_PER_LOOK)
        )
        return found


@dataclass(frozen=True, slots=True)
class Recheck(PieceJob):
    """Judges the first of the given conversations again, before a storm begins.

    Returns how many it judged, and how many of them are still due.
    """

    ids: Sequence[int]
    policy: Policy
    now: Millis
    judges: ClassVar[bool] = True

    def run(self, state: State) -> tuple[int, int]:
        some = storms.first_batch(state, self.ids)
        return len(some), storms.recheck(state, some, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Absorb(PieceJob):
    """Makes a storm's message absorb the first of the given conversations.

    Returns the absorbed ones, the space that is left in the message, and how many conversations it handled; 0: the first
    one is too large for one batch.
    """

    storm: ClaimedDelivery
    ids: Sequence[int]
    policy: Policy
    now: Millis
    room: Room
    grant: Grant | None = None
    judges: ClassVar[bool] = True

    def run(self, state: State) -> tuple[list[ClaimedDelivery], Room, int]:
        state.head.check_grant(self.grant)
        some = storms.first_batch(state, self.ids)
        if state.conversations[some[0]].is_large:
            return [], self.room, 0
        works, room = storms.absorb(state, self.storm, some, self.policy, self.now, self.room)
        return works, room, len(some)


@dataclass(frozen=True, slots=True)
class BuildStormView(BaseJob):
    """Builds what a storm's message shows. Returns None if it has nothing to show after all.

    :param full: the message has no space for more lines
    """

    storm: ClaimedDelivery
    parts: tuple[ClaimedDelivery, ...]
    full: bool
    policy: Policy
    last: ClassVar[bool] = True

    def run(self, state: State) -> StormView | None:
        known = state.ask("standing", self.storm.id)
        state.conversations.want("id", (self.storm.id,))
        state.deliveries.want("id", (self.storm.delivery,))
        state.ready()
        return storms.storm_view(state, known, self.storm, self.parts, self.policy, full=self.full)
