"""Lists deliveries, newest first, by destination, outcome, alert, conversation and time. No query scans the history.

Ids grow with the time of the attempt, so a period is a range of ids. It is found by a bisection.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.core.rows import FAILED_OUTCOMES
from router.model import Millis
from router.store.conversation_topics import alerts_of, topics_of
from router.store.counters import UNDER_WAY
from router.store.schema import HAS_FAILED, conversations, deliveries, members, messages
from router.store.totals import MAX_COUNTED, Total, count_rows

DELIVERED = "delivered"
# There is no index of the delivered ones, because most are: a page looks at no more deliveries than this for them.
_MAX_SCANNED = 2_000
# An alert may be in more conversations than this; then the list has those of the newest ones.
_MAX_CONVERSATIONS_OF_ALERT = 500
_ID = deliveries.c.id


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries a list has: those that match all conditions that are given."""

    destinations: tuple[str, ...] = ()
    """Keys."""
    outcomes: tuple[str, ...] = ()
    """Outcomes as the table has them; ``under way`` for those without one."""
    alert: int | None = None
    """The id of an alert that is in the conversation of the delivery."""
    conversation: int | None = None
    since: Millis | None = None
    """The attempt began at this time or later."""
    until: Millis | None = None
    """The attempt began before this time."""


EVERY_DELIVERY = DeliveryFilter()


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of a list of deliveries."""

    rows: list[dict[str, Any]]
    """The columns of the table, and: ``message`` (whether it is kept), ``topic`` (what it is about, see
    :class:`router.store.conversation_topics.Topic`), ``next_at`` (of a failed attempt that is repeated, epoch ms)."""
    total: Total
    before: int | None
    """The cursor of the next page; None: this is the last one."""


@dataclass(frozen=True, slots=True)
class _Ids:
    """A range of ids, ``low`` included and ``high`` excluded; None: without bound."""

    low: int | None = None
    high: int | None = None

    def holds(self, key: sa.ColumnElement[int]) -> tuple[sa.ColumnElement[bool], ...]:
        low = () if self.low is None else (key >= self.low,)
        high = () if self.high is None else (key < self.high,)
        return (*low, *high)

    def up_to(self, before: int | None) -> "_Ids":
        high = before if self.high is None else self.high if before is None else min(self.high, before)
        return _Ids(self.low, high)


def list_deliveries(
    connection: sa.Connection, wanted: DeliveryFilter, before: int | None = None, limit: int = 50
) -> DeliveryPage:
    """Return a page of deliveries, newest first.

    A page for delivered ones may have fewer rows than ``limit``, even none, while its cursor says that there are more.

    :param before: the cursor that the page before returned; None: the first page
    """
    period = _Ids(_first_id_since(connection, wanted.since), _first_id_since(connection, wanted.until))
    ids = period.up_to(before)
    if wanted.alert is not None or wanted.conversation is not None:
        of, is_exact = _of_conversations(connection, wanted)
        total = count_rows(connection, of.where(*period.holds(_ID + 0)))
        found = _ids_of(connection, [of.where(*ids.holds(_ID + 0)).order_by((_ID + 0).desc())], limit + 1)
        total, bound = Total(total.count, total.is_exact and is_exact), None
    else:
        total = _count(connection, wanted, period)
        found, bound = _newest(connection, wanted, ids, limit + 1)
    shown = found[:limit]
    rows = _rows(connection, shown)
    return DeliveryPage(rows, total, shown[-1] if len(found) > limit else bound)


def _first_id_since(connection: sa.Connection, at: Millis | None) -> int | None:
    """Return the least id of a delivery that began at a time or later; None: no time is given."""
    if at is None:
        return None
    # Both in one query would read all rows in SQLite.
    low, last = (
        connection.execute(sa.select(end)).scalar_one() for end in (sa.func.min(_ID), sa.func.max(_ID))
    )
    if low is None:
        return 0
    # No delivery before ``low`` began since then, and all from ``high`` on did.
    high = last + 1
    while low < high:
        middle = (low + high) // 2
        number, began = connection.execute(_NEXT, {"id": middle}).one()
        if began >= at:
            high = middle
        else:
            low = number + 1
    return int(low)


_NEXT = sa.select(_ID, deliveries.c.started_at).where(sa.bindparam("id") <= _ID).order_by(_ID).limit(1)


def _of_conversations(connection: sa.Connection, wanted: DeliveryFilter) -> tuple[sa.Select[Any], bool]:
    """Select the deliveries of one conversation or of an alert's conversations, and return whether these are all."""
    # Sums such as ``id + 0`` keep planners from walking through all rows by their ids.
    numbers = [] if wanted.conversation is None else [wanted.conversation]
    is_exact = True
    if wanted.alert is not None:
        of_alert = sa.select(members.c.conversation_id).where(members.c.alert_id == wanted.alert)
        newest = of_alert.order_by((members.c.id + 0).desc()).limit(_MAX_CONVERSATIONS_OF_ALERT + 1)
        found = list(connection.execute(newest).scalars())
        is_exact = len(found) <= _MAX_CONVERSATIONS_OF_ALERT
        found = found[:_MAX_CONVERSATIONS_OF_ALERT]
        numbers = [each for each in found if wanted.conversation in {None, each}]
    query = sa.select(_ID).where(deliveries.c.conversation_id.in_(numbers))
    if wanted.destinations:
        query = query.where(deliveries.c.destination.in_(wanted.destinations))
    if wanted.outcomes:
        query = query.where(sa.func.coalesce(deliveries.c.outcome, UNDER_WAY).in_(wanted.outcomes))
    return query, is_exact


