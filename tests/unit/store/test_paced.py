"""A reading in no hurry looks at each row once, and rests nine times as long as it works."""

from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from router.model import Delivered, Status
from router.store import counters, paced
from router.store.schema import changes, dictionaries
from tests.examples import examples
from tests.unit.core.world import SLACK, World, alert
from tests.unit.store.sqlite_world import InSqlite, in_sqlite


def looked_at(database: InSqlite) -> list[list[int]]:
    with database.connection.begin():
        return [
            list(database.connection.scalars(sa.select(dictionaries.c.id).where(some)))
            for some in paced.paced(database.connection, dictionaries.c.id)
        ]


@given(st.sets(st.integers(-(2**40), 2**40), max_size=12), st.integers(1, 5))
@examples(30)
def test_each_row_is_in_one_piece(ids: set[int], piece: int) -> None:
    with in_sqlite() as database, pytest.MonkeyPatch.context() as patch:
        patch.setattr(paced, "PIECE", piece)
        for id_ in ids:
            database.rows("INSERT INTO dictionaries (id, words, at) VALUES (?, x'', 0)", id_)
        pieces = looked_at(database)
        assert sorted(each for some in pieces for each in some) == sorted(ids)
        assert [len(some) for some in pieces[:-1]] == [piece] * len(pieces[:-1])


@pytest.mark.parametrize(("took", "rests"), [(0.02, [0.18] * 3), (0.004, [])])
def test_it_takes_a_tenth_of_a_processor(
    took: float, rests: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    times = (took * number for number in count())
    monkeypatch.setattr(paced, "PIECE", 1)
    monkeypatch.setattr("router.store.paced.time.sleep", slept.append)
    monkeypatch.setattr("router.store.paced.time.thread_time", lambda: next(times))
    with in_sqlite() as database:
        for id_ in range(3):
            database.rows("INSERT INTO dictionaries (id, words, at) VALUES (?, x'', 0)", id_)
        assert len(looked_at(database)) == 3
    assert slept == pytest.approx(rests)


def test_the_sums_are_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    with in_sqlite() as database:
        world = World(database=database)
        for number in range(7):
            world.post(alert(f"A{number}", "critical"), group=f"g{number}")
            world.post(alert(f"B{number}", "warning"), group=f"g{number}")
        world.finish(world.work_of(SLACK), Delivered({"ts": "1"}))
        world.post(alert("A0", "critical", Status.RESOLVED), group="g0")
        monkeypatch.setattr(paced, "PIECE", 2)
        with database.connection.begin():
            at_once = counters.recount(database.connection)
            assert counters.recount(database.connection, in_no_hurry=True) == at_once
            assert counters.differences(database.connection) == []
            assert database.connection.scalar(sa.select(sa.func.count()).select_from(changes)) == 15
