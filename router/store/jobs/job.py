"""The protocol of the writer's jobs, and the base classes that they share."""

from collections.abc import Sequence
from typing import ClassVar, Protocol, TypeVar

from router.core.conclusions import ALERTS_PER_BATCH
from router.core.state import State

T_co = TypeVar("T_co", covariant=True)

MEMBERS_PER_BATCH = 200
"""How many members of a large conversation one batch handles. Such a batch takes some tens of milliseconds."""


class Job(Protocol[T_co]):
    """A job. If ``last`` is true, it runs after all other jobs of its batch are saved. If ``judges`` is true, it judges by
    rules: it is refused while another replica's rules are in force.
    """

    last: ClassVar[bool]
    judges: ClassVar[bool]

    @property
    def weight(self) -> int:
        """How long it takes, as a number of alerts. A batch takes jobs up to a total weight."""

    @property
    def with_next(self) -> bool:
        """Whether it waits a moment for the next job, to run in its batch."""

    def want(self, state: State) -> None:
        """Name the rows to load before the job runs.

        :raises MissingRows: more rows can be named once these are loaded
        """

    def run(self, state: State) -> T_co:
        """Run the transition.

        :raises MissingRows: it needs rows that are not loaded; the job runs again once they are
        """


class BaseJob:
    """A job that is not ``last``, that judges nothing, and that takes as long as one alert."""

    last: ClassVar[bool] = False
    judges: ClassVar[bool] = False

    @property
    def weight(self) -> int:
        return 1

    @property
    def with_next(self) -> bool:
        return False

    def want(self, state: State) -> None:
        """Name no rows: the job finds out which it needs while it runs."""


class PieceJob(BaseJob):
    """A job about one piece of something that has very many members."""

    @property
    def weight(self) -> int:
        return MEMBERS_PER_BATCH


class AlertsJob(BaseJob):
    """A job about the alerts with these ids."""

    ids: Sequence[int]

    @property
    def weight(self) -> int:
        return len(self.ids)


def next_after(ids: list[int], page: int = ALERTS_PER_BATCH) -> int:
    """Return the id after which the next piece begins; 0: there are no more pieces.

    :param page: how many ids a piece has if more follow
    """
    return ids[-1] if len(ids) == page else 0
