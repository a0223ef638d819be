"""Worlds for the tests of the core."""

from collections.abc import Iterator

import pytest

from tests.unit.core.world import World
from tests.unit.store.sqlite_world import in_sqlite


@pytest.fixture(params=["memory", "sqlite"])
def either_world(request: pytest.FixtureRequest) -> Iterator[World]:
    """One whose rows are in memory, and one whose rows are in SQLite."""
    if request.param == "memory":
        yield World()
        return
    with in_sqlite() as database:
        yield World(database=database)
