"""How tests wait: for a signal, as long as it takes. For a time-out they move the clock, and never wait."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
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


class Changes:
    """Lets tests wait for something that a fake has received. It is looked at after each change, so what is so for a moment
    only is seen, too.
    """

    def __init__(self) -> None:
        self._waits: list[_Wait] = []

    def look(self) -> None:
        """Look whether it has come to what is waited for. The waits end with the next :meth:`notify`."""
        for each in self._waits:
            each.look()

    def notify(self) -> None:
        """Look, and end the waits for what has come."""
        self.look()
        for each in self._waits:
            if each.has_come or each.error is not None:
                each.ended.set()

    async def until(self, ready: Callable[[], bool], seen: Callable[[], str]) -> None:
        """Return when the condition holds, or has held meanwhile. :param seen: see :func:`guarded`"""
        wait = _Wait(ready)
        wait.look()
        self._waits.append(wait)
        try:
            async with guarded(seen):
                while not wait.has_come and wait.error is None:
                    await wait.ended.wait()
        finally:
            self._waits.remove(wait)
        if wait.error is not None:
            raise wait.error


@dataclass(eq=False)
class _Wait:
    ready: Callable[[], bool]
    has_come: bool = False
    error: Exception | None = None
    """What the condition raised."""
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def look(self) -> None:
        try:
            self.has_come = self.has_come or self.ready()
        except Exception as error:  # noqa: BLE001  (the test gets it)
            self.error = error


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
