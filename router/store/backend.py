"""What differs between databases, in one protocol, and which database a URL means."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from router.store.health import StoreUnavailable
from router.store.sets import Dialect
from router.store.sqlite import Sqlite

_EXAMPLES = f"{Sqlite.example}, or postgresql://user:password@host/database"


class Backend(Dialect, Protocol):
    """A database: how it is opened, read and written, and what its errors mean.

    A connection of :attr:`engine` reads, at one moment, unless it has the execution option ``writes``.
    """

    name: str
    """For people, without secrets: the file, or the server and the database."""
    engine: sa.Engine

    def prepare(self) -> None:
        """Make what can be made without an administrator, and take what only one router may have.

        :raises StoreUnavailable: it can't be made, or another router serves from it
        """

    def check_usable(self, connection: sa.Connection) -> None:
        """:raises StoreUnavailable: it is damaged, or of a kind that can't be used"""

    def open_read_only(self) -> AbstractContextManager[sa.Connection]:
        """A database that may be open elsewhere, at one moment; it is changed in no way.

        :raises StoreUnavailable:
        """

    def open_writer(self) -> sa.Connection:
        """The only connection that writes. It never goes back into the pool.

        :raises StoreUnavailable: another router has it
        """

    def check_not_moved(self) -> None:
        """:raises StoreUnavailable: what is written would be lost"""

    def write_count(self, driver: Any) -> int:
        """A number that grows when the driver's connection writes something."""

    def in_transaction(self, driver: Any) -> bool:
        """Whether one is open, or it is not known."""

    def explain_error(self, error: BaseException) -> StoreUnavailable:
        """An error of the driver, also as SQLAlchemy wraps it, in words: what happened, where, what to do."""

    def is_row_error(self, error: BaseException) -> bool:
        """Whether the error is about something to be saved, and not about the database."""

    def close(self) -> None:
        """Let go of it. Whoever still reads calls it again at the end."""


def open_backend(url: str, readers: int = 1) -> Backend:
    """:raises StoreUnavailable: it means no database"""
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # their messages may have the password
        raise StoreUnavailable(f"--database is no URL; write it like {_EXAMPLES}") from None
    match parsed.get_backend_name():
        case Sqlite.scheme:
            return Sqlite(parsed, readers)
        case "postgresql" | "postgres":
            try:
                from router.store.postgresql import Postgresql  # noqa: PLC0415  (an extra brings its driver)
            except ImportError:
                raise StoreUnavailable(
                    "PostgreSQL's driver is not installed; pip install 'alert-router[postgresql]'"
                ) from None
            return Postgresql(parsed, readers)
        case other:
            raise StoreUnavailable(f"{other}: no such kind of database is known; write it like {_EXAMPLES}")
