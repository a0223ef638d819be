"""The number of rows of a batch does not grow with the number of alerts or groups. A piece that fails loses nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from router.model import DAY, HOUR, MINUTE, SECOND, Delivered, Refusal, Rejected, Status
from router.store import ClaimedDelivery, Limits, StoreUnavailable, jobs
from tests.unit.core.memory import at_once
from tests.unit.core.world import DAILY, SLACK, TEAM, World, alert
from tests.unit.store.large import large_from
from tests.unit.store.sqlite_world import InSqlite, in_sqlite

FEW, MANY = 20, 60
DELIVERED = Delivered({"ts": "1"})
REFUSED = Delivered({"ts": "1"}, refused=(Refusal("bob@example.com", "smtp 550"),))
GIVEN_UP = Rejected("http 400")
STORM = Limits(above=3, every=5 * SECOND, room=100)
ROOMY = Limits(above=3, every=5 * SECOND)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    large_from(monkeypatch, 10)
    monkeypatch.setattr("router.store.queries.digest_queries.LARGE", 10)
    monkeypatch.setattr("router.store.jobs.job.MEMBERS_PER_BATCH", 10)
    monkeypatch.setattr("router.core.storms.CONVERSATIONS_PER_BATCH", 5)
    monkeypatch.setattr("router.core.storms._MAX_MEMBERS_PER_BATCH", 10)


def post(world: World, count: int, level: str, status: Status = Status.FIRING, group: str = "g") -> None:
    """Post alerts in pieces, as large webhooks arrive."""
    for first in range(0, count, 10):
        several = range(first, min(first + 10, count))
        world.post(*(alert(f"A{number}", level, status) for number in several), group=group)


def digest(world: World, count: int) -> ClaimedDelivery:
    post(world, count, "info")
    world.now += DAY
    return world.work_of(DAILY)


def a_digest_is_delivered(world: World, count: int) -> None:
    world.finish(digest(world, count), DELIVERED)


def a_digest_is_delivered_to_all_but_one(world: World, count: int) -> None:
    world.finish(digest(world, count), REFUSED)


def a_digest_is_given_up_and_retried(world: World, count: int) -> None:
    world.finish(digest(world, count), GIVEN_UP)
    world.retry_the_dead()


def a_digest_reports_what_is_held(world: World, count: int) -> None:
    world.now += 10 * HOUR
    post(world, count, "warning")
    world.now += 10 * HOUR
    world.finish(world.work_of(DAILY), DELIVERED)


def group(world: World, count: int) -> ClaimedDelivery:
    post(world, count, "critical")
    return world.work_of(SLACK)


def a_group_is_given_up_and_retried(world: World, count: int) -> None:
    world.finish(group(world, count), GIVEN_UP)
    world.retry_the_dead()
    world.finish(world.work_of(SLACK), DELIVERED)


def a_group_is_given_up_and_discarded(world: World, count: int) -> None:
    world.finish(group(world, count), GIVEN_UP)
    (letter,) = world.letters()
    assert at_once(world.store.discard(letter, world.now))


def a_group_is_delivered_to_all_but_one(world: World, count: int) -> None:
    world.finish(group(world, count), REFUSED)


def a_group_fires_again_while_its_end_is_sent(world: World, count: int) -> None:
    world.finish(group(world, count), DELIVERED)
    post(world, count, "critical", Status.RESOLVED)
    world.now += HOUR
    work = world.work_of(SLACK)
    for first in range(0, count, 10):
        several = (
            alert(f"A{number}", "critical", starts_at=world.now) for number in range(first, first + 10)
        )
        world.post(*several)
    world.finish(work, DELIVERED)
    world.now += HOUR
    world.finish(world.work_of(SLACK), DELIVERED)


def a_group_is_shown_whole_after_its_end(world: World, count: int) -> None:
    """Alertmanager had left out some of its alerts before."""

    def cut(status: Status, truncated: int = 1) -> None:
        for first in range(0, count, 10):
            several = (alert(f"A{number}", "critical", status) for number in range(first, first + 10))
            world.post(*several, truncated=truncated)

    for status in Status:
        cut(status)
        world.now += MINUTE
        world.finish(world.work_of(SLACK), DELIVERED)
    world.post(alert("B", "info", Status.RESOLVED))
    world.now += MINUTE
    work = world.work_of(SLACK)
    assert work.conversation.over
    world.finish(work, DELIVERED)


def a_storm_absorbs_a_large_group(world: World, count: int) -> None:
    post(world, count, "warning")
    for name in "BCDE":
        world.post(alert(name, "warning"), group=name)
    world.now += MINUTE
    for status in Status:
        world.finish(world.work_of(TEAM, STORM), DELIVERED)
        post(world, count, "warning", Status.RESOLVED)
        world.now += HOUR
        assert status


def a_storm_of_many_groups(world: World, count: int) -> None:
    for number in range(count):
        world.post(alert(f"A{number}", "warning"), group=f"g{number}")
    world.now += MINUTE
    world.finish(world.work_of(TEAM, STORM), DELIVERED)


def most_rows(play: Callable[[World, int], None], count: int) -> int:
    """Return the largest number of rows of a batch."""
    with in_sqlite() as database:
        world = World(database=database)
        play(world, count)
        world.assert_balanced()
        return max(database.rows_of_batches)


@pytest.mark.parametrize(
    "play",
    [
        a_digest_is_delivered, a_digest_is_delivered_to_all_but_one, a_digest_is_given_up_and_retried,
        a_digest_reports_what_is_held, a_group_is_given_up_and_retried, a_group_is_given_up_and_discarded,
        a_group_is_delivered_to_all_but_one, a_group_is_shown_whole_after_its_end, a_group_fires_again_while_its_end_is_sent, a_storm_absorbs_a_large_group,
        a_storm_of_many_groups,
    ],
)  # fmt: skip
def test_the_rows_of_a_batch_do_not_grow_with_the_number_of_alerts(
    play: Callable[[World, int], None],
) -> None:
    few, many = (most_rows(play, count) for count in (FEW, MANY))
    assert many <= few + 5


def test_the_batches_of_a_storm_do_not_grow_with_the_backlog() -> None:
    """Before a storm, only enough conversations for a storm are rechecked; its message absorbs what it has room for."""

    def batches(count: int) -> int:
        with in_sqlite() as database:
            world = World(database=database)
            for number in range(count):
                world.post(alert(f"A{number}", "warning"), group=f"g{number}")
            world.now += MINUTE
            database.rows_of_batches.clear()
            assert world.work_of(TEAM, STORM).is_storm
            return len(database.rows_of_batches)

    assert batches(200) == batches(50)


def test_an_end_is_recorded_in_one_batch() -> None:
    with in_sqlite() as database:
        world = World(database=database)
        for status in Status:
            world.post(alert("Down", "critical", status), group="g")
            work = world.work_of(SLACK)
            database.rows_of_batches.clear()
            world.finish(work, DELIVERED)
            assert len(database.rows_of_batches) == 1


class FailingDatabase:
    """A database that can't be written once jobs of some kind come, until it recovers."""

    def __init__(self, database: InSqlite) -> None:
        self._database = database
        self._kind: type[object] | None = None
        self._left = 0
        self.failed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    @contextmanager
    def failing(self, kind: type[object], after: int = 0) -> Iterator[None]:
        """Fail every write from a job of this kind on, until the end of the block.

        :param after: how many jobs of this kind succeed before
        """
        self._kind, self._left = kind, after
        with pytest.raises(StoreUnavailable):
            yield
        assert self.failed
        self._kind, self.failed = None, False

    async def do(self, job: Any) -> Any:
        if self._kind is not None and isinstance(job, self._kind):
            self.failed = self.failed or not self._left
            self._left -= 1
        if self.failed:
            raise StoreUnavailable("the disk is full")
        return await self._database.do(job)


