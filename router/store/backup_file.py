"""Makes a backup of a database that may be in use: one file, which is checked before it gets its name."""

import os
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from router.core.uptime import ALIVE
from router.model import Millis
from router.store import sqlite_backup
from router.store.backend import open_backend
from router.store.balance import recent_balance
from router.store.health import StoreUnavailable
from router.store.ledger import read_status
from router.store.new_files import check_target, put_in_place, unfinished_file, unwritable
from router.store.opening import newest_revision, revision_of
from router.store.schema import meta
from router.store.sqlite import Sqlite
from router.store.sqlite_backup import SqliteError, Tick

# What stays free on the disk. A full disk would stop a router that keeps its database there.
_RESERVE_BYTES = 64 * 2**20
# A file up to this size is checked thoroughly, which takes some seconds for each gigabyte. Of a larger one, the indexes are not
# compared with their tables.
_THOROUGH_BYTES = 2 * 2**30


class BackupStopped(Exception):  # noqa: N818  (it is no error)
    """The caller has stopped the copying."""


@dataclass(frozen=True, slots=True)
class CopyProgress:
    """How a caller follows the making of a copy, and ends it."""

    tick: Callable[[int, int], None] = lambda _copied, _all: None
    """Called after each piece with the bytes that are copied, and the bytes of the database."""
    is_stopped: Callable[[], bool] = lambda: False
    """Called again and again; if it returns True, the work ends with :class:`BackupStopped`."""


@dataclass(frozen=True, slots=True)
class CheckedCopy:
    """What the check of a copy found."""

    size: int
    """Bytes."""
    revision: str
    """Of its tables."""
    alive_at: Millis | None
    """When the router last saved that it runs, at most a minute before the copy was made; None: it never ran on it."""
    firing: int | None
    """How many alerts fire; None: the tables are of an older version, which this one does not read."""
    changes: int | None
    """How many changes the ledger has; None: as above."""
    imbalance: int | None
    """See :attr:`router.store.balance.Balance.off`; None: as above."""


def open_sqlite(url: str, command: Callable[[str], str]) -> Sqlite:
    """Return the database of a URL, if it is SQLite.

    :param command: returns the command that does the same for PostgreSQL; its argument is the URL without passwords, quoted
    :raises StoreUnavailable: it is no SQLite database
    """
    with suppress(sa.exc.ArgumentError, ValueError):
        parsed = sa.make_url(url)
        if parsed.get_backend_name().startswith("postgres"):
            shown = parsed._replace(drivername="postgresql", password=None)
            address = shown.difference_update_query(("password", "sslpassword")).render_as_string()
            raise StoreUnavailable(
                f"PostgreSQL has its own tool for this: {command(shlex.quote(address))} (give the password in PGPASSWORD or "
                "~/.pgpass)"
            )
    backend = open_backend(url)
    assert isinstance(backend, Sqlite)  # noqa: S101  (there are two kinds)
    return backend


def write_backup(
    url: str, file: Path, *, force: bool = False, progress: CopyProgress | None = None
) -> CheckedCopy:
    """Write a backup of a database, which a router may have open. Only its owner can read the file, from the first byte on.

    :param force: replace a file of this name
    :raises StoreUnavailable: the database can't be read or is damaged, or the file can't be written; nothing is left of it
    :raises BackupStopped: the caller stopped it
    """
    source = open_sqlite(
        url, lambda address: f"pg_dump --format=custom --file={shlex.quote(str(file))} {address}"
    )
    target = Path(os.path.abspath(file))  # noqa: PTH100  (a link is replaced, not followed)
    check_target(source.path, target, force=force)
    with private_copy(source, target.parent, target.name, progress or CopyProgress()) as copy:
        found = check_copy(copy, progress or CopyProgress(), like=source.name)
        try:
            check_target(source.path, target, force=force)
            put_in_place(copy, target)
        except OSError as error:
            raise unwritable(target, error) from None
    return found


@contextmanager
def private_copy(source: Sqlite, folder: Path, name: str, progress: CopyProgress) -> Iterator[Path]:
    """Copy a database to a new file, and delete that file at the end, unless it was renamed.

    :param name: the beginning of the name of the new file
    :raises StoreUnavailable: the one can't be read, or the other can't be written
    """
    if not source.path.is_file():
        raise StoreUnavailable(f"{source.path}: there is no such database; give another --database")
    try:
        _check_space(source.path, folder)
    except OSError as error:
        raise unwritable(folder / name, error) from None
    except SqliteError as error:
        raise source.explain_error(error) from error
    with unfinished_file(folder, name) as path:
        try:
            sqlite_backup.copy_snapshot(source.path, path, _tick_of(progress))
            yield path
        except SqliteError as error:
            if is_about_disk(error):
                raise StoreUnavailable(
                    f"{folder}: can't write the copy: {error}; is the disk full? Make room, and try again"
                ) from error
            raise source.explain_error(error) from error


def check_copy(path: Path, progress: CopyProgress, *, like: str) -> CheckedCopy:
    """Check a copy that nobody uses: SQLite's own check, whether it is a database of the router, and whether its ledger
    balances.

    :param like: the name of the original, for errors
    :raises StoreUnavailable: it is damaged, or not of this router
    :raises BackupStopped: the caller stopped it
    """
    size = path.stat().st_size
    try:
        found = sqlite_backup.find_damage(
            path, is_thorough=size <= _THOROUGH_BYTES, is_stopped=progress.is_stopped
        )
    except SqliteError as error:
        if progress.is_stopped():
            raise BackupStopped from None
        found = str(error)
    if found:
        raise StoreUnavailable(f"{like} is damaged ({found}); use an older backup", damaged=True)
    copy = Sqlite(sa.URL.create("sqlite", database=str(path)), 1)
    with copy.open_read_only() as connection:
        revision = revision_of(connection, sa.inspect(connection).get_table_names(), like)
        if revision is None:
            raise StoreUnavailable(f"{like} is empty: it has no tables of alert-router")
        if progress.is_stopped():
            raise BackupStopped
        if revision != newest_revision():
            return CheckedCopy(size, revision, None, None, None, None)
        alive = connection.execute(sa.select(meta.c.value).where(meta.c.key == ALIVE)).scalar()
        status = read_status(connection)
        imbalance = abs(status["imbalance"]) or recent_balance(connection).off
        return CheckedCopy(
            size, revision, None if alive is None else int(alive), status["firing"],
            sum(status["changes"].values()), imbalance,
        )  # fmt: skip


def is_about_disk(error: SqliteError) -> bool:
    """Return whether an error of a copying is about the disk with the copy."""
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in sqlite_backup.FULL_CODES


def _check_space(source: Path, folder: Path) -> None:
    """:raises StoreUnavailable: the folder has no room for a copy"""
    wanted, free = sqlite_backup.snapshot_size(source), shutil.disk_usage(folder).free
    if free < wanted + _RESERVE_BYTES:
        raise StoreUnavailable(
            f"{folder}: the copy needs {wanted / 1e6:,.0f} MB and a reserve of {_RESERVE_BYTES / 1e6:,.0f} MB, and "
            f"{free / 1e6:,.0f} MB are free; make room, or give a folder on another disk"
        )


def _tick_of(progress: CopyProgress) -> Tick:
    def tick(copied: int, size: int) -> None:
        if progress.is_stopped():
            raise BackupStopped
        progress.tick(copied, size)

    return tick
