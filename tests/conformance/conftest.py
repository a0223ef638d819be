"""Each kind of database, empty, for tests that hold on all of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from router.store import Store
from router.store.backend import Backend, backend
from router.store.opening import migrate
from tests.postgresql import Server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/router.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    with server.database() as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    store = await Store.open(url)
    yield store
    await store.close()


def made(url: str) -> Backend:
    """A database with its tables, and no store."""
    database = backend(url)
    database.make()
    migrate(database.engine)
    return database


@pytest.fixture
def database(url: str) -> Iterator[Backend]:
    database = made(url)
    yield database
    database.close()
