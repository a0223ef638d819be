"""One writer thread that commits many callers' work together, and connections of their own for readers.

Statements are SQLAlchemy's, compiled to the database's SQL once and then run on the driver itself: the
portability without most of its cost on the webhook's path.
"""

import asyncio
import fcntl
import math
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import sqlalchemy as sa
import structlog
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.sql.compiler import SQLCompiler

from router.store.health import Health, StoreUnavailable, is_damage, unavailable
from router.threads import Threads

T = TypeVar("T")
log = structlog.get_logger(__name__)

_BATCH = 256
_QUEUE = 10_000
_READERS = 4
# How long another program's lock is waited for.
BUSY_SECONDS = 5


class Statement:
    """A SQLAlchemy statement with named parameters, compiled on first use."""

    __slots__ = ("_clause", "_defaults", "_order", "sql")

    def __init__(self, clause: sa.sql.ClauseElement) -> None:
        self._clause = clause
        self.sql = ""
        self._order: Sequence[str] = ()
        self._defaults: Mapping[str, Any] = {}

    def compile(self, dialect: Dialect) -> None:
        compiled = self._clause.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)  # noqa: S101  (narrows the type)
        self._order = compiled.positiontup or ()
        self._defaults = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self.sql = str(compiled)

    def arguments(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        defaults = self._defaults
        return tuple([given[name] if name in given else defaults[name] for name in self._order])


def insert(table: sa.Table, *, omit: tuple[str, ...] = ("id",)) -> sa.sql.dml.Insert:
    """An insert of every column but ``omit``, each bound by its own name."""
    return sa.insert(table).values(
        {c.name: sa.bindparam(c.name) for c in table.columns if c.name not in omit}
    )


def among(column: sa.ColumnElement[str], values: Iterable[str]) -> sa.ColumnElement[bool]:
    """``column IN (values)``, in a form whose SQL is final once compiled."""
    return sa.or_(*(column == value for value in values))


class Transaction:
    """What a caller's work is given: statements in, rows out. Valid only while that work runs."""

    __slots__ = ("_connection", "_dialect")

    def __init__(self, connection: sqlite3.Connection, dialect: Dialect) -> None:
        self._connection = connection
        self._dialect = dialect

    def _execute(self, statement: Statement, given: Mapping[str, Any]) -> sqlite3.Cursor:
        if not statement.sql:
            statement.compile(self._dialect)
        return self._connection.execute(statement.sql, statement.arguments(given))

    def run(self, statement: Statement, **given: Any) -> int:
        """How many rows it touched."""
        return self._execute(statement, given).rowcount

    def add(self, statement: Statement, **given: Any) -> int:
        """The id of the inserted row."""
        return self._execute(statement, given).lastrowid or 0

    def one(self, statement: Statement, **given: Any) -> Any:
        """The first row (by column name), or None."""
        return self._execute(statement, given).fetchone()

    def all(self, statement: Statement, **given: Any) -> list[Any]:
        return self._execute(statement, given).fetchall()


@dataclass(slots=True)
class _Job:
    work: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None
    wrote: bool = False
    """Of the first of a batch: something was written by it."""


class Database:
    """A SQLite file: one writer, many readers.

    :param url: ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``
    :raises StoreUnavailable: it can't be opened, or another process serves from it
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise StoreUnavailable("it is no URL; give a file, like sqlite:///state/router.db") from None
        if (
            self._url.get_backend_name() != "sqlite"
            or not self._url.database
            or self._url.database == ":memory:"
        ):
            raise StoreUnavailable(
                f"{self._url.render_as_string()}: give a file, like sqlite:///state/router.db"
            )
        self.path = Path(self._url.database).absolute()
        self._lock = self._take_lock()
        self._file = self.path.stat()
        self.health = Health(self.path)
        self.engine = sa.create_engine(self._url, pool_size=_READERS, creator=self._connect)
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
        self._readers = Threads("store-read", _READERS)
        self._queue: queue.Queue[_Job | None] = queue.Queue(_QUEUE)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    def _take_lock(self) -> int:
        """Two services on one SQLite file would each tell everything: the second one is refused."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            # Nobody else's to read: alerts and routing keys are in it. SQLite's files beside it do the same.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise StoreUnavailable(
                f"{self.path.parent}: {error.strerror}; give a folder that can be written"
            ) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreUnavailable(
                f"{self.path} is in use by another alert-router; stop that one, or give another --database"
            ) from None
        return lock

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.Thread(target=self._serve, name="store-write", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Run ``work`` in a transaction on the writer thread; returns after the commit is durable.

        :raises StoreUnavailable: nothing of it was kept
        """
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            raise StoreUnavailable("the store is closed")
        if self.health.damaged:
            raise StoreUnavailable(str(self.health.error))
        job = _Job(work, loop.create_future())
        try:
            self._queue.put_nowait(job)
        except queue.Full:
            error = StoreUnavailable(
                f"{self.path}: {_QUEUE} writes are waiting already: the disk is too slow"
            )
            self.health.failed(error)
            raise error from None
        result: T = await job.future
        return result

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` with a connection of its own, on a reader thread."""

        def call() -> T:
            with self.engine.connect() as connection:
                return work(connection)

        try:
            return await self._readers.run(call)
        except sa.exc.DBAPIError as error:
            unread = unavailable(error, self.path)
            if unread.damaged:
                self.health.failed(unread)
            raise unread from error

    async def close(self, within: float = math.inf) -> None:
        """Finish what is queued, then let go of the file.

        :param within: seconds; a writer that is stuck (a dead disk) is left behind then, and ends with the process
        """
        if self._thread is not None:
            self._thread = None
            with suppress(queue.Full):  # then it is stuck
                self._queue.put_nowait(None)
            try:
                async with asyncio.timeout(None if within == math.inf else within):
                    await self._ended.wait()
            except TimeoutError:
                log.warning(
                    "the store's last write has not ended; it is left behind", database=str(self.path)
                )
                return
        self._readers.shutdown()
        self.engine.dispose()
        with suppress(OSError):
            os.close(self._lock)

    def _connect(self) -> sqlite3.Connection:
        """Never makes the file anew: somebody has moved it away, and its WAL would be lost."""
        uri = f"file:{quote(str(self.path))}?mode=rw"
        return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, check_same_thread=False)

    def _serve(self) -> None:
        """The writer's thread. Whatever happens to a batch, those who wait for it get an answer, and it goes on."""
        pooled: sa.PoolProxiedConnection | None = None
        open_ = True
        while open_:
            batch: list[_Job] = []
            job = self._queue.get()
            while job is not None:
                batch.append(job)
                if len(batch) == _BATCH:
                    break
                try:
                    job = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                open_ = False
            if batch:
                pooled = self._write(pooled, batch)
                assert self._loop is not None  # noqa: S101  (narrows the type)
                with suppress(RuntimeError):  # the loop is gone: nobody waits for an answer any more
                    self._loop.call_soon_threadsafe(self._settle, batch)
        if pooled is not None:
            _own(pooled).row_factory = None
            pooled.close()
        assert self._loop is not None  # noqa: S101  (narrows the type)
        with suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._ended.set)

    def _write(
        self, pooled: sa.PoolProxiedConnection | None, batch: list[_Job]
    ) -> sa.PoolProxiedConnection | None:
        """Commit a batch; the connection for the next one, None: a new one."""
        try:
            self._still_there()
            pooled = pooled or self.engine.raw_connection()
            connection = _own(pooled)
            before = connection.total_changes
            _commit(connection, Transaction(connection, self.engine.dialect), batch)
            batch[0].wrote = connection.total_changes > before
        except BaseException as error:  # noqa: BLE001  (else its callers would wait for ever)
            failure = error if isinstance(error, StoreUnavailable) else unavailable(error, self.path)
            for job in batch:
                job.error = failure
            if pooled is not None and _own(pooled).in_transaction:  # not even its rollback succeeded
                pooled.invalidate()
                return None
        for job in batch:
            if isinstance(job.error, sqlite3.OperationalError):
                job.error = unavailable(job.error, self.path)
        return pooled

    def _still_there(self) -> None:
        """SQLite would go on with a file that has been deleted: all that it keeps would be gone at the end."""
        try:
            same = os.path.samestat(self.path.stat(), self._file)
        except OSError:
            same = False
        if not same:
            raise StoreUnavailable(
                f"{self.path} was moved away in use; put it back, or start the router anew"
            )

    def _settle(self, batch: list[_Job]) -> None:
        """Answer the callers, on the event loop."""
        faults = [job.error for job in batch if isinstance(job.error, StoreUnavailable)]
        for fault in faults:
            self.health.failed(fault)
        # A full disk still takes a transaction that writes nothing.
        if not faults and batch[0].wrote and self._queue.qsize() < _QUEUE // 2:
            self.health.worked()
        for job in batch:
            if job.future.done():
                continue
            if job.error is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(job.error)


