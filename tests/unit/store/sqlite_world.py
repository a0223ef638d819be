"""A world whose rows are in SQLite: the store's batches, readers and statements, without its threads."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa

from router.core.conversations import DATABASE_ID
from router.core.indexes import TABLES
from router.core.state import State
from router.store.batch import Batch, Direct, JobResult
from router.store.jobs import Job
from router.store.row_writes import BatchId
from router.store.schema import metadata
from router.store.sets import Sets
from router.store.sqlite import Sqlite
from tests.unit.core import oracle
from tests.unit.core.memory import at_once

T = TypeVar("T")


class _Cursor(sqlite3.Cursor):
    """Records each statement. The parts of an INSERT of many rows count as one."""

    def execute(self, sql: str, parameters: Any = (), /) -> "_Cursor":
        self._note(sql)
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> "_Cursor":
        self._note(sql)
        return super().executemany(sql, parameters)

    def _note(self, sql: str) -> None:
        assert isinstance(self.connection, _Connection)
        noted, table = self.connection.statements, sql.partition(" VALUES ")[0]
        if not (table.startswith("INSERT ") and noted and noted[-1].startswith(table)):
            noted.append(sql)


class _Connection(sqlite3.Connection):
    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.statements: list[str] = []

    def cursor(self, _factory: Any = None) -> Any:
        return super().cursor(_Cursor)


class InSqlite:
    """In place of :class:`router.store.database.Database`: has the methods that the store calls."""

    rules: str | None = None

    def __init__(self) -> None:
        self.driver = sqlite3.connect(":memory:", isolation_level=None, factory=_Connection)
        self.driver.execute("PRAGMA foreign_keys=ON")
        engine = sa.create_engine("sqlite://", creator=lambda: self.driver, poolclass=sa.pool.StaticPool)
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
        metadata.create_all(engine)
        self.connection = engine.connect()
        self._sets = Sets(Sqlite)
        self._batches = 0
        self.rows_of_batches: list[int] = []
        """How many rows each batch had, since this list was cleared."""

    def close(self) -> None:
        self.connection.close()
        self.driver.close()

    def batch(self, *jobs: Job[Any] | Direct) -> list[JobResult]:
        """Run jobs in one transaction, and return their results."""
        results = [JobResult(job) for job in jobs]
        with self.connection.begin():
            batch = Batch(self.connection, self._sets, Sqlite.read_head)
            batch.run(results)
            self._batches += 1
            self.rows_of_batches.append(sum(1 for table in batch._state.tables for _ in table))
            batch.finish(BatchId("tests", self._batches))
        return results

    def one(self, job: Job[Any] | Direct) -> Any:
        (result,) = self.batch(job)
        if result.error is not None:
            raise result.error
        return result.value

    async def do(self, job: Job[T]) -> T:
        result: T = self.one(job)
        return result

    async def look(self, job: Job[T]) -> T:
        with self.connection.begin():
            return Batch(self.connection, self._sets, Sqlite.read_head).look(job)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        result: T = self.one(Direct(work))
        return result

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        with self.connection.begin():
            return work(self.connection)

    @property
    def state(self) -> State:
        state = State(complete=True, oracle=oracle.answer)
        for table in TABLES:
            names = ", ".join(f'"{name}"' for name in table.columns)
            rows = self.driver.execute(f"SELECT {names} FROM {table.name}")
            getattr(state, table.name).load("id", (), map(table.row._make, rows))
        return state

    def rows(self, sql: str, *values: Any) -> list[Any]:
        return self.driver.execute(sql, values).fetchall()

    @property
    def statements(self) -> list[str]:
        """The statements that were run since this list was cleared."""
        return self.driver.statements


@contextmanager
def in_sqlite() -> Iterator[InSqlite]:
    database = InSqlite()
    try:
        yield database
    finally:
        database.close()


def collected(work: AsyncIterator[T]) -> Sequence[T]:
    """Return all items of an iterator that never waits."""

    async def collect() -> list[T]:
        return [each async for each in work]

    return at_once(collect())


def contents(state: State) -> dict[str, list[Any]]:
    """Return the rows of a state by table, without random values, the next id, and the version that wrote them."""
    found: dict[str, list[Any]] = {}
    for table in TABLES:
        found[table.name] = sorted(getattr(state, table.name))
    found["meta"] = [row for row in found["meta"] if row.key not in {DATABASE_ID, "next_id", "written_by"}]
    found["conversations"] = [row._replace(key="", revision="") for row in found["conversations"]]
    return found
