"""A histogram for Prometheus that costs little to observe and to write: its text is made once, but for the numbers."""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.utils import floatToGoString


class Histogram:
    """Of one thread: nothing is locked.

    :param names: of the labels
    :param buckets: their upper bounds, in order
    """

    def __init__(self, name: str, about: str, names: tuple[str, ...], buckets: tuple[float, ...]) -> None:
        self._head = f"# HELP {name} {about}\n# TYPE {name} histogram\n"
        self._name = name
        self._names = names
        self._buckets = buckets
        self._children: dict[tuple[str, ...], _Child] = {}

    def observe(self, value: float, *labels: str) -> None:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = _Child(self._begin(labels), len(self._buckets))
        child.counts[bisect_left(self._buckets, value)] += 1
        child.sum += value
        child.text = None

    def text(self) -> Iterator[str]:
        """See https://prometheus.io/docs/instrumenting/exposition_formats/#text-format-details."""
        yield self._head
        for child in self._children.values():
            if child.text is None:  # else nothing was observed since the last scrape
                child.text = "".join(child.lines())
            yield child.text

    def _begin(self, labels: tuple[str, ...]) -> list[str]:
        """How its lines begin: those of the buckets, of the count and of the sum."""
        pairs = dict(zip(self._names, labels, strict=True))
        bounds = [*map(written, self._buckets), "+Inf"]
        return [
            *(sample(f"{self._name}_bucket", {**pairs, "le": bound}) for bound in bounds),
            sample(f"{self._name}_count", pairs),
            sample(f"{self._name}_sum", pairs),
        ]


class _Child:
    __slots__ = ("begin", "counts", "sum", "text")

    def __init__(self, begin: list[str], buckets: int) -> None:
        self.begin = begin
        self.counts = [0] * (buckets + 1)
        self.sum = 0.0
        self.text: str | None = None

    def lines(self) -> Iterator[str]:
        total = 0
        for begin, total in zip(self.begin, accumulate(self.counts), strict=False):
            yield f"{begin} {total}.0\n"
        yield f"{self.begin[-2]} {total}.0\n{self.begin[-1]} {written(self.sum)}\n"


def sample(name: str, labels: dict[str, str]) -> str:
    """How the line of a sample begins."""
    if not labels:
        return name
    several = ",".join(f'{label}="{_escaped(value)}"' for label, value in sorted(labels.items()))
    return f"{name}{{{several}}}"


def written(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]
    return text


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
