"""Reads the database of another process, running or not, without changing it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.core.alerts import alert_of, labels_of
from router.core.rows import AlertRow
from router.model import Alert, Millis
from router.store import ledger
from router.store.backend import open_backend
from router.store.schema import alerts, conversations, members

# An alert that fired again and again has a member for each time and destination. The newest ones are enough.
_MAX_MEMBERS_READ = 1_000


@dataclass(frozen=True, slots=True)
class KnownAlert:
    """An alert, and what its destinations were notified of."""

    alert: Alert
    source: str
    members: tuple[Mapping[str, Any], ...]
    """For each destination, from its newest conversation: ``destination``, ``notified`` (nothing, unknown, firing,
    resolved), ``decision``, ``at`` (epoch ms or None), ``reason``."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What fires, and one alert in detail."""

    firing: tuple[Mapping[str, str], ...]
    """The labels of each firing alert."""
    known: tuple[KnownAlert, ...]
    """The alerts with the fingerprint that was asked for."""


def read_snapshot(url: str, fingerprint: str | None = None) -> Snapshot:
    """Read what fires.

    :param fingerprint: also return the alerts with this fingerprint; None: none of them
    :raises StoreUnavailable: there is no such database, or it can't be read
    """
    with _open(url) as connection:
        every = sa.select(*(alerts.c[name] for name in AlertRow._fields)).order_by(alerts.c.id)
        rows = map(AlertRow._make, connection.execute(every.where(alerts.c.status == "firing")))
        firing = tuple(labels_of(row) for row in rows)
        found = map(
            AlertRow._make, connection.execute(every.where(alerts.c.fingerprint == fingerprint)).all()
        )
        known = tuple(
            KnownAlert(alert_of(row), row.source, members_by_destination(connection, row.id)) for row in found
        )
    return Snapshot(firing, known)


def read_ledger(
    url: str, since: Millis | None, until: Millis | None, tenant: str | None = None
) -> dict[str, Any]:
    """Return the ledger of a period, see :func:`router.store.ledger.ledger_of_period`.

    :param tenant: only its changes; None: all
    :raises StoreUnavailable: there is no such database, or it can't be read
    """
    with _open(url) as connection:
        return ledger.ledger_of_period(connection, since, until, tenant)


@contextmanager
def _open(url: str) -> Iterator[sa.Connection]:
    backend = open_backend(url)
    try:
        with backend.open_read_only() as connection:
            yield connection
    finally:
        backend.close()


def members_by_destination(connection: sa.Connection, alert: int) -> tuple[Mapping[str, Any], ...]:
    """Return what each destination was notified of about an alert, see :attr:`KnownAlert.members`."""
    rows = connection.execute(
        sa.select(
            conversations.c.destination,
            members.c.notified.label("notified"),
            members.c.decision.label("decision"),
            members.c.at,
            members.c.reason,
        )
        .join(conversations, conversations.c.id == members.c.conversation_id)
        .where(members.c.alert_id == alert)
        .order_by(members.c.id.desc())
        .limit(_MAX_MEMBERS_READ)
    ).mappings()
    newest = reversed(rows.all())
    return tuple({row["destination"]: dict(row) for row in newest}.values())
