"""What the core asks a database, answered in plain Python: the specification of ``router.store.queries``."""

from collections.abc import Callable
from itertools import chain
from typing import Any

from router.core.claimed_delivery import Share
from router.core.conversations import FIRST_DUE, ONE_ENDED
from router.core.digests import FIRED_SINCE, MANY_REPORTED, OBSOLETE_IN, UNREPORTED
from router.core.inhibited_alerts import INHIBITED_BY
from router.core.release import MANY, MANY_MUTED
from router.core.rows import (
    CLOSED,
    FIRING,
    HOLD,
    INHIBITED,
    LARGE,
    NOT_FIRING,
    OPEN,
    RESOLVED,
    AlertRow,
    ConversationRow,
)
from router.core.state import State
from router.core.storms import MAX_GROUPS_SHOWN, StormGroup, StormProgress, Surge
from router.core.upcoming import NEXT_DUE, Upcoming, Wanted
from router.model import MAX_INHIBITED_COUNTED, Change, Fate, Millis

_NOTIFIED_FATES = {Fate.DELIVERED, Fate.PENDING, Fate.DIGEST}


def answer(state: State, query: str, key: Any) -> Any:
    return QUERIES[query](state, key)


def _due(state: State, destination: str, now: Millis) -> list[ConversationRow]:
    return [row for row in state.conversations if row.destination == destination and row.is_due(now)]


def _next_due(state: State, wanted: Wanted) -> list[Upcoming]:
    there = sorted(
        Upcoming(row.priority, row.next_at, row.id, row.due_at, row.own_message)
        for row in state.conversations
        if row.destination == wanted.destination
        and row.next_at is not None
        and row.due_at is not None
        and (wanted.by is None or row.due_at <= wanted.by)
        and wanted.share.has_own_message(row)
    )
    first = [
        [each for each in there if each.priority == priority][: wanted.limit + 1] for priority in range(3)
    ]
    return list(chain.from_iterable(first))


def _next_time(state: State, key: tuple[str, Millis]) -> tuple[Millis | None, bool]:
    destination, now = key
    waiting = [
        row
        for row in state.conversations
        if row.destination == destination and row.next_at is not None and row.next_at > now
    ]
    return (
        min((row.next_at for row in waiting if row.next_at is not None), default=None),
        any(row.due_at is not None and row.due_at <= now for row in waiting),
    )


def _surge(state: State, key: Any) -> Surge:
    destination, now, storm, edits, above = key
    most = above + 1
    belongs = Share(storm).belongs
    found = _due(state, destination, now)
    others = [row for row in found if not belongs(row) and not (edits and row.own_message)]
    own = [row for row in state.conversations if row.state == OPEN and belongs(row)]
    own_due = [row for row in own if row in found]
    firing = [row for row in own if row.shown or (row.firing and row in own_due)]
    due = min(len(others), most)
    return Surge(
        due + len(firing),
        due,
        min(sum(row.urgency == 0 for row in others), most),
        len(own_due),
        sum(row.urgency == 0 and row.waiting != row.ends for row in own_due),
        sum(bool(row.known or row.ended) for row in own),
        sum(row.shown > 0 for row in own),
    )


def _due_after(state: State, key: Any) -> list[tuple[int, int]]:
    destination, now, share, after, limit = key
    found = ((row.urgency, row.id) for row in _due(state, destination, now) if not share.has_own_message(row))
    return sorted(each for each in found if each > after)[:limit]


def _standing(state: State, storm: int) -> StormProgress:
    own = [row for row in state.conversations if Share(storm).belongs(row)]
    still = [row for row in own if row.state == OPEN]
    firing = sorted((row for row in still if row.shown), key=lambda row: (row.urgency, row.id))
    groups = [(row, state.groups[row.group_id]) for row in firing if row.group_id is not None]
    return StormProgress(
        sum(row.delivery_id is None and bool(row.known or row.ended) for row in still),
        len(firing),
        sum(row.shown for row in firing),
        sum(row.state == CLOSED and row.ended > 0 for row in own),
        tuple(
            StormGroup(row.urgency, group.labels, group.external_url, row.shown, row.source)
            for row, group in groups[:MAX_GROUPS_SHOWN]
        ),
    )


def _obsolete_in(state: State, key: tuple[Millis, Millis]) -> list[Any]:
    since, until = key
    found = []
    for fate in sorted(state.fates):
        change = state.changes[fate.change_id]
        if fate.fate == Fate.OBSOLETE and since <= fate.updated_at < until and change.kind == Change.FIRED:
            reached = (each for each in state.fates.of("change", change.id) if each.fate in _NOTIFIED_FATES)
            notified = tuple(each.destination for each in reached)
            found.append((change.id, change.alert_id, fate.destination, fate.reason, notified))
    return found


def _many_reported(state: State, key: tuple[Millis, Millis]) -> bool:
    since, until = key
    held = sum(row.decision == HOLD and bool(row.open) for row in state.members)
    obsolete = sum(row.fate == Fate.OBSOLETE and since <= row.updated_at < until for row in state.fates)
    return max(held, obsolete) > LARGE


