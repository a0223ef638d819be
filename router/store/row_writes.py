"""What a batch writes, table by table. Each kind of database turns it into its own statements."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa

from router.model import Millis


@dataclass(frozen=True, slots=True)
class RowInsert:
    """Inserts rows into a table.

    :param kinds: the type of each column: ``bigint``, ``text`` or ``bytea``
    :param conflict: what happens to a row whose key is there already: an ``ON CONFLICT`` clause
    """

    table: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    conflict: str

    def values_sql(self, parameters: Iterable[str], rows: int = 1) -> str:
        """Return the statement that inserts this number of rows. :param parameters: how those of a row are written"""
        row = f"({', '.join(parameters)})"
        return f"{self.head} VALUES {', '.join([row] * rows)} {self.conflict}"

    @property
    def head(self) -> str:
        """The statement up to its rows."""
        return f"INSERT INTO {self.table} ({', '.join(map(quoted, self.columns))})"


@dataclass(frozen=True, slots=True)
class RowDelete:
    """Deletes rows of a table by their primary keys."""

    table: str
    primary: tuple[str, ...]

    def sql(self, placeholder: str) -> str:
        """Return the statement that deletes one row."""
        return f"DELETE FROM {self.table} WHERE " + " AND ".join(
            f"{quoted(name)} = {placeholder}" for name in self.primary
        )


RowWrites = Sequence[tuple[RowInsert | RowDelete, Sequence[tuple[Any, ...]]]]
"""What is written, in this order, with its rows or primary keys."""


@dataclass(frozen=True, slots=True)
class BatchId:
    """Identifies a batch, so that it can be found out whether it was committed."""

    writer: str
    """Random, of one process."""
    number: int
    """Grows with each batch of that writer."""


@dataclass(frozen=True, slots=True)
class BatchEnd:
    """What a batch has left to write when its jobs are done."""

    writes: RowWrites
    changes: bool
    """Whether the batch writes anything, or has written something already."""
    id: BatchId
    now: Millis
    """The time of the batch (epoch ms)."""
    notice: str
    """What other processes are told when it is committed; empty: nothing."""


def quoted(name: str) -> str:
    return f'"{name}"'


def upsert(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, in place of those with their primary keys. :param rows: with all columns; may be empty"""
    if rows:
        connection.execute(_upsert_sql(table), list(rows))


@cache
def _upsert_sql(table: sa.Table) -> sa.TextClause:
    primary = [each.name for each in table.primary_key]
    changing = [each.name for each in table.columns if not each.primary_key]
    names = tuple(table.columns.keys())
    insert = RowInsert(table.name, names, (), on_conflict(primary, changing))
    return sa.text(insert.values_sql(f":{name}" for name in names))


def on_conflict(primary: Iterable[str], changing: Iterable[str]) -> str:
    """Return the clause by which a row whose primary key is there already changes that row.

    :param changing: the columns that it changes; none: the row stays as it was
    """
    changes = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in changing)
    return f"ON CONFLICT ({', '.join(map(quoted, primary))}) DO {f'UPDATE SET {changes}' if changes else 'NOTHING'}"
