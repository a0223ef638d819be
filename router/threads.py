"""Pools of daemon threads, one pool for each kind of blocking work, and calls from a thread to the event loop."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(ThreadPoolExecutor):
    """A pool of threads for one kind of work.

    The standard pool's threads are joined by ``shutdown`` and at the interpreter's exit, so a thread that is stuck (in a
    name server, a disk, a provider) delays a stop. These threads are daemons and are never joined.

    It is a subclass because :meth:`asyncio.loop.set_default_executor` accepts no other type.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        """:param max_threads: the number of threads; more work waits until one is free"""
        super().__init__(max_threads, name)
        self._name = name
        self._max_threads = max_threads
        self._started = 0
        self._closed = False
        self._changing = threading.Lock()
        self._free = threading.Semaphore(0)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run the function in one of the threads. Return a future of its result.

        :raises RuntimeError: the pool is shut down
        """
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  (the caller gets it)
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._changing:
            if self._closed:
                raise RuntimeError(f"the threads for {self._name} have ended")
            self._work.put(work)
            if not self._free.acquire(blocking=False) and self._started < self._max_threads:
                self._started += 1
                threading.Thread(
                    target=self._serve, name=f"{self._name}-{self._started}", daemon=True
                ).start()
        return future

    async def run(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function in one of the threads, and return its result. If the caller is cancelled, the function
        continues.
        """
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  (the base class's)
        """Accept no more work, and let each thread end once it is idle. Returns immediately, whatever ``wait`` is."""
        with self._changing:
            self._closed = True
            for _ in range(self._started):
                self._work.put(None)

    def _serve(self) -> None:
        while True:
            try:
                work = self._work.get_nowait()
            except queue.Empty:
                self._free.release()
                work = self._work.get()
            if work is None:
                return
            work()
            del work


def call_on_loop(loop: asyncio.AbstractEventLoop, back: Callable[..., object], *arguments: object) -> None:
    """Let the event loop call a function, from another thread. If the loop has ended, nobody calls it."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(back, *arguments)
