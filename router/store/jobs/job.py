"""What a job of the writer is, and what jobs share."""

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar

from router.core import presence
from router.core.state import State

T_co = TypeVar("T_co", covariant=True)

MEMBERS_PER_BATCH = 200
"""How many members of a very large conversation one batch handles. They take some tens of milliseconds."""


class Job(Protocol[T_co]):
    """``last``: it runs when all other jobs of its batch are saved."""

    last: ClassVar[bool]

    @property
    def weight(self) -> int:
        """How long it takes, in alerts: a batch has so many, whatever its jobs are."""

    def want(self, state: State) -> None:
        """Have rows loaded. :raises Missing: more are wanted once these are there"""

    def run(self, state: State) -> T_co:
        """:raises Missing: rows are wanted that are not loaded; the job runs again"""


class BaseJob:
    """A job that runs before the last ones of its batch, and is about one alert."""

    last: ClassVar[bool] = False

    @property
    def weight(self) -> int:
        return 1

    def want(self, state: State) -> None:
        """Nothing is known beforehand."""


class PieceJob(BaseJob):
    """A job about so many members of something that has very many."""

    @property
    def weight(self) -> int:
        return MEMBERS_PER_BATCH


class AlertsJob(BaseJob):
    """A job about the alerts of some ids."""

    ids: Sequence[int]

    @property
    def weight(self) -> int:
        return len(self.ids)


def next_after(ids: list[int], page: int = presence.BATCH) -> int:
    """Where the next piece begins; 0: there are no more. :param page: how many ids a piece has, if more follow"""
    return ids[-1] if len(ids) == page else 0
