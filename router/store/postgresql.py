"""PostgreSQL: a server, from which any number of replicas serve. Each has one connection that writes, and many readers.

There are two advisory locks (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). Each transaction
that writes takes the second one first, so the batches of all replicas run one after the other. A version without replicas
holds the first one, alone, as long as it runs; replicas share it, so that no such version serves beside them.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.pq import TransactionStatus

from router.clock import STEP
from router.core.adopt import CURSOR, POLICY, AdoptionCursor, Phase
from router.core.head import LAST_TIME, NEXT_ID, Head, HeadReading
from router.core.undecided_count import UNDECIDED, UndecidedCount
from router.store.columns import kind_of
from router.store.disk_usage import DiskUsage
from router.store.health import StoreUnavailable, driver_error
from router.store.postgresql_address import Address, ServiceFileError
from router.store.postgresql_errors import explain, undid_transaction
from router.store.postgresql_listener import Listener
from router.store.postgresql_rows import PLANS, PostgresqlRows
from router.store.postgresql_session import CONNECT_TIMEOUTS, READS, WRITES, Purpose, Session, chosen_settings
from router.store.row_writes import BatchId
from router.store.schema import writers

_SERVES, _WRITES = 0x616C657274_01, 0x616C657274_02
"""The keys of the two locks."""
_MIGRATION_LOCKS = "2s"
"""How long a migration waits for a table that others read. Meanwhile no other router can write, and new reads of the table wait
behind it; so it gives up, and the caller tries again."""
_MIN_SERVER_VERSION = 13  # older ones get no corrections any more
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_META_OF_HEAD = [NEXT_ID, LAST_TIME, POLICY, CURSOR, UNDECIDED]
# The session of a replica that was expelled has no row any more, and one that has expired may be expelled at any moment.
_HEAD = f"""
SELECT {_NOW},
  (SELECT json_object_agg(key, value) FROM meta WHERE key = ANY(%s)),
  (SELECT json_object_agg(l.name, l.fence) FROM leases l JOIN replicas r ON r.id = l.replica
    WHERE r.id = %s AND r.expires_at > {_NOW})
