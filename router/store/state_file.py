"""The format of an export: everything of a database as lines of JSON, compressed with gzip. Pure: it reads and writes streams.

- The first line: ``{"format": "alert-router state", "version": 1, "revision", "written_by", "database", "at"}``.
- For each table, referenced tables before those that refer to them: ``{"table": name, "columns": [[name, kind], ...]}``, then
  one line for each row, an array of the values in the order of the columns. Kinds: ``number`` (64 bits, signed), ``text``,
  ``blob`` (base64). Null is null.
- The last line: ``{"end": {table: {"rows", "sum"}, ...}, "ledger": {...}}``. A file without it is cut.

The sum of a table is the sum of the SHA-256 hashes of its lines (without the newline), as numbers modulo 2**256. It does not
depend on the order of the rows, so that a database that orders texts differently has the same sum.
"""

import binascii
import hashlib
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from gzip import BadGzipFile
from typing import IO, Any

import sqlalchemy as sa

from router.model import Millis
from router.store.columns import kind_of
from router.store.health import StoreUnavailable

FORMAT = "alert-router state"
FORMAT_VERSION = 1
Row = Sequence[Any]
Tick = Callable[[str, int], None]
"""Called again and again with the name of the table, and the number of rows so far."""
_ROWS_PER_TICK = 10_000
_NEWLINE = b"\n"
_TYPES: Mapping[str, type] = {"number": int, "text": str, "blob": bytes}
_MODULUS = 2**256
_LATEST: Millis = 253_402_300_799_999  # the end of the year 9999
_encode = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What an export says about its origin."""

    revision: str
    """Of the tables."""
    written_by: str
    """The version of the router."""
    database: str
    """The kind of the database: sqlite or postgresql."""
    at: Millis
    """When it was begun."""


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of a table."""

    name: str
    kind: str
    """number, text or blob"""


@dataclass(frozen=True, slots=True)
class FileEnd:
    """What the last line says."""

    tables: Mapping[str, "RowSum"]
    ledger: Mapping[str, int]


@dataclass(slots=True)
class RowSum:
    """Counts the rows of a table, and adds up their hashes."""

    rows: int = 0
    sum: int = 0

    def add(self, line: bytes) -> None:
        """Add a row. :param line: as it is in the file, without its newline"""
        self.rows += 1
        self.sum += int.from_bytes(hashlib.sha256(line).digest(), "big")

    def as_json(self) -> dict[str, Any]:
        """Return it as the last line has it."""
        return {"rows": self.rows, "sum": f"{self.sum % _MODULUS:064x}"}


def columns_of(table: sa.Table) -> tuple[FileColumn, ...]:
    """Return the columns of a table as a file names them."""
    return tuple(FileColumn(each.name, kind_of(each)) for each in table.columns)


class RowEncoder:
    """Turns the rows of a table into lines without newlines."""

    def __init__(self, table: str, columns: Sequence[FileColumn]) -> None:
        self._table, self._columns = table, columns
        self._blobs = [number for number, each in enumerate(columns) if each.kind == "blob"]
        self._checked: set[tuple[type, ...]] = set()

    def encode(self, row: Row) -> bytes:
        """:raises StoreUnavailable: a value has not the type of its column"""
        types = tuple(map(type, row))
        if types not in self._checked:
            self._check(row)
            self._checked.add(types)
        if self._blobs:
            row = list(row)
            for each in self._blobs:
                if (value := row[each]) is not None:
                    # In SQLite, the default of a blob is an empty text.
                    data = value.encode() if isinstance(value, str) else value
                    row[each] = binascii.b2a_base64(data, newline=False).decode()
        return _encode(list(row)).encode()

    def _check(self, row: Row) -> None:
        """Check the types, because a column of SQLite accepts values of every type."""
        for value, column in zip(row, self._columns, strict=True):
            fits = value is None or type(value) is _TYPES[column.kind]
            if not fits and not (column.kind == "blob" and value == ""):
                raise StoreUnavailable(
                    f"table {self._table}, row {_shown(row[0])}: {column.name} is {type(value).__name__} instead of "
                    f"{column.kind}; correct that value, then export again"
                )


