"""What traps are looked for in: a file of the configuration, as it was given and as it was built."""

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
    """Its own, by the names used in it."""
    receivers: Mapping[str, str]
    """The full names of its own, by the names used in it."""
    route: RouteModel
    positions: Mapping[str, Location]
    """Of its routes, by path."""

    def models(self) -> Iterator[tuple[str, RouteModel]]:
        """Its routes, with their paths."""
        yield from _models(self.route, next(iter(self.positions)))

    def given(self, where: Location) -> Any:
        """What stands at a place."""
        data = self.document.data
        for part in where:
            data = data[part]
        return data


def _models(model: RouteModel, path: str) -> Iterator[tuple[str, RouteModel]]:
    yield path, model
    for index, child in enumerate(model.routes):
        yield from _models(child, f"{path}.routes[{index}]")
