"""Questions of the core that no set answers: what is due, what fires, what became obsolete."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, wraps
from typing import Any

import sqlalchemy as sa

from router.core.claim import NO_STORM, Share
from router.core.conversations import FIRST_DUE, ONE_ENDED
from router.core.digests import FIRED_SINCE, MANY_REPORTED, OBSOLETE_IN
from router.core.release import MANY, MANY_MUTED
from router.core.rows import LARGE, NOT_FIRING, RESOLVED
from router.core.state import State
from router.core.storms import MAX_GROUPS_SHOWN, StormGroup, StormProgress, Surge
from router.model import Fate, Millis
from router.store.schema import PUT_OFF, alerts, changes, conversations, fates, groups, members

Answers = dict[Any, Any]
"""By parameters."""
Question = Callable[[sa.Connection, Iterable[Any]], Answers]

_AT_ONCE = 500
"""Parameters of one statement."""
PAGE = 200
"""Alerts that are looked at in one batch."""


def _one_by_one(answer: Callable[[sa.Connection, Any], Any]) -> Question:
    """A question that is asked once for each of its parameters."""

    @wraps(answer)
    def answers(connection: sa.Connection, keys: Iterable[Any]) -> Answers:
        return {key: answer(connection, key) for key in keys}

    return answers


def _pairs(rows: sa.Result[Any]) -> dict[Any, Any]:
    return dict(map(tuple, rows.all()))


_Conditions = tuple[sa.ColumnElement[bool], ...]


def _due(destination: str, now: Millis) -> _Conditions:
    return (*_next_at(destination), conversations.c.next_at <= now)


def _next_at(destination: Any) -> _Conditions:
    return (conversations.c.destination == destination, conversations.c.next_at.is_not(None))


def _belongs(storm: Any) -> sa.ColumnElement[bool]:
    """See :meth:`router.core.claim.Share.belongs`. No conversation has the id 0."""
    of_it = sa.and_(conversations.c.storm_id == storm, conversations.c.own_message == 0)
    return sa.and_(conversations.c.storm_id.is_not(None), of_it)


def _told_apart(share: Share, storm: Any = None) -> sa.ColumnElement[bool]:
    """See :meth:`router.core.claim.Share.told_apart`."""
    belongs = _belongs(share.storm if storm is None else storm)
    apart = sa.and_(sa.literal(share.edits), conversations.c.own_message == 1) if share.taking else ~belongs
    if share.criticals_apart:
        mere_end = sa.and_(belongs, conversations.c.waiting == conversations.c.ends)
        apart = sa.or_(apart, sa.and_(conversations.c.urgency == 0, ~mere_end))
    return apart


_PRIORITIES = range(3)
_destination: sa.BindParameter[str] = sa.bindparam("destination")
_storm: sa.BindParameter[int] = sa.bindparam("storm")
# Claims ask these most often, so they are made once for each kind of share.


def _lane(share: Share) -> _Conditions:
    """What may be due at a lane, and a storm's message does not tell."""
    if share == NO_STORM:
        return _next_at(_destination)
    return (*_next_at(_destination), _told_apart(share, _storm))


@cache
def _next_due(share: Share, *, overdue: bool) -> sa.CompoundSelect[Any]:
    """:param overdue: only what is so, though it waits after a failure; otherwise also what is not due yet"""
    by = (conversations.c.due_at <= sa.bindparam("by"),) if overdue else ()
    of_each = (
        sa.select(conversations.c.priority, conversations.c.next_at, conversations.c.id)
        .where(conversations.c.priority == sa.literal_column(str(priority)), *_lane(share), *by)
        .order_by(conversations.c.next_at, conversations.c.id)
        .limit(sa.bindparam("limit"))
        .subquery()
        for priority in _PRIORITIES
    )
    return sa.union_all(*(sa.select(each) for each in of_each))


@_one_by_one
def next_due(connection: sa.Connection, key: Any) -> Any:
    """``(destination, now, due_by, share, others_first, limit)``: the ids of the conversations that are next, of those
    that a storm's message does not tell; and when the one after them is, if nothing else happens.
    """
    destination, now, due_by, share, others_first, limit = key
    overdue = due_by < now
    statement = _next_due(replace(share, storm=min(share.storm, 1)), overdue=overdue)
    given = {"destination": destination, "storm": share.storm, "by": due_by, "limit": limit + 1}
    rows = sorted(map(tuple, connection.execute(statement, given)))
    due = [row for row in rows if overdue or row[1] <= now]
    others = [row[1:] for row in due if row[0]] if others_first else []
    found = [min(others)[1]] if others else []
    found = (found + [id_ for _, _, id_ in due if id_ not in found])[:limit]
    return found, min((at for _, at, id_ in rows if id_ not in found), default=None)


