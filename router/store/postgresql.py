"""PostgreSQL: a server, one writer for now, many readers.

There are two advisory locks (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). The writer's
connection holds the first one as long as it lives: a second router is refused, and a router that loses its connection also
loses the right to write. Each transaction that writes takes the second one first.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import errors
from psycopg.pq import TransactionStatus

from router.store.disk_usage import DiskUsage
from router.store.health import RESUMES, StoreUnavailable
from router.store.postgresql_rows import NEVER, PLANS, PREPARED_STATEMENTS, PostgresqlRows

_SERVES, _WRITES = 0x616C657274_01, 0x616C657274_02
"""The keys of the two locks."""
_MIN_SERVER_VERSION = 13  # the first one with pg_current_xact_id_if_assigned
# The router's own timeouts end its waits if the server is down. The server's, in _SETTINGS, free its locks if the router is
# stalled.
_TIMEOUTS = {
    "connect_timeout": 5,  # seconds
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}
# A plan is made for each execution: a generic plan from a time when a table was small would be kept while it grows.
# `postgresql_rows` says which statements are an exception. Compiling a plan takes longer than any of the queries.
_SETTINGS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_MESSAGES_BY_ERROR: dict[type[Exception], str] = {
    errors.DiskFull: f"the server's disk is full; make room, {RESUMES}",
    errors.OutOfMemory: f"{{error}}: the server has no memory left; give it some, {RESUMES}",
    errors.ReadOnlySqlTransaction: (
        f"{{error}}: it is a standby, or read-only; give the primary, or make it writable, {RESUMES}"
    ),
    errors.InsufficientPrivilege: f"{{error}}; grant that to the user in --database, {RESUMES}",
    errors.LockNotAvailable: f"{{error}}: another session has locked it; end that session, {RESUMES}",
    errors.QueryCanceled: "{error}: the server is too slow, or overloaded; the router tries again",
    errors.UndefinedTable: "{error}: it is of another version; `alert-router serve` brings it up to date",
    errors.UndefinedColumn: "{error}: it is of another version; `alert-router serve` brings it up to date",
}
_SERVER_AWAY = (
    f"{{error}}; start the server, or check the address, the user and the password in --database, {RESUMES}"
)


class Postgresql(PostgresqlRows):
    """See :class:`router.store.backend.Backend`.

    :param url: ``postgresql://user:password@host:port/database``, with libpq's parameters after a ``?``
    :raises StoreUnavailable: the URL can't be parsed
    """

    def __init__(self, url: sa.URL, readers: int) -> None:
        host = url.host or _first(url.query.get("host", "")) or "localhost"
        if "@" in host:
            raise StoreUnavailable("--database: write an @ in the user or the password as %40")
        port = f":{url.port}" if url.port else ""
        self.name = f"postgresql://{host}{port}/{url.database or url.username or ''}"
        settings = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        self.engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg").difference_update_query(("options",)),
            pool_size=readers + 1,  # one for the writer
            pool_pre_ping=True,  # so a restart of the server causes no error for the next reader
            hide_parameters=True,
            connect_args={
                **{name: value for name, value in _TIMEOUTS.items() if name not in url.query},
                "application_name": "alert-router",
                "prepare_threshold": NEVER,
                "options": f"{settings} {_first(url.query.get('options', ''))}".strip(),
            },
        )
        sa.event.listen(self.engine, "connect", _configure)
        sa.event.listen(self.engine, "begin", _begin)

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
        try:
            with self.engine.connect() as connection:
                yield connection
        except (sa.exc.DBAPIError, psycopg.Error) as error:
            raise self.explain_error(error) from error

    def open_writer(self) -> sa.Connection:
        """Open the writer's connection. A second router is refused, because both would notify of everything."""
        connection = self.engine.connect().execution_options(writes=True)
        try:
            alone = _locked(connection.connection.driver_connection)
        except psycopg.Error:
            connection.close()
            raise
        if alone:
            return connection
        connection.close()
        raise StoreUnavailable(
            f"{self.name} is in use by another alert-router; stop that one, or give another --database"
        )

    def check_not_moved(self) -> None:
        """Do nothing: the server itself reports a lost database."""

    @staticmethod
    def disk_usage(connection: sa.Connection) -> DiskUsage:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one()
        return DiskUsage({"main": int(size)}, None)

    @staticmethod
    def write_count(driver: Any) -> int:
        """Return the number of the transaction, which it has from its first write on; 0: it has written nothing."""
        (number,) = driver.execute("SELECT pg_current_xact_id_if_assigned()::text").fetchone()
        return int(number or 0)

    @staticmethod
    def in_transaction(driver: Any) -> bool:
        return bool(driver.info.transaction_status != TransactionStatus.IDLE)

    def explain_error(self, error: BaseException) -> StoreUnavailable:
        error = getattr(error, "orig", None) or error
        # The lines after the first one contain values of rows.
        said = (
            str(error).strip().split("\n")[0].removeprefix("connection failed: ").removeprefix("connection ")
        )
        words = next((text for kind, text in _MESSAGES_BY_ERROR.items() if isinstance(error, kind)), None)
        if words is None:
            words = _SERVER_AWAY if isinstance(error, psycopg.OperationalError) else "{error}"
        return StoreUnavailable(f"{self.name}: {words.format(error=said)}")

    @staticmethod
    def is_row_error(error: BaseException) -> bool:
        error = getattr(error, "orig", None) or error
        return not isinstance(error, psycopg.Error) or isinstance(
            error, errors.DataError | errors.IntegrityError | errors.ProgramLimitExceeded
        )

    def close(self) -> None:
        self.engine.pool.dispose()


def _configure(driver: Any, _record: object) -> None:
    driver.prepared_max = PREPARED_STATEMENTS


def _begin(connection: sa.Connection) -> None:
    options = connection.get_execution_options()
    if not options.get("writes", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return
    if options.get("untimed", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITES})")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        return
    # The driver sends no BEGIN of its own, which would take a round trip. It sends COMMIT and ROLLBACK as usual.
    driver: Any = connection.connection.driver_connection
    if not driver.autocommit:
        driver.autocommit = True
    driver.execute(f"BEGIN; SELECT pg_advisory_xact_lock({_WRITES}), {PLANS}")


def _locked(driver: Any) -> bool:
    """Take the lock of the router that serves; False: another router has it. A router that has just ended may still hold it
    for a moment, so wait a second.
    """
    try:
        driver.execute("SET LOCAL lock_timeout = '1s'")
        driver.execute("SELECT pg_advisory_lock(%s)", (_SERVES,))
    except errors.LockNotAvailable:
        driver.rollback()
        return False
    driver.commit()
    return True


def _first(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else value[0]
