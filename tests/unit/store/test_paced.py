"""Reading all of the history reads each row once, and pauses between pieces."""

import asyncio
from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from router.model import Delivered, Status
from router.store import counters, paced
from router.store.balance import recent_balance, whole_balance
from router.store.objective_hours import delivered_events
from router.store.schema import dictionaries
from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.world import SLACK, World, alert
from tests.unit.store.sqlite_world import InSqlite, in_sqlite


def fill(database: InSqlite, *ids: int) -> None:
    for id_ in ids:
        database.rows("INSERT INTO dictionaries (id, words, at) VALUES (?, x'', 0)", id_)


def looked_at(database: InSqlite) -> list[list[int]]:
    with database.connection.begin():
        return [
            list(database.connection.scalars(sa.select(dictionaries.c.id).where(some)))
            for some in paced.pieces_with_pauses(database.connection, dictionaries.c.id)
        ]


def each_takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Make each measured time this long."""
    times = (seconds * number for number in count())
    monkeypatch.setattr("router.store.paced.time.perf_counter", lambda: next(times))


@given(st.sets(st.integers(-(2**40), 2**40), max_size=12), st.integers(1, 5))
@examples(30)
def test_each_row_is_in_one_piece(ids: set[int], piece: int) -> None:
    with in_sqlite() as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(paced, "ROWS_PER_PIECE", piece)
        patch.setattr("router.store.paced.time.sleep", lambda _: None)
        fill(database, *ids)
        pieces = looked_at(database)
        assert sorted(each for some in pieces for each in some) == sorted(ids)
        assert [len(some) for some in pieces[:-1]] == [piece] * (len(pieces) - 1)


@pytest.mark.parametrize(("took", "rest"), [(0.02, 0.02), (0.004, 0), (3, 1)])
def test_within_a_transaction_a_pause_is_as_long_as_the_piece(
    took: float, rest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    each_takes(monkeypatch, took)
    monkeypatch.setattr(paced, "ROWS_PER_PIECE", 2)
    monkeypatch.setattr("router.store.paced.time.sleep", slept.append)
    with in_sqlite() as database:
        fill(database, *range(7))
        assert len(looked_at(database)) == 4
    assert slept == pytest.approx([rest] * 3)


@pytest.mark.parametrize(("took", "rest"), [(0.02, 0.18), (0.004, 0), (3, 1)])
def test_between_transactions_nine_tenths_of_the_time_are_pauses(
    took: float, rest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    each_takes(monkeypatch, took)
    monkeypatch.setattr(paced, "ROWS_PER_PIECE", 2)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with in_sqlite() as database:
        world = World(database=database)
        for number in range(5):
            world.post(alert(f"A{number}", "critical"), group=f"g{number}")
        assert asyncio.run(whole_balance(database)).off == 0  # type: ignore[arg-type]  # (as far as it is asked for)
    assert slept == pytest.approx([rest] * 2)


def test_a_small_history_is_read_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    each_takes(monkeypatch, 3)
    with in_sqlite() as database:
        world = World(database=database)
        world.post(alert("A", "critical"))
        assert at_once(world.store.balance(None)).off == 0
        assert at_once(world.store.integrity(world.now)).miscounted.count == 0


def test_the_sums_are_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.store.paced.time.sleep", lambda _: None)
    with in_sqlite() as database:
        world = World(database=database)
        for number in range(7):
            world.post(alert(f"A{number}", "critical"), group=f"g{number}")
            world.post(alert(f"B{number}", "warning"), group=f"g{number}")
        world.finish(world.work_of(SLACK), Delivered({"ts": "1"}))
        world.post(alert("A0", "critical", Status.RESOLVED), group="g0")
        monkeypatch.setattr(paced, "ROWS_PER_PIECE", 2)
        with database.connection.begin():
            at_one_go = counters.recount(database.connection)
            assert counters.recount(database.connection, pauses=True) == at_one_go
            assert counters.differences(database.connection, delivered_events(database.connection)) == []


@pytest.mark.parametrize("piece", [1, 3, 100])
def test_wrong_changes_are_found_in_every_piece(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paced, "ROWS_PER_PIECE", piece)
    with in_sqlite() as database:
        world = World(database=database)
        for number in range(14):
            world.post(alert(f"A{number}", "critical"), group=f"g{number}")
        database.rows("UPDATE changes SET destinations = destinations + id % 3")
        with database.connection.begin():
            at_one_go = recent_balance(database.connection)
        assert at_one_go.off
        assert asyncio.run(whole_balance(database)) == at_one_go  # type: ignore[arg-type]  # (as above)
