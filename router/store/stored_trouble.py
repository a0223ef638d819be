"""Reads the trouble that the database knows of: dead letters, quarantined bodies, and a ledger that does not balance."""

import asyncio
import time
from dataclasses import dataclass

import sqlalchemy as sa

from router.store.counters import CounterKind
from router.store.database import Database
from router.store.quarantined_bodies import count_quarantined
from router.store.schema import counters
from router.store.totals import Total

_MAX_AGE_SECONDS = 1.0
"""Another process may change the database."""


@dataclass(frozen=True, slots=True)
class StoredTrouble:
    """What an operator has to look at, in numbers."""

    dead_letters: int
    quarantined: Total
    imbalance: int
    """The difference between changes x destinations and their fates; anything but zero is a bug."""
    firing: int
    """How many alerts fire."""
    webhooks: int
    """How many webhooks have come since the database exists, the quarantined ones included."""


NO_TROUBLE = StoredTrouble(0, Total(0), 0, 0, 0)


def read_stored_trouble(connection: sa.Connection) -> StoredTrouble:
    """Return what is wrong. It reads the counters, and counts the quarantine on its index."""
    kinds = (
        CounterKind.DEAD_LETTER,
        CounterKind.OWED,
        CounterKind.FATE,
        CounterKind.ALERT,
        CounterKind.WEBHOOK,
    )
    rows = connection.execute(
        sa.select(counters.c.what, sa.func.sum(counters.c.count))
        .where(counters.c.what.in_(kinds))
        .group_by(counters.c.what)
    )
    sums = {what: int(count) for what, count in rows}
    return StoredTrouble(
        sums.get(CounterKind.DEAD_LETTER, 0), count_quarantined(connection, None),
        sums.get(CounterKind.OWED, 0) - sums.get(CounterKind.FATE, 0),
        sums.get(CounterKind.ALERT, 0), sums.get(CounterKind.WEBHOOK, 0),
    )  # fmt: skip


class StoredTroubleReader:
    """Reads what is wrong. All who ask share one reading, as long as the store is unchanged."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reading = asyncio.Lock()
        self._found: StoredTrouble | None = None
        self._read_at = 0.0
        self._read_commits = 0

    async def read(self) -> StoredTrouble:
        """Return what is wrong, see :func:`read_stored_trouble`."""
        async with self._reading:
            commits, now = self._database.commits, time.monotonic()
            is_new = commits == self._read_commits and now - self._read_at < _MAX_AGE_SECONDS
            if self._found is None or not is_new:
                self._found = await self._database.read(read_stored_trouble)
                self._read_at, self._read_commits = now, commits
            return self._found
