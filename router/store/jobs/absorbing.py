"""Storms take along what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from router.core import claim as claims
from router.core import storms
from router.core.claim import Share, Work
from router.core.state import State
from router.core.storms import Room
from router.decide import Policy
from router.model import Millis, StormView
from router.store.jobs.job import First, PieceJob

Position = tuple[int, int]
"""The urgency and the id of the conversation that was looked at last. Storms take conversations in this order."""
START: Position = (-1, -1)
DUE = 2_000
"""So many are looked up at once: more than a message has room for, as a rule."""


@dataclass(frozen=True, slots=True)
class Due(First):
    """The next of a destination's conversations that are due and belong in a storm's message, the most urgent first."""

    destination: str
    now: Millis
    share: Share
    after: Position

    def run(self, state: State) -> list[Position]:
        found: list[Position] = state.ask(
            "due after", (self.destination, self.now, self.share, self.after, DUE)
        )
        return found


@dataclass(frozen=True, slots=True)
class Recheck(PieceJob):
    """Judges the first of these conversations once more, before a storm begins. How many were looked at, and how many of
    them are still due.
    """

    ids: Sequence[int]
    policy: Policy
    now: Millis

    def run(self, state: State) -> tuple[int, int]:
        some = storms.first_batch(state, self.ids)
        return len(some), storms.recheck(state, some, self.policy, self.now)


@dataclass(frozen=True, slots=True)
class Absorb(PieceJob):
    """The first of these conversations that a storm's message takes along, what room it has left, and how many were
    looked at; none: the first one has very many members.
    """

    storm: Work
    ids: Sequence[int]
    policy: Policy
    now: Millis
    room: Room

    def run(self, state: State) -> tuple[list[Work], Room, int]:
        some = storms.first_batch(state, self.ids)
        if claims.is_large(state.conversations[some[0]]):
            return [], self.room, 0
        works, room = storms.absorb(state, self.storm, some, self.policy, self.now, self.room)
        return works, room, len(some)


@dataclass(frozen=True, slots=True)
class View(First):
    """What a storm's message tells; None: it has nothing to tell after all."""

    storm: Work
    parts: tuple[Work, ...]
    full: bool
    policy: Policy
    last: ClassVar[bool] = True

    def run(self, state: State) -> StormView | None:
        known = state.ask("standing", self.storm.id)
        state.conversations.want("id", (self.storm.id,))
        state.deliveries.want("id", (self.storm.delivery,))
        state.ready()
        return storms.view(state, known, self.storm, self.parts, self.policy, full=self.full)
