"""Copies an SQLite database while a router writes to it.

SQLite's backup API starts again whenever another connection writes, so under load it would never end. Here it copies one
snapshot: a read transaction lasts as long as the copying. The writer does not wait for it. Until the end, the WAL grows by what
is written. https://sqlite.org/backup.html, https://sqlite.org/isolation.html
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

_PAGES_PER_PIECE = 1_000  # 4 MiB: some milliseconds from memory, some tens of milliseconds from a disk
# How long a pause between two pieces is, as a multiple of the time that the piece took.
_PAUSE_SHARE = 0.5
_MAX_PAUSE_SECONDS = 0.5
_BUSY_SECONDS = 5
# How many steps of SQLite's virtual machine lie between two questions whether to stop.
_STEPS_PER_QUESTION = 100_000
_HEADER = b"SQLite format 3\0"  # https://sqlite.org/fileformat.html#magic_header_string
FULL_CODES = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
SqliteError = sqlite3.Error
Tick = Callable[[int, int], None]
"""Called after each piece with the bytes copied so far, and the bytes of the database. If it raises, the copying ends."""


def copy_snapshot(source: Path, target: Path, tick: Tick) -> None:
    """Copy a database as it is now into an existing empty file. The copy needs no WAL beside it.

    :raises sqlite3.Error: the source can't be read, or the target can't be written
    """
    with closing(_connect(source, "ro")) as origin, closing(_connect(target, "rw")) as copy:
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):  # a copy that fails is deleted
            copy.execute(f"PRAGMA {pragma}")
        _begin_snapshot(origin)
        (size,) = origin.execute("PRAGMA page_size").fetchone()
        began = time.perf_counter()

        def pause(_status: int, left: int, pages: int) -> None:
            nonlocal began
            tick((pages - left) * size, pages * size)
            if left:
                time.sleep(min((time.perf_counter() - began) * _PAUSE_SHARE, _MAX_PAUSE_SECONDS))
            began = time.perf_counter()

        origin.backup(copy, pages=_PAGES_PER_PIECE, progress=pause)
        copy.execute("PRAGMA journal_mode=DELETE")


def snapshot_size(source: Path) -> int:
    """Return how many bytes a copy of the database has now. :raises sqlite3.Error: it can't be read"""
    with closing(_connect(source, "ro")) as origin:
        _begin_snapshot(origin)
        (pages,), (size,) = (
            origin.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
        )
        return int(pages) * int(size)


def find_damage(path: Path, *, is_thorough: bool, is_stopped: Callable[[], bool]) -> str:
    """Return the first fault of a database that nobody uses; empty: it has none.

    :param is_thorough: also compare the indexes with their tables. https://sqlite.org/pragma.html#pragma_integrity_check
    :param is_stopped: called again and again; if it returns True, the check ends with an error
    :raises sqlite3.Error: it can't be read
    """
    with closing(_connect(path, "ro")) as copy:
        copy.set_progress_handler(is_stopped, _STEPS_PER_QUESTION)
        (found,) = copy.execute(f"PRAGMA {'integrity' if is_thorough else 'quick'}_check(1)").fetchone()
        return "" if found == "ok" else " ".join(str(found).split())


def set_meta_of_copy(path: Path, key: str, value: str) -> None:
    """Set a value of the table ``meta`` in a database that nobody uses, if it has that table."""
    with _changing(path) as copy:
        if copy.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").fetchone():
            copy.execute("DELETE FROM meta WHERE key = ?", (key,))
            copy.execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))


def empty_wal(path: Path) -> bool:
    """Move the WAL of a database that nobody uses into its file. Return False if that is not possible: it is damaged.

    SQLite deletes the WAL beside a file that is no database, so it does not get such a file to open.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                return False
        with closing(_connect(path, "rw")) as database:
            (is_busy, _pages, _moved) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not is_busy
    except (OSError, sqlite3.Error):
        return False


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}", uri=True, timeout=_BUSY_SECONDS, isolation_level=None
    )


def _begin_snapshot(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    connection.execute(
        "SELECT count(*) FROM sqlite_master"
    ).fetchone()  # the snapshot begins with the first read


@contextmanager
def _changing(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(_connect(path, "rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection
        connection.execute("COMMIT")
