"""Loading and saving by sets: one statement for all rows of a table that a batch asks for, and one for all it changed."""

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Protocol

from router.core import indexes
from router.core.indexes import RowIndex, Table
from router.core.rows import AlertRow
from router.core.state import ID, State
from router.lenient_json import fit
from router.store import counters
from router.store.labels import entries

# Columns that never change, so that their indexes are left alone. Everything of a webhook and of a change but a count.
_FIXED: dict[str, frozenset[str]] = {
    "groups": frozenset({"source", "receiver", "group_key"}),
    "alerts": frozenset({"source", "identity"}),
    "conversations": frozenset({"destination", "source", "created_at", "key"}),
    "changes": frozenset({"webhook_id", "alert_id", "kind", "level", "at"}),
    "fates": frozenset({"change_id", "destination", "at"}),
    "former_fates": frozenset({"fate_id", "at", "fate", "rule", "reason", "configuration"}),
    "deliveries": frozenset({"conversation_id", "destination", "generation", "attempt", "started_at"}),
    "dead_letters": frozenset({"conversation_id", "destination", "recipient"}),
}


class DatabaseCursor(Protocol):
    """What is needed of a driver's cursor."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...
    def executemany(self, sql: str, parameters: Any, /) -> Any: ...
    def fetchall(self) -> Sequence[Any]: ...


class Dialect(Protocol):
    """What differs between databases."""

    placeholder: str
    """Of one parameter."""
    sample: str
    """Joins a table after a set of keys, so that the keys are looked up one by one."""
    rows_at_once: int
    """How many rows one run of an INSERT takes at most. 1: the driver has something better for many rows."""

    def keys(self, kinds: list[str]) -> str:
        """A table expression ``k(c0, c1 …)`` made of one parameter, a JSON array of keys.

        :param kinds: ``text`` or ``bigint``, one a column
        """


class Sets:
    """The statements of every table."""

    def __init__(self, dialect: Dialect) -> None:
        self._load: dict[tuple[str, str], str] = {}
        self._save: dict[str, _Insert] = {}
        self._delete: dict[str, str] = {}
        for table in indexes.TABLES:
            for index in (RowIndex(ID, table.primary), *table.indexes):
                self._load[table.name, index.name] = _load_sql(table, index, dialect)
            self._save[table.name] = _save_sql(table, dialect)
            self._delete[table.name] = _delete_sql(table, dialect)
        self._count = counters.moving([dialect.placeholder] * 4)
        self._label = _Insert("alert_labels", ("label", "alert_id"), "ON CONFLICT DO NOTHING", dialect)

    def load(self, cursor: DatabaseCursor, state: State) -> None:
        """Load whatever is wanted, except for questions."""
        for found in state.tables:
            wanted, found.wanted = found.wanted, {}
            make = found.table.row._make
            for index, keys in wanted.items():
                sql = self._load[found.table.name, index]
                several = [each if isinstance(each, tuple) else (each,) for each in keys]
                cursor.execute(sql, (json.dumps(several),) if several != [()] else ())
                found.load(index, keys, map(make, cursor.fetchall()))

    def save(self, cursor: DatabaseCursor, state: State) -> None:
        """Save whatever was changed, and move the counters with it."""
        moves = counters.moved(state)
        changed = [(found, *found.changed()) for found in state.tables if found.before]
        for found, there, _ in changed:
            if there:
                self._save[found.table.name].put(cursor, there)
                if found is state.alerts:
                    self._index(cursor, [row for row in there if found.before[row.id] is None])
        for found, _, gone in reversed(changed):
            if gone:
                several = [key if isinstance(key, tuple) else (key,) for key in gone]
                cursor.executemany(self._delete[found.table.name], several)
            found.saved()
        if moves:
            cursor.executemany(self._count, [(*key, number) for key, number in moves.items()])

    def _index(self, cursor: DatabaseCursor, alerts: Sequence[AlertRow]) -> None:
        """The labels of new alerts. Those of an alert never change."""
        if found := entries((row.id, row.labels) for row in alerts):
            self._label.run(cursor, found)


# Rows of the INSERT statements of a table. There are few sizes, so that SQLite keeps all of these statements prepared.
_SIZES = (64, 16, 4, 1)


class _Insert:
    """A statement that inserts any number of rows.

    SQLite's driver lets go of the interpreter, and takes it back, each time it runs a statement. With one run for many
    rows instead of one for each, a batch is saved in half the time.
    """

    def __init__(self, table: str, columns: Sequence[str], conflict: str, dialect: Dialect) -> None:
        row = f"({', '.join([dialect.placeholder] * len(columns))})"
        head = f"INSERT INTO {table} ({', '.join(map(_quoted, columns))}) VALUES "
        sizes = [size for size in _SIZES if size <= dialect.rows_at_once]
        self._runs = [(size, f"{head}{', '.join([row] * size)} {conflict}") for size in sizes]

    def put(self, cursor: DatabaseCursor, rows: Sequence[tuple[Any, ...]]) -> None:
        """Providers say what they like: of text that a database refuses, only the characters that it refuses are lost."""
        try:
            self.run(cursor, rows)
        except Exception:
            fitting = [tuple(map(fit, row)) for row in rows]
            if fitting == rows:
                raise
            self.run(cursor, fitting)

    def run(self, cursor: DatabaseCursor, rows: Sequence[tuple[Any, ...]]) -> None:
        done = 0
        for size, sql in self._runs:
            if size == 1:
                cursor.executemany(sql, rows[done:])
                return
            while len(rows) - done >= size:
                cursor.execute(sql, tuple(chain.from_iterable(rows[done : done + size])))
                done += size


def _load_sql(table: Table[Any], index: RowIndex, dialect: Dialect) -> str:
    columns = ", ".join(f"t.{_quoted(name)}" for name in table.columns)
    conditions = [_condition(f"t.{_quoted(name)}", values) for name, values in index.only.items()]
    if index.latest is not None:
        same = " AND ".join(f"u.{_quoted(name)} = t.{_quoted(name)}" for name in index.columns)
        latest = _quoted(index.latest)
        conditions.append(f"t.{latest} = (SELECT max(u.{latest}) FROM {table.name} u WHERE {same})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    if not index.columns:
        return f"SELECT {columns} FROM {table.name} t{where}"
    keys = dialect.keys([_kind(table, name) for name in index.columns])
    on = " AND ".join(f"t.{_quoted(name)} = k.c{number}" for number, name in enumerate(index.columns))
    return f"SELECT {columns} FROM {keys} {dialect.sample} {table.name} t ON {on}{where}"


def _save_sql(table: Table[Any], dialect: Dialect) -> _Insert:
    primary = ", ".join(map(_quoted, table.primary))
    fixed = _FIXED.get(table.name, frozenset()) | set(table.primary)
    changing = [name for name in table.columns if name not in fixed]
    new = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in changing)
    change = f"UPDATE SET {new}" if new else "NOTHING"
    return _Insert(table.name, table.columns, f"ON CONFLICT ({primary}) DO {change}", dialect)


def _delete_sql(table: Table[Any], dialect: Dialect) -> str:
    return f"DELETE FROM {table.name} WHERE " + " AND ".join(
        f"{_quoted(name)} = {dialect.placeholder}" for name in table.primary
    )


def _condition(column: str, values: Iterable[object]) -> str:
    """Written as the conditions of the indexes are, so that those are used."""
    several = tuple(values)
    if several == (None,):
        return f"{column} IS NOT NULL"
    written = [str(each) if isinstance(each, int) else f"'{each}'" for each in several]
    return f"{column} = {written[0]}" if len(written) == 1 else f"{column} IN ({', '.join(written)})"


def _kind(table: Table[Any], name: str) -> str:
    hint = str(table.row.__annotations__[name])
    return "bigint" if "int" in hint else "text"


def _quoted(name: str) -> str:
    return f'"{name}"'
