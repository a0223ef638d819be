"""SQLite: one file, one writer, many readers."""

import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from router.core.head import NEXT_ID, Head, HeadReading
from router.store.disk_usage import DiskUsage, file_size
from router.store.file_modes import (
    create_private,
    give_to_owner,
    make_folder,
    owned_by_service,
    restrict_files,
)
from router.store.health import OTHER_TABLES, RESUMES, StoreUnavailable, driver_error
from router.store.new_files import put_in_place, unfinished_file
from router.store.row_writes import BatchId
from router.store.sets import DatabaseCursor
from router.store.sqlite_rows import SqliteRows

_BUSY_SECONDS = 5
"""How long to wait for another program's lock."""
# FULL: NORMAL may lose the last commits at a power cut. https://sqlite.org/pragma.html#pragma_synchronous
# Fewer checkpoints save the writer some work, without a loss of durability.
_PRAGMAS = (
    "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "wal_autocheckpoint=4000", "journal_size_limit=67108864",
)  # fmt: skip
# Pages that a connection keeps, in KiB. The writer works on the same pages again and again. Readers find pages in the
# system's cache almost as quickly, and there are several of them. https://sqlite.org/pragma.html#pragma_cache_size
_WRITER_CACHE_KIB = 64 * 1024
_READER_CACHE_KIB = 4 * 1024
# Checking a gigabyte takes about a second in memory; from a disk it takes as long as reading it. A file that needs longer
# than this is checked only in part: a start that takes minutes costs more alerts than a flipped bit.
_CHECK_SECONDS = 5.0
# Enough for all statements of the writer to stay prepared.
_PREPARED_STATEMENTS = 512
# https://sqlite.org/rescode.html
_MESSAGES_BY_CODE = {
    sqlite3.SQLITE_FULL: f"the disk is full; make room, {RESUMES}",
    sqlite3.SQLITE_IOERR: f"{{error}}: the disk fails, or a quota or limit is reached; repair that, {RESUMES}",
    sqlite3.SQLITE_READONLY: f"{{error}}; make it writable, {RESUMES}",
    sqlite3.SQLITE_BUSY: f"another program has locked it; stop that program, {RESUMES}",
    sqlite3.SQLITE_CANTOPEN: "{error}; check the permissions of the file and of its folder",
}
_DAMAGED_BY_CODE = {
    sqlite3.SQLITE_CORRUPT: "it is damaged ({error})",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database, or its beginning is damaged ({error})",
}