"""
# Until the end of a statement, the server keeps in its memory which rows it has to check for their references.
_ROWS_PER_COPY = 100_000
_TYPES_BY_KIND = {"number": "int8", "text": "text", "blob": "bytea"}
# For a transaction that copies whole tables. An index in the order of the rows needs no room on the server's disk, a sort does.
_NO_LIMITS = (
    "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout', "
    "'idle_in_transaction_session_timeout', 'tcp_user_timeout')"
)
_IN_ORDER = "SET LOCAL enable_sort = off"
_NO_LIMITS_BUT_IDLE = "SELECT set_config(name, '0', true) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout', 'lock_timeout')"
# Other sessions that hold tables, the oldest transaction first. That of another user can't be seen.
_HOLDERS = """
SELECT DISTINCT a.pid, coalesce(nullif(a.application_name, ''), 'no application name'), a.xact_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
JOIN pg_class c ON c.oid = l.relation AND c.relnamespace = to_regnamespace(quote_ident(current_schema()))
JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
WHERE l.granted AND l.pid <> pg_backend_pid()
ORDER BY a.xact_start LIMIT 3
"""
_LOCK = f"SELECT pg_advisory_xact_lock({_WRITES})"


class Postgresql(PostgresqlRows):
    """See :class:`router.store.backend.Backend`.

    :param url: ``postgresql://user:password@host:port/database``, with libpq's parameters after a ``?``
    :raises StoreUnavailable: the URL can't be parsed
    """

    is_shared = True
    keeps_nul = False

    def __init__(self, url: sa.URL, readers: int) -> None:
        self._address = Address(url)
        try:
            self.name = self._address.name()
        except ServiceFileError as error:
            raise StoreUnavailable(f"--database: {error}") from None
        self._writers = 0
        """How often the writer's connection was opened."""
        # A ping, so that a restart of the server causes no error for the next reader.
        self.engine = self._engine(READS, pool_size=readers, pool_pre_ping=True)
        self._writer = self._engine(WRITES, poolclass=sa.NullPool)
        self._is_pooled = False
        """A pooler is between, see :attr:`Session.is_pooled`."""
        self.session = ""

    def _engine(self, purpose: Purpose, **options: Any) -> sa.Engine:
        def connect(*_: object) -> Session:
            writers = self._writers
            parameters = CONNECT_TIMEOUTS | self._address.parameters() | {"application_name": "alert-router"}
            session = Session.connect(**parameters)
            try:
                session.begin(purpose, chosen_settings(parameters.get("options", "")))
            except BaseException:
                session.close()
                raise
            if purpose is READS:
                session.is_outdated = lambda: writers != self._writers
            return session

        engine = sa.create_engine("postgresql+psycopg://", hide_parameters=True, **options)
        sa.event.listen(engine, "do_connect", connect)
        sa.event.listen(engine, "begin", self._begin)
        return engine

    def _begin(self, connection: sa.Connection) -> None:
        options = connection.get_execution_options()
        driver: Any = connection.connection.driver_connection
        driver.head = driver.committing = None
        driver.is_unlimited = options.get("unlimited", False)
        if not options.get("writes", False):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            if settings := driver.settings_of_transaction():
                connection.exec_driver_sql(settings)
        elif driver.is_unlimited:
            _begin_unlimited(driver)
        else:
            self._begin_batch(driver)

    def _begin_batch(self, driver: Session) -> None:
        """Begin a transaction that writes, and read its head, in one round trip. The head sees what was committed before the
        lock was there, because each statement has its own snapshot.
        """
        began = time.monotonic()
        with driver.together():
            # The default of a role or a database may be another one, and a pooler takes no settings before.
            driver.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            if settings := driver.settings_of_transaction():
                driver.execute(settings.encode())
            driver.execute(f"{_LOCK}, {driver.limit_of_batch()}, {PLANS}".encode(), prepare=True)
            head = driver.execute(_HEAD.encode(), (_META_OF_HEAD, self.session), prepare=True)
        driver.head = head.fetchone(), began, time.monotonic()

    def read_head(self, cursor: Any) -> HeadReading:
        reading, cursor.connection.head = cursor.connection.head, None
        if reading is None:
            began = time.monotonic()
            row = cursor.execute(_HEAD, (_META_OF_HEAD, self.session), prepare=True).fetchone()
            reading = row, began, time.monotonic()
        (now, meta, leases), began, ended = reading
        found = (meta or {}).get
        last, at = int(found(LAST_TIME, 0)), found(CURSOR)
        # A difference of less than a step comes from another server's clock, after a failover.
        moment = last if 0 < last - now <= STEP else now
        head = Head(
            moment, self.session, found(POLICY, ""), leases or {},
            is_indexing=at is not None and AdoptionCursor.read(at).phase is Phase.INDEX,
            has_undecided=UndecidedCount.read(found(UNDECIDED)).small > 0,
        )  # fmt: skip
        return HeadReading(head, found(NEXT_ID), began, ended)

    def listen(self, hear: Callable[[str], None]) -> Listener | None:
        """Hear notices, unless a pooler is between: in its transaction mode it takes the session away after each statement."""
        return None if self._is_pooled else Listener(self._detached, hear)

    def _detached(self) -> psycopg.Connection[Any]:
        """Open a connection that does not belong to the pool."""
        connection = self.engine.raw_connection()
        driver = connection.driver_connection
        connection.detach()
        assert isinstance(driver, Session)  # noqa: S101  (narrows the type)
        driver.hears_notices = True
        return driver

    def prepare(self) -> None:
        """Do nothing: an administrator creates the database, and :meth:`open_writer` takes the lock."""

    def check_usable(self, connection: sa.Connection) -> None:
        version = connection.dialect.server_version_info or (0,)
        if int(version[0]) < _MIN_SERVER_VERSION:
            raise StoreUnavailable(
                f"{self.name}: PostgreSQL {version[0]} is too old; give a server of version {_MIN_SERVER_VERSION} or newer"
            )
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StoreUnavailable(
                f"{self.name}: its encoding is {encoding}, which can't keep every text; "
                "make the database with ENCODING 'UTF8'"
            )

    @contextmanager
    def open_read_only(self) -> Iterator[sa.Connection]:
        with self.explained_errors(), self.engine.connect() as connection:
            yield connection

    def open_writer(self) -> sa.Connection:
        """Open the writer's connection. A version without replicas is refused, because both would notify of everything."""
        connection = self._writer.connect().execution_options(writes=True)
        try:
            driver: Any = connection.connection.driver_connection
            is_shared = _share_lock(driver)
            # From now on, the driver sends no BEGIN of its own, which would take a round trip. It sends COMMIT and ROLLBACK.
            driver.autocommit = True
            self._is_pooled = driver.is_pooled
            if is_shared:
                self._writers += 1  # another server may serve now, so readers connect again
        except psycopg.Error:
            connection.invalidate()  # a plain close would roll back, and log that it can't
            connection.close()
            raise
        if is_shared:
            return connection
        connection.close()
        raise StoreUnavailable(
            f"{self.name} is in use by an alert-router of a version that can't share it; stop that one first"
        )

    @contextmanager
    def fill(self, check: Callable[[sa.Connection], None]) -> Iterator[sa.Connection]:
        """Fill the database in one transaction. Until it ends, no router can serve from the database."""
        connection = None
        try:
            with self.explained_errors():
                connection = self.open_writer().execution_options(unlimited=True)
                with connection.begin():
                    self._exclude_routers(connection)
                    _end_limits(connection)
                    check(connection)
                    yield connection
        finally:
            if connection is not None:
                connection.invalidate()  # the lock belongs to the session
                connection.close()

    def _exclude_routers(self, connection: sa.Connection) -> None:
        """Keep routers out until the end of the transaction. :raises StoreUnavailable: one serves"""
        connection.exec_driver_sql("SET LOCAL lock_timeout = '1s'")
        try:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SERVES})")
        except sa.exc.DBAPIError as error:
            if isinstance(error.orig, errors.LockNotAvailable):
                raise StoreUnavailable(
                    f"{self.name} is in use by another alert-router; stop that one, or give another --database"
                ) from None
            raise
        connection.exec_driver_sql("SET LOCAL lock_timeout TO DEFAULT")

    @staticmethod
    def read_rows(connection: sa.Connection, columns: Sequence[sa.Column[Any]]) -> Iterator[Sequence[Any]]:
        _end_limits(connection)
        table, names = _quoted(connection, columns)
        _, keys = _quoted(connection, list(columns[0].table.primary_key))
        driver: Any = connection.connection.driver_connection
        cursor = driver.cursor()
        query = f"COPY (SELECT {names} FROM {table} ORDER BY {keys}) TO STDOUT (FORMAT BINARY)"
        with cursor.copy(query) as copy:
            copy.set_types([_TYPES_BY_KIND[kind_of(each)] for each in columns])
            yield from copy.rows()

    @staticmethod
    def load_rows(
        connection: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Iterable[Sequence[Any]]
    ) -> None:
        """See :meth:`router.store.backend.Backend.load_rows`. Afterwards the planner knows the table."""
        table, names = _quoted(connection, columns)
        driver: Any = connection.connection.driver_connection
        cursor = driver.cursor()
        left = iter(rows)
        for first in left:
            with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types([_TYPES_BY_KIND[kind_of(each)] for each in columns])
                for row in chain((first,), islice(left, _ROWS_PER_COPY - 1)):
                    copy.write_row(row)
        cursor.execute(f"ANALYZE {table}")

    def check_not_moved(self) -> None:
        """Do nothing: the server itself reports a lost database."""

    @staticmethod
    def disk_usage(connection: sa.Connection) -> DiskUsage:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return DiskUsage({"main": int(size)}, None)

    @staticmethod
    def write_count(driver: Any) -> int:
        """Return how many rows the transaction has written."""
        written = "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_xact_user_tables"
        (number,) = driver.execute(written).fetchone()
        return int(number or 0)

    @staticmethod
    def is_commit_unknown(driver: Any, error: Exception) -> bool:
        """Return whether the COMMIT was sent, and it is not certain that the server undid the transaction.

        An error that ends the session makes nothing certain: a server that is shut down may end the session after it has
        committed, and before it has answered. An error that comes after the answer does not undo the commit.
        """
        is_undone = undid_transaction(error) and not driver.closed and not driver.has_answered_commit()
        return driver.committing is not None and not is_undone

    @staticmethod
    def is_unreplicated(driver: Any) -> bool:
        return bool(driver.unreplicated)

    @staticmethod
    def has_committed(connection: sa.Connection, batch: BatchId) -> bool:
        found = sa.select(writers.c.batch).where(writers.c.id == batch.writer)
        return bool(connection.execute(found).scalar() == batch.number)

    @staticmethod
    def in_transaction(driver: Any) -> bool:
        return bool(driver.info.transaction_status != TransactionStatus.IDLE)

    def explain_error(self, error: BaseException) -> StoreUnavailable:
        words, passes = explain(driver_error(error))
        return StoreUnavailable(f"{self.name}: {words}", passes=passes)

    @contextmanager
    def explained_errors(self) -> Iterator[None]:
        try:
            yield
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            raise self.explain_error(error) from error

    def holders(self) -> str:
        try:
            with self.engine.connect() as connection:
                found = connection.exec_driver_sql(_HOLDERS).all()
        except (sa.exc.DBAPIError, psycopg.Error):
            return ""
        return ", ".join(f"{pid} ({application})" for pid, application, _ in found)

    @staticmethod
    def is_row_error(error: BaseException) -> bool:
        error = driver_error(error)
        return not isinstance(error, psycopg.Error) or isinstance(
            error, errors.DataError | errors.IntegrityError | errors.ProgramLimitExceeded
        )

    @staticmethod
    def is_wrong_server(error: BaseException) -> bool:
        """Return whether the server can't write. After a failover the URL may lead to another server, so connect again."""
        return isinstance(driver_error(error), errors.ReadOnlySqlTransaction)

    def close(self) -> None:
        self.engine.pool.dispose()


