"""A channel that raises, hangs or returns nonsense: its lane goes on, its conversations stay due, and no other lane waits."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from router.model import (
    HOUR,
    MINUTE,
    SECOND,
    Delivered,
    Destination,
    Message,
    Outcome,
    Retry,
    Status,
)
from tests.world.made_up_channels import (
    CALM,
    NOON,
    ODD,
    Fake,
    Send,
    delivered,
    open_lanes,
    returning,
)


def raising(error: BaseException) -> Send:
    async def send() -> Outcome:
        raise error

    return send


async def hanging() -> Outcome:
    await asyncio.Event().wait()
    return Delivered()


async def hanging_on() -> Outcome:
    """Hang, and ignore a cancellation."""
    never = asyncio.Event()
    while not never.is_set():
        try:
            await never.wait()
        except asyncio.CancelledError:
            if _ended.is_set():
                raise
    return Delivered()


_ended = asyncio.Event()


@pytest.mark.parametrize(
    "send",
    [
        *map(
            raising,
            [
                ValueError("x"), asyncio.CancelledError(), TimeoutError(), RecursionError(), MemoryError(),
                SystemExit(1), StopAsyncIteration(), ExceptionGroup("x", [OSError()]),
            ],
        ),
        *map(returning, [None, "delivered", Delivered({"ts": object()})]),
    ],
)  # fmt: skip
async def test_whatever_a_channel_does_its_lane_tries_again_and_no_other_waits(
    tmp_path: Path, send: Send
) -> None:
    async with open_lanes(tmp_path, Fake([send])) as harness:
        await harness.fire()
        await harness.until("delivered", 1, CALM)
        await harness.until("retry", 1)
        assert harness.alive
        assert harness.odd.tries == 1
        harness.clock.advance(MINUTE)
        await harness.until("delivered", 1)
        assert harness.odd.delivered[-1] == ("firing",)


async def test_a_message_whose_send_raised_may_have_arrived_so_its_end_is_sent(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake([raising(ValueError("x"))])) as harness:
        await harness.fire()
        await harness.until("retry", 1)
        await harness.fire(status=Status.RESOLVED)
        harness.clock.advance(MINUTE)
        await harness.until("delivered", 1)
        assert harness.odd.delivered == [("resolved",)]


async def test_a_send_that_hangs_is_cut_off_and_tried_again(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake([hanging]), send_seconds=0.05) as harness:
        await harness.fire()
        await harness.until("retry", 1)
        assert {each["reason"] for each in (await harness.store.pages.deliveries(limit=100)).rows} == {
            "",
            "no outcome within 0.05 s",
        }
        harness.clock.advance(MINUTE)
        await harness.until("delivered", 1)


async def test_a_send_that_ignores_its_being_cut_off_is_left_behind(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake([hanging_on]), send_seconds=0.05) as harness:
        await harness.fire()
        await harness.until("retry", 1)
        harness.clock.advance(MINUTE)
        await harness.until("delivered", 1)
    _ended.set()


async def test_a_stop_does_not_wait_for_a_send_that_hangs(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake([hanging])) as harness:
        await harness.fire()
        await harness.until("delivered", 1, CALM)
        await harness.lanes.stop(100)
        assert not any(lane["alive"] for lane in harness.lanes.describe())


async def test_a_provider_that_wants_a_rest_gets_it_though_all_was_delivered(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake([returning(Delivered(rest=5_000))])) as harness:
        await harness.fire()
        await harness.until("delivered", 1)
        await harness.fire("Disk")
        await harness.until("delivered", 2, CALM)
        assert harness.odd.tries == 1
        assert [lane["paused_until"] for lane in harness.lanes.describe()] == [NOON + 5_000, None]
        harness.clock.advance(4_999)
        await harness.store.ready()
        assert harness.odd.tries == 1
        harness.clock.advance(1)
        await harness.until("delivered", 2)


async def test_a_limit_of_the_whole_address_pauses_every_lane_of_the_section(tmp_path: Path) -> None:
    limited = Retry("ratelimited", after=5_000, pause=True, everywhere=True)
    async with open_lanes(tmp_path, Fake([returning(limited)])) as harness:
        other = Destination("odd:other", "odd", None)
        await harness.lanes.serve((ODD, CALM, other))
        await harness.fire()
        await harness.until("retry", 1)
        paused = {lane["destination"]: lane["pause_reason"] for lane in harness.lanes.describe()}
        assert paused == {"odd:one": "ratelimited", "odd:other": "ratelimited", "calm:one": None}
        harness.clock.advance(5_000)
        await harness.until("delivered", 1)


async def test_what_got_further_than_before_is_no_failed_attempt(tmp_path: Path) -> None:
    """The conversation is tried again soon, and is not given up."""
    further = [returning(Retry("cut short", remote={"at": at}, further=True)) for at in range(20)]
    async with open_lanes(tmp_path, Fake(further)) as harness:
        await harness.fire()
        for count in range(1, 21):
            await harness.until("retry", count)
            harness.clock.advance(SECOND)
        await harness.until("delivered", 1)
        assert {each["attempt"] for each in (await harness.store.pages.deliveries(limit=100)).rows} == {1}


def _broken() -> Message:
    raise RecursionError


@pytest.mark.parametrize("render", [_broken, lambda: None, lambda: "text"])
async def test_a_message_that_cannot_be_rendered_is_tried_again(
    tmp_path: Path, render: Callable[[], Any]
) -> None:
    async with open_lanes(tmp_path, Fake(renders=[render])) as harness:
        await harness.fire()
        await harness.until("retry", 1)
        assert harness.odd.tries == 0
        harness.clock.advance(HOUR)
        await harness.until("delivered", 1)


async def test_what_could_not_be_made_and_has_ended_is_obsolete(tmp_path: Path) -> None:
    async with open_lanes(tmp_path, Fake(renders=[_broken])) as harness:
        await harness.fire()
        await harness.until("retry", 1)
        await harness.fire(status=Status.RESOLVED)
        ledger = await harness.store.pages.status()
        assert ledger["by_destination"][ODD.key]["obsolete"] == 2
        assert ledger["imbalance"] == 0


async def test_a_message_that_always_fails_does_not_block_its_lane(
    tmp_path: Path,
) -> None:
    async with open_lanes(tmp_path, Fake([returning(Delivered({"ts": object()})), delivered])) as harness:
        await harness.fire("Poison")
        await harness.until("retry", 1)
        await harness.fire("Down")
        await harness.until("delivered", 1)
        assert harness.odd.tries == 2
