"""Loads and saves sets of rows: for each table one statement for all rows that a batch needs, and one for all that it
changed.
"""

import json
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, Protocol

from router.core import indexes
from router.core.indexes import RowIndex, Table
from router.core.rows import AlertRow
from router.core.settled import BatchEvents, batch_events
from router.core.state import ID, State
from router.lenient_json import replace_unfit
from router.store import counters, delivery_hours, objective_hours
from router.store.labels import entries

# Columns that never change. They are not updated, so that their indexes are not written either.
_UNCHANGING_COLUMNS: dict[str, frozenset[str]] = {
    "groups": frozenset({"source", "receiver", "group_key"}),
    "alerts": frozenset({"source", "identity"}),
    "conversations": frozenset({"destination", "source", "created_at", "key"}),
    "changes": frozenset({"webhook_id", "alert_id", "kind", "level", "at", "tenant"}),
    "fates": frozenset({"change_id", "destination", "at", "urgency", "tenant"}),
    "former_fates": frozenset({"fate_id", "at", "fate", "rule", "reason", "configuration"}),
    "deliveries": frozenset({"conversation_id", "destination", "generation", "attempt", "started_at"}),
    "dead_letters": frozenset({"conversation_id", "destination", "recipient"}),
}


class DatabaseCursor(Protocol):
    """The methods of a driver's cursor that are used here."""

    def execute(self, sql: str, parameters: Any = ..., /) -> Any: ...
    def executemany(self, sql: str, parameters: Any, /) -> Any: ...
    def fetchall(self) -> Sequence[Any]: ...


class Dialect(Protocol):
    """How the SQL of a kind of database differs."""

    placeholder: str
    """How one parameter is written."""
    lookup_join: str
    """The kind of join of a set of keys with a table that makes the database look up the keys one by one."""
    rows_at_once: int
    """The largest number of rows of one INSERT. 1: the driver has its own fast way to insert many rows."""

    def keys(self, kinds: list[str]) -> str:
        """Return a table expression ``k(c0, c1 …)`` that reads one parameter, a JSON array of keys.

        :param kinds: the type of each column, ``text`` or ``bigint``
        """


class Sets:
    """Loads and saves the rows of all tables, with statements that are built once."""

    def __init__(self, dialect: Dialect) -> None:
        self._load: dict[tuple[str, str], str] = {}
        self._save: dict[str, _Insert] = {}
        self._delete: dict[str, str] = {}
        for table in indexes.TABLES:
            for index in (RowIndex(ID, table.primary), *table.indexes):
                self._load[table.name, index.name] = _load_sql(table, index, dialect)
            self._save[table.name] = _save_sql(table, dialect)
            self._delete[table.name] = _delete_sql(table, dialect)
        self._count = counters.upsert_sql([dialect.placeholder] * 4)
        self._count_hour = delivery_hours.upsert_sql([dialect.placeholder] * 4)
        self._count_events = objective_hours.upsert_sql([dialect.placeholder] * 5)
        self._label = _Insert("alert_labels", ("label", "alert_id"), "ON CONFLICT DO NOTHING", dialect)

    def load(self, cursor: DatabaseCursor, state: State) -> None:
        """Load the rows that the state wants. :func:`router.store.queries.run_queries` runs its queries."""
        for found in state.tables:
            wanted, found.wanted = found.wanted, {}
            make = found.table.row._make
            for index, keys in wanted.items():
                sql = self._load[found.table.name, index]
                several = [each if isinstance(each, tuple) else (each,) for each in keys]
                cursor.execute(sql, (json.dumps(several),) if several != [()] else ())
                found.load(index, keys, map(make, cursor.fetchall()))

    def save(self, cursor: DatabaseCursor, state: State) -> BatchEvents:
        """Save all changed rows, and update the counters with them. Return what else is counted."""
        moves, hours, events = (
            counters.counter_changes(state),
            delivery_hours.hour_changes(state),
            batch_events(state),
        )
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
        if hours:
            cursor.executemany(self._count_hour, [(*key, number) for key, number in hours.items()])
        if events.settled:
            counts = objective_hours.count_settled(events.settled)
            cursor.executemany(self._count_events, [(*key, *each) for key, each in counts.items()])
        return events

    def _index(self, cursor: DatabaseCursor, alerts: Sequence[AlertRow]) -> None:
        """Add the labels of new alerts to the label index. The labels of an alert never change."""
        if found := entries((row.id, row.labels) for row in alerts):
            self._label.run(cursor, found)


# How many rows an INSERT has. There are few sizes, so that SQLite keeps all of these statements prepared.
_ROWS_PER_INSERT = (64, 16, 4, 1)


class _Insert:
    """A statement that inserts any number of rows.

    SQLite's driver releases and takes the GIL each time it runs a statement. One run for many rows, instead of one run a
    row, saves a batch in half the time.
    """

    def __init__(self, table: str, columns: Sequence[str], conflict: str, dialect: Dialect) -> None:
        row = f"({', '.join([dialect.placeholder] * len(columns))})"
        head = f"INSERT INTO {table} ({', '.join(map(_quoted, columns))}) VALUES "
        sizes = [size for size in _ROWS_PER_INSERT if size <= dialect.rows_at_once]
        self._runs = [(size, f"{head}{', '.join([row] * size)} {conflict}") for size in sizes]

    def put(self, cursor: DatabaseCursor, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert the rows. If the database refuses characters of a text, for example of a provider's answer, only these
        characters are lost.
        """
        try:
            self.run(cursor, rows)
        except Exception:
            fitting = [tuple(map(replace_unfit, row)) for row in rows]
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
    return f"SELECT {columns} FROM {keys} {dialect.lookup_join} {table.name} t ON {on}{where}"


def _save_sql(table: Table[Any], dialect: Dialect) -> _Insert:
    primary = ", ".join(map(_quoted, table.primary))
    fixed = _UNCHANGING_COLUMNS.get(table.name, frozenset()) | set(table.primary)
    changing = [name for name in table.columns if name not in fixed]
    new = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in changing)
    change = f"UPDATE SET {new}" if new else "NOTHING"
    return _Insert(table.name, table.columns, f"ON CONFLICT ({primary}) DO {change}", dialect)


def _delete_sql(table: Table[Any], dialect: Dialect) -> str:
    return f"DELETE FROM {table.name} WHERE " + " AND ".join(
        f"{_quoted(name)} = {dialect.placeholder}" for name in table.primary
    )


def _condition(column: str, values: Iterable[object]) -> str:
    """Return a condition, written as the partial indexes write it, so that the database uses them."""
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
