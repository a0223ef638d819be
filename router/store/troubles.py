"""Stores the destinations at which no delivery succeeds, so that they are known after a restart."""

from dataclasses import dataclass

import sqlalchemy as sa

from router.core.alerts import alert_of
from router.core.head import Grant
from router.core.rows import AlertRow
from router.lenient_json import replace_unfit
from router.model import Alert, Millis
from router.store.schema import alerts, troubles
from router.store.stored_lanes import check_lease


@dataclass(frozen=True, slots=True)
class Trouble:
    """No delivery has succeeded at a destination since an attempt failed."""

    destination: str
    since: Millis
    """When the first attempt failed (epoch ms)."""
    cause: str
    """The same for all destinations that fail for the same cause; the destination's key if the cause is its own."""
    reason: str
    """The reason of the last failure, in the provider's words."""
    gave_up: bool = False
    """A delivery was given up since then."""
    broken: bool = False
    """An operator has to repair it."""
    reported: Millis | None = None
    """When the self-alert about the cause started (epoch ms); None: there is none yet."""


def read_self_alerts(connection: sa.Connection) -> list[Alert]:
    """Return the self-alerts that fire, the oldest first."""
    rows = connection.execute(
        sa.select(*(alerts.c[name] for name in AlertRow._fields))
        .where(alerts.c.about.is_not(None), alerts.c.status == "firing")
        .order_by(alerts.c.id)
    )
    return [alert_of(AlertRow(*row)) for row in rows]


def load_troubles(connection: sa.Connection) -> tuple[list[Trouble], list[Alert]]:
    """Return the troubles of all destinations, and the self-alerts that fire, oldest first."""
    said = read_self_alerts(connection)
    reports = {alert.labels.get("cause", ""): alert for alert in said}
    found = [
        Trouble(
            row["destination"], row["since"], row["cause"], row["reason"], bool(row["gave_up"]), bool(row["broken"]),
            reports[row["cause"]].starts_at if row["cause"] in reports else None,
        )
        for row in connection.execute(sa.select(troubles).order_by(troubles.c.destination)).mappings()
    ]  # fmt: skip
    return found, said


def save_trouble(connection: sa.Connection, trouble: Trouble, session: str, grant: Grant | None) -> None:
    """Store the trouble of a destination, in place of the stored one.

    :param session: of this process among the replicas
    :param grant: the lease of its lane; None: no other process serves
    :raises LeaseLost: the lease is not held any more
    """
    forget_trouble(connection, trouble.destination, session, grant)
    connection.execute(
        sa.insert(troubles).values(
            destination=trouble.destination, since=trouble.since, cause=trouble.cause, reason=replace_unfit(trouble.reason),
            gave_up=int(trouble.gave_up), broken=int(trouble.broken),
        )
    )  # fmt: skip


def forget_trouble(connection: sa.Connection, destination: str, session: str, grant: Grant | None) -> None:
    """Delete the trouble of a destination, if it has one. The parameters are those of :func:`save_trouble`."""
    check_lease(connection, session, grant)
    connection.execute(sa.delete(troubles).where(troubles.c.destination == destination))
