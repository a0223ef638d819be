"""Writes a new file that is private from its first byte on, and gets its name only when it is complete."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from router.store.file_modes import FILE_MODE
from router.store.health import StoreUnavailable

PART_SUFFIX = ".part"
"""How the name of an unfinished file ends."""


@contextmanager
def unfinished_file(folder: Path, name: str) -> Iterator[Path]:
    """Create an empty file, and delete it at the end together with SQLite's files beside it, unless it was renamed.

    :param name: the beginning of its name
    :raises StoreUnavailable: it can't be created
    """
    path = folder / f".{name}.{secrets.token_hex(4)}{PART_SUFFIX}"
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE))
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        yield path
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                Path(f"{path}{suffix}").unlink(missing_ok=True)


def put_in_place(part: Path, target: Path) -> None:
    """Give a complete file its name, which replaces a file of this name. Afterwards it is on the disk.

    :raises OSError: it can't be done
    """
    sync(part)
    part.replace(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Write a file, or the names of a folder, to the disk. :raises OSError: it can't be done"""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_target(own: Path | None, target: Path, *, force: bool) -> None:
    """Check that a file may be written.

    :param own: the SQLite database that it is about; None: there is none
    :param force: a file of this name is replaced
    :raises StoreUnavailable: it must not be written
    """
    if target.is_dir():
        raise StoreUnavailable(f"{target} is a folder; give the name of a file in it")
    suffixes = () if own is None else ("", "-wal", "-shm", "-journal", ".lock")
    if any(
        target.resolve() == path or (target.exists() and path.exists() and target.samefile(path))
        for path in (Path(f"{own}{suffix}") for suffix in suffixes)
    ):
        raise StoreUnavailable(f"{target} belongs to the database itself; give another file")
    if not (target.exists() or target.is_symlink()):
        return
    if not force:
        raise StoreUnavailable(f"{target} exists; give another file, or --force to replace it")
    if not target.is_file():
        raise StoreUnavailable(f"{target} is no regular file; give another one")


def unwritable(path: Path, error: OSError) -> StoreUnavailable:
    """Return the error for a file that can't be written."""
    return StoreUnavailable(f"{path.parent}: {error.strerror or error}; give a folder that can be written")
