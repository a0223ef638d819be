"""Judges the firing alerts by new rules, in pieces. It continues when the store is writable again."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from router.clock import Clock
from router.decide import Policy
from router.load_status import LoadStatus
from router.store import RETRY_AFTER_FAILED_WRITE, Phase, Store, StoreUnavailable

T = TypeVar("T")


class Judging:
    """Applies the rules in force. It has one caller at a time: the part that puts rules in force."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        status: LoadStatus,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        """:param wake: looks at the lanes of these destinations, because something may be due there"""
        self._store = store
        self._clock = clock
        self._status = status
        self._policy = policy
        self._wake = wake

    async def index(self) -> None:
        """Return when the inhibit rules know all firing alerts. Nothing is notified by new rules before that."""
        while self._status.phase is Phase.INDEX:
            await self._judge_piece()

    async def finish(self) -> None:
        """Return when all firing alerts are judged."""
        # At least once: after a step back of the clock, something is left to judge although the rules are the same.
        await self._judge_piece()
        while self._status.phase is not None:
            await self._judge_piece()

    async def until_written(self, work: Callable[[], Awaitable[T]]) -> T:
        """Try again while the store is not writable: the new rules are in force and can't be taken back."""
        never = asyncio.Event()
        while True:
            try:
                return await work()
            except StoreUnavailable:  # the store logs it
                await self._clock.wait(never, self._clock.now() + RETRY_AFTER_FAILED_WRITE)

    async def _judge_piece(self) -> None:
        policy = self._policy()
        left, woken = await self.until_written(
            lambda: self._store.rules.judge_some(policy, self._clock.now())
        )
        self._status.set_phase(left)
        self._wake(woken)
