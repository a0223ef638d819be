"""Puts a backup in the place of a database that no router serves from."""

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from router.core.conversations import DATABASE_ID
from router.model import SECOND, Millis
from router.store.backup_file import (
    CheckedCopy,
    CopyProgress,
    check_copy,
    open_sqlite,
    private_copy,
)
from router.store.file_modes import give_to_owner, owned_by_service
from router.store.health import StoreUnavailable, driver_error
from router.store.new_files import put_in_place, sync, unwritable
from router.store.sqlite import Sqlite
from router.store.sqlite_backup import empty_wal, set_meta_of_copy


@dataclass(frozen=True, slots=True)
class RestoredDatabase:
    """What a restore has done."""

    path: Path
    """The database."""
    before: Path | None
    """The database that was there before, under its new name; None: there was none."""
    found: CheckedCopy


def restore_backup(
    url: str, file: Path, now: Millis, progress: CopyProgress | None = None
) -> RestoredDatabase:
    """Check a backup, and put a copy of it in the place of a database. The previous database is kept under another name.

    The copy gets another random id, because keys that were made from the old id after the backup must not be used again.
    Conversations that are open in it keep their keys, so that their ends reach the incidents that were opened under them.

    :param now: the time, for the name of the database before
    :raises StoreUnavailable: a router serves from the database, or the backup is damaged or not of this router; the database
        is as before
    """
    database = open_sqlite(url, lambda address: f"pg_restore --clean --if-exists --dbname={address} {file}")
    backup = Sqlite(sa.URL.create("sqlite", database=str(file)), 1)
    if backup.path == database.path:
        raise StoreUnavailable(f"{file} is the database itself; give a backup")
    if not backup.path.is_file():
        raise StoreUnavailable(f"{file}: there is no such file")
    database.take_lock()
    try:
        give_to_owner(Path(f"{database.path}.lock"), like=owned_by_service(database.path))
        return _replace(database, backup, now, progress or CopyProgress())
    except StoreUnavailable as error:
        cause = error.__cause__
        if not error.damaged or cause is None:
            raise
        raise StoreUnavailable(
            f"{backup.name} is damaged ({driver_error(cause)}); use an older backup", damaged=True
        ) from None
    except OSError as error:
        raise unwritable(database.path, error) from None
    finally:
        database.close()


def _replace(database: Sqlite, backup: Sqlite, now: Millis, progress: CopyProgress) -> RestoredDatabase:
    path = database.path
    with private_copy(backup, path.parent, path.name, progress) as copy:
        found = check_copy(copy, progress, like=backup.name)
        set_meta_of_copy(copy, DATABASE_ID, secrets.token_hex(16))
        try:
            give_to_owner(copy, like=owned_by_service(path))
            sync(copy)
            before = _keep(path, now)
            put_in_place(copy, path)
        except OSError as error:
            raise unwritable(path, error) from None
    return RestoredDatabase(path, before, found)


def _keep(path: Path, now: Millis) -> Path | None:
    """Keep the previous database under another name in the same folder. Its WAL must not stay: SQLite would apply it to the
    backup.

    :returns: the second name; None: there is no database
    """
    name = f"{path}.before-restore-{datetime.fromtimestamp(now / SECOND, UTC):%Y%m%dT%H%M%SZ}"
    kept, number = Path(name), 1
    while kept.exists():
        number += 1
        kept = Path(f"{name}-{number}")
    if path.exists():
        empty_wal(path)
        # A second name at first: there is a whole database at the first name at any moment.
        with suppress(OSError):
            os.link(path, kept)
        if not kept.exists():  # a file system without hard links
            path.rename(kept)
    for suffix in ("-wal", "-shm", "-journal"):
        with suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{kept}{suffix}")
    return kept if kept.exists() else None
