"""How much there is of something: counted on an index, and no further than to a bound."""

from typing import Any

import sqlalchemy as sa

from router.model import Millis
from router.store.counters import DEAD_LETTER
from router.store.schema import (
    WAITS,
    dead_letters,
    deliveries,
    fates,
    members,
    webhooks,
)

MAX_COUNTED = 10_000
"""Nothing is counted further than to this: a look takes about as long however much there is."""
_FIRST_BOUND = 100
"""Most often no more than this are due, or no more are due later: then the other one is not counted any further."""

ROWS_OF_LISTS: dict[str, tuple[sa.ColumnElement[int], sa.ColumnElement[bool]]] = {
    "waiting": (members.c.id, WAITS),
    "decisions": (fates.c.id, sa.true()),
    "deliveries": (deliveries.c.id, sa.true()),
    "dead-letters": (dead_letters.c.id, dead_letters.c.state == sa.literal_column("'dead'")),
    "quarantine": (webhooks.c.id, webhooks.c.quarantined.is_not(None)),
}
"""The rows that a list shows some of, by its name."""


def total(connection: sa.Connection, name: str) -> str:
    """How many rows a list has in all: exact up to :data:`MOST`, and ``10000+`` beyond."""
    key, which = ROWS_OF_LISTS[name]
    some = sa.select(key).where(which).order_by(key).limit(sa.bindparam("most"))
    count = connection.execute(
        sa.select(sa.func.count()).select_from(some.subquery()), {"most": MAX_COUNTED + 1}
    ).scalar_one()
    return str(count) if count <= MAX_COUNTED else f"{MAX_COUNTED}+"


def lanes(connection: sa.Connection, now: Millis) -> dict[str, dict[str, Any]]:
    """By destination, where there is any: conversations that are due (``backlog``), and since when (``oldest_at``, ms);
    ``dead`` letters.

    ``backlog_more``: more than that are due. It is so only where more than :data:`MOST` are due and more than that
    many are due later: of each no more are counted, and as long as one is known, the counter of both tells the other.
    """
    for most in (_FIRST_BOUND, MAX_COUNTED):  # most often, one of them is few
        rows = connection.execute(_LANES, {"now": now, "most": most + 1}).all()
        if all(min(due, later) <= most for *_, due, later in rows):
            break
    found: dict[str, dict[str, Any]] = {}
    for what, destination, count, oldest, due, later in rows:
        lane = found.setdefault(
            destination, {"backlog": 0, "oldest_at": None, "backlog_more": False, "dead": 0}
        )
        if what == DEAD_LETTER:
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
