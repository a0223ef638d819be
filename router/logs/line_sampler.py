"""Decides which repeated log lines are written. Pure: the caller gives the time.

Lines that repeat each other have the same key. While no more than ``normal`` of them come in a second, all are written.
When more come, the first ``normal`` lines of that second are written, then ``overloaded`` lines of each second, until a
second has no more than ``normal`` lines again. Every line that is left out is counted, and each count is returned once.
"""

from collections.abc import Hashable
from dataclasses import dataclass

_WINDOW_SECONDS = 1.0
# A count is reported without a further line when no line of its key has come for this time.
_SILENT_SECONDS = 2.0
_MAX_KEYS = 1_000


@dataclass(frozen=True, slots=True)
class SampleLimit:
    """How many lines with one key are written."""

    normal: int
    """All lines are written while no more than this come in a second."""
    overloaded: int
    """How many lines of each second are written after a second with more lines."""


@dataclass(slots=True)
class _Window:
    """The lines of one key in the current second. The second begins with the first line after the last one ended."""

    begin: float
    arrived: int = 0
    is_overloaded: bool = False
    left_out: int = 0
    """How many lines were left out and not reported yet."""


class LineSampler:
    """Counts lines by key. It remembers a bounded number of keys; further keys share one count."""

    def __init__(self) -> None:
        self._windows: dict[Hashable, _Window] = {}

    def admit(self, key: Hashable, limit: SampleLimit, now: float) -> int | None:
        """Return how many lines with this key were left out before this line, since the last report; None: leave it out.

        :param now: seconds of a clock that never steps back
        """
        window = self._windows.get(key)
        if window is None:
            window = self._open(key, now)
        age = now - window.begin
        if age >= _WINDOW_SECONDS:
            # After a second without any line, `arrived` is not about the last second.
            window.is_overloaded = age < 2 * _WINDOW_SECONDS and window.arrived > limit.normal
            window.begin, window.arrived = now, 0
        window.arrived += 1
        if window.arrived > (limit.overloaded if window.is_overloaded else limit.normal):
            window.left_out += 1
            return None
        left_out, window.left_out = window.left_out, 0
        return left_out

    def silent(self, now: float) -> list[tuple[Hashable, int]]:
        """Return the keys of which lines were left out, but no line has come for a while, with the counts."""
        return [
            (key, _take(window))
            for key, window in self._windows.items()
            if window.left_out and now - window.begin >= _SILENT_SECONDS
        ]

    def rest(self) -> list[tuple[Hashable, int]]:
        """Return all counts that were not reported yet, with their keys: the log ends."""
        return [(key, _take(window)) for key, window in self._windows.items() if window.left_out]

    def _open(self, key: Hashable, now: float) -> _Window:
        if len(self._windows) >= _MAX_KEYS:
            key = None
        return self._windows.setdefault(key, _Window(now))


def _take(window: _Window) -> int:
    left_out, window.left_out = window.left_out, 0
    return left_out
