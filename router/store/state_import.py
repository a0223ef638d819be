"""Imports an export into an empty database. All of it is there at the end, or nothing."""

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import IO

import sqlalchemy as sa

from router.model import Millis
from router.store.backend import Backend, open_backend
from router.store.health import StoreUnavailable
from router.store.integrity import Finding, miscounted
from router.store.opening import (
    SERVES_SINCE,
    create_indexes,
    create_tables,
    downgrade,
    is_known_revision,
    keep_oldest,
    newest_revision,
    revision_of,
    upgrade,
)
from router.store.schema import meta, metadata
from router.store.starts import mark_interrupted
from router.store.state_export import NOT_EXPORTED, ledger_figures
from router.store.state_file import FileHeader, FileTable, RowEncoder, RowSum, StateReader, Tick, columns_of

_VERSIONS = "alembic_version"


@dataclass(frozen=True, slots=True)
class ImportedState:
    """What an import has done."""

    database: str
    """Its name, without secrets."""
    header: FileHeader
    rows: dict[str, int]
    """How many, by table."""
    replaced: int
    """In how many rows NUL was replaced with U+FFFD, because the database can't store it in a text."""
    ledger: dict[str, int]
    """See :func:`router.store.state_export.ledger_figures`."""
    miscounted: Finding
    """Counters that differ from the sums of their rows, see :mod:`router.store.integrity`."""


def import_state(url: str, file: IO[bytes], name: str, now: Millis, tick: Tick) -> ImportedState:
    """Fill an empty database from an export.

    Every row is read again, and compared with the file; so are the figures of the ledger. Then the same is done as at a start:
    the database gets another random id, because keys that were made from the old one must not be used again, and deliveries
    that were under way are interrupted. Conversations that are open keep their keys.

    :param file: as it was written, compressed
    :param name: of the file, for errors
    :param now: the time
    :raises StoreUnavailable: the database is not empty, a router serves from it, or the file can't be used; nothing is changed
    """
    backend = open_backend(url)
    try:
        with io.BufferedReader(gzip.GzipFile("", "rb", fileobj=file), 2**20) as stream:
            reader = StateReader(stream, name, tick, keeps_nul=backend.keeps_nul)
            _check_revision(reader.header, name)
            with backend.fill(partial(_check_empty, name=backend.name)) as connection:
                return _Import(backend, connection, reader).run(now)
    finally:
        backend.close()


def _check_revision(header: FileHeader, name: str) -> None:
    if not is_known_revision(header.revision):
        raise StoreUnavailable(
            f"{name} was written by alert-router {header.written_by}, which is newer than this version (its tables are at "
            f"{header.revision!r}, unknown here); import it with that version or a later one"
        )


def _check_empty(connection: sa.Connection, name: str) -> None:
    """:raises StoreUnavailable: the database is not empty, or its tables can't be used"""
    tables = sa.inspect(connection).get_table_names()
    revision = revision_of(connection, tables, name)
    if not tables:
        return
    for each in sorted({*tables} - {_VERSIONS}):
        # What creates the tables writes one row of meta, which an import replaces.
        rows = sa.select(sa.literal(1)).select_from(sa.table(each))
        if each == meta.name:
            rows = sa.select(meta.c.key).where(meta.c.key != SERVES_SINCE)
        if connection.execute(rows.limit(1)).first():
            raise StoreUnavailable(
                f"{name} is not empty: the table {each} has rows; give an empty database, for example "
                "a new one, so that nothing is mixed or lost"
            )
    if revision != newest_revision():
        raise StoreUnavailable(
            f"{name}: its tables are empty, but of an older version ({revision}); give a new database"
        )


class _Import:
    def __init__(self, backend: Backend, connection: sa.Connection, reader: StateReader) -> None:
        self._backend, self._connection, self._reader = backend, connection, reader
        self._revision = reader.header.revision
        self._is_older = self._revision != newest_revision()

    def run(self, now: Millis) -> ImportedState:
        connection = self._connection
        self._backend.check_usable(connection)
        is_new = not sa.inspect(connection).get_table_names()
        if is_new:
            create_tables(connection)
            if self._is_older:
                create_indexes(connection)  # a migration may drop some
        tables = self._tables()
        connection.execute(sa.delete(meta))
        found = {each.name: each for each in self._load(tables)}
        stored = self._reader.end()
        self._compare(tables, found, stored.tables)
        if self._is_older:
            upgrade(connection)
        elif is_new:
            create_indexes(connection)
        ledger = ledger_figures(connection)
        if not self._is_older and ledger != stored.ledger:
            raise StoreUnavailable(
                f"the ledger differs from the exported one: {ledger} instead of {dict(stored.ledger)}; nothing was "
                "imported; please report this"
            )
        faults = miscounted(connection, pauses=False)
        keep_oldest(connection)
        # The processes that have something under way are not those that will serve from this database.
        mark_interrupted(connection, now)
        return ImportedState(
            self._backend.name, self._reader.header, {name: each.found.rows for name, each in found.items()},
            sum(each.replaced for each in found.values()), ledger, faults,
        )  # fmt: skip

    def _tables(self) -> Mapping[str, sa.Table]:
        """Return the tables at the revision of the file."""
        if not self._is_older:
            tables: Mapping[str, sa.Table] = metadata.tables
        else:
            downgrade(self._connection, self._revision)
            reflected = sa.MetaData()
            reflected.reflect(self._connection)
            tables = reflected.tables
        return {name: each for name, each in tables.items() if name not in {*NOT_EXPORTED, _VERSIONS}}

    def _load(self, tables: Mapping[str, sa.Table]) -> list[FileTable]:
        loaded: dict[str, FileTable] = {}
        for each in self._reader.tables():
            table = tables.get(each.name)
            if table is None or each.name in loaded or {*each.columns} != {*columns_of(table)}:
                raise self._reader.damaged(f"table {each.name} is not one of revision {self._revision}")
            try:
                self._backend.load_rows(
                    self._connection, [table.columns[column.name] for column in each.columns], each.rows
                )
            except (OverflowError, UnicodeError) as error:
                raise self._reader.damaged(f"table {each.name}: {type(error).__name__}") from None
            loaded[each.name] = each
        missing = sorted({*tables} - {*loaded})
        if missing:
            self._reader.end()  # if the file is cut here, its error is the better message
            raise self._reader.damaged(f"the table {missing[0]} is missing")
        return list(loaded.values())

    def _compare(
        self, tables: Mapping[str, sa.Table], found: Mapping[str, FileTable], stored: Mapping[str, RowSum]
    ) -> None:
        """:raises StoreUnavailable: the rows of the file, or those of the database, are not those that were exported"""
        for name, each in found.items():
            if name not in stored or each.found.as_json() != stored[name].as_json():
                raise self._reader.damaged(f"table {name}: its rows differ from their sum")
            columns = [tables[name].columns[column.name] for column in each.columns]
            encode, again = RowEncoder(name, each.columns).encode, RowSum()
            for row in self._backend.read_rows(self._connection, columns):
                again.add(encode(row))
            if again.as_json() != each.stored.as_json():
                raise StoreUnavailable(
                    f"{self._backend.name}: the rows of table {name} differ from those of the file after they were "
                    "stored; nothing was imported; please report this"
                )
