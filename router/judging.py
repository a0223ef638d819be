"""Applies rules that are in force to what fires: in pieces, whatever the store can't write for a while."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from router.clock import Clock
from router.decide import Policy
from router.load_status import LoadStatus
from router.store import STORE_REST, Phase, Store, StoreUnavailable

T = TypeVar("T")


class Judging:
    """Only one caller at a time: whoever puts rules in force."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        status: LoadStatus,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._status = status
        self._policy = policy
        self._wake = wake

    async def index(self) -> None:
        """Returns once everything that fires is known to the inhibit rules. Nobody is notified before."""
        while self._status.phase is Phase.INDEX:
            await self._judge_some()

    async def finish(self) -> None:
        """Returns once everything that fires is judged."""
        # At least once: a clock that was stepped back leaves something to judge though the rules are the same.
        await self._judge_some()
        while self._status.phase is not None:
            await self._judge_some()

    async def until_written(self, work: Callable[[], Awaitable[T]]) -> T:
        """Try again while the store can't be written: the rules are in force, and there is no way back."""
        never = asyncio.Event()
        while True:
            try:
                return await work()
            except StoreUnavailable:  # which the store says itself
                await self._clock.wait(never, self._clock.now() + STORE_REST)

    async def _judge_some(self) -> None:
        policy = self._policy()
        left, woken = await self.until_written(lambda: self._store.judge_some(policy, self._clock.now()))
        self._status.set_phase(left)
        self._wake(woken)
