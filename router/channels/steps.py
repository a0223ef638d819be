"""Lets an attempt send only as long as this replica holds the lease of its lane.

The process may be stopped in the middle of an attempt, and go on when another replica has taken the lease. So each step of an
attempt checks first whether the attempt may still send, and so does what writes to a connection in another task or thread.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def _yes() -> bool:
    return True


may_send: ContextVar[Callable[[], bool]] = ContextVar("may_send", default=_yes)
"""Returns whether the present attempt may send. Tasks that it begins inherit this. A thread needs the function; any thread may
call it.
"""


class Steps(Generic[T]):
    """Awaits something, and checks before each of its steps whether it may go on. If it may not, that step raises
    :class:`asyncio.CancelledError` once.

    A step is what runs between two waits. A timer can't do this: when a stopped process goes on, the event loop may first handle
    the answers that arrived meanwhile, and only then its timers.
    """

    def __init__(self, awaited: Awaitable[T], may_go_on: Callable[[], bool]) -> None:
        self._awaited = awaited
        self._may_go_on = may_go_on

    def __await__(self) -> Generator[Any, Any, T]:
        steps: Any = self._awaited.__await__()
        step, is_cut_off = partial(steps.send, None), False
        while True:
            if not (is_cut_off or self._may_go_on()):
                is_cut_off = True
                step = partial(steps.throw, asyncio.CancelledError())
            try:
                waits_for = step()
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                step = partial(steps.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001  (also a cancellation: the step gets it)
                step = partial(steps.throw, error)


def check_may_send() -> None:
    """Check whether the attempt may send. Call it just before something is written to a connection.

    A library that uses ``asyncio.wait_for`` needs it. In Python 3.11 that function swallows a cancellation if what it waits for
    has just come: https://github.com/python/cpython/issues/86296

    :raises asyncio.CancelledError: the attempt may not send, or it is cancelled
    """
    task = asyncio.current_task()
    if not may_send.get()() or (task is not None and task.cancelling()):
        raise asyncio.CancelledError
