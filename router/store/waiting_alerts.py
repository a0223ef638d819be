"""Lists what waits: each firing alert at each destination that was not notified of it, the most urgent first."""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.decide import Severity
from router.model import Labels, Millis
from router.store.alert_order import Stage, stages, stages_from
from router.store.alert_rows import DestinationState, ListedAlert, listed_alerts, states_of_members
from router.store.schema import WAITS, alerts, conversations, inhibitors, members
from router.store.totals import MAX_COUNTED, Total, count_rows

WaitingPosition = tuple[str, int, int]
"""The stage, the alert and the member that a page looked at last."""
MAX_FEW = 2_000
"""If no more alerts wait, they are read whole and sorted. Otherwise the firing alerts are walked through."""
_MAX_WINDOW = 5_000
"""How many firing alerts a page looks at, at most."""
_FATES = {"send": "pending", "hold": "held", "given_up": "dead"}
"""The fate of a decision, where it has another name."""
_DECISIONS = {fate: decision for decision, fate in _FATES.items()}
_ALERTS_PER_QUERY = 250
_MAX_OPENINGS = 5
_MAX_SUMMARIZED = 4_000
_MAX_INHIBITORS_COMPARED = 50


@dataclass(frozen=True, slots=True)
class WaitingFilter:
    """Which rows of the list: those that meet all conditions that are given."""

    destination: str | None = None
    fate: str | None = None
    """``pending``, ``held``, ``inhibited``, ``digest`` or ``dead``."""
    levels: tuple[str, ...] = ()
    """Empty: every level."""

    @property
    def conditions(self) -> list[sa.ColumnElement[bool]]:
        found = []
        if self.destination is not None:
            found.append(conversations.c.destination == self.destination)
        if self.fate is not None:
            found.append(members.c.decision == _DECISIONS.get(self.fate, self.fate))
        return found


@dataclass(frozen=True, slots=True)
class WaitingAlert:
    """An alert that a destination was not notified of."""

    alert: ListedAlert
    state: DestinationState


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """A page of the list."""

    rows: tuple[WaitingAlert, ...]
    next: WaitingPosition | None
    is_partial: bool
    """See :attr:`router.store.alert_list.AlertPage.is_partial`."""
    total: Total


@dataclass(frozen=True, slots=True)
class InhibitingAlert:
    """An alert that fires and mutes others."""

    id: int
    labels: Labels
    level: str
    starts_at: Millis | None


@dataclass(frozen=True, slots=True)
class WaitingCount:
    """How many alerts wait for the same reason, over all destinations."""

    fate: str
    count: int
    until: Millis | None
    """Of holds and digests: until when these wait (epoch ms)."""


@dataclass(frozen=True, slots=True)
class WaitingSummary:
    """What waits, in numbers."""

    counts: tuple[WaitingCount, ...]
    total: Total
    is_whole: bool
    """False: more wait than :attr:`counts` are about, which are then the oldest."""


def fate_of(state: DestinationState) -> str:
    """Return the fate of an alert that waits."""
    return _FATES.get(state.decision, state.decision)


_JOINED = members.join(conversations, conversations.c.id == members.c.conversation_id)


def list_waiting(
    connection: sa.Connection,
    which: WaitingFilter,
    severity: Severity,
    after: WaitingPosition | None,
    limit: int,
) -> WaitingPage:
    """Return a page.

    :param severity: the levels of the rules in force
    :param after: the position of this page, as the previous page returned it; None: the first page
    """
    several = stages(connection, severity, "firing", which.levels)
    rest = several if after is None else stages_from(several, after[0], severity)
    waits = sa.select(members.c.id).where(WAITS).order_by(members.c.id)
    if count_rows(connection, waits.limit(MAX_FEW + 1)).count <= MAX_FEW:
        found, is_partial, position = _sorted(connection, which, several), False, None
        total = Total(len(found))
        if after is not None:
            found = [
                each
                for each in found
                if each[0] in rest and (each[0].name != after[0] or each[1:] < after[1:])
            ]
        more = len(found) > limit
        found = found[:limit]
    else:
        found, position = _walk(connection, which, rest, after, limit)
        more, is_partial = len(found) > limit, position is not None
        found = found[:limit]
        total = _total(connection, which, several)
    if more:
        position = (found[-1][0].name, *found[-1][1:])
    return WaitingPage(_read(connection, [member for *_, member in found]), position, is_partial, total)


def waiting_summary(connection: sa.Connection) -> WaitingSummary:
    """Return how many alerts wait, by fate, and for holds and digests by time, the next first."""
    waits = sa.select(members.c.id).where(WAITS).order_by(members.c.id)
    total = count_rows(connection, waits)
    some = waits.limit(_MAX_SUMMARIZED).subquery()
    until = sa.case(
        (members.c.decision.in_(("hold", "digest")), sa.func.coalesce(members.c.at, conversations.c.slot))
    )
    rows = connection.execute(
        sa.select(members.c.decision, until.label("until"), sa.func.count())
        .select_from(some.join(_JOINED, members.c.id == some.c.id))
        .group_by(members.c.decision, until)
        .order_by(members.c.decision, until)
    ).all()
    counts = [WaitingCount(_FATES.get(decision, decision), count, at) for decision, at, count in rows]
    return WaitingSummary(tuple(_joined_tail(counts)), total, total.count <= _MAX_SUMMARIZED)


