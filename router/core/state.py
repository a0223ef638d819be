"""The rows of a batch: loaded by key, changed in memory, and saved together by the store.

A transition requests the rows that it needs, and raises :class:`MissingRows` if some are not loaded. The store then loads
all requested rows and runs the transition again.

A set of rows that was loaded by a key is complete, and every change keeps it complete. A row that the batch has changed is never
overwritten by a row that is loaded later.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from operator import itemgetter
from typing import Any, Generic, TypeVar, cast

from router.core import indexes, rows
from router.core.head import Head
from router.core.indexes import RowIndex, Table

R = TypeVar("R", bound=tuple[Any, ...])
T = TypeVar("T")
Oracle = Callable[["State", str, Any], Any]
"""Takes a state, the name of a query, and its parameters; returns the result."""

ID = "id"
"""The name of the index of a table's primary key."""
_ABSENT = object()


class MissingRows(Exception):  # noqa: N818  (a state, not an error)
    """A transition needs rows that are not loaded. :attr:`Rows.wanted` has their keys."""


_Getter = Callable[[Any], Any]


def _key(table: Table[Any], index: RowIndex) -> _Getter:
    """Return a function that takes a row and returns its key; ``_ABSENT``: the row belongs to no set of the index."""
    positions = [table.columns.index(name) for name in index.columns]
    getter: _Getter = itemgetter(*positions) if positions else lambda _row: ()
    only = [
        (table.columns.index(name), frozenset(values) if values != (None,) else None)
        for name, values in index.only.items()
    ]
    if not only:
        return getter

    def key(row: tuple[Any, ...]) -> Any:
        for position, values in only:
            if (row[position] is None) if values is None else (row[position] not in values):
                return _ABSENT
        return getter(row)

    return key


# Computed once, because each batch has a new state.
_KEYS = {(table.name, index.name): _key(table, index) for table in indexes.TABLES for index in table.indexes}
_TABLES: dict[str, Table[Any]] = {table.name: table for table in indexes.TABLES}
_PRIMARY: dict[str, _Getter] = {
    table.name: itemgetter(*map(table.columns.index, table.primary)) for table in indexes.TABLES
}


class _Keyed:
    """The sets of one index: the primary keys of the rows by key."""

    __slots__ = ("index", "key", "sets", "whole")

    def __init__(self, table: Table[Any], index: RowIndex) -> None:
        self.index = index
        self.key = _KEYS[table.name, index.name]
        self.sets: dict[Hashable, dict[Any, None]] = {}
        self.whole: set[Hashable] = set()