_now: sa.BindParameter[int] = sa.bindparam("now")
# Each of these is the next entry of an index.
_NEXT_TIME = sa.select(
    *(
        sa.select(sa.func.min(conversations.c.next_at))
        .where(
            *_next_at(_destination),
            conversations.c.next_at > _now,
            conversations.c.priority == sa.literal_column(str(priority)),
        )
        .scalar_subquery()
        for priority in _PRIORITIES
    ),
    # With the sum, no other index looks better for it.
    sa.exists().where(
        *_next_at(_destination), PUT_OFF, conversations.c.next_at > _now, conversations.c.due_at + 0 <= _now
    ),
)


@_one_by_one
def next_time(connection: sa.Connection, key: tuple[str, Millis]) -> Any:
    """``(destination, now)``: the first moment after now at which something may be sent there; and whether something waits
    there only because an attempt failed.
    """
    destination, now = key
    *times, failing = connection.execute(_NEXT_TIME, {"destination": destination, "now": now}).one()
    return min((at for at in times if at is not None), default=None), bool(failing)


@_one_by_one
def surge(connection: sa.Connection, key: Any) -> Any:
    """``(destination, now, storm, edits, above)``: see :class:`router.core.storms.Surge`."""
    destination, now, storm, edits, above = key
    others = (*_due(destination, now), ~_belongs(storm))
    if edits:
        others += (conversations.c.own_message == 0,)
    critical = conversations.c.urgency == 0
    urgent = _as_many_as(connection, above + 1, conversations.c.id, *others, conversations.c.priority == 0)
    due = urgent
    for priority in (1, 2):
        due += _as_many_as(
            connection, above + 1 - due, conversations.c.id, *others, conversations.c.priority == priority
        )
    if not storm:
        return Surge(due, due, urgent, 0, 0, 0, 0)
    is_due = sa.and_(conversations.c.next_at.is_not(None), conversations.c.next_at <= now)
    fires = sa.or_(conversations.c.shown > 0, sa.and_(conversations.c.firing > 0, is_due))
    firing, told, told_urgent, standing, shown = connection.execute(
        sa.select(
            sa.func.count().filter(fires),
            sa.func.count().filter(is_due),
            sa.func.count().filter(is_due, critical, conversations.c.waiting != conversations.c.ends),
            sa.func.count().filter(_told_of),
            sa.func.count().filter(conversations.c.shown > 0),
        ).where(_belongs(storm), conversations.c.state == "open")
    ).one()
    return Surge(due + firing, due, urgent, told, told_urgent, standing, shown)


def _as_many_as(
    connection: sa.Connection, most: int, id_: sa.ColumnElement[int], *conditions: sa.ColumnElement[bool]
) -> int:
    """How many rows there are, counted up to so many."""
    if most <= 0:
        return 0
    some = sa.select(id_).where(*conditions).limit(most).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


_told_of = sa.or_(conversations.c.known > 0, conversations.c.ended > 0)


@_one_by_one
def due_after(connection: sa.Connection, key: Any) -> Any:
    """``(destination, now, share, after, limit)``: urgency and id of what is due and a storm's message tells, the most
    urgent first.
    """
    destination, now, share, after, limit = key
    position = sa.tuple_(conversations.c.urgency, conversations.c.id)
    rows = connection.execute(
        sa.select(conversations.c.urgency, conversations.c.id)
        .where(*_due(destination, now), ~_told_apart(share), position > sa.tuple_(*after))
        .order_by(conversations.c.urgency, conversations.c.id)
        .limit(limit)
    )
    return [tuple(row) for row in rows]


@_one_by_one
def standing(connection: sa.Connection, storm: int) -> Any:
    """A storm: see :class:`router.core.storms.StormProgress`."""
    is_open = conversations.c.state == sa.literal_column("'open'")
    fires = sa.and_(is_open, conversations.c.shown > 0)
    left = sa.and_(is_open, _told_of, conversations.c.delivery_id.is_(None))
    is_over = sa.and_(~is_open, conversations.c.ended > 0)
    counts = connection.execute(
        sa.select(
            sa.func.count().filter(left),
            sa.func.count().filter(fires),
            sa.func.coalesce(sa.func.sum(conversations.c.shown).filter(fires), 0),
            sa.func.count().filter(is_over),
        ).where(_belongs(storm))
    ).one()
    rows = connection.execute(
        sa.select(conversations.c.urgency, groups.c.labels, groups.c.external_url, conversations.c.shown)
        .join(groups, groups.c.id == conversations.c.group_id)
        .where(_belongs(storm), fires)
        .order_by(conversations.c.urgency, conversations.c.id)
        .limit(MAX_GROUPS_SHOWN)
    )
    left_over, firing, alerts, resolved = map(int, counts)
    return StormProgress(left_over, firing, alerts, resolved, tuple(StormGroup(*row) for row in rows))