def _fired_since(state: State, key: tuple[int, Millis]) -> int:
    alert, since = key
    return sum(
        row.alert_id == alert and row.kind == Change.FIRED and row.at >= since for row in state.changes
    )


def _unreported(state: State, member: int) -> bool:
    for fate in state.fates.of("open of member", member)[:1]:
        change = state.changes[fate.change_id]
        return change.kind == Change.FIRED or fate.at > change.at
    return False


def _page(state: State, after: int, limit: int, wanted: Callable[[AlertRow], bool]) -> list[int]:
    return sorted(row.id for row in state.alerts if row.id > after and wanted(row))[:limit]


def _firing_of(state: State, key: Any) -> list[int]:
    source, after, limit = key
    return _page(
        state, after, limit, lambda row: row.status == FIRING and (source is None or row.source == source)
    )


def _marked(state: State, key: Any) -> list[int]:
    def said(row: AlertRow) -> bool:
        return row.status == FIRING and (row.withheld is not None or row.absent_at is not None)

    after, limit = key
    return _page(state, after, limit, said)


def _unheard(state: State, key: Any) -> list[int]:
    seen_up_to, now, after, limit = key

    def unheard(row: AlertRow) -> bool:
        if row.status != FIRING:
            return False
        if row.fires_until is not None and row.fires_until <= now:
            return True
        hidden = state.groups[row.group_id].truncated
        return row.seen_at <= seen_up_to and not hidden and row.about is None

    return _page(state, after, limit, unheard)


def _doubted(state: State, key: Any) -> list[int]:
    source, after, limit = key
    return _page(state, after, limit, lambda row: row.source == source and row.doubt_until is not None)


def _lasting_doubts(state: State, key: Any) -> tuple[list[int], Millis | None]:
    now, limit = key
    doubts = sorted((row.doubt_until, row.id) for row in state.alerts if row.doubt_until is not None)
    lasted = [id_ for until, id_ in doubts[:limit] if until <= now]
    return lasted, next((until for until, _ in doubts[len(lasted) :]), None)


def _still_notified(state: State, _: Any) -> frozenset[str]:
    return frozenset(row.destination for row in state.conversations if row.state != CLOSED and row.known)


def _next_opening(state: State, now: Millis) -> Millis | None:
    held = (row for row in state.members if row.decision == HOLD and row.open and row.notified in NOT_FIRING)
    return min((row.at for row in held if row.at is not None and row.at > now), default=None)


def _many_muted(state: State, key: str) -> Any:
    return min(len(state.members.of("muted", key)), MANY + 1)


def _muted_by(state: State, key: Any) -> Any:
    inhibitor, after, limit = key
    muted = {each.alert_id for each in state.members.of("muted", inhibitor)}
    return sorted(each for each in muted if each > after)[:limit]


def _inhibited_by(state: State, key: tuple[int, Millis]) -> frozenset[int]:
    id_, now = key
    destination = state.conversations[id_].destination
    shown = [
        each
        for each in state.members.of("conversation", id_)
        if each.status == FIRING and (each.notified not in NOT_FIRING or each.is_due(now))
    ]
    muted: set[int] = set()
    for source in [row for each in shown for row in state.inhibitors.of("alert", each.alert_id)]:
        two_sided = {row.alert_id for row in state.inhibitors.of("key", source.key)}
        muted |= {
            each.alert_id
            for each in state.members.of("muted", source.key)
            if each.status == FIRING
            and each.decision == INHIBITED
            and state.conversations[each.conversation_id].destination == destination
            and not (source.two_sided and each.alert_id in two_sided)
        }
    return frozenset(sorted(muted)[: MAX_INHIBITED_COUNTED + 1])


def _first_due(state: State, key: int) -> Any:
    return min(
        (each.at for each in state.members.of("conversation", key) if each.at is not None), default=None
    )


def _one_ended(state: State, key: int) -> Any:
    return [each.id for each in state.members.of("conversation", key) if each.notified == RESOLVED][:1]


def _members_of(state: State, key: Any) -> Any:
    conversation, after, limit = key
    return [each.id for each in state.members.of("conversation", conversation) if each.id > after][:limit]


def _left_open(state: State, key: Any) -> Any:
    conversation, limit = key
    return [each.id for each in state.members.of("conversation", conversation) if each.open][:limit]


QUERIES: dict[str, Callable[[State, Any], Any]] = {
    NEXT_DUE: _next_due,
    "next time": _next_time,
    "surge": _surge,
    "due after": _due_after,
    "standing": _standing,
    OBSOLETE_IN: _obsolete_in,
    FIRED_SINCE: _fired_since,
    MANY_REPORTED: _many_reported,
    UNREPORTED: _unreported,
    "firing of": _firing_of,
    "marked": _marked,
    "unheard": _unheard,
    "doubted": _doubted,
    "lasting doubts": _lasting_doubts,
    "still notified": _still_notified,
    "next opening": _next_opening,
    FIRST_DUE: _first_due,
    MANY_MUTED: _many_muted,
    "muted by": _muted_by,
    INHIBITED_BY: _inhibited_by,
    ONE_ENDED: _one_ended,
    "members of": _members_of,
    "left open": _left_open,
}