class Rows(Generic[R]):
    """The rows of one table, with their indexes."""

    def __init__(self, table: Table[R], state: "State") -> None:
        self.table = table
        self.wanted: dict[str, set[Any]] = {}
        self.before: dict[Any, R | None] = {}
        """By primary key: the changed rows as they were when they were last saved; None: the row is new."""
        self._state = state
        self._primary = _PRIMARY[table.name]
        self._rows: dict[Any, R | None] = {}
        """The rows, by primary key; None: there is no such row."""
        self._keyed = {index.name: _Keyed(table, index) for index in table.indexes}
        self._all_keyed = tuple(self._keyed.values())

    def get(self, key: Any) -> R | None:
        """Return a row by primary key; None: there is none. :raises MissingRows: it is not loaded"""
        row = self._rows.get(key, _ABSENT)
        if row is _ABSENT:
            if self._state.complete:
                return None
            self._lack(ID, (key,))
            raise MissingRows
        return cast("R | None", row)

    def __getitem__(self, key: Any) -> R:
        """Return an existing row by primary key. :raises MissingRows: it is not loaded; KeyError: there is none"""
        row = self.get(key)
        if row is None:
            raise KeyError(f"{self.table.name}: no row {key!r}")
        return row

    def of(self, index: str, key: Any) -> list[R]:
        """Return the rows of a set, in the order of their primary keys. :raises MissingRows: it is not loaded"""
        keyed = self._keyed[index]
        if not self._is_whole(keyed, key):
            self._lack(index, (key,))
            raise MissingRows
        found = keyed.sets.get(key)
        if not found:
            return []
        keys = sorted(found) if len(found) > 1 else found
        return [cast("R", self._rows[each]) for each in keys]

    def one(self, index: str, key: Any) -> R | None:
        """Return the first row of a set, or the latest one; None: it is empty. :raises MissingRows: it is not loaded"""
        found = self.of(index, key)
        if not found:
            return None
        latest = self._keyed[index].index.latest
        if latest is None or len(found) == 1:
            return found[0]
        return max(found, key=itemgetter(self.table.columns.index(latest)))

    def want(self, index: str, keys: Iterable[Any]) -> None:
        """Request rows that will be needed. :meth:`State.ready` raises if they are not loaded."""
        if self._state.complete:
            return
        if index == ID:
            missing = {key for key in keys if key not in self._rows}
        else:
            keyed = self._keyed[index]
            missing = {key for key in keys if not self._is_whole(keyed, key)}
        if missing:
            self._lack(index, missing)

    def put(self, row: R) -> R:
        """Add a row, or replace the row with its primary key. Return it."""
        key = self._primary(row)
        old = self._rows.get(key, _ABSENT)
        if old == row:
            return row
        self._state.journal.append((self, key, old, self.before.get(key, _ABSENT)))
        if key not in self.before:
            self.before[key] = None if old is _ABSENT else cast("R | None", old)
        self._replace(key, old, row)
        return row

    def remove(self, row: R) -> None:
        """Remove an existing row."""
        key = self._primary(row)
        self._state.journal.append((self, key, row, self.before.get(key, _ABSENT)))
        self.before.setdefault(key, row)
        self._replace(key, row, None)

    def changed(self) -> tuple[list[R], list[Any]]:
        """Return the rows to save and the primary keys to delete, since the last call of :meth:`saved`."""
        there = [row for key in self.before if (row := self._rows[key]) is not None]
        gone = [key for key, before in self.before.items() if self._rows[key] is None and before is not None]
        return there, gone

    def saved(self) -> None:
        """Forget the changes: they are saved."""
        self.before.clear()

    def load(self, index: str, keys: Iterable[Any], found: Iterable[R]) -> None:
        """Add all rows that the database has for these keys."""
        known = self._rows
        for row in found:
            key = self._primary(row)
            if key not in known:
                self._replace(key, _ABSENT, row)
        if index == ID:
            for key in keys:
                known.setdefault(key, None)
        else:
            self._keyed[index].whole.update(keys)

    def undo(self, key: Any, old: Any, before: Any) -> None:
        """Undo one change."""
        if before is _ABSENT:
            del self.before[key]
        self._replace(key, self._rows[key], None if old is _ABSENT else old)
        if old is _ABSENT:
            del self._rows[key]

    def __iter__(self) -> Iterator[R]:
        """Iterate over the loaded rows; in a complete state, these are all rows."""
        return (row for row in self._rows.values() if row is not None)

    def _lack(self, index: str, keys: Iterable[Any]) -> None:
        self.wanted.setdefault(index, set()).update(keys)
        self._state.lacking = True

    def _is_whole(self, keyed: _Keyed, key: Any) -> bool:
        if self._state.complete or key in keyed.whole:
            return True
        if keyed.index.unique and keyed.sets.get(key):
            return True
        if not keyed.index.ids:
            return False
        first = self._state.first_new_id
        return bool(max(key) >= first if isinstance(key, tuple) else key >= first)

    def _replace(self, key: Any, old: Any, new: Any) -> None:
        self._rows[key] = new
        there = old is not _ABSENT and old is not None
        for keyed in self._all_keyed:
            was = keyed.key(old) if there else _ABSENT
            is_ = keyed.key(new) if new is not None else _ABSENT
            if was is is_ or was == is_:
                continue
            if was is not _ABSENT:
                del keyed.sets[was][key]
            if is_ is not _ABSENT:
                keyed.sets.setdefault(is_, {})[key] = None


