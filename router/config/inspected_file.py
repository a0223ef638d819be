"""A file of the configuration that is searched for traps: its text, its models, and what was built from them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from router.config.document import Document, Location
from router.config.models import RouteModel, TimeIntervalModel
from router.decide.hours import NamedInterval


@dataclass(frozen=True, slots=True)
class InspectedFile:
    """The main file, or a fragment."""

    document: Document
    time_intervals: tuple[TimeIntervalModel, ...]
    intervals: Mapping[str, NamedInterval]
    """The intervals of this file, by the names used in it."""
    receivers: Mapping[str, str]
    """The full names of the receivers of this file (in an included file with its prefix, like ``payments/oncall``), by
    the names used in the file.
    """
    route: RouteModel
    locations: Mapping[str, Location]
    """The locations of its routes, by path."""

    def models(self) -> Iterator[tuple[str, RouteModel]]:
        """Yield the path and the model of each route, depth first."""
        yield from _models(self.route, next(iter(self.locations)))

    def given(self, where: Location) -> Any:
        """Return the data at a location."""
        data = self.document.data
        for part in where:
            data = data[part]
        return data


def _models(model: RouteModel, path: str) -> Iterator[tuple[str, RouteModel]]:
    yield path, model
    for index, child in enumerate(model.routes):
        yield from _models(child, f"{path}.routes[{index}]")
