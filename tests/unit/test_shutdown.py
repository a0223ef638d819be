"""The end of the service."""

import asyncio

import pytest

from router.shutdown import Shutdown


async def test_a_stop_in_a_cancelled_task_closes_everything() -> None:
    """What it closes has time limits. In a cancelled task these would end the stop, not the wait."""
    shutdown, begun, seen = Shutdown(0), asyncio.Event(), list[int]()

    async def close() -> None:
        task = asyncio.current_task()
        assert task is not None
        seen.append(task.cancelling())

    async def serve() -> None:
        shutdown.stack.push_async_callback(close)
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await shutdown.run()

    task = asyncio.create_task(serve())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [0]


@pytest.mark.parametrize("steps", [0, 3])
async def test_a_stop_that_is_cancelled_closes_everything_first(steps: int) -> None:
    """Also if it is cancelled before its first step."""
    shutdown, closed, may_close = Shutdown(0), list[str](), asyncio.Event()

    async def close(name: str) -> None:
        await may_close.wait()
        closed.append(name)

    shutdown.stack.push_async_callback(close, "first")
    shutdown.stack.push_async_callback(close, "last")
    stopping = asyncio.create_task(shutdown.run())
    await asyncio.sleep(0)
    for _ in range(steps):
        await asyncio.sleep(0)
    for _ in range(2):
        stopping.cancel()
        await asyncio.sleep(0)
    assert not stopping.done()
    may_close.set()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert closed == ["last", "first"]


async def test_a_stop_says_what_failed_after_all_is_closed() -> None:
    shutdown, closed = Shutdown(0), list[str]()

    def fails() -> None:
        raise OSError("a bug")

    shutdown.stack.callback(closed.append, "first")
    shutdown.stack.callback(fails)
    shutdown.stack.callback(closed.append, "last")
    with pytest.raises(OSError, match="a bug"):
        await shutdown.run()
    assert closed == ["last", "first"]
