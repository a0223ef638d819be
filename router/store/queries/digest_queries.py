"""Queries of digests: which alerts became obsolete, how many there are to report, how often one fired, which are new."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from router.core.rows import LARGE, OPEN_FATES
from router.model import Fate, Millis
from router.store.queries.query import KEYS_PER_STATEMENT, Answers, as_dict, count_up_to, one_by_one
from router.store.schema import IS_HELD, IS_OBSOLETE, changes, fates, members


@one_by_one
def obsolete_in(connection: sa.Connection, key: tuple[Millis, Millis]) -> Any:
    """Return the firings that became obsolete in a period, see :data:`router.core.digests.OBSOLETE_IN`."""
    notified = fates.alias("notified")
    since, until = key
    rows = connection.execute(
        sa.select(
            fates.c.id, fates.c.change_id, changes.c.alert_id, fates.c.destination, fates.c.reason,
            notified.c.destination.label("at"),
        )
        .join(changes, changes.c.id == fates.c.change_id)
        .outerjoin(
            notified,
            sa.and_(
                notified.c.change_id == fates.c.change_id,
                notified.c.fate.in_([Fate.DELIVERED, Fate.PENDING, Fate.DIGEST]),
            ),
        )
        .where(
            IS_OBSOLETE, fates.c.updated_at >= since,
            fates.c.updated_at < until, changes.c.kind == "fired",
        )
        .order_by(fates.c.id)
    ).all()  # fmt: skip
    at: dict[int, list[str]] = defaultdict(list)
    found: dict[int, tuple[int, int, str, str]] = {}
    for id_, change, alert, destination, reason, where in rows:
        found[id_] = (change, alert, destination, reason)
        if where is not None:
            at[change].append(where)
    return [(*each, tuple(at[each[0]])) for each in found.values()]


@one_by_one
def many_reported(connection: sa.Connection, key: tuple[Millis, Millis]) -> Any:
    """Return whether a digest has too many alerts for one batch, see :data:`router.core.digests.MANY_REPORTED`."""
    since, until = key
    obsolete = (
        IS_OBSOLETE, fates.c.updated_at >= since, fates.c.updated_at < until,
    )  # fmt: skip
    for id_, conditions in ((members.c.id, (IS_HELD,)), (fates.c.id, obsolete)):
        if count_up_to(connection, LARGE + 1, id_, *conditions) > LARGE:
            return True
    return False


def fired_since(connection: sa.Connection, keys: Iterable[tuple[int, Millis]]) -> Answers:
    """Return how often each alert fired since a time, see :data:`router.core.digests.FIRED_SINCE`."""
    wanted: dict[Millis, list[int]] = defaultdict(list)
    for alert, since in keys:
        wanted[since].append(alert)
    answers: Answers = {}
    for since, several in wanted.items():
        for first in range(0, len(several), KEYS_PER_STATEMENT):
            some = several[first : first + KEYS_PER_STATEMENT]
            rows = connection.execute(
                sa.select(changes.c.alert_id, sa.func.count())
                .where(changes.c.alert_id.in_(some), changes.c.kind == "fired", changes.c.at >= since)
                .group_by(changes.c.alert_id)
            )
            counts = as_dict(rows)
            answers.update({(alert, since): counts.get(alert, 0) for alert in some})
    return answers


def unreported(connection: sa.Connection, keys: Iterable[int]) -> Answers:
    """Return whether no digest has reported the firing of each member yet, see :data:`router.core.digests.UNREPORTED`."""
    wanted, answers = list(keys), {}
    for first in range(0, len(wanted), KEYS_PER_STATEMENT):
        some = wanted[first : first + KEYS_PER_STATEMENT]
        oldest = (
            sa.select(sa.func.min(fates.c.id).label("id"))
            .where(fates.c.member_id.in_(some), fates.c.fate.in_(OPEN_FATES))
            .group_by(fates.c.member_id)
            .subquery()
        )
        rows = connection.execute(
            sa.select(fates.c.member_id)
            .join(oldest, oldest.c.id == fates.c.id)
            .join(changes, changes.c.id == fates.c.change_id)
            .where(sa.or_(changes.c.kind == "fired", fates.c.at > changes.c.at))
        )
        found = set(rows.scalars())
        answers.update({member: member in found for member in some})
    return answers