def _indexed(wanted: DeliveryFilter) -> list[tuple[sa.ColumnElement[bool], ...]]:
    """Return the conditions of the parts of a list that an index finds in the order of their ids, each without delivered
    ones alone.
    """
    parts: list[tuple[sa.ColumnElement[bool], ...]] = []
    for key in wanted.destinations or (None,):
        of_it = () if key is None else (deliveries.c.destination == key,)
        if not wanted.outcomes:
            parts.append(of_it)
        parts += [
            (*of_it, deliveries.c.outcome == sa.literal_column(f"'{outcome}'"), HAS_FAILED)
            for outcome in FAILED_OUTCOMES
            if outcome in wanted.outcomes
        ]
        if UNDER_WAY in wanted.outcomes:
            # Few are under way. The concatenation keeps the planner on their index.
            of_it = () if key is None else (deliveries.c.destination + "" == key,)
            parts.append((*of_it, deliveries.c.outcome.is_(None)))
    return parts


def _newest(
    connection: sa.Connection, wanted: DeliveryFilter, ids: _Ids, limit: int
) -> tuple[list[int], int | None]:
    """Return the newest ids.

    :returns: the ids, and the id above which they are complete (None: all are)
    """
    parts = [
        sa.select(_ID).where(*conditions, *ids.holds(_ID)).order_by(_ID.desc())
        for conditions in _indexed(wanted)
    ]
    found, bound = _ids_of(connection, parts, limit), None
    if DELIVERED in wanted.outcomes:
        for destination in wanted.destinations or (None,):
            some, complete_from = _newest_delivered(connection, destination, ids, limit)
            found += some
            if complete_from is not None:
                bound = complete_from if bound is None else max(bound, complete_from)
    found.sort(reverse=True)
    return [each for each in found if bound is None or each >= bound][:limit], bound


def _newest_delivered(
    connection: sa.Connection, destination: str | None, ids: _Ids, limit: int
) -> tuple[list[int], int | None]:
    """Return the newest delivered ones among the newest deliveries.

    :returns: the ids, and, if they are fewer than ``limit``, the least id that was looked at (None: all were)
    """
    query = sa.select(_ID, deliveries.c.outcome).where(*ids.holds(_ID))
    if destination is not None:
        query = query.where(deliveries.c.destination == destination)
    some = query.order_by(_ID.desc()).limit(_MAX_SCANNED).subquery()
    newest = sa.select(some.c.id).where(some.c.outcome == DELIVERED).order_by(some.c.id.desc())
    found = list(connection.execute(newest.limit(limit)).scalars())
    if len(found) == limit:
        return found, None
    count, least = connection.execute(sa.select(sa.func.count(), sa.func.min(some.c.id))).one()
    return found, least if count == _MAX_SCANNED else None