class State:
    """The rows of all tables.

    :param complete: no row is missing; for tests in memory
    :param oracle: answers the queries of a complete state, instead of a database
    """

    webhooks: Rows[rows.WebhookRow]
    groups: Rows[rows.GroupRow]
    alerts: Rows[rows.AlertRow]
    inhibitors: Rows[rows.InhibitorRow]
    conversations: Rows[rows.ConversationRow]
    members: Rows[rows.MemberRow]
    changes: Rows[rows.ChangeRow]
    fates: Rows[rows.FateRow]
    former_fates: Rows[rows.FormerFateRow]
    deliveries: Rows[rows.DeliveryRow]
    messages: Rows[rows.MessageRow]
    dead_letters: Rows[rows.DeadLetterRow]
    meta: Rows[rows.MetaRow]
    configurations: Rows[rows.ConfigurationRow]
    destinations: Rows[rows.DestinationRow]
    fragments: Rows[rows.FragmentRow]

    def __init__(self, next_id: int = 1, *, complete: bool = False, oracle: Oracle | None = None) -> None:
        self.complete = complete
        self._oracle = oracle
        self.first_new_id = self.next_id = next_id
        self.journal: list[tuple[Rows[Any], Any, Any, Any]] = []
        self.answers: dict[tuple[str, Any], Any] = {}
        """The results of the queries that :meth:`ask` returns, by the query's name and parameters. Rows that are found
        by the key of an index are in the tables instead.
        """
        self.asked: dict[str, set[Any]] = {}
        self.lacking = False
        """The current transition has requested something that is not loaded."""
        self.head = Head()
        """What holds for the whole batch."""

    def __getattr__(self, name: str) -> Any:
        """Create a table when it is first needed: few batches need all tables."""
        if name not in _TABLES:
            raise AttributeError(name)
        found = self.__dict__[name] = Rows(_TABLES[name], self)
        return found

    @property
    def tables(self) -> Iterator[Rows[Any]]:
        """The tables that were used, in the order in which they are saved."""
        return (self.__dict__[name] for name in _TABLES if name in self.__dict__)

    def new_id(self) -> int:
        """Return an id that no row of any table has had."""
        number = self.next_id
        self.next_id += 1
        return number

    def ask(self, query: str, key: Any) -> Any:
        """Return the result of a query of the database. :raises MissingRows: it is not loaded"""
        if self._oracle is not None:
            return self._oracle(self, query, key)
        if (query, key) not in self.answers:
            self.asked.setdefault(query, set()).add(key)
            self.lacking = True
            raise MissingRows
        return self.answers[query, key]

    def want_answer(self, query: str, key: Any) -> None:
        """Request the result of a query that will be needed."""
        if self._oracle is None and (query, key) not in self.answers:
            self.asked.setdefault(query, set()).add(key)
            self.lacking = True

    def release(self) -> None:
        """Drop the tables. They refer back to this state, so otherwise only the garbage collector could free them, and its pauses
        delay webhooks.
        """
        self.journal.clear()
        self.first_new_id = self.next_id
        for name in _TABLES:
            self.__dict__.pop(name, None)

    def forget_answers(self, but: Collection[str] = ()) -> None:
        """Forget the results of queries, because rows have changed. :param but: queries whose results are kept"""
        self.answers = {asked: found for asked, found in self.answers.items() if asked[0] in but}

    @property
    def is_changed(self) -> bool:
        """Whether there are changes that are not saved."""
        return any(found.before for found in self.tables)

    def ready(self) -> None:
        """Check that all requested rows and results are loaded. :raises MissingRows: some are not"""
        if self.lacking:
            raise MissingRows

    @property
    def wanting(self) -> bool:
        """Whether any transition has requested something that is not loaded."""
        return bool(self.asked) or any(found.wanted for found in self.tables)

    def run_all(self, transitions: Iterable[Callable[[], T]]) -> list[T]:
        """Run transitions one after the other; return their results.

        :raises MissingRows: some transitions lack rows; the rows of all of them are requested
        """
        results: list[T] = []
        lacking = self.lacking
        for transition in transitions:
            mark = self.mark()
            self.lacking = False
            try:
                results.append(transition())
            except MissingRows:
                self.undo(mark)
            lacking = lacking or self.lacking
        self.lacking = lacking
        self.ready()
        return results

    def mark(self) -> tuple[int, int]:
        """Return a point to which :meth:`undo` can go back."""
        return len(self.journal), self.next_id

    def undo(self, mark: tuple[int, int]) -> None:
        """Undo all changes since a :meth:`mark`."""
        length, self.next_id = mark
        while len(self.journal) > length:
            table, key, old, before = self.journal.pop()
            table.undo(key, old, before)
