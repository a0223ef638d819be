"""What a database takes on disk, and what is left there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """One measurement."""

    files: Mapping[str, int]
    """Bytes, by file: ``main``, and ``wal`` if the database has such a file beside it."""
    free: int | None
    """Bytes that the router may still write on the disk of the database; None: unknown, because a server has the disk."""


def file_size(path: Path) -> int:
    """Return the bytes of a file; 0 if there is none. SQLite's WAL is deleted when the last connection closes."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
