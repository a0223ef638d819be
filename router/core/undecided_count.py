"""How much waits to be decided: counted in a row, because the bound holds over all replicas."""

from dataclasses import dataclass
from typing import Self

from router.core.head import RefusedJob
from router.core.rows import MetaRow
from router.core.state import State

UNDECIDED = "undecided"
"""A key of the meta table: the :class:`UndecidedCount`. Without it, nothing waits."""
SMALL_WEBHOOK = 200
"""A webhook with more alerts than this is decided in pieces of this size. Each piece takes the writer some tens of
milliseconds.
"""
MAX_UNDECIDED_ALERTS = 200_000
"""The largest number of alerts that wait, unless a single webhook has more: four webhooks of the largest size."""


class TooManyUndecided(RefusedJob):
    """More alerts than the bound would wait to be decided."""


@dataclass(frozen=True, slots=True)
class UndecidedCount:
    """What waits to be decided."""

    alerts: int = 0
    """How many alerts wait, in webhooks of any size."""
    small: int = 0
    """How many webhooks of up to :data:`SMALL_WEBHOOK` alerts wait."""

    @classmethod
    def read(cls, text: str | None) -> Self:
        """Return what :meth:`__str__` wrote; of None: nothing waits."""
        return cls() if text is None else cls(*map(int, text.split()))

    def __str__(self) -> str:
        return f"{self.alerts} {self.small}"


def want_undecided_count(state: State) -> None:
    state.meta.want("id", (UNDECIDED,))


def count_of_undecided(state: State) -> UndecidedCount:
    """:raises MissingRows: the row is not loaded yet"""
    row = state.meta.get(UNDECIDED)
    return UndecidedCount.read(None if row is None else row.value)


def count_kept(state: State, alerts: int, bound: int) -> None:
    """Count a webhook that begins to wait.

    :param bound: of the number of alerts that wait
    :raises TooManyUndecided: others wait already, and it would exceed the bound
    """
    count = count_of_undecided(state)
    if count.alerts and count.alerts + alerts > bound:
        raise TooManyUndecided(f"{count.alerts} alerts wait to be decided already")
    _change(state, count, alerts, 1)


def count_decided(state: State, alerts: int) -> None:
    """Count a webhook that no longer waits."""
    _change(state, count_of_undecided(state), -alerts, -1)


def _change(state: State, count: UndecidedCount, alerts: int, webhooks: int) -> None:
    small = count.small + (webhooks if abs(alerts) <= SMALL_WEBHOOK else 0)
    state.meta.put(MetaRow(UNDECIDED, str(UndecidedCount(max(0, count.alerts + alerts), max(0, small)))))
