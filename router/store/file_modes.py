"""Keeps the files of an SQLite database to their owner: they have alerts, routing keys and webhooks."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

FILE_MODE = 0o600
FOLDER_MODE = 0o700
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_SUFFIXES = ("", "-wal", "-shm", "-journal", ".lock")


def make_folder(folder: Path) -> None:
    """Create the folder of a database, so that only its owner can use it. One that is there stays as it is.

    :raises OSError: it can't be created
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=FOLDER_MODE, exist_ok=True)


def restrict_files(database: Path) -> None:
    """Take the permissions of other users off the files of a database. Log each file that had any."""
    for path in _files(database):
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
            if not mode & _OTHERS:
                continue
            path.chmod(mode & ~_OTHERS)
            now = stat.S_IMODE(path.stat().st_mode)
        except OSError as error:
            log.warning(
                "other users may read the database, and its mode can't be changed",
                file=str(path),
                error=error.strerror,
            )
            continue
        if now & _OTHERS:  # a file system without modes
            log.warning("other users may read the database: its file system keeps no modes", file=str(path))
        else:
            log.warning(
                "other users could read the database; its mode is corrected",
                file=str(path),
                before=f"{mode:04o}",
                now=f"{now:04o}",
            )


def _files(database: Path) -> Iterator[Path]:
    for suffix in _SUFFIXES:
        path = Path(f"{database}{suffix}")
        if path.is_file():
            yield path


def create_private(path: Path) -> int:
    """Open a file, and create it for its owner only. Return the descriptor. :raises OSError: it can't be opened"""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)


def owned_by_service(database: Path) -> Path:
    """Return what the user of the service owns: the database, or the folder in which it will be."""
    return database if database.exists() else database.parent


def give_to_owner(file: Path, *, like: Path) -> None:
    """If root makes a file, give it to the user whom the database belongs to. That user could not write it otherwise."""
    if os.geteuid() == 0:
        owner = like.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