class RowDecoder:
    """Turns the values of a line into those of a row."""

    def __init__(self, columns: Sequence[FileColumn]) -> None:
        self._columns = columns
        self._blobs = [number for number, each in enumerate(columns) if each.kind == "blob"]
        self._types = [_TYPES.get(each.kind) for each in columns]

    def decode(self, values: list[Any]) -> list[Any]:
        """Change the values to those of the row. :raises ValueError: they do not fit the columns"""
        if len(values) != len(self._columns):
            raise ValueError(f"{len(values)} values instead of {len(self._columns)}")
        for each in self._blobs:
            if isinstance(values[each], str):
                values[each] = binascii.a2b_base64(values[each], strict_mode=True)
        for value, kind, column in zip(values, self._types, self._columns, strict=True):
            if value is not None and type(value) is not kind:
                raise ValueError(f"{column.name} is {type(value).__name__} instead of {column.kind}")
        return values


class StateWriter:
    """Writes an export to a stream."""

    def __init__(self, stream: IO[bytes], header: FileHeader) -> None:
        self._stream = stream
        self._line({"format": FORMAT, "version": FORMAT_VERSION, **asdict(header)})
        self.tables: dict[str, RowSum] = {}
        self._rows = 0

    def write_table(self, table: sa.Table, rows: Iterable[Row], tick: Tick) -> None:
        """Write the rows of a table. :param rows: the values in the order of the columns"""
        columns = columns_of(table)
        self._line({"table": table.name, "columns": [[each.name, each.kind] for each in columns]})
        summed = self.tables[table.name] = RowSum()
        encode, write = RowEncoder(table.name, columns).encode, self._stream.write
        for row in rows:
            line = encode(row)
            summed.add(line)
            write(line)
            write(_NEWLINE)
            self._rows += 1
            if not self._rows % _ROWS_PER_TICK:
                tick(table.name, self._rows)

    def end(self, ledger: Mapping[str, int]) -> None:
        """Write the last line. :param ledger: figures that an import compares"""
        self._line(
            {"end": {name: each.as_json() for name, each in self.tables.items()}, "ledger": dict(ledger)}
        )

    def _line(self, value: Any) -> None:
        self._stream.write(_encode(value).encode() + _NEWLINE)


@dataclass(slots=True)
class FileTable:
    """A table of an export that is being read."""

    name: str
    columns: tuple[FileColumn, ...]
    rows: Iterator[tuple[Any, ...]]
    """The values in the order of the columns."""
    found: RowSum
    """Of the rows that were read."""
    stored: RowSum
    """What the database has to return."""
    replaced: int = 0
    """How many rows have texts that were replaced."""


