"""Whether what is stored agrees with itself and with what senders say. Zero, or there is a bug."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import MINUTE, Millis
from router.reduce import PEER_LAG
from router.store.conversation import EMPTY
from router.store.schema import alerts, conversations

# So long a firing may be in doubt, and so much later it is settled.
_DOUBT: Millis = PEER_LAG + MINUTE
_NAMED = 10
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Finding:
    count: int
    first: tuple[str, ...]
    """The names of the first ten."""

    def as_json(self) -> dict[str, Any]:
        return {"count": self.count, "first": list(self.first)}


@dataclass(frozen=True, slots=True)
class Integrity:
    contradicted: Finding
    """Alerts that count as resolved here, and that their sender repeats as firing."""
    empty: Finding
    """Open conversations in which nothing fires and from which nothing is left to tell."""


def integrity(connection: sa.Connection, now: Millis) -> Integrity:
    claimed = (alerts.c.claimed_firing_at <= now - _DOUBT, alerts.c.status == "resolved")
    contradicted = sa.select(alerts.c.source, alerts.c.labels, alerts.c.fingerprint).where(*claimed)
    empty = sa.select(conversations.c.destination, conversations.c.subject).where(EMPTY)
    return Integrity(
        _finding(
            connection,
            contradicted.order_by(alerts.c.id),
            lambda row: (
                f"{row['source']}: {json.loads(row['labels']).get('alertname', '')} {row['fingerprint']}"
            ),
        ),
        _finding(
            connection,
            empty.order_by(conversations.c.id),
            lambda row: f"{row['destination']}: {row['subject']}",
        ),
    )


def _finding(connection: sa.Connection, rows: sa.Select[Any], name: Callable[[Any], str]) -> Finding:
    count = connection.execute(sa.select(sa.func.count()).select_from(rows.subquery())).scalar_one()
    first: Iterable[Any] = connection.execute(rows.limit(_NAMED)).mappings() if count else ()
    return Finding(count, tuple(name(row)[:_LONGEST_NAME] for row in first))
