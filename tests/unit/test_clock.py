"""Waits of the real clocks end when they are cancelled, whatever else happens in the same moment."""

import asyncio

import pytest

from router.clock import SystemClock
from router.model import HOUR


@pytest.mark.parametrize("turns", range(5))
async def test_a_wait_that_is_cancelled_when_its_event_comes_does_not_go_on(turns: int) -> None:
    """A task that goes on after it was cancelled would have to be cancelled again, and nobody does that."""
    clock, event = SystemClock(), asyncio.Event()

    async def serve() -> None:
        while True:
            await clock.wait(event, clock.now() + HOUR)
            event.clear()

    serving = asyncio.create_task(serve())
    for _ in range(10):
        await asyncio.sleep(0)  # real time: none passes; the task begins to wait
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)  # real time: none passes; so many turns of the loop
    serving.cancel()
    for _ in range(10):
        await asyncio.sleep(0)  # real time: none passes; the task could end
    assert serving.done()
    assert serving.cancelled()
