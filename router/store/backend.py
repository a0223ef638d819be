"""The protocol of what differs between databases, and the choice of a database by its URL."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from router.core.head import HeadReading
from router.model import SECOND, Millis
from router.store.disk_usage import DiskUsage
from router.store.health import StoreUnavailable
from router.store.row_writes import BatchId
from router.store.sets import DatabaseCursor, Dialect
from router.store.sqlite import Sqlite

_EXAMPLES = f"{Sqlite.example}, or postgresql://user:password@host/database"

LONGEST_BATCH: Millis = 4 * SECOND
"""How long a process may hold the lock of all writers by one batch, on a database that processes share. Then the server ends the
transaction."""
_SEVERAL_HOSTS = re.compile(
    r"(?P<scheme>postgres(?:ql)?://)(?P<user>(?:[^@/?]*@)?)(?P<hosts>[^@/?]+,[^@/?]+)(?P<path>/[^?]*)?(?P<query>\?.*)?"
)


class Hearing(Protocol):
    """Hears notices until it is closed."""

    is_connected: bool
    """Whether notices come in now."""

    def close(self, within: float) -> None: ...


class Backend(Dialect, Protocol):
    """A kind of database: how it is opened, read and written, and what its errors mean.

    A transaction of :attr:`engine` is read-only and sees one snapshot, unless its connection has the execution option
    ``writes``.
    """

    name: str
    """The file, or the server and the database; for people, without secrets."""
    engine: sa.Engine
    is_shared: bool
    """Whether several processes may serve from it at the same time."""

    session: str
    """Of this process among the replicas; empty: it has none."""

    def read_head(self, cursor: DatabaseCursor) -> HeadReading:
        """Return the head of a batch.

        :param cursor: in the transaction of the batch, after its lock
        """

    def listen(self, hear: Callable[[str], None]) -> Hearing | None:
        """Hear the notices of other processes, see :mod:`router.store.notices`. None: no other process serves, or none can be
        heard.

        :param hear: called in a thread with each notice; with an empty text if some may have been missed
        """

    keeps_nul: bool
    """Whether a text may have the character NUL."""

    def prepare(self) -> None:
        """Create what can be created without an administrator, and take the lock that keeps a second router out.

        :raises StoreUnavailable: it can't be created, or another router serves from it
        """

    def check_usable(self, connection: sa.Connection) -> None:
        """Check the database before it is used.

        :raises StoreUnavailable: it is damaged, or its version or encoding can't be used
        """

    def open_read_only(self) -> AbstractContextManager[sa.Connection]:
        """Open a connection that changes nothing, also to a database that another process has open.

        :raises StoreUnavailable: it can't be read
        """

    def open_writer(self) -> sa.Connection:
        """Open the only connection of this process that writes. It never returns to the pool.

        :raises StoreUnavailable: it can't be opened, or a version without replicas serves from the database
        """

    def fill(self, check: Callable[[sa.Connection], None]) -> AbstractContextManager[sa.Connection]:
        """Open a connection that fills an empty database, and keep routers out meanwhile.

        At the end of the ``with`` block everything is there. If it raises, or the process ends before, nothing is.

        :param check: called with the present database, if there is one; it raises if that may not be filled
        :raises StoreUnavailable: a router serves from the database, or it can't be written
        """

    def read_rows(
        self, connection: sa.Connection, columns: Sequence[sa.Column[Any]]
    ) -> Iterator[Sequence[Any]]:
        """Yield these columns of all rows of a table, in the order of the primary key. Memory holds one row at a time.

        It ends the timeouts of the transaction, so the caller can be slow.
        """

    def load_rows(
        self, connection: sa.Connection, columns: Sequence[sa.Column[Any]], rows: Iterable[Sequence[Any]]
    ) -> None:
        """Add rows to a table, as fast as the database can.

        :param columns: the order of the values of a row
        """

    def check_not_moved(self) -> None:
        """Check that the database is still where it was opened.

        :raises StoreUnavailable: it was moved away, so everything written from now on would be lost
        """

    def disk_usage(self, connection: sa.Connection) -> DiskUsage:
        """Measure the database on disk. It may wait for the disk, so call it on a reader's thread.

        :raises StoreUnavailable: the file system can't be asked
        """

    def write_count(self, driver: Any) -> int:
        """Return a counter that grows with the writes of a connection. Two calls in one transaction show whether it has
        written something.

        :param driver: the writer's connection, as the driver's own object
        """

    def is_commit_unknown(self, driver: Any, error: Exception) -> bool:
        """Return whether a batch that raised this error may be committed all the same: the server may have committed it, and
        its answer may be lost.
        """

    def is_unreplicated(self, driver: Any) -> bool:
        """Return whether a commit has succeeded that is not on all disks that it has to be on."""

    def has_committed(self, connection: sa.Connection, batch: BatchId) -> bool:
        """Return whether the last batch of a writer was committed, if it changed anything.

        :param connection: of the writer, in a transaction, which waits until the lost one has ended
        """

    def in_transaction(self, driver: Any) -> bool:
        """Return whether a transaction is open. Also True if that is not certain."""

    def explain_error(self, error: BaseException) -> StoreUnavailable:
        """Return, in words, what an error of the driver means: what happened, where, and what to do.

        :param error: of the driver, or as SQLAlchemy wraps it
        """

    def explained_errors(self) -> AbstractContextManager[None]:
        """Raise, in place of an error of the driver, what :meth:`explain_error` returns, for as long as this lasts.

        :raises StoreUnavailable: see :meth:`explain_error`
        """

    def holders(self) -> str:
        """Return which other sessions use tables now, for people; empty: none is seen."""

    def is_row_error(self, error: BaseException) -> bool:
        """Return whether the error is about a row to be saved, not about the database."""

    def is_wrong_server(self, error: BaseException) -> bool:
        """Return whether another server may have to be asked from now on, because this one can't write."""

    def close(self) -> None:
        """Release the database. A reader that is not done yet calls this again at its end."""


