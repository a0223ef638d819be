"""Queries of lanes: what is due, and when something will be due."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import sqlalchemy as sa

from router.core.claimed_delivery import NO_STORM, Share
from router.core.upcoming import Upcoming, Wanted
from router.model import Millis
from router.store.queries.lane_conditions import Conditions, has_next_at, has_own_message
from router.store.queries.query import OneStatement, Statement, one_by_one
from router.store.schema import PUT_OFF, conversations

_PRIORITIES = range(3)
_destination: sa.BindParameter[str] = sa.bindparam("destination")
_storm: sa.BindParameter[int] = sa.bindparam("storm")
# These queries run most often, at every claim. So their statements are built once for each kind of share.


def _lane(share: Share) -> Conditions:
    """Return the conditions of conversations of a lane that may be due and that a storm's message does not cover."""
    if share == NO_STORM:
        return has_next_at(_destination)
    return (*has_next_at(_destination), has_own_message(share, _storm))


@cache
def _next_due(share: Share, *, overdue: bool) -> sa.CompoundSelect[Any]:
    """Build the statement of :data:`next_due`.

    :param overdue: only conversations that are overdue, also those in a backoff; otherwise also those that are not due
        yet
    """
    by = (conversations.c.due_at <= sa.bindparam("by"),) if overdue else ()
    of_each = (
        sa.select(*(conversations.c[name] for name in Upcoming._fields))
        .where(conversations.c.priority == sa.literal_column(str(priority)), *_lane(share), *by)
        .order_by(conversations.c.next_at, conversations.c.id)
        .limit(sa.bindparam("limit"))
        .subquery()
        for priority in _PRIORITIES
    )
    return sa.union_all(*(sa.select(each) for each in of_each))


def _next_due_of(wanted: Wanted) -> Statement:
    share, overdue = wanted.share, wanted.by is not None
    sql = _next_due(replace(share, storm=min(share.storm, 1)), overdue=overdue)
    given = {"destination": wanted.destination, "limit": wanted.limit + 1}
    if share != NO_STORM:
        given["storm"] = share.storm
    if wanted.by is not None:
        given["by"] = wanted.by
    # Without other conditions, it reads the first entries of an index in their order.
    return Statement(sql, given, has_one_plan=share == NO_STORM and not overdue)


def _upcoming(rows: Iterable[Any]) -> list[Upcoming]:
    return sorted(map(Upcoming._make, rows))


next_due = OneStatement(_next_due_of, _upcoming)
"""What is due next, see :data:`router.core.upcoming.NEXT_DUE`."""

_now: sa.BindParameter[int] = sa.bindparam("now")
# Each subquery reads one entry of an index.
_NEXT_TIME = sa.select(
    *(
        sa.select(sa.func.min(conversations.c.next_at))
        .where(
            *has_next_at(_destination),
            conversations.c.next_at > _now,
            conversations.c.priority == sa.literal_column(str(priority)),
        )
        .scalar_subquery()
        for priority in _PRIORITIES
    ),
    # The addition keeps the planner from choosing another index.
    sa.exists().where(
        *has_next_at(_destination),
        PUT_OFF,
        conversations.c.next_at > _now,
        conversations.c.due_at + 0 <= _now,
    ),
)


@one_by_one
def next_time(connection: sa.Connection, key: tuple[str, Millis]) -> Any:
    """Return, for ``(destination, now)``, the first time after now at which something may be sent there (None: there is
    none); and whether something is due there but waits because an attempt failed.
    """
    destination, now = key
    *times, failing = connection.execute(_NEXT_TIME, {"destination": destination, "now": now}).one()
    return min((at for at in times if at is not None), default=None), bool(failing)
