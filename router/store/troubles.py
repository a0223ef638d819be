"""Destinations that nothing gets through to: kept so that a restart forgets none."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.model import Alert, Millis
from router.store.alert import alert_of
from router.store.schema import alerts, troubles
from router.store.writer import Statement, Transaction, insert

_ALL = Statement(sa.select(troubles))
_FORGET = Statement(sa.delete(troubles).where(troubles.c.destination == p("key")))
_KEEP = Statement(insert(troubles, omit=()))
_OWN_ALERTS = Statement(
    sa.select(alerts).where(alerts.c.about.is_not(None), alerts.c.status == "firing").order_by(alerts.c.id)
)


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


def known(tx: Transaction) -> tuple[list[Trouble], list[Alert]]:
    """Them, and what the router says of itself, the oldest first."""
    said = [alert_of(row) for row in tx.all(_OWN_ALERTS)]
    reports = {alert.labels.get("cause", ""): alert for alert in said}
    found = [
        Trouble(
            row["destination"], row["since"], row["cause"], row["reason"], bool(row["gave_up"]), bool(row["broken"]),
            reports[row["cause"]].starts_at if row["cause"] in reports else None,
        )
        for row in tx.all(_ALL)
    ]  # fmt: skip
    return found, said


def keep(tx: Transaction, trouble: Trouble) -> None:
    forget(tx, trouble.destination)
    tx.run(
        _KEEP, destination=trouble.destination, since=trouble.since, cause=trouble.cause, reason=trouble.reason,
        gave_up=int(trouble.gave_up), broken=int(trouble.broken),
    )  # fmt: skip


def forget(tx: Transaction, destination: str) -> None:
    tx.run(_FORGET, key=destination)