def _joined_tail(counts: Sequence[WaitingCount]) -> list[WaitingCount]:
    """Return the counts of each fate; of those with many times, the later ones together, without a time."""
    found: list[WaitingCount] = []
    for fate in dict.fromkeys(each.fate for each in counts):
        several = [each for each in counts if each.fate == fate]
        found += several[:_MAX_OPENINGS]
        if later := sum(each.count for each in several[_MAX_OPENINGS:]):
            found.append(WaitingCount(fate, later, None))
    return found


def inhibiting_alerts(
    connection: sa.Connection, states: Sequence[DestinationState]
) -> dict[int, InhibitingAlert]:
    """Return an alert that mutes each of these members, by member. Those whose inhibitor just ended are left out."""
    muted = [state.member for state in states if state.inhibitor is not None]
    if not muted:
        return {}
    # Two alerts that match both sides of a rule don't mute each other, so an alert that matches one side is preferred.
    some = (
        sa.select(inhibitors.c.alert_id, inhibitors.c.two_sided)
        .where(inhibitors.c.key == members.c.inhibitor, inhibitors.c.alert_id != members.c.alert_id)
        .order_by(inhibitors.c.alert_id)
        .limit(_MAX_INHIBITORS_COMPARED)
        .correlate(members)
        .subquery()
    )
    one = sa.select(some.c.alert_id).order_by(some.c.two_sided, some.c.alert_id).limit(1).scalar_subquery()
    rows = connection.execute(sa.select(members.c.id, one).where(members.c.id.in_(muted))).all()
    found = {member: alert for member, alert in rows if alert is not None}
    listed = {each.id: each for each in listed_alerts(connection, sorted(set(found.values())))}
    return {
        member: InhibitingAlert(alert, row.labels, row.level, row.starts_at)
        for member, alert in found.items()
        if (row := listed.get(alert)) is not None
    }


Found = tuple[Stage, int, int]
"""The stage, the alert, and the member."""


def _sorted(connection: sa.Connection, which: WaitingFilter, several: Sequence[Stage]) -> list[Found]:
    """Return all rows of the list."""
    stage_of = {each.level: (number, each) for number, each in enumerate(several)}
    query = (
        sa.select(members.c.id, members.c.alert_id, alerts.c.level)
        .select_from(_JOINED.join(alerts, alerts.c.id == members.c.alert_id))
        .where(WAITS, *which.conditions)
    )
    rows = [
        (stage_of[level][0], -alert, -member)
        for member, alert, level in connection.execute(query)
        if level in stage_of
    ]
    return [(several[number], -alert, -member) for number, alert, member in sorted(rows)]


def _walk(
    connection: sa.Connection,
    which: WaitingFilter,
    rest: Sequence[Stage],
    after: WaitingPosition | None,
    limit: int,
) -> tuple[list[Found], WaitingPosition | None]:
    """Return rows, one more than the limit if there are more, and where the walk stopped at the bound of its work."""
    found: list[Found] = []
    left = _MAX_WINDOW
    for stage in rest:
        begins = after if after is not None and stage.name == after[0] else None
        # Members of the alert at which the last page ended may be left.
        last = None if begins is None else begins[1] + 1
        while True:
            count = min(_ALERTS_PER_QUERY, left)
            ids = list(connection.execute(stage.window(last, count)).scalars())
            rows = _waiting_members(connection, which, ids)
            found += [
                (stage, alert, member)
                for alert, member in rows
                if begins is None or (alert, member) < begins[1:]
            ]
            if len(found) > limit:
                return found, None
            left -= len(ids)
            last = ids[-1] if ids else last
            if left <= 0:
                return found, (stage.name, last or 0, 0)
            if len(ids) < count:
                break
    return found, None


def _waiting_members(
    connection: sa.Connection, which: WaitingFilter, ids: Sequence[int]
) -> list[tuple[int, int]]:
    """Return what waits of these alerts, in the order of the list: alert and member."""
    query = (
        sa.select(members.c.alert_id, members.c.id)
        .select_from(_JOINED)
        .where(members.c.alert_id.in_(ids), WAITS, *which.conditions)
    )
    return sorted(((alert, member) for alert, member in connection.execute(query)), reverse=True)


def _total(connection: sa.Connection, which: WaitingFilter, several: Sequence[Stage]) -> Total:
    waits = sa.select(members.c.id).where(WAITS).order_by(members.c.id)
    if which == WaitingFilter():
        return count_rows(connection, waits)
    some = waits.limit(MAX_COUNTED).subquery()
    query = (
        sa.select(members.c.id)
        .select_from(some.join(_JOINED, members.c.id == some.c.id))
        .where(*which.conditions)
    )
    if which.levels:
        levels = [each.level for each in several]
        query = query.join(alerts, alerts.c.id == members.c.alert_id).where(alerts.c.level.in_(levels))
    return Total(count_rows(connection, query).count, count_rows(connection, waits).is_exact)


def _read(connection: sa.Connection, ids: Sequence[int]) -> tuple[WaitingAlert, ...]:
    states = {each.member: each for each in states_of_members(connection, ids)}
    wanted = dict.fromkeys(states[id_].alert for id_ in ids if id_ in states)
    listed = {each.id: each for each in listed_alerts(connection, list(wanted))}
    return tuple(
        WaitingAlert(listed[states[id_].alert], states[id_])
        for id_ in ids
        if id_ in states and states[id_].alert in listed
    )
