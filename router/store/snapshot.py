"""The store as another process left it or has it open: for questions, read only."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import Alert, Millis
from router.store import books
from router.store.alert import alert_of, labels_of
from router.store.health import StoreUnavailable
from router.store.schema import alerts, conversations, members


@dataclass(frozen=True, slots=True)
class KnownAlert:
    alert: Alert
    source: str
    told: tuple[Mapping[str, Any], ...]
    """By destination: ``destination``, ``told`` (none, maybe, firing, resolved), ``verdict``, ``at`` (epoch ms or
    None), ``reason``; the newest conversation of each."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    firing: tuple[Mapping[str, str], ...]
    """The labels of each alert that fires."""
    known: tuple[KnownAlert, ...]
    """With the fingerprint asked for."""


def snapshot(url: str, fingerprint: str | None = None) -> Snapshot:
    """:raises StoreUnavailable: there is no such database, or it can't be read"""
    with _reading(url) as connection:
        rows = connection.execute(sa.select(alerts).where(alerts.c.status == "firing")).mappings()
        firing = tuple(labels_of(row) for row in rows)
        found = sa.select(alerts).where(alerts.c.fingerprint == fingerprint)
        known = tuple(
            KnownAlert(alert_of(row), row["source"], _told(connection, row["id"]))
            for row in connection.execute(found).mappings()
        )
    return Snapshot(firing, known)


def account(url: str, since: Millis | None, until: Millis | None) -> dict[str, Any]:
    """As :func:`router.store.books.account`.

    :raises StoreUnavailable: there is no such database, or it can't be read
    """
    with _reading(url) as connection:
        return books.account(connection, since, until)


@contextmanager
def _reading(url: str) -> Iterator[sa.Connection]:
    try:
        path = sa.make_url(url).database
    except sa.exc.ArgumentError:
        raise StoreUnavailable("--database is no URL; write it like sqlite:///state/router.db") from None
    engine = sa.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    )
    # All that is read is of one moment.
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    try:
        with engine.connect() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        words = str(error.orig)
        if words.startswith("no such table"):
            words = "it is of another version; `alert-router serve` brings it up to date"
        raise StoreUnavailable(f"{path}: {words}") from error
    finally:
        engine.dispose()


def _told(connection: sa.Connection, alert: int) -> tuple[Mapping[str, Any], ...]:
    rows = connection.execute(
        sa.select(
            conversations.c.destination, members.c.told, members.c.verdict, members.c.at, members.c.reason
        )
        .join(conversations, conversations.c.id == members.c.conversation_id)
        .where(members.c.alert_id == alert)
        .order_by(members.c.id)
    ).mappings()
    return tuple({row["destination"]: dict(row) for row in rows}.values())