@_one_by_one
def obsolete_in(connection: sa.Connection, key: tuple[Millis, Millis]) -> Any:
    """See :data:`router.core.digests.OBSOLETE_IN`."""
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
            fates.c.fate == sa.literal_column("'obsolete'"), fates.c.updated_at >= since,
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


@_one_by_one
def many_reported(connection: sa.Connection, key: tuple[Millis, Millis]) -> Any:
    """See :data:`router.core.digests.MANY_REPORTED`."""
    since, until = key
    held = (
        members.c.decision == sa.literal_column("'hold'"), members.c.open == sa.literal_column("1"),
    )  # fmt: skip
    obsolete = (
        fates.c.fate == sa.literal_column("'obsolete'"), fates.c.updated_at >= since, fates.c.updated_at < until,
    )  # fmt: skip
    for id_, conditions in ((members.c.id, held), (fates.c.id, obsolete)):
        if _as_many_as(connection, LARGE + 1, id_, *conditions) > LARGE:
            return True
    return False


def fired_since(connection: sa.Connection, keys: Iterable[tuple[int, Millis]]) -> Answers:
    """See :data:`router.core.digests.FIRED_SINCE`."""
    wanted: dict[Millis, list[int]] = defaultdict(list)
    for alert, since in keys:
        wanted[since].append(alert)
    answers: Answers = {}
    for since, several in wanted.items():
        for first in range(0, len(several), _AT_ONCE):
            some = several[first : first + _AT_ONCE]
            rows = connection.execute(
                sa.select(changes.c.alert_id, sa.func.count())
                .where(changes.c.alert_id.in_(some), changes.c.kind == "fired", changes.c.at >= since)
                .group_by(changes.c.alert_id)
            )
            counts = _pairs(rows)
            answers.update({(alert, since): counts.get(alert, 0) for alert in some})
    return answers


def _page(*conditions: sa.ColumnElement[bool], limit: int) -> sa.Select[int]:
    return sa.select(alerts.c.id).where(*conditions).order_by(alerts.c.id).limit(limit)


_fires = alerts.c.status == sa.literal_column("'firing'")


@_one_by_one
def firing_of(connection: sa.Connection, key: Any) -> Any:
    """``(source, after, limit)``: the ids of the next firing alerts of a source; None: of any."""
    source, after, limit = key
    conditions = () if source is None else (alerts.c.source == source,)
    rows = connection.execute(_page(_fires, *conditions, alerts.c.id > after, limit=limit))
    return list(rows.scalars())


@_one_by_one
def marked(connection: sa.Connection, key: Any) -> Any:
    """``(after, limit)``: the ids of firing alerts of which Alertmanager said something."""
    after, limit = key
    said = sa.or_(alerts.c.withheld.is_not(None), alerts.c.absent_at.is_not(None))
    rows = connection.execute(_page(_fires, said, alerts.c.id > after, limit=limit))
    return list(rows.scalars())


