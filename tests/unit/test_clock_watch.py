"""Steps of the clock are detected, and decisions by passed time learn since when there was no step."""

from dataclasses import dataclass, field

import pytest

from router.clock_watch import ClockWatch
from router.decide import Policy, Route, Severity
from router.model import HOUR, MINUTE, SECOND, Millis
from router.store import BEAT, StoreUnavailable, Timekeeping
from tests.clock import ManualClock

NOON: Millis = 1_795_435_200_000
POLICY = Policy(severity=Severity(), root=Route("route", "all"), receivers={"all": ()}, fingerprint="1")


class NotingTimekeeping(Timekeeping):
    """Notes its calls, unless it is not writable."""

    def __init__(self) -> None:
        self.writable = True
        self.finishes = False
        self.beats: list[Millis] = []
        self.steps: list[tuple[Millis, bool]] = []

    def _write(self) -> None:
        if not self.writable:
            raise StoreUnavailable("the disk is full")

    async def begin_counting(self, policy: Policy, now: Millis) -> Millis:
        self._write()
        return now - HOUR

    async def heartbeat(self, policy: Policy, now: Millis) -> bool:
        self._write()
        self.beats.append(now)
        return self.finishes

    async def step_clock(self, policy: Policy, now: Millis, *, back: bool) -> Millis:
        self._write()
        self.steps.append((now, back))
        return now


@dataclass
class WatchHarness:
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    store: NotingTimekeeping = field(default_factory=NotingTimekeeping)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.steps = ClockWatch(self.store, self.clock, lambda: POLICY)
        self.steps.after_steps(self._restart)

    def _restart(self) -> None:
        self.restarts += 1


async def test_without_a_step_no_timer_restarts() -> None:
    harness = WatchHarness()
    for _ in range(100):
        assert await harness.steps.look() == NOON - HOUR
        harness.clock.advance(HOUR)
    assert (harness.store.steps, harness.restarts, len(harness.store.beats)) == ([], 0, 99)


async def test_a_heartbeat_is_stored_once_in_each_interval() -> None:
    harness = WatchHarness()
    for _ in range(10 * BEAT // SECOND):
        await harness.steps.look()
        harness.clock.advance(SECOND)
    assert len(harness.store.beats) == 9


@pytest.mark.parametrize(
    ("by", "back"), [(-400 * 24 * HOUR, True), (-2 * SECOND, True), (2 * MINUTE, False), (HOUR, False)]
)
async def test_a_step_in_either_direction_is_detected_once(by: Millis, back: bool) -> None:
    harness = WatchHarness()
    await harness.steps.look()
    harness.clock.advance(HOUR)
    harness.clock.step(by)
    for _ in range(3):
        assert await harness.steps.look() == NOON + HOUR + by
    assert (harness.store.steps, harness.restarts) == ([(NOON + HOUR + by, back)], 1)


@pytest.mark.parametrize("by", [-SECOND, -1, 1, 30 * SECOND, MINUTE])
async def test_a_small_correction_is_no_step(by: Millis) -> None:
    harness = WatchHarness()
    for _ in range(5):
        assert await harness.steps.look() == NOON - HOUR
        harness.clock.step(by)
        harness.clock.advance(MINUTE)
    assert harness.store.steps == []


async def test_a_small_step_back_counts_after_a_correction_forward() -> None:
    harness = WatchHarness()
    await harness.steps.look()
    for by in (30 * SECOND, -20 * SECOND):
        harness.clock.step(by)
        await harness.steps.look()
    assert harness.store.steps == [(NOON + 10 * SECOND, True)]


async def test_after_a_time_without_writes_all_timers_restart() -> None:
    """No webhook was accepted meanwhile, so an alert whose repeats were refused has not ended."""
    harness = WatchHarness()
    await harness.steps.look()
    harness.store.writable = False
    for _ in range(3):
        harness.clock.advance(HOUR)
        with pytest.raises(StoreUnavailable):
            await harness.steps.look()
    harness.store.writable = True
    assert await harness.steps.look() == NOON + 3 * HOUR
    assert (harness.store.steps, harness.restarts) == ([(NOON + 3 * HOUR, False)], 1)


async def test_a_step_that_could_not_be_stored_is_stored_later() -> None:
    harness = WatchHarness()
    await harness.steps.look()
    harness.store.writable = False
    harness.clock.step(-HOUR)
    with pytest.raises(StoreUnavailable):
        await harness.steps.look()
    harness.store.writable = True
    harness.clock.advance(SECOND)
    assert await harness.steps.look() == NOON - HOUR + SECOND
    assert harness.store.steps == [(NOON - HOUR + SECOND, True)]


async def test_all_timers_restart_after_a_heartbeat_finishes_a_step() -> None:
    harness = WatchHarness()
    await harness.steps.look()
    harness.store.finishes = True
    harness.clock.advance(BEAT)
    await harness.steps.look()
    assert (harness.restarts, harness.steps.count) == (1, 1)


class SharedTimekeeping(NotingTimekeeping):
    """What the database knows of all replicas."""

    def __init__(self) -> None:
        super().__init__()
        self.since = NOON - HOUR
        self.judged: list[bool] = []
        self.had_run: list[bool] = []

    async def watch(self, policy: Policy, now: Millis, *, has_run: bool, judging: bool) -> Millis:
        self._write()
        self.beats.append(now)
        self.judged.append(judging)
        self.had_run.append(has_run)
        return self.since


def shared_harness() -> tuple[WatchHarness, SharedTimekeeping]:
    harness, store = WatchHarness(), SharedTimekeeping()
    harness.steps = ClockWatch(store, harness.clock, lambda: POLICY, is_shared=True)
    harness.steps.after_steps(harness._restart)
    return harness, store


async def test_a_replica_that_was_cut_off_restarts_no_timer_if_others_ran() -> None:
    harness, store = shared_harness()
    assert await harness.steps.look() == NOON - HOUR
    store.writable = False
    harness.clock.advance(BEAT)
    with pytest.raises(StoreUnavailable):
        await harness.steps.look()
    harness.clock.advance(HOUR)
    store.writable = True
    assert await harness.steps.look() == NOON - HOUR
    assert harness.restarts == 0
    assert store.judged == [False, True]
    assert store.had_run == [False, False]
    harness.clock.advance(BEAT)
    await harness.steps.look()
    assert store.had_run[2:] == [True]


async def test_every_replica_restarts_its_timers_when_none_of_them_ran() -> None:
    harness, store = shared_harness()
    await harness.steps.look()
    harness.clock.advance(BEAT)
    store.since = NOON  # another replica saw the gap first
    assert await harness.steps.look() == NOON
    assert harness.restarts == 1


async def test_a_step_of_the_databases_clock_is_looked_at_immediately() -> None:
    harness, store = shared_harness()
    await harness.steps.look()
    for step in (-2 * SECOND, 2 * MINUTE):
        harness.clock.step(step)
        await harness.steps.look()
    assert len(store.beats) == 3
    assert not any(store.had_run)