def _ids_of(connection: sa.Connection, parts: Sequence[sa.Select[Any]], limit: int) -> list[int]:
    """Return the newest ids of all parts together."""
    if not parts:
        return []
    each = [sa.select(part.limit(limit).subquery().c.id) for part in parts]
    return sorted(connection.execute(sa.union_all(*each)).scalars(), reverse=True)[:limit]


def _count(connection: sa.Connection, wanted: DeliveryFilter, period: _Ids) -> Total:
    """Count the deliveries of a list. Each part is counted up to :data:`~router.store.totals.MAX_COUNTED`."""

    def counted(parts: Sequence[tuple[sa.ColumnElement[bool], ...]]) -> tuple[int, bool]:
        totals = [
            count_rows(connection, sa.select(_ID).where(*each, *period.holds(_ID)).order_by(_ID))
            for each in parts
        ]
        return sum(each.count for each in totals), all(each.is_exact for each in totals)

    count, is_exact = counted(_indexed(wanted))
    if DELIVERED in wanted.outcomes:
        whole, whole_is_exact = counted(_indexed(DeliveryFilter(wanted.destinations)))
        others, others_are_exact = counted(
            _indexed(DeliveryFilter(wanted.destinations, (*FAILED_OUTCOMES, UNDER_WAY)))
        )
        count += max(0, whole - others)
        is_exact = is_exact and whole_is_exact and others_are_exact
    return Total(min(count, MAX_COUNTED), is_exact and count <= MAX_COUNTED)


_is_last_failed = sa.and_(
    deliveries.c.outcome == "retry",
    deliveries.c.attempt == conversations.c.attempts,
    deliveries.c.started_at >= conversations.c.tried_since,
)


_ROWS = (
    sa.select(
        *deliveries.c,
        sa.exists().where(messages.c.id == _ID).label("message"),
        sa.case((_is_last_failed, conversations.c.next_at)).label("next_at"),
    )
    .join(conversations, conversations.c.id == deliveries.c.conversation_id)
    .where(_ID.in_(sa.bindparam("ids", expanding=True)))
    .order_by(_ID.desc())
)
"""Built once, because that takes longer than running it."""


def _rows(connection: sa.Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows with these ids, newest first, as :attr:`DeliveryPage.rows` has them."""
    if not ids:
        return []
    found = connection.execute(_ROWS, {"ids": ids}).mappings()
    rows = [dict(row) for row in found]
    topics = topics_of(connection, [row["conversation_id"] for row in rows])
    return [{**row, "message": bool(row["message"]), "topic": topics[row["conversation_id"]]} for row in rows]


@dataclass(frozen=True, slots=True)
class DeliveryDetails:
    """A delivery, and what is around it."""

    row: dict[str, Any]
    """See :attr:`DeliveryPage.rows`."""
    alerts: list[dict[str, Any]]
    """The first alerts of its conversation: {id, labels, level, status, notified}."""
    alerts_total: Total
    before: int | None
    """The id of the attempt of the same conversation before it; None: there is none."""
    after: int | None
    """The id of the next attempt of the same conversation; None: there is none yet."""


_OF_CONVERSATION = deliveries.c.conversation_id == sa.bindparam("conversation")
_NEIGHBOURS = sa.select(
    sa.select(sa.func.max(_ID)).where(_OF_CONVERSATION, sa.bindparam("number") > _ID).scalar_subquery(),
    sa.select(sa.func.min(_ID)).where(_OF_CONVERSATION, sa.bindparam("number") < _ID).scalar_subquery(),
)


def read_delivery(connection: sa.Connection, number: int, max_alerts: int) -> DeliveryDetails | None:
    """Return a delivery; None: there is none with this id.

    :param max_alerts: how many alerts of its conversation it has at most
    """
    from_rows = _rows(connection, [number])
    if not from_rows:
        return None
    row = from_rows[0]
    conversation = row["conversation_id"]
    before, after = connection.execute(_NEIGHBOURS, {"conversation": conversation, "number": number}).one()
    alerts, total = alerts_of(connection, conversation, max_alerts)
    return DeliveryDetails(row, alerts, total, before, after)
