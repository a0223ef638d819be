"""Loads and saves sets of rows: for each table one statement for all rows that a batch needs, and one for all that it
changed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import sqlalchemy as sa

from router.core import indexes
from router.core.indexes import RowIndex, Table
from router.core.settled import BatchEvents, batch_events
from router.core.state import ID, Rows, State
from router.store import counters, delivery_hours, objective_hours
from router.store.labels import entries
from router.store.queries import QUERIES
from router.store.queries.query import OneStatement, Statement
from router.store.row_writes import BatchEnd, RowDelete, RowInsert, RowWrites, on_conflict, quoted

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


class Lookup(NamedTuple):
    """A statement that reads rows."""

    sql: str
    parameters: Sequence[str] | Mapping[str, Any]
    """Of a look-up by keys: the keys, as a JSON array of arrays; none: all rows are wanted."""
    has_one_plan: bool = True
    """The database may keep the plan of its first runs, see :class:`router.store.queries.query.Statement`."""


class Dialect(Protocol):
    """How a kind of database looks rows up and writes them."""

    def lookup(self, table: str, kinds: list[str], condition: str) -> str:
        """Return the tables of a query that has one parameter, a JSON array of keys: the keys as ``k(c0, c1 …)``, and the
        table as ``t``. The keys are looked up one by one, because a table may have any size.

        :param kinds: the type of each part of a key, ``text`` or ``bigint``
        :param condition: of ``k`` and ``t``
        """

    def compile(self, statement: sa.CompoundSelect[Any]) -> sa.Compiled:
        """Return a statement in the text that the driver accepts. Its parameters are given by name."""

    def load(self, cursor: Any, lookups: Sequence[Lookup]) -> Iterable[Sequence[Any]]:
        """Return the rows that each statement reads."""

    def save(self, cursor: Any, writes: RowWrites) -> None:
        """Write rows. If the database refuses characters of a text, for example of a provider's answer, only these
        characters are lost.

        :raises Exception: of the driver; the transaction can't go on
        """

    def finish(self, cursor: Any, end: BatchEnd) -> None:
        """Write what a batch has left to write. Its transaction may be committed afterwards already.

        :raises Exception: of the driver; if the connection is lost, nobody knows whether the transaction is committed
        """


class Sets:
    """Loads and saves the rows of all tables, with statements that are built once."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._load: dict[tuple[str, str], str] = {}
        self._insert: dict[str, RowInsert] = {}
        self._delete: dict[str, RowDelete] = {}
        self._compiled: dict[sa.CompoundSelect[Any], sa.Compiled] = {}
        for table in indexes.TABLES:
            for index in (RowIndex(ID, table.primary), *table.indexes):
                self._load[table.name, index.name] = _load_sql(table, index, dialect)
            self._insert[table.name] = _insert_of(table)
            self._delete[table.name] = RowDelete(table.name, table.primary)

    def load(self, cursor: DatabaseCursor, state: State) -> None:
        """Load the rows that the state wants, and what it asks for that takes one statement. The rest of what it asks for is left
        to :func:`router.store.queries.run_queries`.
        """
        wanted: list[tuple[Rows[Any], str, set[Any]]] = []
        lookups: list[Lookup] = []
        for found in state.tables:
            for index, keys in found.wanted.items():
                wanted.append((found, index, keys))
                several = [each if isinstance(each, tuple) else (each,) for each in keys]
                parameters = [json.dumps(several)] if several != [()] else []
                lookups.append(Lookup(self._load[found.table.name, index], parameters))
            found.wanted = {}
        asked = [
            (name, query, key)
            for name in list(state.asked)
            if isinstance(query := QUERIES[name], OneStatement)
            for key in state.asked.pop(name)
        ]
        lookups += [self._lookup(query.statement(key)) for _, query, key in asked]
        if not lookups:
            return
        loaded = iter(self._dialect.load(cursor, lookups))
        for (found, index, keys), rows in zip(wanted, loaded, strict=False):
            found.load(index, keys, map(found.table.row._make, rows))
        for (name, query, key), rows in zip(asked, loaded, strict=True):
            state.answers[name, key] = query.answer(rows)

    def _lookup(self, statement: Statement) -> Lookup:
        compiled = self._compiled.get(statement.sql)
        if compiled is None:
            compiled = self._compiled[statement.sql] = self._dialect.compile(statement.sql)
        return Lookup(str(compiled), compiled.construct_params(statement.given) or {}, statement.has_one_plan)

    def changes(self, state: State) -> tuple[RowWrites, BatchEvents]:
        """Return how all changed rows are written, and the counters with them; and what else is counted. The rows count as
        saved from now on.
        """
        moves, hours, events = (
            counters.counter_changes(state),
            delivery_hours.hour_changes(state),
            batch_events(state),
        )
        changed = [(found, *found.changed()) for found in state.tables if found.before]
        writes: list[tuple[RowInsert | RowDelete, Sequence[tuple[Any, ...]]]] = []
        for found, there, _ in changed:
            if there:
                writes.append((self._insert[found.table.name], there))
                if found is state.alerts:
                    # The labels of an alert never change.
                    new = entries((row.id, row.labels) for row in there if found.before[row.id] is None)
                    writes.append((_LABELS, new))
        for found, _, gone in reversed(changed):
            several = [key if isinstance(key, tuple) else (key,) for key in gone]
            writes.append((self._delete[found.table.name], several))
        counts = objective_hours.count_settled(events.settled)
        writes += [
            (counters.UPSERT, [(*key, number) for key, number in moves.items()]),
            (delivery_hours.UPSERT, [(*key, number) for key, number in hours.items()]),
            (objective_hours.UPSERT, [(*key, *each) for key, each in counts.items()]),
        ]
        for found, _, _ in changed:
            found.saved()
        return [each for each in writes if each[1]], events

    def save(self, cursor: DatabaseCursor, writes: RowWrites) -> None:
        """See :meth:`Dialect.save`."""
        if writes:
            self._dialect.save(cursor, writes)

    def finish(self, cursor: DatabaseCursor, end: BatchEnd) -> None:
        """See :meth:`Dialect.finish`."""
        self._dialect.finish(cursor, end)


