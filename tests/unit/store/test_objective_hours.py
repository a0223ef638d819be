"""In every history of events, the hours of objectives equal what the rows of the ledger add up to."""

from collections import Counter
from typing import Any

from hypothesis import given

from router.core.settled import objective_results, settlement
from router.model import HOUR, Delivered, Fate, Rejected, Retention, Status
from router.store import objective_hours
from tests.examples import examples
from tests.unit.core.memory import at_once
from tests.unit.core.stories import STEPS, History
from tests.unit.core.world import MONDAY, NOON, SLACK, World, alert
from tests.unit.store.sqlite_world import InSqlite, collected, in_sqlite

Counts = dict[tuple[int, str, str, bool], int]
"""Events by hour, tenant, objective, and whether they are good."""


class Ledger:
    """Counts by looking at the fates after each step, as somebody would who only knows the rows."""

    def __init__(self, database: InSqlite) -> None:
        self._database = database
        self._before: dict[int, Any] = {}
        self.counts: Counter[tuple[int, str, str, bool]] = Counter()

    def look(self) -> None:
        rows = {row.id: row for row in self._database.state.fates}
        for key, row in rows.items():
            settled = settlement(self._before.get(key), row)
            if settled is not None:
                for objective, is_good in objective_results(settled):
                    self.counts[settled.at // HOUR * HOUR, settled.tenant, str(objective), is_good] += 1
        self._before = rows


def saved(database: InSqlite) -> Counts:
    found: Counts = {}
    for hour, tenant, objective, good, bad in database.rows("SELECT * FROM objective_hours"):
        for is_good, count in ((True, good), (False, bad)):
            if count:
                found[hour, tenant, objective, is_good] = count
    return found


@given(STEPS)
@examples(20)
def test_the_hours_equal_what_the_fates_went_through(steps: list[tuple[str, Any, Any]]) -> None:
    with in_sqlite() as database:
        ledger = Ledger(database)
        history = History(World(database=database))
        for step in steps:
            history.play(*step)
            ledger.look()
        history.settle()
        ledger.look()
        delivered = [row for row in database.state.fates if row.fate == Fate.DELIVERED and row.due_at]
        counts = saved(database)
        assert at_once(history.world.store.integrity(history.world.now)).miscounted.first == ()
    good = sum(count for (_, _, name, is_good), count in counts.items() if name == "delivered" and is_good)
    assert good == len(delivered)
    # A step may settle more than one state of a fate, so only what is seen between two steps is compared.
    assert all(counts.get(key, 0) >= count for key, count in ledger.counts.items())


def test_old_hours_are_merged_and_a_recount_still_agrees() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        world.post(alert("Down", "critical"))
        world.deliver()
        world.now += HOUR
        world.post(alert("Disk", "critical"))
        world.finish(world.work_of(SLACK), Rejected("http 400"))
        before = saved(database)
        assert {key[0] for key in before} == {NOON, NOON + HOUR}
        with database.connection.begin():
            while objective_hours.merge_old_hours(database.connection, NOON + HOUR):
                pass
        assert {key[0] for key in saved(database)} == {0, NOON + HOUR}
        assert sum(saved(database).values()) == sum(before.values())
        assert at_once(world.store.integrity(world.now)).miscounted.first == ()


def test_a_wrong_count_is_found() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        world.post(alert("Down", "critical"))
        world.finish(world.work_of(SLACK), Delivered({"ts": "1"}))
        database.driver.execute("UPDATE objective_hours SET good = good + 1 WHERE objective = 'delivered'")
        database.driver.commit()
        (first,) = at_once(world.store.integrity(world.now)).miscounted.first
        assert first == "due delivered: counted 2, added up 1"


def test_pruned_changes_stay_in_the_comparison() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        world.post(alert("Down", "critical"))
        world.deliver()
        world.now = MONDAY + 24 * HOUR
        world.post(alert("Down", "critical", Status.RESOLVED))
        world.deliver()
        world.now += 400 * 24 * HOUR
        world.deliver()  # the open digest needs no history any more
        assert sum(collected(world.store.prune(Retention(), world.now)))
        assert at_once(world.store.integrity(world.now)).miscounted.first == ()
        assert database.rows("SELECT sum(count) FROM day_sums WHERE what = 'due and delivered'")[0][0]