@_one_by_one
def unheard(connection: sa.Connection, key: Any) -> Any:
    """``(seen_up_to, now, after, limit)``: the ids of firing alerts of which nothing was heard since."""
    seen_up_to, now, after, limit = key
    unrepeated = sa.and_(alerts.c.seen_at <= seen_up_to, groups.c.truncated == 0, alerts.c.about.is_(None))
    rows = connection.execute(
        sa.select(alerts.c.id)
        .join(groups, groups.c.id == alerts.c.group_id)
        .where(_fires, sa.or_(unrepeated, alerts.c.fires_until <= now), alerts.c.id > after)
        .order_by(alerts.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


@_one_by_one
def doubted(connection: sa.Connection, key: Any) -> Any:
    """``(source, after, limit)``: the ids of alerts that are in doubt."""
    source, after, limit = key
    doubt = alerts.c.doubt_until.is_not(None)
    rows = connection.execute(_page(alerts.c.source == source, doubt, alerts.c.id > after, limit=limit))
    return list(rows.scalars())


@_one_by_one
def lasting_doubts(connection: sa.Connection, key: Any) -> Any:
    """``(now, limit)``: the ids of alerts whose doubt has lasted, and when the next one will have."""
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
    """``()``: the destinations that know, or may know, of something that fires."""
    found: set[str] = set()
    last: str | None = ""
    while last is not None:  # each is the first entry of an index
        following = sa.select(sa.func.min(conversations.c.destination)).where(
            conversations.c.state == sa.literal_column("'open'"),
            conversations.c.known > sa.literal_column("0"),
            conversations.c.destination > last,
        )
        last = connection.execute(following).scalar()
        found |= set() if last is None else {last}
    return dict.fromkeys(keys, frozenset(found))


@_one_by_one
def next_opening(connection: sa.Connection, now: Millis) -> Any:
    """A moment: when the next held alert is to be let out after it; None: none is held."""
    following = (
        sa.select(members.c.at)
        .where(
            members.c.decision == sa.literal_column("'hold'"), members.c.open == sa.literal_column("1"),
            members.c.at > now, members.c.notified.in_(NOT_FIRING),
        )
        .order_by(members.c.at)
        .limit(1)
    )  # fmt: skip
    return connection.execute(following).scalar()


def many_muted(connection: sa.Connection, keys: Iterable[str]) -> Answers:
    """See :data:`router.core.release.MANY_MUTED`."""
    several = sorted(keys)
    counts: dict[str, int] = {}
    for first in range(0, len(several), _AT_ONCE):
        wanted = members.c.inhibitor.in_(several[first : first + _AT_ONCE])
        counts |= _pairs(
            connection.execute(
                sa.select(members.c.inhibitor, sa.func.count()).where(wanted).group_by(members.c.inhibitor)
            )
        )
    return {key: min(counts.get(key, 0), MANY + 1) for key in several}


@_one_by_one
def muted_by(connection: sa.Connection, key: Any) -> Any:
    """``(inhibition key, after, limit)``: the ids of the next alerts that it mutes."""
    inhibitor, after, limit = key
    rows = connection.execute(
        sa.select(members.c.alert_id)
        .where(members.c.inhibitor == inhibitor, members.c.alert_id > after)
        .distinct()
        .order_by(members.c.alert_id)
        .limit(limit)
    )
    return list(rows.scalars())


@_one_by_one
def first_due(connection: sa.Connection, key: int) -> Any:
    """See :data:`router.core.conversations.FIRST_DUE`."""
    first = sa.select(sa.func.min(members.c.at)).where(members.c.conversation_id == key)
    return connection.execute(first).scalar()


@_one_by_one
def one_ended(connection: sa.Connection, key: int) -> Any:
    """See :data:`router.core.conversations.ONE_ENDED`."""
    rows = connection.execute(
        sa.select(members.c.id)
        .where(members.c.conversation_id == key, members.c.notified == RESOLVED)
        .order_by(members.c.id)
        .limit(1)
    )
    return list(rows.scalars())


@_one_by_one
def members_of(connection: sa.Connection, key: Any) -> Any:
    """``(conversation, after, limit)``: the ids of its next members."""
    conversation, after, limit = key
    rows = connection.execute(
        sa.select(members.c.id)
        .where(members.c.conversation_id == conversation, members.c.id > after)
        .order_by(members.c.id)
        .limit(limit)
    )
    return list(rows.scalars())


@_one_by_one
def left_open(connection: sa.Connection, key: Any) -> Any:
    """``(conversation, limit)``: the ids of members that are not marked yet, though it is closing."""
    conversation, limit = key
    rows = connection.execute(
        sa.select(members.c.id)
        .where(members.c.conversation_id == conversation, members.c.open == sa.literal_column("1"))
        .limit(limit)
    )
    return list(rows.scalars())


QUESTIONS: dict[str, Question] = {
    "next due": next_due,
    "next time": next_time,
    "surge": surge,
    "due after": due_after,
    "standing": standing,
    OBSOLETE_IN: obsolete_in,
    FIRED_SINCE: fired_since,
    MANY_REPORTED: many_reported,
    "firing of": firing_of,
    "marked": marked,
    "unheard": unheard,
    "doubted": doubted,
    "lasting doubts": lasting_doubts,
    "still notified": still_notified,
    "next opening": next_opening,
    FIRST_DUE: first_due,
    MANY_MUTED: many_muted,
    "muted by": muted_by,
    ONE_ENDED: one_ended,
    "members of": members_of,
    "left open": left_open,
}


def answer(connection: sa.Connection, state: State) -> None:
    """Whatever is asked."""
    asked, state.asked = state.asked, {}
    for question, keys in asked.items():
        for key, found in QUESTIONS[question](connection, keys).items():
            state.answers[question, key] = found
