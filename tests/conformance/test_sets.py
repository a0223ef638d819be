"""The rows that a batch saves are loaded unchanged, by every key."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from router.core import indexes
from router.core.claimed_delivery import NO_STORM, Share
from router.core.digests import MANY_REPORTED, UNREPORTED
from router.core.indexes import RowIndex, Table
from router.core.inhibited_alerts import INHIBITED_BY
from router.core.release import MANY_MUTED
from router.core.state import ID, State
from router.core.upcoming import NEXT_DUE, Wanted
from router.store.backend import Backend
from router.store.opening import SERVES_SINCE
from router.store.queries import QUERIES
from router.store.schema import metadata
from router.store.sets import Sets
from tests.conformance.filling import DESTINATIONS, TIMES, fill, ids
from tests.postgresql import Server, made

AFTER_ALL = 1_000_000
"""An id that no row has."""
INDEXES = [
    (table, index) for table in indexes.TABLES for index in (RowIndex(ID, table.primary), *table.indexes)
]


class Filled(NamedTuple):
    """A database with the rows of :func:`fill`, in a transaction."""

    database: Backend
    connection: sa.Connection
    state: State


def save(database: Backend, connection: sa.Connection, state: State) -> None:
    sets = Sets(database)
    sets.save(cursor(connection), sets.changes(state)[0])


@contextmanager
def filled(url: str) -> Iterator[Filled]:
    database = made(url)
    connection = database.open_writer()
    state = State(complete=True)
    fill(state)
    with connection.begin():
        save(database, connection, state)
        yield Filled(database, connection, state)
    connection.close()
    database.close()


@pytest.fixture(scope="module")
def in_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Filled]:
    with filled(f"sqlite:///{tmp_path_factory.mktemp('filled')}/router.db") as found:
        yield found


@pytest.fixture(scope="module")
def in_postgresql(postgresql: Server) -> Iterator[Filled]:
    with postgresql.database() as url, filled(url) as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def saved(request: pytest.FixtureRequest) -> Filled:
    """Return a filled database. Tests only read it."""
    found: Filled = request.getfixturevalue(f"in_{request.param}")
    return found


def cursor(connection: sa.Connection) -> Any:
    driver: Any = connection.connection.dbapi_connection
    return driver.cursor()


def keys(table: Table[Any], index: RowIndex, state: State) -> set[Any]:
    """Return the keys of all sets that have rows, and of one that has none."""
    names = [table.columns.index(name) for name in index.columns]
    found = {tuple(row[name] for name in names) for row in getattr(state, table.name)}
    found = {each for each in found if None not in each}
    odd = tuple(-7 if isinstance(each, int) else "nowhere 🙂" for each in next(iter(found)))
    several = {*found, odd}
    return {each[0] if len(each) == 1 else each for each in several}


@pytest.mark.parametrize(("table", "index"), INDEXES, ids=lambda each: each.name)
def test_each_set_of_rows_is_loaded_as_it_was_saved(
    saved: Filled, table: Table[Any], index: RowIndex
) -> None:
    loaded = State(AFTER_ALL)
    wanted = keys(table, index, saved.state)
    loaded_rows, saved_rows = getattr(loaded, table.name), getattr(saved.state, table.name)
    loaded_rows.want(index.name, wanted)
    Sets(saved.database).load(cursor(saved.connection), loaded)
    if index.name == ID:
        assert {key: loaded_rows.get(key) for key in wanted} == {key: saved_rows.get(key) for key in wanted}
        return
    if index.latest is not None:
        assert {key: loaded_rows.one(index.name, key) for key in wanted} == {
            key: saved_rows.one(index.name, key) for key in wanted
        }
        return
    found = {key: loaded_rows.of(index.name, key) for key in wanted}
    assert found == {key: saved_rows.of(index.name, key) for key in wanted}
    assert any(found.values())


def test_saved_rows_are_replaced_and_removed_rows_deleted(url: str) -> None:
    with filled(url) as (database, connection, saved):
        alert, *_ = saved.alerts
        inhibitor, *_ = saved.inhibitors
        saved.alerts.put(alert._replace(annotations=b"new", ends_at=None, level=""))
        saved.inhibitors.remove(inhibitor)
        save(database, connection, saved)
        loaded = State(AFTER_ALL)
        loaded.alerts.want(ID, [alert.id])
        loaded.inhibitors.want(ID, [(inhibitor.key, inhibitor.alert_id)])
        Sets(database).load(cursor(connection), loaded)
        assert loaded.alerts.get(alert.id) == alert._replace(annotations=b"new", ends_at=None, level="")
        assert loaded.inhibitors.get((inhibitor.key, inhibitor.alert_id)) is None


def test_the_ledgers_queries_read_the_same_values(saved: Filled) -> None:
    """These use another part of the driver."""
    for table in indexes.TABLES:
        found = saved.connection.execute(
            sa.select(*(metadata.tables[table.name].c[name] for name in table.columns))
        )
        read = [row for row in map(table.row._make, found) if SERVES_SINCE not in row]
        assert sorted(map(repr, read)) == sorted(map(repr, getattr(saved.state, table.name)))


NOW = 1_795_435_200_000
LAST = 2**63 - 1
STORM = 1
SHARES = [
    Share(STORM, absorbs_all, apart, edits) for absorbs_all, apart, edits in product((True, False), repeat=3)
]
ASKED: dict[str, list[Any]] = {
    NEXT_DUE: [Wanted(each, share, limit, by) for each in DESTINATIONS
               for share, limit, by in ((NO_STORM, 8, None), (NO_STORM, 2, NOW), (SHARES[0], 8, None))],
    "next time": [(each, at) for each in (*DESTINATIONS, "nowhere") for at in (0, NOW, LAST)],
    "surge": [(each, LAST, storm, edits, above) for each in DESTINATIONS
              for storm in (0, STORM) for edits in (True, False) for above in (0, 100)],
    "due after": [(each, LAST, share, after, 3) for each in DESTINATIONS
                  for share in SHARES for after in ((-1, -1), (0, 140))],
    "standing": [0, STORM],
    "obsolete in": [(0, LAST), (-(2**63), 1)],
    "many reported": [(0, LAST), (-(2**63), 1)],
    "fired since": [(number, since) for number in ids("alerts") for since in TIMES],
    "firing of": [(source, after, 5) for source in ("default", None, "nobody") for after in (0, 100)],
    "marked": [(0, 100), (100, 3)],
    "unheard": [(LAST, LAST, 0, 100), (NOW, 0, 100, 2)],
    "doubted": [("default", 0, 100), ("am-2", 100, 2)],
    "lasting doubts": [(NOW, 100), (NOW, 2)],
    "still notified": [()],
    "next opening": [0, NOW],
    "many muted": ["key 0", "key 1"],
    "muted by": [(key, after, 3) for key in ("key 0", "no key") for after in (0, ids("alerts")[2])],
    UNREPORTED: [*ids("members"), 7],
    INHIBITED_BY: [(number, NOW) for number in (*ids("conversations"), 7)],
    "first due": [*ids("conversations"), 7],
    "one ended": [*ids("conversations"), 7],
    "members of": [(number, after, 3) for number in ids("conversations") for after in (0, ids("members")[5])],
    "left open": [(number, 2) for number in ids("conversations")],
}  # fmt: skip


@pytest.mark.parametrize("query", sorted(QUERIES))
def test_each_query_has_the_same_answer_on_every_database(
    query: str, in_sqlite: Filled, in_postgresql: Filled
) -> None:
    one, other = (QUERIES[query](each.connection, ASKED[query]) for each in (in_sqlite, in_postgresql))
    assert one == other
    assert any(one.values()) or query in {MANY_MUTED, MANY_REPORTED}  # so many are not there
    assert set(one) == set(ASKED[query])
