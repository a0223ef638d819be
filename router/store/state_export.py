"""Exports a database, which may be in use: one snapshot of all tables, in a file that every kind of database can import."""

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from router.model import Millis
from router.package import package_version
from router.store.backend import Backend, open_backend
from router.store.balance import recent_balance
from router.store.health import StoreUnavailable
from router.store.ledger import read_status
from router.store.new_files import check_target, put_in_place, unfinished_file
from router.store.opening import newest_revision, revision_of
from router.store.schema import metadata
from router.store.sqlite import Sqlite
from router.store.state_file import FileHeader, StateWriter, Tick

NOT_EXPORTED = frozenset({"replicas", "writers", "leases", "lanes", "lane_requests"})
"""Tables about the processes that run now. They mean nothing in another database."""
# 1: twice as fast as the default 6, and the file is a tenth larger. Most of the data is compressed already.
_GZIP_LEVEL = 1
_BUFFER_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ExportedState:
    """What an export has written."""

    size: int
    """Bytes of the file; 0: it was written to standard output."""
    revision: str
    """Of the tables."""
    rows: dict[str, int]
    """How many, by table."""
    ledger: dict[str, int]
    """See :func:`ledger_figures`."""


def exported_tables() -> list[sa.Table]:
    """Return the tables of an export: each table after those that it refers to."""
    return [each for each in metadata.sorted_tables if each.name not in NOT_EXPORTED]


def ledger_figures(connection: sa.Connection) -> dict[str, int]:
    """Return what an export and an import compare: ``firing`` alerts, ``changes``, ``fates``, and the ``imbalance`` of the
    ledger, see :attr:`router.store.balance.Balance.off`. It reads the whole ledger.
    """
    status = read_status(connection)
    return {
        "firing": status["firing"],
        "changes": sum(status["changes"].values()),
        "fates": sum(status["fates"].values()),
        "imbalance": abs(status["imbalance"]) or recent_balance(connection).off,
    }


def export_to_file(url: str, file: Path, now: Millis, tick: Tick, *, force: bool = False) -> ExportedState:
    """Write an export. Only its owner can read the file, from the first byte on. It gets its name when it is complete.

    :param now: the time, for the header
    :param force: replace a file of this name
    :raises StoreUnavailable: the database can't be read, or the file can't be written; nothing is left of it
    """
    target = Path(os.path.abspath(file))  # noqa: PTH100  (a link is replaced, not followed)
    with _opened(url) as backend:
        own = backend.path if isinstance(backend, Sqlite) else None
        check_target(own, target, force=force)
        with unfinished_file(target.parent, target.name) as part:
            try:
                with part.open("wb") as stream:
                    done = _export(backend, stream, now, tick)
                    size = stream.tell()
                check_target(own, target, force=force)
                put_in_place(part, target)
            except OSError as error:
                raise StoreUnavailable(
                    f"{target}: {error.strerror or error}; make room, or give a file in another folder"
                ) from None
    return ExportedState(size, done.revision, done.rows, done.ledger)


def export_to_stream(url: str, stream: IO[bytes], now: Millis, tick: Tick) -> ExportedState:
    """Write an export to a stream, for example a pipe to an import on another machine.

    :raises StoreUnavailable: the database can't be read, or the stream can't be written; what was written is no export
    """
    with _opened(url) as backend:
        try:
            return _export(backend, stream, now, tick)
        except OSError as error:
            raise StoreUnavailable(f"can't write the export: {error.strerror or error}") from None


@contextmanager
def _opened(url: str) -> Iterator[Backend]:
    backend = open_backend(url)
    try:
        if isinstance(backend, Sqlite) and not backend.path.is_file():
            raise StoreUnavailable(f"{backend.path}: there is no such database; give another --database")
        yield backend
    finally:
        backend.close()


def _export(backend: Backend, stream: IO[bytes], now: Millis, tick: Tick) -> ExportedState:
    with backend.open_read_only() as connection:
        connection.execution_options(unlimited=True)
        backend.check_usable(connection)
        revision = revision_of(connection, sa.inspect(connection).get_table_names(), backend.name)
        if revision is None:
            raise StoreUnavailable(f"{backend.name} is empty: it has no tables of alert-router")
        if revision != newest_revision():
            raise StoreUnavailable(
                f"{backend.name}: its tables are of an older version ({revision}); export it with that version, or start "
                "this version on it once, which brings them up to date"
            )
        header = FileHeader(revision, package_version(), connection.dialect.name, now)
        return write_snapshot(backend, connection, exported_tables(), stream, header, tick)


def write_snapshot(
    backend: Backend,
    connection: sa.Connection,
    tables: list[sa.Table],
    stream: IO[bytes],
    header: FileHeader,
    tick: Tick,
) -> ExportedState:
    """Write the tables as they are in the transaction of the connection."""
    with (
        gzip.GzipFile("", "wb", _GZIP_LEVEL, stream, mtime=0) as packed,
        io.BufferedWriter(packed, _BUFFER_BYTES) as buffered,
    ):
        writer = StateWriter(buffered, header)
        for table in tables:
            writer.write_table(table, backend.read_rows(connection, list(table.columns)), tick)
        ledger = ledger_figures(connection)
        writer.end(ledger)
    return ExportedState(
        0, header.revision, {name: each.rows for name, each in writer.tables.items()}, ledger
    )
