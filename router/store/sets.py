"""Loading and saving by sets: one statement for all rows of a table that a batch asks for, and one for all it changed."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from router.core import rows
from router.core.rows import AlertRow, Index, Table
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


class Cursor(Protocol):
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

    def keys(self, kinds: list[str]) -> str:
        """A table expression ``k(c0, c1 …)`` made of one parameter, a JSON array of keys.

        :param kinds: ``text`` or ``bigint``, one a column
        """


class Sets:
    """The statements of every table."""

    def __init__(self, dialect: Dialect) -> None:
        self._load: dict[tuple[str, str], str] = {}
        self._save: dict[str, str] = {}
        self._delete: dict[str, str] = {}
        for table in rows.TABLES:
            for index in (Index(ID, table.primary), *table.indexes):
                self._load[table.name, index.name] = _load_sql(table, index, dialect)
            self._save[table.name] = _save_sql(table, dialect)
            self._delete[table.name] = _delete_sql(table, dialect)
        self._count = counters.moving([dialect.placeholder] * 4)
        one = dialect.placeholder
        self._label = (
            f"INSERT INTO alert_labels (label, alert_id) VALUES ({one}, {one}) ON CONFLICT DO NOTHING"
        )

    def load(self, cursor: Cursor, state: State) -> None:
        """Load whatever is wanted, except for questions."""
        for found in state.tables:
            wanted, found.wanted = found.wanted, {}
            make = found.table.row._make
            for index, keys in wanted.items():
                sql = self._load[found.table.name, index]
                several = [each if isinstance(each, tuple) else (each,) for each in keys]
                cursor.execute(sql, (json.dumps(several),) if several != [()] else ())
                found.load(index, keys, map(make, cursor.fetchall()))

    def save(self, cursor: Cursor, state: State) -> None:
        """Save whatever was changed, and move the counters with it."""
        moves = counters.moved(state)
        changed = [(found, *found.changed()) for found in state.tables if found.before]
        for found, there, _ in changed:
            if there:
                _put(cursor, self._save[found.table.name], there)
                if found is state.alerts:
                    self._index(cursor, [row for row in there if found.before[row.id] is None])
        for found, _, gone in reversed(changed):
            if gone:
                several = [key if isinstance(key, tuple) else (key,) for key in gone]
                cursor.executemany(self._delete[found.table.name], several)
            found.saved()
        if moves:
            cursor.executemany(self._count, [(*key, number) for key, number in moves.items()])

    def _index(self, cursor: Cursor, alerts: Sequence[AlertRow]) -> None:
        """The labels of new alerts. Those of an alert never change."""
        if found := entries((row.id, row.labels) for row in alerts):
            cursor.executemany(self._label, found)


def _put(cursor: Cursor, sql: str, there: list[Any]) -> None:
    """Providers say what they like: of text that a database refuses, only the characters that it refuses are lost."""
    try:
        cursor.executemany(sql, there)
    except Exception:
        fitting = [tuple(map(fit, row)) for row in there]
        if fitting == there:
            raise
        cursor.executemany(sql, fitting)


def _load_sql(table: Table[Any], index: Index, dialect: Dialect) -> str:
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


def _save_sql(table: Table[Any], dialect: Dialect) -> str:
    names = ", ".join(map(_quoted, table.columns))
    values = ", ".join([dialect.placeholder] * len(table.columns))
    primary = ", ".join(map(_quoted, table.primary))
    fixed = _FIXED.get(table.name, frozenset()) | set(table.primary)
    changing = [name for name in table.columns if name not in fixed]
    new = ", ".join(f"{_quoted(name)} = excluded.{_quoted(name)}" for name in changing)
    change = f"UPDATE SET {new}" if new else "NOTHING"
    return f"INSERT INTO {table.name} ({names}) VALUES ({values}) ON CONFLICT ({primary}) DO {change}"


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