_LABELS = RowInsert("alert_labels", ("label", "alert_id"), ("bigint", "bigint"), "ON CONFLICT DO NOTHING")


def _load_sql(table: Table[Any], index: RowIndex, dialect: Dialect) -> str:
    columns = ", ".join(f"t.{quoted(name)}" for name in table.columns)
    conditions = [
        *(f"t.{quoted(name)} = k.c{number}" for number, name in enumerate(index.columns)),
        *(_condition(f"t.{quoted(name)}", values) for name, values in index.only.items()),
    ]
    if index.latest is not None:
        same = " AND ".join(f"u.{quoted(name)} = t.{quoted(name)}" for name in index.columns)
        latest = quoted(index.latest)
        conditions.append(f"t.{latest} = (SELECT max(u.{latest}) FROM {table.name} u WHERE {same})")
    if not index.columns:
        return f"SELECT {columns} FROM {table.name} t"
    kinds = [_kind(table, name) for name in index.columns]
    return f"SELECT {columns} FROM {dialect.lookup(table.name, kinds, ' AND '.join(conditions))}"


def _insert_of(table: Table[Any]) -> RowInsert:
    fixed = _UNCHANGING_COLUMNS.get(table.name, frozenset()) | set(table.primary)
    kinds = tuple(_kind(table, name) for name in table.columns)
    changing = [name for name in table.columns if name not in fixed]
    return RowInsert(table.name, table.columns, kinds, on_conflict(table.primary, changing))


def _condition(column: str, values: Iterable[object]) -> str:
    """Return a condition, written as the partial indexes write it, so that the database uses them."""
    several = tuple(values)
    if several == (None,):
        return f"{column} IS NOT NULL"
    written = [str(each) if isinstance(each, int) else f"'{each}'" for each in several]
    return f"{column} = {written[0]}" if len(written) == 1 else f"{column} IN ({', '.join(written)})"


def _kind(table: Table[Any], name: str) -> str:
    hint = str(table.row.__annotations__[name])
    return "bigint" if "int" in hint else "bytea" if "bytes" in hint else "text"
