"""Plays recorded histories on the present store, each on its own empty database."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from router.store import Store
from tests.histories.compare import Comparison, compare
from tests.histories.data import History, JobResult, Recorded
from tests.histories.play import play
from tests.memory import MEMORY
from tests.postgresql import Server

Copies = Callable[[], AbstractContextManager[str]]
"""Yields the URL of an empty database with tables."""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


async def _make_tables(url: str) -> None:
    await (await Store.open(url)).close()


async def files(folder: Path) -> Copies:
    """Create the tables once; each database is a copy of the file."""
    (folder / "empty").mkdir()
    await _make_tables(f"sqlite:///{folder}/empty/router.db")

    @contextmanager
    def copy() -> Iterator[str]:
        shutil.copytree(folder / "empty", folder / "used")
        yield f"sqlite:///{folder}/used/router.db"
        shutil.rmtree(folder / "used")

    return copy


async def databases(server: Server) -> Copies:
    """Create the tables once; each database is a copy on the server."""
    empty = server.create()
    await _make_tables(server.url(empty))
    return lambda: server.database(empty)


async def play_each(
    several: Iterable[History], server: Server | None = None
) -> AsyncIterator[tuple[History, list[JobResult]]]:
    """Yield histories with the results of their steps. :param server: PostgreSQL; None: SQLite"""
    with _folder() as folder:
        copies = await (files(folder) if server is None else databases(server))
        for history in several:
            with copies() as url:
                results = await play(history, url)
            yield history, results


async def replay(
    several: Iterable[Recorded], server: Server | None = None
) -> AsyncIterator[tuple[Recorded, Comparison]]:
    async for recorded, results in play_each(several, server):
        yield recorded, compare(recorded, results)