@pytest.fixture
def database() -> Iterator[Any]:
    with in_sqlite() as database:
        yield FailingDatabase(database)


@pytest.mark.parametrize("kind", [jobs.Absorb, jobs.BuildStormView])
def test_parts_of_a_storm_are_due_again_after_a_failure(database: Any, kind: type[object]) -> None:
    world = World(database=database)
    for name in "ABCDEF":
        world.post(alert(name, "warning"), group=name)
    world.now += MINUTE
    with database.failing(kind):
        world.begin(TEAM, ROOMY)
    work = world.work_of(TEAM, ROOMY)
    assert {part.conversation.group_labels["group"] for part in work.parts} == set("ABCDEF")
    world.finish(work, DELIVERED)
    world.assert_balanced()
    assert world.fates(TEAM) == ["delivered"] * 6


def test_a_large_group_is_due_again_after_a_failed_start(database: Any) -> None:
    world = World(database=database)
    post(world, MANY, "warning")
    world.now += MINUTE
    with database.failing(jobs.StartLarge):
        world.begin(TEAM, ROOMY)
    world.finish(world.work_of(TEAM), DELIVERED)
    assert world.fates(TEAM) == ["delivered"] * MANY


def test_a_partly_given_up_group_has_a_dead_letter_of_all_alerts(database: Any) -> None:
    """So no alert is given up without a dead letter, whenever the process ends."""
    world = World(database=database)
    work = group(world, MANY)
    with database.failing(jobs.RecordSome, after=2):
        world.finish(work, GIVEN_UP)
    world.restart()
    assert world.fates(SLACK).count("dead") == 20
    assert len(world.letters()) == 1
    world.finish(world.work_of(SLACK), DELIVERED)
    world.retry_the_dead()
    world.finish(world.work_of(SLACK), DELIVERED)
    world.assert_balanced()
    assert world.fates(SLACK) == ["delivered"] * MANY