def _several_hosts_in_query(url: str) -> str:
    """Return a URL as SQLAlchemy reads it, which wants several hosts after the ``?``. libpq also takes them before the path.
    https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-MULTIPLE-HOSTS
    """
    found = _SEVERAL_HOSTS.fullmatch(url)
    if found is None:
        return url
    hosts = [f"host={host}" for host in found["hosts"].split(",")]
    return f"{found['scheme']}{found['user']}{found['path'] or '/'}?{'&'.join(hosts)}{(found['query'] or '').replace('?', '&', 1)}"


def open_backend(url: str, readers: int = 1) -> Backend:
    """Return the backend of a database URL. Nothing is opened yet.

    :param url: ``sqlite:///path`` or ``postgresql://user:password@host:port/database``
    :param readers: the number of reading connections
    :raises StoreUnavailable: the URL names no usable kind of database
    """
    no_url = StoreUnavailable(f"--database is no URL; write it like {_EXAMPLES}")
    try:
        parsed = sa.make_url(_several_hosts_in_query(url))
    except (sa.exc.ArgumentError, ValueError):  # their messages may contain the password
        raise no_url from None
    match parsed.get_backend_name():
        case Sqlite.scheme:
            return Sqlite(parsed, readers)
        case "postgresql" | "postgres":
            try:
                from router.store.postgresql import Postgresql  # noqa: PLC0415  (its driver is an optional dependency)
            except ImportError:
                raise StoreUnavailable(
                    "PostgreSQL's driver is not installed; pip install 'alert-router[postgresql]'"
                ) from None
            # Otherwise a part of a password would count as a host, a database or a parameter, which are shown.
            if url.count("@") > 1 or "@" in f"{parsed.host}{parsed.database}":
                raise StoreUnavailable(
                    "--database: write an @ in the user or the password as %40, and in a parameter, too"
                )
            try:
                return Postgresql(parsed, readers)
            except (sa.exc.ArgumentError, ValueError):
                raise no_url from None
        case other:
            raise StoreUnavailable(
                f"{other}: this kind of database is not supported; write --database like {_EXAMPLES}"
            )