class StateReader:
    """Reads an export once, from its beginning to its end.

    :param stream: uncompressed
    :param name: of the file, for errors
    :param keeps_nul: False: NUL in texts is replaced with U+FFFD, because the target can't store it
    :raises StoreUnavailable: it is no export, or one of a newer format
    """

    def __init__(self, stream: IO[bytes], name: str, tick: Tick, *, keeps_nul: bool) -> None:
        self._stream, self._name, self._tick, self._keeps_nul = stream, name, tick, keeps_nul
        self._ahead: Any = None
        """A line that is no row, and was read after the rows of a table."""
        self._rows = self._lines = 0
        first = self._next()
        if not isinstance(first, dict) or first.get("format") != FORMAT:
            raise StoreUnavailable(
                f"{name} is no export of alert-router; give a file of `alert-router export`"
            )
        if first.get("version") != FORMAT_VERSION:
            raise StoreUnavailable(
                f"{name} was written by alert-router {first.get('written_by')} in a newer format; use that version or a later one"
            )
        header: dict[str, Any] = {each.name: first.get(each.name) for each in fields(FileHeader)}
        self.header = FileHeader(**header)
        words, at = (self.header.revision, self.header.written_by, self.header.database), self.header.at
        if not all(isinstance(each, str) for each in words) or type(at) is not int or not 0 <= at <= _LATEST:
            raise self.damaged("it is not the first line of an export")

    def tables(self) -> Iterator[FileTable]:
        """Yield the tables in order. Read the rows of each before the next."""
        self._ahead = self._next()
        while isinstance(self._ahead, dict) and "table" in self._ahead:
            try:
                columns = tuple(FileColumn(str(name), str(kind)) for name, kind in self._ahead["columns"])
                table = FileTable(str(self._ahead["table"]), columns, iter(()), RowSum(), RowSum())
            except (KeyError, TypeError, ValueError) as error:
                raise self.damaged(f"the columns of a table: {error!r}") from None
            self._ahead = None
            table.rows = self._rows_of(table)
            yield table
            if self._ahead is None:
                raise self.damaged(f"the rows of {table.name} were not read")

    def end(self) -> FileEnd:
        """Return what the last line says, after the last table.

        :raises StoreUnavailable: there is something else
        """
        last = self._ahead
        try:
            tables = {
                name: RowSum(int(each["rows"]), int(each["sum"], 16)) for name, each in last["end"].items()
            }
            found = FileEnd(tables, {name: int(value) for name, value in last["ledger"].items()})
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError):
            raise self.damaged("it has no last line") from None
        try:
            more = self._stream.read(1)  # this makes gzip check its own sum, which is after the last line
        except (BadGzipFile, EOFError, zlib.error) as error:
            raise self.damaged(str(error)) from None
        if more:
            raise self.damaged("lines follow the last one")
        return found

    def damaged(self, what: str) -> StoreUnavailable:
        """Return the error for a file that can't be used."""
        return StoreUnavailable(
            f"{self._name}:{self._lines} is cut or damaged ({what}); copy it again, or export again"
        )

    def _rows_of(self, table: FileTable) -> Iterator[tuple[Any, ...]]:
        decoder, encoder = RowDecoder(table.columns), RowEncoder(table.name, table.columns)
        while True:
            line = self._read_line()
            value = self._parse(line)
            if not isinstance(value, list):
                self._ahead = value
                return
            try:
                row = decoder.decode(value)
            except ValueError as error:
                raise self.damaged(f"table {table.name}: {error}") from None
            table.found.add(line)
            if not self._keeps_nul and rb"\u0000" in line and _replace_nul(row):
                table.replaced += 1
            table.stored.add(encoder.encode(row))  # JSON has several forms of one text
            self._rows += 1
            if not self._rows % _ROWS_PER_TICK:
                self._tick(table.name, self._rows)
            yield tuple(row)

    def _next(self) -> Any:
        return self._parse(self._read_line())

    def _read_line(self) -> bytes:
        try:
            line = self._stream.readline()
        except BadGzipFile as error:
            raise StoreUnavailable(
                f"{self._name} is no export of alert-router, or damaged ({error}); give a file of `alert-router export`"
            ) from None
        except (EOFError, zlib.error) as error:
            raise self.damaged(str(error)) from None
        except OSError as error:
            raise StoreUnavailable(f"{self._name} can't be read: {error.strerror or error}") from None
        if not line.endswith(_NEWLINE):
            raise self.damaged("it ends too early")
        self._lines += 1
        return line[:-1]

    def _parse(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except ValueError as error:
            raise self.damaged(str(error)) from None
        except RecursionError:
            raise self.damaged("it is nested too deeply") from None


def _replace_nul(row: list[Any]) -> bool:
    """Replace NUL in the texts of a row with U+FFFD. Return whether there was one."""
    found = False
    for number, value in enumerate(row):
        if isinstance(value, str) and "\0" in value:
            row[number], found = value.replace("\0", "\ufffd"), True
    return found


def _shown(value: Any) -> str:
    return str(value)[:100]