class Sqlite(SqliteRows):
    """See :class:`router.store.backend.Backend`.

    :param url: ``sqlite:///relative/path.db`` or ``sqlite:////absolute/path.db``
    :raises StoreUnavailable: the URL names no file
    """

    scheme = "sqlite"
    example = "sqlite:///state/router.db"
    is_shared = False
    keeps_nul = True
    session = ""

    def __init__(self, url: sa.URL, readers: int) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreUnavailable(f"{url.render_as_string()}: give a file, like {self.example}")
        self.path = Path(url.database).resolve()
        """Two names of one file are one database."""
        self.name = str(self.path)
        self._lock: int | None = None
        self._file: os.stat_result | None = None
        self.engine = sa.create_engine(
            url, pool_size=readers + 1, creator=self._connect
        )  # one for the writer
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)

    @staticmethod
    def read_head(cursor: DatabaseCursor) -> HeadReading:
        cursor.execute("SELECT value FROM meta WHERE key = ?", (NEXT_ID,))
        found = cursor.fetchall()
        return HeadReading(Head(), found[0][0] if found else None)

    @staticmethod
    def listen(_hear: Callable[[str], None]) -> None:
        """Do nothing: no other process serves."""

    def prepare(self) -> None:
        """Create the file and its folder, and lock them. A second router is refused, because both would notify of
        everything.
        """
        self.take_lock()
        try:
            os.close(create_private(self.path))  # SQLite copies its permissions to the WAL
            self._file = self.path.stat()
        except OSError as error:
            raise self._unwritable(error) from None

    def take_lock(self) -> None:
        """Keep every router out of the database until :meth:`close`. Its folder is created, the file is not.

        :raises StoreUnavailable: a router serves from it, or its folder can't be written
        """
        try:
            make_folder(self.path.parent)
            lock = create_private(Path(f"{self.path}.lock"))
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise StoreUnavailable(
                f"{self.path} is in use by another alert-router; stop that one, or give another --database"
            ) from None
        self._lock = lock

    def _unwritable(self, error: OSError) -> StoreUnavailable:
        return StoreUnavailable(f"{self.path.parent}: {error.strerror}; give a folder that can be written")

    def check_usable(self, connection: sa.Connection) -> None:
        found = _quick_check(connection.connection.driver_connection)
        if found:
            raise self._damaged(f"it is damaged ({found})")

    @contextmanager
    def open_read_only(self) -> Iterator[sa.Connection]:
        """Open it read-only; otherwise the close would move the WAL into the file."""
        engine = sa.create_engine("sqlite://", creator=lambda: self._connect("ro"), poolclass=sa.NullPool)
        sa.event.listen(engine, "begin", _begin)
        try:
            with self.explained_errors(), engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def open_writer(self) -> sa.Connection:
        restrict_files(self.path)  # only now it is known that the file is no other program's
        connection = self.engine.connect().execution_options(writes=True)
        _set_cache(connection.connection.driver_connection, _WRITER_CACHE_KIB)
        return connection

    @contextmanager
    def fill(self, check: Callable[[sa.Connection], None]) -> Iterator[sa.Connection]:
        """Fill a file with another name, which replaces the empty database at the end."""
        self.take_lock()
        try:
            give_to_owner(Path(f"{self.path}.lock"), like=owned_by_service(self.path))
            if self.path.is_file():
                with self.open_read_only() as connection:
                    check(connection)
            elif Path(f"{self.path}-wal").exists():
                raise StoreUnavailable(
                    f"{self.path}-wal is there without {self.path.name}, which was moved away; move it, too"
                )
            with unfinished_file(self.path.parent, self.path.name) as part:
                yield from self._fill(part)
                give_to_owner(part, like=owned_by_service(self.path))
                # SQLite would apply the WAL of the empty database to the new one.
                for suffix in ("-wal", "-shm", "-journal"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                put_in_place(part, self.path)
        except OSError as error:
            raise self._unwritable(error) from None
        finally:
            self.close()

    def _fill(self, part: Path) -> Iterator[sa.Connection]:
        copy = Sqlite(sa.URL.create("sqlite", database=str(part)), 1)
        try:
            with self.explained_errors(), copy.engine.connect().execution_options(writes=True) as connection:
                driver: Any = connection.connection.driver_connection
                _set_cache(driver, _WRITER_CACHE_KIB)
                for pragma in ("journal_mode=MEMORY", "synchronous=OFF"):  # nobody uses a file that is cut
                    driver.execute(f"PRAGMA {pragma}")
                with connection.begin():
                    yield connection
        finally:
            copy.close()

    @staticmethod
    def read_rows(connection: sa.Connection, columns: Sequence[sa.Column[Any]]) -> Iterator[Sequence[Any]]:
        yield from connection.execute(sa.select(*columns).order_by(*columns[0].table.primary_key))

    @staticmethod
    def load_rows(
        connection: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Iterable[Sequence[Any]]
    ) -> None:
        quote_name = connection.dialect.identifier_preparer.quote
        names, marks = ", ".join(quote_name(each.name) for each in columns), ", ".join("?" * len(columns))
        table = quote_name(columns[0].table.name)
        driver: Any = connection.connection.driver_connection
        driver.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)

    def _connect(self, mode: str = "rw") -> sqlite3.Connection:
        """Open the file, but never create it: if it was moved away, its WAL would be lost."""
        return sqlite3.connect(
            f"file:{quote(self.name)}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, check_same_thread=False,
            isolation_level=None, cached_statements=_PREPARED_STATEMENTS,
        )  # fmt: skip

    def check_not_moved(self) -> None:
        """Check that the file is still there. SQLite goes on with a deleted file, and all that it writes is lost at the end."""
        try:
            same = self._file is not None and os.path.samestat(self.path.stat(), self._file)
        except OSError:
            same = False
        if not same:
            raise StoreUnavailable(f"{self.path} was moved away in use; put it back, or restart the router")

    def disk_usage(self, connection: sa.Connection) -> DiskUsage:  # noqa: ARG002  (PostgreSQL needs it)
        try:
            files = {"main": self.path.stat().st_size, "wal": file_size(Path(f"{self.path}-wal"))}
            disk = os.statvfs(self.path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{self.path}: {error.strerror}") from None
        return DiskUsage(files, disk.f_bavail * disk.f_frsize)

    @staticmethod
    def write_count(driver: Any) -> int:
        return int(driver.total_changes)

    @staticmethod
    def is_commit_unknown(driver: Any, error: Exception) -> bool:  # noqa: ARG004  (PostgreSQL needs them)
        return False

    @staticmethod
    def is_unreplicated(driver: Any) -> bool:  # noqa: ARG004  (as above)
        return False

    @staticmethod
    def has_committed(connection: sa.Connection, batch: BatchId) -> bool:
        raise NotImplementedError("an error of a commit is never unknown here")

    @staticmethod
    def in_transaction(driver: Any) -> bool:
        """Return whether a transaction is open. A full or failing disk makes SQLite roll it back.
        https://sqlite.org/lang_transaction.html
        """
        return bool(driver.in_transaction)

    def explain_error(self, error: BaseException) -> StoreUnavailable:
        error = driver_error(error)
        code = _code(error)
        if code in _DAMAGED_BY_CODE:
            return self._damaged(_DAMAGED_BY_CODE[code].format(error=error))
        if str(error).startswith("no such table"):
            return StoreUnavailable(f"{self.name}: {OTHER_TABLES.format(error=error)}")
        return StoreUnavailable(f"{self.name}: {_MESSAGES_BY_CODE.get(code, '{error}').format(error=error)}")

    @contextmanager
    def explained_errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            raise self.explain_error(error) from error

    @staticmethod
    def holders() -> str:
        """Return nothing: SQLite does not tell who uses a table."""
        return ""

    @staticmethod
    def is_row_error(error: BaseException) -> bool:
        error = driver_error(error)
        return _code(error) not in _DAMAGED_BY_CODE and not isinstance(error, sqlite3.OperationalError)

    @staticmethod
    def is_wrong_server(error: BaseException) -> bool:  # noqa: ARG004  (as above)
        return False

    def _damaged(self, what: str) -> StoreUnavailable:
        """Return the error for a damaged file. The router does not change the file, so that people can decide what to
        recover.
        """
        name = self.path.name
        return StoreUnavailable(
            f"{self.name}: {what}; stop the router, move the file away together with {name}-wal and {name}-shm "
            "or put a backup in its place with `alert-router restore`, and start again: Alertmanager sends again what still fires",
            damaged=True,
        )

    def close(self) -> None:
        self.engine.pool.dispose()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            with suppress(OSError):
                os.close(lock)


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    _set_cache(connection, _READER_CACHE_KIB)


def _set_cache(driver: Any, kib: int) -> None:
    driver.execute(f"PRAGMA cache_size=-{kib}")  # a negative number: KiB instead of pages


def _begin(connection: sa.Connection) -> None:
    # IMMEDIATE: a deferred BEGIN that writes later fails immediately with SQLITE_BUSY_SNAPSHOT.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _code(error: BaseException) -> int:
    """Return SQLite's primary result code. An error of the driver itself has none; then it is SQLITE_ERROR."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else sqlite3.SQLITE_ERROR


def _quick_check(driver: Any) -> str:
    """Return the first fault that SQLite finds; empty: none. https://sqlite.org/pragma.html#pragma_quick_check"""
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        driver.interrupt()

    timer = threading.Timer(_CHECK_SECONDS, interrupt)
    timer.start()
    try:
        (found,) = driver.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        if late.is_set():
            return ""
        raise
    finally:
        timer.cancel()
        timer.join()
    return "" if found == "ok" or late.is_set() else " ".join(str(found).split())
