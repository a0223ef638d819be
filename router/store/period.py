"""The period of time that a query of the ledger covers."""

from dataclasses import dataclass

import sqlalchemy as sa

from router.model import DAY, Millis
from router.store.schema import day_sums, delivery_sums


@dataclass(frozen=True, slots=True)
class Period:
    """A period of time from ``since`` (included) to ``until`` (excluded), in epoch ms. None: no bound."""

    since: Millis | None = None
    until: Millis | None = None

    def holds(self, at: sa.ColumnElement[int]) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the SQL conditions that a column of times (epoch ms) is within the period.

        The column may hold days (their first ms) if the period is a result of :func:`whole_days`.
        """
        since = () if self.since is None else (at >= self.since,)
        until = () if self.until is None else (at < self.until,)
        return (*since, *until)


ALWAYS = Period()


def whole_days(connection: sa.Connection, period: Period) -> Period:
    """Return the shortest period that contains this one and has exact counts.

    When rows of a day are pruned, only the sums of the whole day are left. A period that begins or ends within such a
    day is extended to the whole day.
    """

    def pruned(at: Millis) -> bool:
        days = (
            sa.select(table.c.day).where(table.c.day == _midnight(at)) for table in (day_sums, delivery_sums)
        )
        return connection.execute(sa.union(*days)).first() is not None

    since, until = period.since, period.until
    if since is not None and pruned(since):
        since = _midnight(since)
    if until is not None and until > _midnight(until) and pruned(until):
        until = _midnight(until) + DAY
    return Period(since, until)


def _midnight(at: Millis) -> Millis:
    return at - at % DAY
