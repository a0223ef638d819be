"""The values of the metrics, by their labels, and the text that Prometheus scrapes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Info, ProcessCollector, disable_created_metrics
from prometheus_client.metrics_core import Metric

from router import histogram
from router import metric_table as table
from router.family import Family, head
from router.histogram import Histogram
from router.metric_table import Definition
from router.package import package_version

disable_created_metrics()  # type: ignore[no-untyped-call]


def _text_of(metrics: Iterable[Metric]) -> Iterator[str]:
    for metric in metrics:
        yield head(metric)
        for each in metric.samples:
            yield f"{histogram.sample_start(each.name, each.labels)} {histogram.number_text(each.value)}\n"


class MetricValues:
    """Holds all metrics of the table. If they are switched off, changes do nothing and the text is empty."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self.registry = CollectorRegistry()
        self._made: dict[Definition, Any] = {}
        self._children: dict[tuple[Definition, tuple[Any, ...]], Any] = {}
        """Each metric with given values of its labels."""
        self._histograms: list[Histogram] = []
        self._families: list[Family] = []
        for each in table.ALL_METRICS if enabled else ():
            if issubclass(each.type, Histogram):
                made = each.type(each.name, each.help, each.labels, each.buckets)
                self._made[each] = made
                self._histograms.append(made)
            else:
                metric = each.type(each.name, each.help, each.labels, registry=self.registry)
                self._made[each] = metric
                self._families.append(Family(metric))
        registry = self.registry if enabled else None
        self._process = ProcessCollector(registry=registry)
        build = Info("alert_router_build", "The version of this build.", registry=registry)
        build.info({"version": package_version()})
        self._build_text = "".join(_text_of(build.collect()))

    def _count(self, definition: Definition, *labels: object, by: int = 1) -> None:
        if self.enabled:
            self._child(definition, labels).inc(by)

    def _set(self, definition: Definition, value: float, *labels: object) -> None:
        if self.enabled:
            self._child(definition, labels).set(value)

    def _observe(self, definition: Definition, value: float, *labels: str) -> None:
        if self.enabled:
            self._made[definition].observe(value, *labels)

    def _replace(self, definition: Definition, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these values of a gauge, by its labels, and no others."""
        if not self.enabled:
            return
        self._made[definition].clear()
        self._children = {key: each for key, each in self._children.items() if key[0] is not definition}
        for labels, value in values.items():
            self._set(definition, value, *labels)

    def _child(self, definition: Definition, labels: tuple[object, ...]) -> Any:
        """Return the metric with these labels. It is kept, because the library takes longer to find it than to count."""
        key = (definition, labels)
        found = self._children.get(key)
        if found is None:
            metric = self._made[definition]
            found = self._children[key] = metric.labels(*labels) if labels else metric
        return found

    def _remove(self, definition: Definition, labels: tuple[object, ...]) -> None:
        """Remove a metric with these labels. It must be there."""
        self._made[definition].remove(*labels)
        del self._children[definition, labels]

    def _text(self) -> bytes:
        """Return the text that the library's ``generate_latest`` returns, which takes ten times as long."""
        return "".join(self._lines()).encode()

    def _lines(self) -> Iterator[str]:
        for family in self._families:
            yield from family.text()
        yield from _text_of(self._process.collect())
        yield self._build_text
        for each in self._histograms:
            yield from each.text()
