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
