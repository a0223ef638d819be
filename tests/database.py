"""The door through which tests look into a store's database and change it behind the store's back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from router.store import Store

MORE_PAGES = 1_000_000


def rows(database: Path | str, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return what a query finds. The database is opened read-only, and may be in use.

    :param database: the path of an SQLite file, or a URL
    :param values: the query's parameters, written as ``:name``
    """
    with _connection(database, read_only=True) as connection:
        return [tuple(row) for row in connection.execute(sa.text(sql), values)]


def change(database: Path | str, *statements: str, **values: Any) -> None:
    """Run statements in one transaction of a connection of its own, as another program would.

    :param values: the parameters of all statements, written as ``:name``
    """
    with _connection(database) as connection, connection.begin():
        for statement in statements:
            connection.execute(sa.text(statement), values)


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Another program holds SQLite's exclusive lock for as long as this lasts."""
    with _connection(database) as connection:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        yield
        connection.exec_driver_sql("ROLLBACK")


@contextmanager
def _connection(database: Path | str, *, read_only: bool = False) -> Iterator[sa.Connection]:
    path = database if isinstance(database, Path) else None
    url = f"sqlite:///file:{path}?mode={'ro' if read_only else 'rwc'}&uri=true" if path else str(database)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


async def on_writer(store: Store, work: Callable[[sa.Connection], object]) -> None:
    """Run a function with the connection of the store's writer, in the writer's thread."""
    await store.database.write(work)


def _full(connection: sa.Connection) -> None:
    if connection.dialect.name == "postgresql":
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        connection.exec_driver_sql("SET SESSION default_transaction_read_only = on")
    else:
        connection.exec_driver_sql("PRAGMA max_page_count=1")


def _roomy(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"PRAGMA max_page_count={MORE_PAGES}")


async def fill_disk(store: Store) -> None:
    """The writer finds no more room from now on.

    SQLite undoes the whole transaction then, as on a full disk. PostgreSQL behaves as a standby: it refuses to write.
    """
    await on_writer(store, _full)


async def empty_disk(store: Store) -> None:
    """SQLite finds room again."""
    await on_writer(store, _roomy)


def queued_jobs(store: Store) -> int:
    """Return how many jobs wait for the writer."""
    return store.database.queued_jobs


async def until_queued(store: Store, count: int) -> None:
    """Wait until so many jobs wait for the writer."""
    while queued_jobs(store) < count:  # noqa: ASYNC110  (the queue has no event)
        await asyncio.sleep(0)


def queued_webhooks(store: Store) -> int:
    """Return how many webhooks wait for the writer. Other jobs may wait as well, for example at a start."""
    waiting = list(store.database._writer._queue.queue)
    return sum(each is not None and each.result.kind in {"Accept", "KeepWebhook"} for each in waiting)


@asynccontextmanager
async def busy_writer(store: Store) -> AsyncIterator[None]:
    """The writer is busy for as long as this lasts: all jobs that come meanwhile are its next batch."""
    release, begun, loop = threading.Event(), asyncio.Event(), asyncio.get_running_loop()

    def wait(_connection: sa.Connection) -> None:
        loop.call_soon_threadsafe(begun.set)
        release.wait()

    task = asyncio.create_task(store.database.write(wait))
    try:
        await begun.wait()
        yield
    finally:
        release.set()
        await task
