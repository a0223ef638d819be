"""Threads that nobody waits for: a pool of one's own for each kind of work that blocks."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Threads(ThreadPoolExecutor):
    """Runs one kind of work. It inherits for :meth:`asyncio.loop.set_default_executor`, which takes no other type.

    The standard pool's threads are joined by ``shutdown`` and at the interpreter's end, so one that is stuck (a name
    server, a disk, a provider) holds up a stop. These are daemons, and neither joins them.
    """

    def __init__(self, name: str, max_threads: int) -> None:
        """:param max_threads: threads; work beyond them waits for one to be free"""
        super().__init__(max_threads, name)
        self._name = name
        self._max_threads = max_threads
        self._started = 0
        self._closed = False
        self._changing = threading.Lock()
        self._free = threading.Semaphore(0)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = fn(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  (it is the caller's, who gets it)
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
        """In one of the threads; whoever is cancelled waits no more, and the thread goes on by itself."""
        return await asyncio.wrap_future(self.submit(fn, *args, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  (the base class's)
        """Take no more work; threads end once they have none. Waits for nothing."""
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
