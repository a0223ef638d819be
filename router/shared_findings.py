"""Tells other replicas what the work in the background has found, and shows what another one has found."""

import asyncio
from collections.abc import Awaitable

import structlog

from router.clock import Clock
from router.deadman import Deadman
from router.maintenance import Maintenance
from router.model import SECOND, Millis
from router.store import BackgroundFindings, Store, StoreUnavailable

log = structlog.get_logger(__name__)

_EVERY: Millis = 10 * SECOND


class SharedFindings:
    """Shares the state of the dead man's switch, and the results of the checks of the database."""

    def __init__(self, store: Store, clock: Clock, deadman: Deadman, maintenance: Maintenance) -> None:
        self._store = store
        self._clock = clock
        self._deadman = deadman
        self._maintenance = maintenance
        self._is_publishing = False

    async def publish(self) -> None:
        """Store what is found here when it has changed, without end."""
        before: BackgroundFindings | None = None
        self._is_publishing = True
        try:
            while True:
                found = BackgroundFindings(
                    self._deadman.state, self._maintenance.integrity, self._maintenance.balance
                )
                if found != before and await self._tries(self._store.findings.save(found)):
                    before = found
                await self._clock.wait(asyncio.Event(), self._clock.now() + _EVERY)
        finally:
            self._is_publishing = False

    async def follow(self) -> None:
        """Show what another replica has found while it does that work, without end."""
        while True:
            if not self._is_publishing:
                await self._tries(self._take())
            await self._clock.wait(asyncio.Event(), self._clock.now() + _EVERY)

    async def _take(self) -> None:
        found = await self._store.findings.load()
        if found is not None and not self._is_publishing:
            self._deadman.state = found.deadman
            self._maintenance.integrity, self._maintenance.balance = found.integrity, found.balance

    @staticmethod
    async def _tries(call: Awaitable[None]) -> bool:
        try:
            await call
        except StoreUnavailable:  # the store logs it
            return False
        except Exception:  # the task must go on: it tries again
            log.exception("what the work in the background found is not shared")
            return False
        return True
