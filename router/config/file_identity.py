"""Tells whether a file has changed since it was read."""

from pathlib import Path

FileIdentity = tuple[int, ...]
"""Numbers that change when a file is written, replaced, or gets other permissions; empty: it can't be found."""


def identify_file(path: Path) -> FileIdentity:
    """Return the identity of a file or folder. Links are followed."""
    try:
        found = path.stat()
    except (OSError, ValueError):  # a ValueError: the path has a null character
        return ()
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def has_changed(path: Path, before: FileIdentity) -> bool:
    """Return whether a file has changed since it was read.

    :param before: its identity before it was read; empty: it could not be read, so it changes when it can be read
    """
    now = identify_file(path)
    return now != before and (before != () or _is_readable(path))


def _is_readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True
