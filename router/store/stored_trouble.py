"""Reads what the database knows that is wrong."""

from dataclasses import dataclass

import sqlalchemy as sa

from router.store.counters import CounterKind
from router.store.schema import counters
from router.store.totals import Total, total


@dataclass(frozen=True, slots=True)
class StoredTrouble:
    """What an operator has to look at."""

    dead_letters: int
    quarantined: Total
    imbalance: int
    """The difference between changes x destinations and their fates; anything but zero is a bug."""


NO_TROUBLE = StoredTrouble(0, Total(0), 0)


def read_stored_trouble(connection: sa.Connection) -> StoredTrouble:
    """Return what is wrong. It reads the counters, and counts the quarantine on its index."""
    kinds = (CounterKind.DEAD_LETTER, CounterKind.OWED, CounterKind.FATE)
    rows = connection.execute(
        sa.select(counters.c.what, sa.func.sum(counters.c.count))
        .where(counters.c.what.in_(kinds))
        .group_by(counters.c.what)
    )
    sums = {what: int(count) for what, count in rows}
    return StoredTrouble(
        sums.get(CounterKind.DEAD_LETTER, 0), total(connection, "quarantine"),
        sums.get(CounterKind.OWED, 0) - sums.get(CounterKind.FATE, 0),
    )  # fmt: skip
