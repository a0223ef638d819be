"""Queries about alerts: which fire, are stale, are in doubt or are muted; and which destinations know of a firing one."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from router.core.release import MANY
from router.store.queries.query import KEYS_PER_STATEMENT, Answers, as_dict, ids_after, one_by_one
from router.store.schema import IS_FIRING, IS_OPEN, alerts, conversations, groups, members


@one_by_one
def firing_of(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(source, after, limit)``, the ids of the next firing alerts of a source (None: of all sources)."""
    source, after, limit = key
    conditions = () if source is None else (alerts.c.source == source,)
    return ids_after(connection, alerts.c.id, after, limit, IS_FIRING, *conditions)


@one_by_one
def marked(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(after, limit)``, the ids of the next firing alerts that carry a mark of Alertmanager's answers."""
    after, limit = key
    said = sa.or_(alerts.c.withheld.is_not(None), alerts.c.absent_at.is_not(None))
    return ids_after(connection, alerts.c.id, after, limit, IS_FIRING, said)


@one_by_one
def unheard(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(seen_up_to, now, after, limit)``, the ids of the next firing alerts that were not repeated
    after ``seen_up_to``, or whose ``fires_until`` has passed.
    """
    seen_up_to, now, after, limit = key
    unrepeated = sa.and_(alerts.c.seen_at <= seen_up_to, groups.c.truncated == 0, alerts.c.about.is_(None))
    rows = connection.execute(
        sa.select(alerts.c.id)
        .join(groups, groups.c.id == alerts.c.group_id)
        .where(IS_FIRING, sa.or_(unrepeated, alerts.c.fires_until <= now), alerts.c.id > after)
        .order_by(alerts.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


@one_by_one
def doubted(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(source, after, limit)``, the ids of the next alerts of a source that are in doubt."""
    source, after, limit = key
    doubt = alerts.c.doubt_until.is_not(None)
    return ids_after(connection, alerts.c.id, after, limit, alerts.c.source == source, doubt)


@one_by_one
def lasting_doubts(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(now, limit)``, the ids of alerts whose doubt has lasted long enough, and when the next
    doubt will have lasted long enough (None: there is no doubt).
    """
    now, limit = key
    rows = connection.execute(
        sa.select(alerts.c.id, alerts.c.doubt_until)
        .where(alerts.c.doubt_until.is_not(None))
        .order_by(alerts.c.doubt_until, alerts.c.id)
        .limit(limit + 1)
    ).all()
    lasted = [id_ for id_, until in rows[:limit] if until <= now]
    following = next((until for _, until in rows[len(lasted) :]), None)
    return (lasted, following)


def still_notified(connection: sa.Connection, keys: Iterable[Any]) -> Answers:
    """Return the keys of the destinations that were, or may have been, notified of an alert that still fires."""
    found: set[str] = set()
    last: str | None = ""
    while last is not None:  # each step reads one entry of an index
        following = sa.select(sa.func.min(conversations.c.destination)).where(
            IS_OPEN,
            conversations.c.known > sa.literal_column("0"),
            conversations.c.destination > last,
        )
        last = connection.execute(following).scalar()
        found |= set() if last is None else {last}
    return dict.fromkeys(keys, frozenset(found))


def many_muted(connection: sa.Connection, keys: Iterable[str]) -> Answers:
    """Return how many alerts each inhibition key mutes, see :data:`router.core.release.MANY_MUTED`."""
    several = sorted(keys)
    counts: dict[str, int] = {}
    for first in range(0, len(several), KEYS_PER_STATEMENT):
        wanted = members.c.inhibitor.in_(several[first : first + KEYS_PER_STATEMENT])
        counts |= as_dict(
            connection.execute(
                sa.select(members.c.inhibitor, sa.func.count()).where(wanted).group_by(members.c.inhibitor)
            )
        )
    return {key: min(counts.get(key, 0), MANY + 1) for key in several}


@one_by_one
def alerts_muted_by(connection: sa.Connection, key: Any) -> Any:
    """Return, for ``(inhibition key, after, limit)``, the ids of the next alerts that the key mutes."""
    inhibitor, after, limit = key
    rows = connection.execute(
        sa.select(members.c.alert_id)
        .where(members.c.inhibitor == inhibitor, members.c.alert_id > after)
        .distinct()
        .order_by(members.c.alert_id)
        .limit(limit)
    )
    return list(rows.scalars())
