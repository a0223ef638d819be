"""Pools of threads that never delay an exit."""

import asyncio
import subprocess
import sys
import threading

import pytest

from router.threads import Threads

_STUCK = """
import asyncio, threading, time
from router.threads import Threads

async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Threads("names", 2))
    stuck = threading.Event()
    waiting = asyncio.create_task(asyncio.to_thread(stuck.wait))
    await asyncio.to_thread(print, "at work")
    asyncio.get_running_loop().call_soon(waiting.cancel)

asyncio.run(main())
print("ended")
"""


def test_neither_a_loop_nor_the_interpreter_waits_for_a_stuck_thread() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _STUCK], capture_output=True, text=True, check=True, timeout=300
    )
    assert ran.stdout.split("\n")[:2] == ["at work", "ended"]


async def test_a_result_is_returned_and_an_error_raised() -> None:
    threads = Threads("any", 2)
    assert await threads.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await threads.run(divmod, 7, 0)
    threads.shutdown()
    with pytest.raises(RuntimeError, match="any"):
        threads.submit(divmod, 7, 2)


async def test_threads_start_only_for_waiting_work_up_to_the_limit() -> None:
    threads, go_on = Threads("any", 3), threading.Event()
    running, free = 0, threading.Semaphore(0)

    def work() -> str:
        free.release()
        go_on.wait()
        return threading.current_thread().name

    for _ in range(3):  # one after the other; a thread may not be idle yet when its result arrives
        assert await threads.run(lambda: threading.current_thread().name) in {"any-1", "any-2", "any-3"}
    names = [asyncio.create_task(threads.run(work)) for _ in range(8)]
    while running < 3:
        await asyncio.sleep(0)
        running += free.acquire(blocking=False)
    go_on.set()
    assert set(await asyncio.gather(*names)) == {"any-1", "any-2", "any-3"}
    threads.shutdown()


async def test_cancelled_work_is_not_begun() -> None:
    threads, go_on, begun = Threads("any", 1), threading.Event(), threading.Event()
    first = asyncio.create_task(threads.run(go_on.wait))
    second = asyncio.create_task(threads.run(begun.set))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    go_on.set()
    assert await first
    await threads.run(int)
    assert not begun.is_set()
    threads.shutdown()
