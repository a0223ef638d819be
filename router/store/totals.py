"""Counts rows on an index, up to a bound."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.store.counters import CounterKind
from router.store.schema import (
    WAITS,
    actions,
    fates,
    members,
)

MAX_COUNTED = 10_000
"""The bound of every count, so that the time of a query does not grow with the number of rows."""
_FIRST_BOUND = 100
"""The bound of the first query for lanes. In most cases, no more conversations than this are due, or due later. Then the
other number need not be counted any further, because the counter has their sum."""

ROWS_OF_LISTS: dict[str, tuple[sa.ColumnElement[int], sa.ColumnElement[bool]]] = {
    "waiting": (members.c.id, WAITS),
    "decisions": (fates.c.id, sa.true()),
    "actions": (actions.c.id, sa.true()),
}
"""The id column and the condition of the rows of each list, by the name of the list."""


@dataclass(frozen=True, slots=True)
class Total:
    """How many rows a list has."""

    count: int
    is_exact: bool = True
    """False: there are more rows than that."""

    def __str__(self) -> str:
        return f"{self.count}" if self.is_exact else f"{self.count}+"


def total(connection: sa.Connection, name: str) -> Total:
    """Return how many rows a list has: exact up to :data:`MAX_COUNTED`.

    :param name: a key of :data:`ROWS_OF_LISTS`
    """
    key, which = ROWS_OF_LISTS[name]
    return count_rows(connection, sa.select(key).where(which).order_by(key))


def count_rows(connection: sa.Connection, rows: sa.Select[Any]) -> Total:
    """Return how many rows a query has: exact up to :data:`MAX_COUNTED`."""
    some = rows.limit(sa.bindparam("most"))
    count = connection.execute(
        sa.select(sa.func.count()).select_from(some.subquery()), {"most": MAX_COUNTED + 1}
    ).scalar_one()
    return Total(min(count, MAX_COUNTED), count <= MAX_COUNTED)


def lanes(connection: sa.Connection, now: Millis) -> dict[str, dict[str, Any]]:
    """Return, by destination key: the number of conversations that are due (``backlog``), since when the oldest one is due
    (``oldest_at``, epoch ms or None), and the number of ``dead`` letters. Destinations without any are left out.

    ``backlog_more`` is true if more conversations are due than ``backlog`` says. That happens only if more than
    :data:`MAX_COUNTED` are due and more than that many are due later: each number is counted up to this bound, and if
    one number is below the bound, the counter of both gives the other number.
    """
    for most in (_FIRST_BOUND, MAX_COUNTED):
        rows = connection.execute(_LANES, {"now": now, "most": most + 1}).all()
        if all(min(due, later) <= most for *_, due, later in rows):
            break
    found: dict[str, dict[str, Any]] = {}
    for what, destination, count, oldest, due, later in rows:
        lane = found.setdefault(
            destination, {"backlog": 0, "oldest_at": None, "backlog_more": False, "dead": 0}
        )
        if what == CounterKind.DEAD_LETTER:
            lane["dead"] = int(count)
        elif due:
            more = due > MAX_COUNTED and later > MAX_COUNTED
            backlog = due if due <= most else MAX_COUNTED if more else int(count) - later
            lane |= {"backlog": backlog, "oldest_at": oldest, "backlog_more": more}
    return found


_OF_IT = "FROM conversations WHERE counters.what = 'conversation' AND destination = counters.destination"
_LANES = sa.text(
    "SELECT what, destination, count,"  # noqa: S608  (constants)
    f" (SELECT min(due_at) {_OF_IT} AND due_at IS NOT NULL),"
    f" (SELECT count(*) FROM (SELECT 1 {_OF_IT} AND due_at <= :now ORDER BY due_at LIMIT :most) AS due),"
    f" (SELECT count(*) FROM (SELECT 1 {_OF_IT} AND due_at > :now ORDER BY due_at LIMIT :most) AS later)"
    " FROM counters WHERE what IN ('conversation', 'dead letter') AND count > 0"
)
