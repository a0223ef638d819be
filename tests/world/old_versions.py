"""Databases of old versions."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from router.core.conversations import token_of
from router.store.opening import migrate
from tests.world.identities import down

AT = 1_795_431_600_000


REVISION = "0005"  # the last one whose alerts were known by the fingerprint that came


def of_that_version(path: Path) -> sqlite3.Connection:
    """A new database as that version made it."""
    engine = sa.create_engine(f"sqlite:///{path}")
    migrate(engine, REVISION)
    engine.dispose()
    return sqlite3.connect(path, isolation_level=None)


def add(connection: sqlite3.Connection, table: str, **row: Any) -> int:
    names, marks = ", ".join(row), ", ".join("?" * len(row))
    cursor = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values()))
    return int(cursor.lastrowid or 0)


class Old:
    """Alerts that fire, as that version kept them, and what was notified of them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.webhook = add(connection, "webhooks", source="default", received_at=AT, body=b"{}")
        self.group = add(
            connection, "groups", source="default", receiver="r", group_key="g", labels="{}", external_url="http://am", truncated=0
        )  # fmt: skip

    def alert(
        self, fingerprint: str, labels: dict[str, str], *, status: str = "firing", source: str = "default"
    ) -> int:
        """An alert whose change was not sent."""
        alert = add(
            self.connection, "alerts", source=source, fingerprint=fingerprint, group_id=self.group, labels=json.dumps(labels),
            annotations="{}", links="{}", generator_url="", status=status, level="critical", starts_at=AT, ends_at=None,
            peer="http://am", changed_at=AT, seen_at=AT, note="",
        )  # fmt: skip
        self._change(alert, "none", None, "dropped")
        return alert

    def notified(self, destination: str, subject: str, remote: dict[str, Any], *alerts: int) -> str:
        """A conversation that is open, with what fires in it; its token."""
        token = token_of(destination, "default", subject)
        conversation = add(
            self.connection, "conversations", destination=destination, source="default", subject=subject, episode=1,
            group_id=self.group, token=token, state="open", urgency=0, wanted=1, synced=1, due_at=None, not_before=0, attempts=0,
            remote=json.dumps(remote), since=None, slot=None, created_at=AT,
        )  # fmt: skip
        for alert in alerts:
            member = add(
                self.connection, "members", conversation_id=conversation, alert_id=alert, status="firing", told="firing",
                verdict="send", at=None, rule="route", reason="", inhibitor=None, held_since=None,
            )  # fmt: skip
            self._change(alert, destination, member, "delivered")
        return token

    def _change(self, alert: int, destination: str, member: int | None, fate: str) -> None:
        change = add(
            self.connection, "changes", webhook_id=self.webhook, alert_id=alert, kind="fired", level="critical", at=AT,
            destinations=1,
        )  # fmt: skip
        add(
            self.connection, "fates", change_id=change, destination=destination, member_id=member, fate=fate,
            rule="route", reason="", version=1, at=AT, updated_at=AT,
        )  # fmt: skip


def labels_of(instance: str) -> dict[str, str]:
    return dict(down(instance)["labels"])
