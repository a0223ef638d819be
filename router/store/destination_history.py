"""Reads how deliveries to destinations went lately, and what they wait for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.core.rows import FAILED_OUTCOMES
from router.model import Millis
from router.store.counters import CounterKind
from router.store.schema import IS_OPEN, conversations, counters, deliveries
from router.store.totals import MAX_COUNTED

_FIRST_WINDOW = 3
"""How many of a destination's last attempts the first query reads. In most cases, one of them succeeded."""
SECOND_WINDOW = 50
"""How many of the last attempts are read of those destinations at which none of the first few succeeded."""
LARGE_WINDOW = 500
"""How many of the last attempts of a single destination are read."""
_UNFINISHED = "more % follow"
"""The reasons of attempts that did not fail: the rest of a long message follows."""


@dataclass(frozen=True, slots=True)
class EndedAttempt:
    """An attempt that ended."""

    delivery: int
    at: Millis
    """When it ended."""
    outcome: str
    reason: str
    words: str
    """The provider's answer."""


@dataclass(frozen=True, slots=True)
class DestinationHistory:
    """What is known about one destination."""

    last_success: EndedAttempt | None = None
    """None: none of its last attempts succeeded."""
    last_failure: EndedAttempt | None = None
    """None: none of its last attempts failed."""
    next_at: Millis | None = None
    """When the first conversation that has news may be tried; None: no conversation waits, or it is being sent."""


def used_destinations(connection: sa.Connection) -> frozenset[str]:
    """Return the keys of all destinations to which something was ever sent, or which it was tried to send something."""
    rows = connection.execute(
        sa.select(counters.c.destination)
        .where(counters.c.what == CounterKind.DELIVERY, counters.c.count > 0)
        .distinct()
    )
    return frozenset(rows.scalars())


def destination_histories(
    connection: sa.Connection, destinations: Sequence[str]
) -> dict[str, DestinationHistory]:
    """Return what is known about these destinations, by key. Those about which nothing is known are left out.

    It reads some of the last attempts of each, so its work grows with the number of destinations only. Of a single
    destination it reads more.
    """
    if not destinations:
        return {}
    is_list = len(destinations) > 1
    found = _found(connection, destinations, _FIRST_WINDOW if is_list else LARGE_WINDOW)
    if is_list and (failing := [key for key, (success, *_) in found.items() if success is None]):
        found |= _found(connection, failing, SECOND_WINDOW)
    attempts = _attempts(connection, [id_ for row in found.values() for id_ in row[:2] if id_ is not None])
    return {
        key: DestinationHistory(
            attempts.get(success), attempts.get(failure), min((at for at in times if at is not None), default=None),
        )
        for key, (success, failure, *times) in found.items()
    }  # fmt: skip


def _found(
    connection: sa.Connection, destinations: Sequence[str], window: int
) -> dict[str, Sequence[int | None]]:
    given = {
        "destinations": destinations,
        "window": window,
        "unfinished": _UNFINISHED,
    }
    return {row[0]: row[1:] for row in connection.execute(_HISTORIES, given)}


def unsent_ends(connection: sa.Connection, destinations: Sequence[str]) -> dict[str, int]:
    """Return, by destination, of how many alerts it was notified without being notified of their end. Those of which no end
    is missing are left out. It counts the alerts of at most :data:`~router.store.totals.MAX_COUNTED` conversations.
    """
    some = (
        sa.select(conversations.c.destination, conversations.c.known)
        .where(IS_OPEN, conversations.c.known > 0, conversations.c.destination.in_(destinations))
        .limit(MAX_COUNTED)
        .subquery()
    )
    rows = connection.execute(
        sa.select(some.c.destination, sa.func.sum(some.c.known)).group_by(some.c.destination)
    )
    return {destination: int(count) for destination, count in rows}


def _attempts(connection: sa.Connection, ids: Collection[int]) -> dict[int | None, EndedAttempt]:
    columns = (deliveries.c[name] for name in ("id", "finished_at", "outcome", "reason", "words"))
    rows = connection.execute(sa.select(*columns).where(deliveries.c.id.in_(ids)))
    return {row[0]: EndedAttempt(*row) for row in rows}


def _last_attempt(which: str) -> str:
    """Return the expression of the last attempt of a destination that fulfils a condition, among its last ones.

    A range and this order leave PostgreSQL only the index of destinations. With an equality, it may read the attempts of all
    destinations backwards, until it has found enough of the right one.
    """
    return (
        "(SELECT max(id) FROM (SELECT id, outcome, reason FROM deliveries"  # noqa: S608  (constants)
        " WHERE destination BETWEEN asked.destination AND asked.destination"
        f" ORDER BY destination DESC, id DESC LIMIT :window) AS last WHERE {which})"
    )


_HAS_SUCCEEDED = "outcome = 'delivered'"
_HAS_FAILED = f"outcome IN ({', '.join(map(repr, FAILED_OUTCOMES))}) AND reason NOT LIKE :unfinished"
_WAITING = "FROM conversations WHERE destination = asked.destination AND next_at IS NOT NULL"
_HISTORIES = sa.text(
    f"SELECT asked.destination, {_last_attempt(_HAS_SUCCEEDED)}, {_last_attempt(_HAS_FAILED)}, "  # noqa: S608  (constants)
    + ", ".join(f"(SELECT min(next_at) {_WAITING} AND priority = {priority})" for priority in range(3))
    + " FROM (SELECT DISTINCT destination FROM counters"
    " WHERE what IN ('conversation', 'delivery') AND destination IN :destinations) AS asked"
).bindparams(sa.bindparam("destinations", expanding=True))
