"""A step of the clock is handled in pieces of a few rows, and a new process continues where the last one stopped."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from router.core.adopt import CURSOR
from router.core.rows import OPEN, AlertRow
from router.decide.hours import Schedule
from router.model import DAY, HOUR, MINUTE, Delivered, Retry, Status
from router.store import Store, StoreUnavailable, jobs
from router.store.clock_steps import UNFINISHED_STEP
from tests.unit.core.memory import at_once
from tests.unit.core.world import PAGER, SLACK, World, alert
from tests.unit.store.sqlite_world import InSqlite, contents, in_sqlite

STEPS = {"back": -DAY, "forward": 5 * HOUR}


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.store.starts.ROWS_PER_STATEMENT", 4)


def played(world: World) -> None:
    """Play a history in which something waits for each timer."""
    for number in range(5):
        world.post(alert(f"Sent{number}", "critical"), group=f"sent{number}")
    for work in [world.work_of(SLACK) for _ in range(3)]:
        world.finish(work, Delivered({"ts": "1"}))
    world.finish(world.work_of(PAGER), Retry("http 503", after=2 * HOUR))
    world.post(alert("Sent0", "critical", Status.RESOLVED), group="sent0")
    world.post(alert("Sent0", "critical"), group="sent0")  # in doubt: it is not newer
    world.now += 11 * HOUR  # at night
    for number in range(3):
        world.post(alert(f"Held{number}", "warning"), group=f"held{number}")


class Dying:
    """The database of a process that ends after some pieces, or at a job of a given kind."""

    def __init__(self, database: InSqlite, pieces: int = 1_000, kind: type[object] | None = None) -> None:
        self._database = database
        self._kind = kind
        self.left = pieces

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    async def write(self, work: Callable[[sa.Connection], Any]) -> Any:
        if not self.left:
            raise StoreUnavailable("it has ended")
        self.left -= 1
        return await self._database.write(work)

    async def do(self, job: Any) -> Any:
        if self._kind is not None and isinstance(job, self._kind):
            raise StoreUnavailable("it has ended")
        return await self._database.do(job)


def after_a_step(by: int, pieces: int) -> tuple[dict[str, list[Any]], int]:
    """Return the rows after a new process has started, and how many pieces the last process left."""
    with in_sqlite() as database:
        world = World(database=database)
        played(world)
        at_once(world.store.timekeeping.heartbeat(world.policy, world.now))
        world.now += by
        dying: Any = Dying(database, pieces)
        try:
            at_once(Store(dying).timekeeping.step_clock(world.policy, world.now, back=by < 0))
        except StoreUnavailable:
            assert not dying.left
        world.restart()
        at_once(world.store.timekeeping.begin_counting(world.policy, world.now))
        at_once(world.store.rules.judge_all(world.policy, world.now))
        world.assert_balanced()
        return contents(world.state), dying.left


@pytest.mark.parametrize("by", STEPS.values(), ids=STEPS)
def test_an_interrupted_step_continues_at_the_next_start(by: int) -> None:
    whole, left = after_a_step(by, 1_000)
    assert 1_000 - left > 3
    # The first one notes that there was a step; without it, the next start finds that out.
    for pieces in range(1, 1_000 - left):
        rows, _ = after_a_step(by, pieces)
        assert rows == whole


def test_after_a_step_back_nothing_waits_for_the_old_time() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        played(world)
        world.now -= 8 * HOUR
        at_once(world.store.timekeeping.step_clock(world.policy, world.now, back=True))
        for row in world.state.conversations:
            assert row.state != OPEN or row.slot is not None or (row.due_at or 0) <= world.now + MINUTE * 6
            assert row.not_before <= world.now
        assert all(max(row.changed_at, row.seen_at or 0) <= world.now for row in world.state.alerts)


def test_no_statement_of_a_step_or_resume_exceeds_a_piece() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        for number in range(30):
            world.post(alert(f"A{number}", "critical"), group=f"g{number}")
        began: list[tuple[str, int]] = []
        database.driver.set_trace_callback(lambda sql: began.append((sql, database.driver.total_changes)))
        at_once(world.store.timekeeping.step_clock(world.policy, world.now - 2 * HOUR, back=True))
        at_once(world.store.resume(SLACK.key))
        database.driver.set_trace_callback(None)
        changed = [
            after - before for (sql, before), (_, after) in pairwise(began) if sql.startswith("UPDATE")
        ]
        assert max(changed) == 4
        assert sum(changed) > 60


def unfinished(
    world: World, database: InSqlite, kind: type[object] | None = None, *, back: bool = True
) -> None:
    """Begin a step that can't be finished: a job of this kind fails, or all pieces but the first ones."""
    dying: Any = Dying(database, kind=kind) if kind else Dying(database, 1)
    with pytest.raises(StoreUnavailable):
        at_once(Store(dying).timekeeping.step_clock(world.policy, world.now, back=back))


