"""Each kind of database, empty, for tests that hold on all of them."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest

from router.store import Store
from router.store.backend import Backend
from tests.moving import Mover
from tests.postgresql import Server, made


@pytest.fixture(params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database, which may have its tables."""
    with _empty(kind, request, tmp_path, Server.with_tables) as url:
        yield url


@pytest.fixture
def new_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database, for a test that changes the tables or adds very many rows."""
    with _empty(kind, request, tmp_path, Server.database) as url:
        yield url


def _empty(
    kind: str,
    request: pytest.FixtureRequest,
    folder: Path,
    of_server: Callable[[Server], AbstractContextManager[str]],
) -> AbstractContextManager[str]:
    if kind == "sqlite":
        return nullcontext(f"sqlite:///{folder}/router.db")
    return of_server(request.getfixturevalue("postgresql"))


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


@pytest.fixture
def mover(tmp_path: Path, postgresql: Server) -> Iterator[Mover]:
    with Mover(tmp_path, postgresql) as mover:
        yield mover
