"""Plays recorded histories on the present store, each on an empty database of its own."""

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
"""Makes the URL of an empty database with its tables."""


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


async def _make_tables(url: str) -> None:
    await (await Store.open(url)).close()


async def files(folder: Path) -> Copies:
    """The tables are made once, and copied."""
    (folder / "empty").mkdir()
    await _make_tables(f"sqlite:///{folder}/empty/router.db")

    @contextmanager
    def copy() -> Iterator[str]:
        shutil.copytree(folder / "empty", folder / "used")
        yield f"sqlite:///{folder}/used/router.db"
        shutil.rmtree(folder / "used")

    return copy


async def databases(server: Server) -> Copies:
    """As :func:`files`, on a server."""
    empty = server.create()
    await _make_tables(server.url(empty))
    return lambda: server.database(empty)


async def play_each(
    several: Iterable[History], server: Server | None = None
) -> AsyncIterator[tuple[History, list[JobResult]]]:
    """Histories with what each step showed. :param server: of PostgreSQL; None: on SQLite"""
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