def is_finished(world: World) -> bool:
    """Return whether the step, and the judging after it, is finished."""
    return not {UNFINISHED_STEP, CURSOR} & {row.key for row in world.state.meta}


def played_until_an_end(world: World) -> None:
    """Play a history in which an alert ends just before a step."""
    played(world)
    world.post(alert("Sent1", "critical", Status.RESOLVED), group="sent1")
    at_once(world.store.timekeeping.heartbeat(world.policy, world.now))


def of_alert(world: World, name: str) -> AlertRow:
    (row,) = (each for each in world.state.alerts if f'"{name}"' in each.labels)
    return row


def test_a_step_forward_also_finishes_an_unfinished_step_back() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        played_until_an_end(world)
        world.now -= 2 * MINUTE
        unfinished(world, database)
        world.now += 3 * HOUR
        at_once(world.store.timekeeping.step_clock(world.policy, world.now, back=False))
        assert is_finished(world)
        assert of_alert(world, "Sent1").changed_at == world.now  # another end may still contradict it


def test_a_repeated_step_forward_knows_the_alerts_that_ended_before() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        played_until_an_end(world)
        world.now += 5 * HOUR
        unfinished(world, database, back=False)
        world.now += MINUTE
        at_once(world.store.timekeeping.step_clock(world.policy, world.now, back=False))
        assert is_finished(world)
        assert of_alert(world, "Sent1").changed_at == world.now


@pytest.mark.parametrize("fails", [None, jobs.OpenSlots, jobs.JudgeSome])
@pytest.mark.parametrize("then", ["beat", "step forward"])
def test_an_unfinished_step_back_is_finished_later(fails: type[object] | None, then: str) -> None:
    with in_sqlite() as database:
        world = World(database=database)
        played(world)
        world.now -= 8 * HOUR  # into the hours of what is held
        unfinished(world, database, fails)
        assert not is_finished(world)
        if then == "beat":
            assert at_once(world.store.timekeeping.heartbeat(world.policy, world.now))
        else:
            at_once(world.store.timekeeping.step_clock(world.policy, world.now, back=False))
        assert is_finished(world)
        assert not at_once(world.store.timekeeping.heartbeat(world.policy, world.now))
        groups = [row for row in world.state.conversations if row.slot is None]
        assert all((row.due_at or 0) <= world.now + 6 * MINUTE for row in groups)


def test_a_step_opens_the_slots_of_the_rules_in_force() -> None:
    """Other rules may have come into force while a step was under way."""
    with in_sqlite() as database:
        world = World(database=database)
        world.post(alert("Info", "info"))
        before, schedule = world.policy, Schedule(20 * 60)
        world.reload(
            replace(before, schedules=dict.fromkeys(before.schedules, schedule), fingerprint="other")
        )
        rows = contents(world.state)
        at_once(database.do(jobs.OpenSlots(before, world.now)))
        assert contents(world.state) == rows
