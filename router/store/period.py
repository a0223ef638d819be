"""The time that a look into the ledger covers."""

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
        """The conditions on a column of times, or of days when the period is made of whole_days ones (:func:`known`)."""
        since = () if self.since is None else (at >= self.since,)
        until = () if self.until is None else (at < self.until,)
        return (*since, *until)


ALWAYS = Period()


def whole_days(connection: sa.Connection, period: Period) -> Period:
    """The shortest period around this one that the ledger can tell of: days from which something was pruned are
    whole_days as a whole only.
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
