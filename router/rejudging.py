"""After a change of the rules, judges all firing alerts by the new rules, in pieces.

If the store is not writable, it waits and continues later.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from router.clock import Clock
from router.decide import Policy
from router.load_status import LoadStatus
from router.store import RETRY_AFTER_FAILED_WRITE, Phase, RulesReplaced, Store, StoreUnavailable

T = TypeVar("T")


class Rejudging:
    """Applies the rules in force to all firing alerts. Call it only from the task that reloads."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        status: LoadStatus,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        """:param wake: wakes the lanes of these destinations (by key), because deliveries may be due there"""
        self._store = store
        self._clock = clock
        self._status = status
        self._policy = policy
        self._wake = wake

    async def index(self) -> None:
        """Index all firing alerts for the new inhibit rules. Until this returns, no notification is sent by the new
        rules.
        """
        while self._status.phase is Phase.INDEX:
            await self._judge_piece()

    async def finish(self) -> None:
        """Judge all firing alerts that are not judged yet."""
        # At least one piece: after the clock steps back, alerts have to be judged although the rules have not changed.
        await self._judge_piece()
        while self._status.phase is not None:
            await self._judge_piece()

    async def until_written(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of some work. Repeat the work until the store is writable: it can't be given up, because the new
        rules are already in force.

        :raises RulesReplaced: another replica has put other rules in force
        """
        never = asyncio.Event()
        while True:
            try:
                return await work()
            except RulesReplaced:
                raise
            except StoreUnavailable:  # the store has logged it
                await self._clock.wait(never, self._clock.now() + RETRY_AFTER_FAILED_WRITE)

    async def _judge_piece(self) -> None:
        policy = self._policy()
        left, woken = await self.until_written(
            lambda: self._store.rules.judge_some(policy, self._clock.now())
        )
        self._status.set_phase(left)
        self._wake(woken)
