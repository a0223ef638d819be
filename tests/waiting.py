"""How tests wait: for a signal, as long as it takes. For a time-out they move the clock, and never wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

T = TypeVar("T")

GUARD = 540.0
"""Seconds after which a wait is given up. It is no measure of anything: only what hangs takes that long. pytest's own
guard comes later, so that the failure says what was waited for."""


@asynccontextmanager
async def guarded(seen: Callable[[], str]) -> AsyncIterator[None]:
    """Around a wait for something that must come. :param seen: what there is instead, for the failure"""
    try:
        async with asyncio.timeout(GUARD):
            yield
    except TimeoutError:
        raise AssertionError(f"it never came to that; {seen()}") from None


async def until(ready: Callable[[], Awaitable[bool]], what: str, pause: float = 0) -> None:
    """Ask what can't signal us. :param pause: seconds between two questions, for another process"""
    async with guarded(lambda: f"waited for: {what}"):
        while not await ready():  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(pause)  # real time: between two questions


def seconds_pass(seconds: float) -> None:
    """Whatever waits by the event loop's clock, as time-outs do, has waited for so much longer."""
    loop = asyncio.get_running_loop()
    clock = time.monotonic  # real time: the loop's own, which goes on from there
    ahead = loop.time() - clock() + seconds
    loop.time = lambda: clock() + ahead  # type: ignore[method-assign]


async def outwaited(request: Coroutine[Any, Any, T], received: Awaitable[None], seconds: float = 10) -> T:
    """Return the result of a request that is received, and not answered within its time-out (seconds)."""
    sending = asyncio.create_task(request)
    await received
    seconds_pass(seconds + 1)  # time-outs of aiohttp end with a whole second
    return await sending
