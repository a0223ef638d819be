"""The time that a query of the ledger covers."""

from dataclasses import dataclass

import sqlalchemy as sa

from router.model import DAY, Millis
from router.store.schema import day_sums, delivery_sums


@dataclass(frozen=True, slots=True)
class Period:
    """[since, until) in epoch ms; None: without bound."""

    since: Millis | None = None
    until: Millis | None = None

    def holds(self, at: sa.ColumnElement[int]) -> tuple[sa.ColumnElement[bool], ...]:
        """Return the conditions on a column of times. It may be a column of days if the period is a result of
        :func:`whole_days`.
        """
        since = () if self.since is None else (at >= self.since,)
        until = () if self.until is None else (at < self.until,)
        return (*since, *until)


ALWAYS = Period()


def whole_days(connection: sa.Connection, period: Period) -> Period:
    """Return the shortest period around this one that the ledger knows exactly. A day of which rows were pruned is known
    only as a whole.
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
