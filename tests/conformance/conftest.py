"""Each kind of database, empty, for tests that hold on all of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from router.store import Store
from router.store.backend import Backend
from tests.postgresql import Server, made


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Nothing is in it; it may have its tables."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/router.db"
        return
    server: Server = request.getfixturevalue("postgresql")
    with server.with_tables() as url:
        yield url


@pytest.fixture
def new_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """For a test that changes the tables or fills them with very much."""
    if kind == "sqlite":
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


@pytest.fixture
def database(url: str) -> Iterator[Backend]:
    database = made(url)
    yield database
    database.close()
