"""How rows are looked up and written in SQLite."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from router.lenient_json import replace_unfit
from router.store.row_writes import BatchEnd, RowInsert, RowWrites
from router.store.sets import DatabaseCursor, Lookup

# How many rows an INSERT has. There are few sizes, so that SQLite keeps all of these statements prepared.
_ROWS_PER_INSERT = (64, 16, 4, 1)
_DIALECT = sqlite.dialect(paramstyle="named")
_INSERTS = 100
"""More than there are tables."""


class SqliteRows:
    """See :class:`router.store.sets.Dialect`."""

    @staticmethod
    def lookup(table: str, kinds: list[str], condition: str) -> str:
        columns = ", ".join(
            f"json_extract(value, '$[{number}]') AS c{number}" for number, _ in enumerate(kinds)
        )
        # A CROSS JOIN looks the keys up one by one. https://sqlite.org/optoverview.html#crossjoin
        return f"(SELECT {columns} FROM json_each(?)) k CROSS JOIN {table} t ON {condition}"

    @staticmethod
    def compile(statement: sa.CompoundSelect[Any]) -> sa.Compiled:
        return statement.compile(dialect=_DIALECT)

    @staticmethod
    def load(cursor: DatabaseCursor, lookups: Sequence[Lookup]) -> Iterator[Sequence[Any]]:
        for each in lookups:
            cursor.execute(each.sql, each.parameters)
            yield cursor.fetchall()

    @staticmethod
    def save(cursor: DatabaseCursor, writes: RowWrites) -> None:
        for write, rows in writes:
            if isinstance(write, RowInsert):
                _insert_fitting(cursor, write, rows)
            else:
                cursor.executemany(write.sql("?"), rows)

    @classmethod
    def finish(cls, cursor: DatabaseCursor, end: BatchEnd) -> None:
        cls.save(cursor, end.writes)


def _insert_fitting(cursor: DatabaseCursor, write: RowInsert, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows. If the database refuses characters of a text, for example of a provider's answer, only these
    characters are lost.
    """
    try:
        _insert(cursor, write, rows)
    except Exception:
        fitting = [tuple(map(replace_unfit, row)) for row in rows]
        if fitting == rows:
            raise
        _insert(cursor, write, fitting)


def _insert(cursor: DatabaseCursor, write: RowInsert, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert many rows with few runs.

    SQLite's driver releases and takes the GIL each time it runs a statement. One run for many rows, instead of one run a
    row, saves a batch in half the time.
    """
    done = 0
    for size, sql in _statements(write):
        if size == 1:
            cursor.executemany(sql, rows[done:])
            return
        while len(rows) - done >= size:
            cursor.execute(sql, tuple(chain.from_iterable(rows[done : done + size])))
            done += size


@lru_cache(_INSERTS)
def _statements(write: RowInsert) -> list[tuple[int, str]]:
    """Return the statements that insert the rows, each with how many it inserts."""
    return [(size, write.values_sql("?" * len(write.columns), size)) for size in _ROWS_PER_INSERT]
