"""What an explanation asks of the store: the firing alerts that mute others, and stored alerts with what was notified."""

import json
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from router.core.alerts import alert_of
from router.core.rows import AlertRow
from router.model import Labels
from router.store.schema import IS_FIRING, alerts, inhibitors
from router.store.search import Search, find_alerts
from router.store.snapshot import KnownAlert, members_by_destination

SourceKey = tuple[str, bool]
"""The text of an inhibition key, and whether it is two-sided, see :class:`router.decide.inhibition.Key`."""


def find_sources(connection: sa.Connection, keys: Iterable[SourceKey]) -> Mapping[SourceKey, Labels]:
    """Return the labels of a firing alert that mutes the alerts with each key. Keys without one are left out.

    It runs one query for each key, which reads the entries of an index until the first fits.
    """
    found: dict[SourceKey, Labels] = {}
    for key, two_sided in dict.fromkeys(keys):
        query = (
            sa.select(alerts.c.labels)
            .join(inhibitors, inhibitors.c.alert_id == alerts.c.id)
            .where(inhibitors.c.key == key, IS_FIRING)
            .order_by(inhibitors.c.alert_id)
            .limit(1)
        )
        # Two alerts that both match both sides of a rule do not mute each other.
        one_sided = query.where(inhibitors.c.two_sided == 0) if two_sided else query
        labels = connection.execute(one_sided).scalar()
        if labels is not None:
            found[key, two_sided] = json.loads(labels)
    return found


def known_alerts(
    connection: sa.Connection, search: Search, limit: int
) -> tuple[tuple[KnownAlert, ...], bool]:
    """Return the newest alerts that a search finds, with what each destination was notified of; and whether there may be
    more.
    """
    page = find_alerts(connection, search, limit=limit)
    ids = [each["id"] for each in page.alerts]
    columns = (alerts.c[name] for name in AlertRow._fields)
    rows = {
        row.id: row
        for row in map(
            AlertRow._make, connection.execute(sa.select(*columns).where(alerts.c.id.in_(ids))).all()
        )
    }
    known = tuple(
        KnownAlert(alert_of(rows[each]), rows[each].source, members_by_destination(connection, each))
        for each in ids
    )
    return known, page.before is not None
