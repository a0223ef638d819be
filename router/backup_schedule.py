"""Makes backups of the database in regular intervals, while the service runs."""

import asyncio
import fcntl
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from router.clock import Clock
from router.metrics import Metrics
from router.model import DAY, MINUTE, SECOND, Millis
from router.store import StoreUnavailable
from router.store.backup_file import (
    CheckedCopy,
    CopyProgress,
    open_sqlite,
    write_backup,
)
from router.store.file_modes import create_private, make_folder
from router.store.new_files import PART_SUFFIX, unwritable
from router.threads import Threads

log = structlog.get_logger(__name__)

_NAME = re.compile(r"alert-router-(\d{8}T\d{6}Z)\.db")
_PART_NAME = re.compile(rf"\.{_NAME.pattern}\.\w+{re.escape(PART_SUFFIX)}")
_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_LOCK_NAME = ".alert-router-backups.lock"
# After a failure the next attempt follows sooner.
_RETRY: Millis = 10 * MINUTE
# How long a stop waits until the thread has deleted what it has written of a backup.
_STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """Where the backups are written, how often, and how many are kept."""

    folder: Path
    every: Millis = DAY
    keep: int = 7


class BackupSchedule:
    """Makes a backup as soon as the last one is old enough, in a thread of its own, and deletes the oldest ones.

    The time of the last backup is in its name, so a restart makes no additional one.

    :param database: its URL
    :raises StoreUnavailable: it is no SQLite database
    """

    def __init__(self, options: BackupOptions, database: str, clock: Clock, metrics: Metrics) -> None:
        open_sqlite(
            database,
            lambda address: (
                f"leave out --backup-to, and run `pg_dump --format=custom --file=FILE {address}` by a timer"
            ),
        )
        self._options = options
        self._database = database
        self._clock = clock
        self._metrics = metrics
        self._threads = Threads("backup", 1)
        self._lock: int | None = None
        """The descriptor of the lock of the folder; None: it is not locked yet."""
        self._last_at: Millis | None = None
        """The time of the last backup; None: there is none."""
        self._failed_at: Millis | None = None
        self._error: str | None = None
        """Why the last attempt failed; None: it did not."""
        metrics.backup_interval(options.every)

    async def run(self) -> None:
        """Make backups, without end."""
        never = asyncio.Event()
        self._note_newest(await self._threads.run(self._newest_time))
        while True:
            now = self._clock.now()
            due = self._next_at(now)
            if due > now:
                await self._clock.wait(never, due)
            else:
                await self._make(now)

    def make_before_migration(self) -> None:
        """Make a backup before the tables are changed. Call it in a thread.

        :raises StoreUnavailable: there is none, so the tables must stay as they are
        """
        now = self._clock.now()
        try:
            found = self._write(now, threading.Event())
        except StoreUnavailable as error:
            raise StoreUnavailable(
                f"its tables are of an older version, and the backup before their upgrade failed: {error}. Repair that; or "
                "start once without --backup-to, which upgrades them without a backup"
            ) from None
        self._note_success(now, found)

    async def newest_file(self) -> Path | None:
        """Return the newest backup; None: there is none, or the folder can't be read."""
        return await self._threads.run(self._newest_file)

    @property
    def trouble(self) -> str | None:
        """Why the last attempt failed; None: it did not."""
        return self._error

    def describe(self) -> dict[str, Any]:
        """Return the state of the backups, for ``/status``. Times are epoch ms."""
        return {
            "folder": str(self._options.folder), "every": self._options.every, "keep": self._options.keep,
            "last_success": self._last_at, "last_failure": self._failed_at, "error": self._error,
            "next": self._next_at(self._clock.now()),
        }  # fmt: skip

    def close(self) -> None:
        self._threads.shutdown()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _next_at(self, now: Millis) -> Millis:
        every = self._options.every
        if self._error is not None and self._failed_at is not None:
            last, pause = self._failed_at, min(every, _RETRY)
        elif self._last_at is not None:
            last, pause = self._last_at, every
        else:
            return now
        return last + pause if last <= now else now  # a time in the future: the clock was stepped back

    async def _make(self, now: Millis) -> None:
        stop = threading.Event()
        writing = asyncio.wrap_future(self._threads.submit(self._write, now, stop))
        try:
            found = await asyncio.shield(writing)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait({writing}, timeout=_STOP_SECONDS)
            if writing.done() and not writing.cancelled():
                writing.exception()  # it is retrieved: BackupStopped
            raise
        except StoreUnavailable as error:
            self._note_failure(now, str(error))
            log.error("the backup failed", error=str(error))  # noqa: TRY400  (it has no useful stack)
        except Exception as error:  # the task must go on: it tries again
            self._note_failure(now, repr(error))
            log.exception("the backup failed unexpectedly")
        else:
            self._note_success(now, found)

    def _write(self, now: Millis, stop: threading.Event) -> CheckedCopy:
        """Write a backup, and delete the oldest ones. :raises StoreUnavailable: it failed :raises BackupStopped: by ``stop``"""
        folder = self._options.folder
        self._take_folder()
        progress = CopyProgress(is_stopped=stop.is_set)
        found = write_backup(self._database, folder / _name_of(now), force=True, progress=progress)
        for path in self._files(now)[: -self._options.keep]:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("an old backup can't be deleted", file=str(path), error=error.strerror)
        return found

    def _take_folder(self) -> None:
        """Create the folder, keep other routers out of it, and delete what an attempt that was killed has left.

        :raises StoreUnavailable: it can't be written, or another router writes its backups there
        """
        folder = self._options.folder
        try:
            make_folder(folder)
            if self._lock is None:
                lock = create_private(folder / _LOCK_NAME)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    raise StoreUnavailable(
                        f"another alert-router writes its backups to {folder}; give each one a folder of its own"
                    ) from None
                self._lock = lock
            for path in folder.iterdir():
                if _PART_NAME.fullmatch(path.name):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise unwritable(folder / _LOCK_NAME, error) from None

    def _files(self, now: Millis) -> list[Path]:
        """Return the backups in the folder, the oldest first. Other files are not touched.

        A backup of the future was made before the clock was set back, so it is older than those of the time since.
        """
        try:
            found = [path for path in self._options.folder.iterdir() if _NAME.fullmatch(path.name)]
        except OSError:
            return []
        latest = _name_of(now)
        files = (path for path in found if path.is_file() and not path.is_symlink())
        return sorted(files, key=lambda path: (path.name <= latest, path.name))

    def _newest_file(self) -> Path | None:
        files = self._files(self._clock.now())
        return files[-1] if files else None

    def _newest_time(self) -> Millis | None:
        """Return the time of the newest backup."""
        newest = self._newest_file()
        found = None if newest is None else _NAME.fullmatch(newest.name)
        if found is None:
            return None
        try:
            made = datetime.strptime(found[1], _TIME_FORMAT).replace(tzinfo=UTC)
        except ValueError:  # such as a 13th month
            return None
        return round(made.timestamp()) * SECOND

    def _note_newest(self, at: Millis | None) -> None:
        if at is not None and self._last_at is None:
            self._last_at = at
            self._metrics.backup_found(at)

    def _note_success(self, now: Millis, found: CheckedCopy) -> None:
        self._last_at, self._error = now, None
        self._metrics.backup_made(now)
        folder = str(self._options.folder)
        log.info("a backup was made", folder=folder, bytes=found.size)
        if found.imbalance:
            log.error("the ledger in the backup does not balance", off=found.imbalance, folder=folder)

    def _note_failure(self, now: Millis, reason: str) -> None:
        self._failed_at, self._error = now, reason
        self._metrics.backup_failed()


def _name_of(at: Millis) -> str:
    """Return the name of a backup that was made at this time."""
    return f"alert-router-{datetime.fromtimestamp(at / SECOND, UTC):{_TIME_FORMAT}}.db"
