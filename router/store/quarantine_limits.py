"""The limits of the quarantine: how many bodies it keeps, and how many bytes. Beyond them, the oldest bodies are dropped."""

import asyncio
from dataclasses import dataclass
from functools import partial

import sqlalchemy as sa

from router.model import Retention
from router.store import prune_rules
from router.store.database import Database
from router.store.retention import Bounds
from router.store.schema import webhooks

# How far a limit may be exceeded until bodies are dropped. Without it, each new body would start a search.
_SLACK = 1.01


@dataclass(frozen=True, slots=True)
class QuarantineSize:
    """What the quarantine holds."""

    rows: int = 0
    bytes: int = 0
    surplus_until: int = 0
    """The highest id that is beyond the limits; 0: there is none."""


class QuarantineLimits:
    """Keeps the quarantine within its limits."""

    def __init__(self, database: Database) -> None:
        self.full = asyncio.Event()
        """Set when a limit is exceeded: :meth:`trim` has to be called soon."""
        self.dropped = 0
        """How many bodies were dropped since the start."""
        self._database = database
        self._limits = Retention()
        self._size = QuarantineSize()

    def added(self, size: int) -> None:
        """Count a new body. :param size: bytes"""
        rows, total = self._size.rows + 1, self._size.bytes + size
        self._size = QuarantineSize(rows, total)
        limits = self._limits
        if rows > _SLACK * limits.quarantine_rows or total > _SLACK * limits.quarantine_bytes:
            self.full.set()

    async def trim(self, limits: Retention) -> int:
        """Measure the quarantine, and drop the oldest bodies that are beyond the limits. Return how many were dropped.

        :raises StoreUnavailable:
        """
        self._limits = limits
        self.full.clear()
        self._size = await self._database.read(lambda c: measure(c, limits))
        dropped = 0
        surplus = Bounds(0, 0, 0, self._size.surplus_until)
        for rule in prune_rules.SURPLUS_RULES if surplus.quarantined_until else ():
            after = 0
            while found := await self._database.read(partial(rule.find, bounds=surplus, after=after)):
                dropped += await self._database.write(partial(rule.remove, bounds=surplus, found=found))
                after = found[-1]
        self.dropped += dropped
        return dropped

    def describe(self) -> dict[str, int]:
        """Return what ``/status`` shows: the rows and bytes that are kept, their limits, and what was dropped."""
        return {
            "rows": self._size.rows,
            "bytes": self._size.bytes,
            "max_rows": self._limits.quarantine_rows,
            "max_bytes": self._limits.quarantine_bytes,
            "dropped_since_start": self.dropped,
        }


def measure(connection: sa.Connection, limits: Retention) -> QuarantineSize:
    """Return what the quarantine holds within the limits, and which rows are beyond. The newest body always stays."""
    newest_first = (
        sa.select(webhooks.c.id, sa.func.length(webhooks.c.body))
        .where(webhooks.c.quarantined.is_not(None))
        .order_by(webhooks.c.id.desc())
        .limit(limits.quarantine_rows + 1)
    )
    rows = total = 0
    for number, size in connection.execute(newest_first):
        if rows and (rows == limits.quarantine_rows or total + size > limits.quarantine_bytes):
            return QuarantineSize(rows, total, number)
        rows, total = rows + 1, total + size
    return QuarantineSize(rows, total)