def _begin_unlimited(driver: Any) -> None:
    """Begin a transaction that may take long, as a migration does, and wait as long as another router migrates."""
    if driver.autocommit:
        driver.execute("BEGIN")
    if settings := driver.settings_of_transaction():
        driver.execute(settings)
    driver.execute(_NO_LIMITS_BUT_IDLE)
    driver.execute(_LOCK)
    driver.execute("SELECT set_config('lock_timeout', %s, true)", (_MIGRATION_LOCKS,))


def _share_lock(driver: Any) -> bool:
    """Share the lock of those that serve; False: a version without replicas has it. One that has just ended may still hold it
    for a moment, so wait a second. A pooler lends a session for one transaction only, so there the lock is only looked at.
    """
    lock = "pg_advisory_xact_lock_shared" if driver.is_pooled else "pg_advisory_lock_shared"
    try:
        driver.execute("SET LOCAL lock_timeout = '1s'")
        driver.execute(f"SELECT {lock}({_SERVES})")
    except errors.LockNotAvailable:
        driver.rollback()
        return False
    driver.commit()
    return True


def _end_limits(connection: sa.Connection) -> None:
    """End the limits of a transaction that copies whole tables."""
    connection.exec_driver_sql(_NO_LIMITS)
    connection.exec_driver_sql(_IN_ORDER)


def _quoted(connection: sa.Connection, columns: Sequence[sa.Column[Any]]) -> tuple[str, str]:
    """Return the name of the table, and the names of the columns, as SQL."""
    quote = connection.dialect.identifier_preparer.quote
    return quote(columns[0].table.name), ", ".join(quote(each.name) for each in columns)
