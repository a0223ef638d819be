"""How many deliveries may be under way at the same time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Slots:
    """As a semaphore, but the limit may change while slots are held and waited for."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Those that wait, the first one first."""

    def change(self, limit: int | None) -> None:
        """:param limit: None: no limit"""
        self._limit = limit
        self._hand_out()

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Wait for a slot, and give it back at the end."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._hand_out()
        try:
            await turn
            yield
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
            elif not turn.cancelled():
                self._held -= 1
            self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and (self._limit is None or self._held < self._limit):
            turn = self._waiting.popleft()
            if not turn.cancelled():
                self._held += 1
                turn.set_result(None)
