"""A decision by the time that has passed gets the time since which there was no step."""

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
class ClockHarness:
    """A clock watch on a clock that the test moves."""

    clock: ManualClock = field(default_factory=lambda: ManualClock(NOON))
    store: NotingTimekeeping = field(default_factory=NotingTimekeeping)
    restarts: int = 0

    def __post_init__(self) -> None:
        self.steps = ClockWatch(self.store, self.clock, lambda: POLICY)
        self.steps.after_steps(self._restart)

    def _restart(self) -> None:
        self.restarts += 1


async def test_while_time_passes_nothing_begins_again() -> None:
    harness = ClockHarness()
    for _ in range(100):
        assert await harness.steps.look() == NOON - HOUR
        harness.clock.advance(HOUR)
    assert (harness.store.steps, harness.restarts, len(harness.store.beats)) == ([], 0, 99)


async def test_that_it_runs_is_noted_once_a_beat() -> None:
    harness = ClockHarness()
    for _ in range(10 * BEAT // SECOND):
        await harness.steps.look()
        harness.clock.advance(SECOND)
    assert len(harness.store.beats) == 9


@pytest.mark.parametrize(
    ("by", "back"), [(-400 * 24 * HOUR, True), (-2 * SECOND, True), (2 * MINUTE, False), (HOUR, False)]
)
async def test_a_step_in_either_direction_is_noticed_once(by: Millis, back: bool) -> None:
    harness = ClockHarness()
    await harness.steps.look()
    harness.clock.advance(HOUR)
    harness.clock.step(by)
    for _ in range(3):
        assert await harness.steps.look() == NOON + HOUR + by
    assert (harness.store.steps, harness.restarts) == ([(NOON + HOUR + by, back)], 1)


@pytest.mark.parametrize("by", [-SECOND, -1, 1, 30 * SECOND, MINUTE])
async def test_a_small_correction_is_no_step(by: Millis) -> None:
    harness = ClockHarness()
    for _ in range(5):
        assert await harness.steps.look() == NOON - HOUR
        harness.clock.step(by)
        harness.clock.advance(MINUTE)
    assert harness.store.steps == []


async def test_a_small_step_back_counts_though_the_clock_was_set_forward_before() -> None:
    harness = ClockHarness()
    await harness.steps.look()
    for by in (30 * SECOND, -20 * SECOND):
        harness.clock.step(by)
        await harness.steps.look()
    assert harness.store.steps == [(NOON + 10 * SECOND, True)]


async def test_a_time_in_which_nothing_could_be_written_ends_nothing() -> None:
    """No webhook was accepted meanwhile, so an alert whose repeats were refused has not ended."""
    harness = ClockHarness()
    await harness.steps.look()
    harness.store.writable = False
    for _ in range(3):
        harness.clock.advance(HOUR)
        with pytest.raises(StoreUnavailable):
            await harness.steps.look()
    harness.store.writable = True
    assert await harness.steps.look() == NOON + 3 * HOUR
    assert (harness.store.steps, harness.restarts) == ([(NOON + 3 * HOUR, False)], 1)


async def test_a_step_that_could_not_be_written_is_dealt_with_later() -> None:
    harness = ClockHarness()
    await harness.steps.look()
    harness.store.writable = False
    harness.clock.step(-HOUR)
    with pytest.raises(StoreUnavailable):
        await harness.steps.look()
    harness.store.writable = True
    harness.clock.advance(SECOND)
    assert await harness.steps.look() == NOON - HOUR + SECOND
    assert harness.store.steps == [(NOON - HOUR + SECOND, True)]


async def test_after_a_step_that_a_beat_finished_everybody_begins_again() -> None:
    harness = ClockHarness()
    await harness.steps.look()
    harness.store.finishes = True
    harness.clock.advance(BEAT)
    await harness.steps.look()
    assert (harness.restarts, harness.steps.count) == (1, 1)
