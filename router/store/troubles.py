"""Destinations that nothing gets through to: kept so that a restart forgets none."""

from dataclasses import dataclass

import sqlalchemy as sa

from router.core.alerts import alert_of
from router.core.rows import AlertRow
from router.lenient_json import replace_unfit
from router.model import Alert, Millis
from router.store.schema import alerts, troubles


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nothing has got through to a destination since an attempt failed."""

    destination: str
    since: Millis
    """When the first attempt failed."""
    cause: str
    """The same for all that fail for one cause; the destination's key: it has its own."""
    reason: str
    """Of the last failure, in the provider's words."""
    gave_up: bool = False
    """Something was given up since."""
    broken: bool = False
    """Somebody has to mend it."""
    reported: Millis | None = None
    """The start of the alert that says so, one a cause; None: none does yet."""


def known(connection: sa.Connection) -> tuple[list[Trouble], list[Alert]]:
    """Them, and the self-alerts that fire, the oldest first."""
    columns = [alerts.c[name] for name in AlertRow._fields]
    rows = connection.execute(
        sa.select(*columns)
        .where(alerts.c.about.is_not(None), alerts.c.status == "firing")
        .order_by(alerts.c.id)
    )
    said = [alert_of(AlertRow(*row)) for row in rows]
    reports = {alert.labels.get("cause", ""): alert for alert in said}
    found = [
        Trouble(
            row["destination"], row["since"], row["cause"], row["reason"], bool(row["gave_up"]), bool(row["broken"]),
            reports[row["cause"]].starts_at if row["cause"] in reports else None,
        )
        for row in connection.execute(sa.select(troubles).order_by(troubles.c.destination)).mappings()
    ]  # fmt: skip
    return found, said


def keep(connection: sa.Connection, trouble: Trouble) -> None:
    forget(connection, trouble.destination)
    connection.execute(
        sa.insert(troubles).values(
            destination=trouble.destination, since=trouble.since, cause=trouble.cause, reason=replace_unfit(trouble.reason),
            gave_up=int(trouble.gave_up), broken=int(trouble.broken),
        )
    )  # fmt: skip


def forget(connection: sa.Connection, destination: str) -> None:
    connection.execute(sa.delete(troubles).where(troubles.c.destination == destination))
