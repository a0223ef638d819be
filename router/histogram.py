"""A histogram for Prometheus that costs little to observe and to write: only the numbers of its text are made again."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.utils import floatToGoString


class Histogram:
    """One histogram with all its label values. It takes no locks, so use it from one thread only."""

    def __init__(
        self, name: str, help_text: str, label_names: tuple[str, ...], buckets: tuple[float, ...]
    ) -> None:
        """:param buckets: their upper bounds, in order"""
        self._head = f"# HELP {name} {help_text}\n# TYPE {name} histogram\n"
        self._name = name
        self._label_names = label_names
        self._buckets = buckets
        self._children: dict[tuple[str, ...], _Child] = {}

    def observe(self, value: float, *labels: str) -> None:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = _Child(self._line_starts(labels), len(self._buckets))
        child.counts[bisect_left(self._buckets, value)] += 1
        child.sum += value
        child.text = None

    def text(self) -> Iterator[str]:
        """Yield the text: https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details."""
        yield self._head
        for child in self._children.values():
            if child.text is None:  # otherwise nothing was observed since the last scrape
                child.text = "".join(child.lines())
            yield child.text

    def _line_starts(self, labels: tuple[str, ...]) -> list[str]:
        """Return the start of each line: of the buckets, the count and the sum."""
        pairs = dict(zip(self._label_names, labels, strict=True))
        bounds = [*map(number_text, self._buckets), "+Inf"]
        return [
            *(sample_start(f"{self._name}_bucket", {**pairs, "le": bound}) for bound in bounds),
            sample_start(f"{self._name}_count", pairs),
            sample_start(f"{self._name}_sum", pairs),
        ]


class _Child:
    """The observations with one set of label values."""

    __slots__ = ("counts", "line_starts", "sum", "text")

    def __init__(self, line_starts: list[str], buckets: int) -> None:
        self.line_starts = line_starts
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0
        self.text: str | None = None

    def lines(self) -> Iterator[str]:
        total = 0
        for start, total in zip(self.line_starts, accumulate(self.counts), strict=False):
            yield f"{start} {total}.0\n"
        yield f"{self.line_starts[-2]} {total}.0\n{self.line_starts[-1]} {number_text(self.sum)}\n"


def sample_start(name: str, labels: dict[str, str]) -> str:
    """Return how the line of a sample begins: the name and the labels."""
    if not labels:
        return name
    pairs = ",".join(f'{label}="{_escape(value)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{pairs}}}"


def number_text(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