def _own(pooled: sa.PoolProxiedConnection) -> sqlite3.Connection:
    connection = pooled.dbapi_connection
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101  (narrows the type)
    connection.row_factory = sqlite3.Row
    return connection


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    # FULL: NORMAL may lose the last commits at a power cut. https://sqlite.org/pragma.html#pragma_synchronous
    # A larger cache and rarer checkpoints spare the webhook's path some writing; nothing of durability.
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON",
        "cache_size=-65536", "wal_autocheckpoint=4000",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _commit(connection: sqlite3.Connection, transaction: Transaction, batch: list[_Job]) -> None:
    """One durable transaction for the batch. A job that raises is undone alone; its mates are not."""
    try:
        # IMMEDIATE: a deferred BEGIN that writes later fails at once with SQLITE_BUSY_SNAPSHOT.
        connection.execute("BEGIN IMMEDIATE")
        for job in batch:
            connection.execute("SAVEPOINT job")
            try:
                job.result = job.work(transaction)
            except BaseException as error:
                # A full or failing disk makes SQLite undo everything. https://sqlite.org/lang_transaction.html
                if is_damage(error) or not connection.in_transaction:
                    raise
                job.error = _raisable(error)
                connection.execute("ROLLBACK TO job")
            connection.execute("RELEASE job")
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _raisable(error: BaseException) -> Exception:
    """As the caller may be raised it: a future takes no StopIteration, and an exit is not for a worker to ask for."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")
