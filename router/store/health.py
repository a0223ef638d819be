"""Whether the store can be written, and what its faults are called when people are told of them."""

import sqlite3
import time
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_BY_ITSELF = "and it goes on by itself"
# https://sqlite.org/rescode.html
_WORDS = {
    sqlite3.SQLITE_FULL: f"the disk is full; make room, {_BY_ITSELF}",
    sqlite3.SQLITE_IOERR: f"{{error}}: the disk fails, or a quota or limit is reached; mend that, {_BY_ITSELF}",
    sqlite3.SQLITE_READONLY: f"{{error}}; let it be written, {_BY_ITSELF}",
    sqlite3.SQLITE_BUSY: f"another program has locked it; end that one, {_BY_ITSELF}",
    sqlite3.SQLITE_CANTOPEN: "{error}; look at the rights of the file and of its folder",
}
_DAMAGED = {
    sqlite3.SQLITE_CORRUPT: "it is damaged ({error})",
    sqlite3.SQLITE_NOTADB: "it is no SQLite database, or its beginning is damaged ({error})",
}


class StoreUnavailable(Exception):  # noqa: N818  (a state of the store, said as such)
    """The store can't be written now: full queue, full disk, locked or read-only file, or closing.

    ``damaged``: nor ever again, until somebody has mended it.
    """

    def __init__(self, reason: str, *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.damaged = damaged


def unavailable(error: BaseException, path: Path) -> StoreUnavailable:
    """A driver's error, also as SQLAlchemy wraps it, in words: what happened, where, what to do."""
    error = getattr(error, "orig", None) or error
    code = _code(error)
    if code in _DAMAGED:
        return damaged(path, _DAMAGED[code].format(error=error))
    return StoreUnavailable(f"{path}: {_WORDS.get(code, '{error}').format(error=error)}")


def damaged(path: Path, what: str) -> StoreUnavailable:
    """It is left alone as it is: what can still be saved of it is for people to decide."""
    return StoreUnavailable(
        f"{path}: {what}; stop the router, move the file away together with {path.name}-wal and {path.name}-shm "
        "or put a backup in their place, and start again: Alertmanager sends again what still fires",
        damaged=True,
    )


def is_damage(error: BaseException) -> bool:
    return _code(error) in _DAMAGED


def _code(error: BaseException) -> int:
    """SQLite's primary result code. An error that the driver made up has none."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else sqlite3.SQLITE_ERROR


class Health:
    """Says once that the store can't be written, and once that it can again. Of the event loop's thread."""

    def __init__(self, path: Path) -> None:
        self.error: StoreUnavailable | None = None
        """Why it can't be written; None while it can."""
        self._path = path
        self._since = 0.0
        self._refused = 0

    @property
    def damaged(self) -> bool:
        return self.error is not None and self.error.damaged

    def failed(self, error: StoreUnavailable) -> None:
        if self.damaged:
            return
        if self.error is None:
            self._since = time.monotonic()
        if self.error is None or error.damaged:
            log.error(
                "the store can't be written; webhooks are refused, and nobody is told anything", reason=str(error)
            )  # fmt: skip
        self.error = error

    def refused(self, error: StoreUnavailable) -> None:
        """A webhook was."""
        self.failed(error)
        self._refused += 1

    def worked(self) -> None:
        """Something was committed."""
        if self.error is not None and not self.error.damaged:
            seconds = round(time.monotonic() - self._since, 1)
            log.warning(
                "the store can be written again", database=str(self._path), seconds=seconds, refused=self._refused
            )  # fmt: skip
            self.error, self._refused = None, 0
