"""Lists the alert groups that fire: the most urgent first, a page at a time.

A group stands where its most urgent alert stands; among groups of one level, the one that was first seen last comes first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.decide import Severity
from router.store.alert_filters import AlertFilter, LabelCheck
from router.store.alert_list import sorted_few
from router.store.alert_order import Stage, stages, stages_from
from router.store.group_contents import FiringGroup, read_firing_groups
from router.store.schema import IS_FIRING, alerts
from router.store.schema import groups as group_rows
from router.store.totals import MAX_COUNTED, Total

GroupPosition = tuple[str, int, int]
"""The stage, the group, and the alert of the group that a page looked at last; alert 0: the whole group."""
_MAX_SKIPPED = 1_000
"""How many groups a page passes over at most, because they stand further up."""
_MAX_WINDOW = 20_000
_MAX_CHECKED = 2_000
_MAX_EARLIER_CHECKED = 100
_MAX_COUNT_WINDOW = 20_000
_MAX_COUNT_STEPS = 1_000
"""So many groups are counted one by one, however many alerts they have; of more groups the alerts are read."""
_MAX_COUNT_CHECKED = 4_000
_IDS_PER_QUERY = 250
_FIRST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class GroupPage:
    """A page of the list of groups."""

    groups: tuple[FiringGroup, ...]
    next: GroupPosition | None
    is_partial: bool
    """See :attr:`router.store.alert_list.AlertPage.is_partial`."""
    total: Total


@dataclass(frozen=True, slots=True)
class _WalkedGroups:
    groups: list[int]
    next: GroupPosition | None
    is_partial: bool = False


def list_groups(
    connection: sa.Connection, which: AlertFilter, severity: Severity, after: GroupPosition | None, limit: int
) -> GroupPage:
    """Return a page of the groups that have an alert which fires and fits.

    :param severity: the levels of the rules in force
    :param after: the position of this page, as the previous page returned it; None: the first page
    """
    several = stages(connection, severity, "firing")
    chosen = [each for each in several if not which.levels or each.level in which.levels]
    few = sorted_few(connection, which, severity)
    if few is not None:
        walk, total = _page_of_few(connection, few, severity, after, limit)
    elif which == AlertFilter(levels=which.levels):
        walk = _skip(connection, chosen, severity, after, limit)
        total = _count_steps(connection, chosen) or _count(connection, which, chosen)
    else:
        walk = _GroupWalk(connection, which, chosen, limit).walk(severity, after)
        if after is None and (walk.next is None or walk.is_partial):
            total = Total(len(walk.groups), is_exact=walk.next is None)
        else:
            total = _count(connection, which, chosen)
    return GroupPage(read_firing_groups(connection, several, walk.groups), walk.next, walk.is_partial, total)


def _page_of_few(
    connection: sa.Connection,
    few: Sequence[tuple[Stage, int]],
    severity: Severity,
    after: GroupPosition | None,
    limit: int,
) -> tuple[_WalkedGroups, Total]:
    ids = [id_ for _, id_ in few]
    group_of: dict[int, int] = {}
    for first in range(0, len(ids), _IDS_PER_QUERY):
        some = alerts.c.id.in_(ids[first : first + _IDS_PER_QUERY])
        group_of |= dict(
            map(tuple, connection.execute(sa.select(alerts.c.id, alerts.c.group_id).where(some)))
        )
    stage_of: dict[int, Stage] = {}
    for stage, id_ in few:
        if id_ in group_of:
            stage_of.setdefault(group_of[id_], stage)
    order = list(dict.fromkeys(stage for stage, _ in few))
    found = sorted(stage_of, key=lambda group: (order.index(stage_of[group]), -group))
    total = Total(len(found))
    if after is not None:
        rest = stages_from(order, after[0], severity)
        found = [
            each
            for each in found
            if stage_of[each] in rest and (stage_of[each].name != after[0] or each < after[1])
        ]
    page = found[:limit]
    more = (stage_of[page[-1]].name, page[-1], 0) if len(found) > limit else None
    return _WalkedGroups(page, more), total


def _skip(
    connection: sa.Connection,
    several: Sequence[Stage],
    severity: Severity,
    after: GroupPosition | None,
    limit: int,
) -> _WalkedGroups:
    """Walk from group to group. Each step reads one entry of the index, however many alerts a group has."""
    rest = several if after is None else stages_from(several, after[0], severity)
    found: list[tuple[Stage, int]] = []
    skipped = 0
    for stage in rest:
        below = after[1] if after is not None and stage.name == after[0] else _FIRST
        earlier = _earlier(several, stage)
        while True:
            count = limit + 1 - len(found)
            ids = _next_groups(connection, stage, below, count)
            further_up = _firing_at(connection, ids, earlier)
            for id_ in ids:
                below = id_
                if id_ in further_up:
                    skipped += 1
                    continue
                found.append((stage, id_))
                if len(found) > limit:
                    last, group = found[-2]
                    return _WalkedGroups([each for _, each in found[:limit]], (last.name, group, 0))
            if len(ids) < count:
                break
            if skipped >= _MAX_SKIPPED:
                return _WalkedGroups([each for _, each in found], (stage.name, below, 0), is_partial=True)
    return _WalkedGroups([each for _, each in found], None)


def _next_groups(connection: sa.Connection, stage: Stage, below: int, count: int) -> list[int]:
    """Return the next groups with alerts that fire at a level, in descending order."""
    values = {"level": stage.level, "below": below, "groups": count}
    return list(connection.execute(_NEXT_GROUPS, values).scalars())


def _select_next_groups() -> sa.Select[int]:
    at_level = IS_FIRING, alerts.c.level == sa.bindparam("level")
    below = alerts.c.group_id < sa.bindparam("below")
    first = sa.select(sa.func.max(alerts.c.group_id).label("id")).where(*at_level, below)
    found = first.cte("found", recursive=True)
    after = (
        sa.select(sa.func.max(alerts.c.group_id))
        .where(*at_level, alerts.c.group_id < found.c.id)
        .scalar_subquery()
    )
    found = found.union_all(sa.select(after).where(found.c.id.is_not(None)))
    return sa.select(found.c.id).where(found.c.id.is_not(None)).limit(sa.bindparam("groups"))


_NEXT_GROUPS = _select_next_groups()
"""Built once, because that takes longer than running it."""


def _earlier(several: Sequence[Stage], stage: Stage) -> list[str]:
    return [each.level for each in several[: several.index(stage)] if each.level is not None]


def _firing_at(connection: sa.Connection, ids: Sequence[int], levels: Sequence[str]) -> set[int]:
    """Return which of these groups have an alert that fires at one of these levels."""
    if not ids or not levels:
        return set()
    fires = sa.exists().where(IS_FIRING, alerts.c.level.in_(levels), alerts.c.group_id == group_rows.c.id)
    return set(
        connection.execute(sa.select(group_rows.c.id).where(group_rows.c.id.in_(ids), fires)).scalars()
    )


class _GroupWalk:
    """Walks from alert to alert, and passes over the rest of a group as soon as one of its alerts fits."""

    def __init__(
        self, connection: sa.Connection, which: AlertFilter, several: Sequence[Stage], limit: int
    ) -> None:
        self._connection, self._which, self._several, self._limit = connection, which, several, limit
        self._check = LabelCheck(connection, which, _MAX_CHECKED)
        self._window = _MAX_WINDOW
        self._found: list[tuple[Stage, int]] = []

    def walk(self, severity: Severity, after: GroupPosition | None) -> _WalkedGroups:
        rest = self._several if after is None else stages_from(self._several, after[0], severity)
        for stage in rest:
            last = (after[1], after[2]) if after is not None and stage.name == after[0] else (_FIRST, 0)
            stopped_at = self._walk_stage(stage, last)
            groups = [each for _, each in self._found[: self._limit]]
            if len(self._found) > self._limit:
                of_last, group = self._found[self._limit - 1]
                return _WalkedGroups(groups, (of_last.name, group, 0))
            if stopped_at is not None:
                return _WalkedGroups(groups, (stage.name, *stopped_at), is_partial=True)
        return _WalkedGroups([each for _, each in self._found], None)

    def _walk_stage(self, stage: Stage, last: tuple[int, int]) -> tuple[int, int] | None:
        """Return where the walk stopped at the bound of its work; None: at the end of the stage, or the page is full."""
        earlier = _earlier(self._several, stage)
        while True:
            window = _window(stage, last, self._window)
            seen = window.subquery()
            fitting = sa.select(seen).where(*self._which.conditions(seen.c.id))
            order = seen.c.group_id.desc(), seen.c.id.desc()
            rows = self._connection.execute(fitting.order_by(*order).limit(_IDS_PER_QUERY)).all()
            group_of: dict[int, int] = dict(map(tuple, rows))
            for id_, fits in self._check.fitting(list(group_of)):
                if last == (group_of[id_], 0):
                    continue  # the group is on the page already
                last = (group_of[id_], id_)
                if fits:
                    last = (group_of[id_], 0)
                    if not self._stands_further_up(group_of[id_], earlier):
                        self._found.append((stage, group_of[id_]))
                        if len(self._found) > self._limit:
                            return None
            if self._check.left <= 0:
                return last
            if len(rows) < _IDS_PER_QUERY:
                break
        ids = self._connection.execute(window.with_only_columns(alerts.c.group_id, alerts.c.id)).all()
        if len(ids) >= self._window:
            group, id_ = ids[-1]
            return min(last, (group, id_))
        self._window -= len(ids)
        return None

    def _stands_further_up(self, group: int, levels: Sequence[str]) -> bool:
        if not levels:
            return False
        of_group = IS_FIRING, alerts.c.level.in_(levels), alerts.c.group_id == group
        query = sa.select(alerts.c.id).where(*of_group, *self._which.conditions(alerts.c.id))
        ids = list(self._connection.execute(query.limit(_MAX_EARLIER_CHECKED)).scalars())
        check = LabelCheck(self._connection, self._which, _MAX_EARLIER_CHECKED)
        return any(fits for _, fits in check.fitting(ids))


def _window(stage: Stage, last: tuple[int, int], limit: int) -> sa.Select[int, int]:
    position = sa.tuple_(alerts.c.group_id, alerts.c.id) < sa.tuple_(*map(sa.literal, last))
    return (
        sa.select(alerts.c.id, alerts.c.group_id)
        .where(IS_FIRING, alerts.c.level == stage.level, position)
        .order_by(alerts.c.group_id.desc(), alerts.c.id.desc())
        .limit(limit)
    )


def _count_steps(connection: sa.Connection, several: Sequence[Stage]) -> Total | None:
    """Return how many groups fire; None: very many."""
    found: set[int] = set()
    for stage in several:
        ids = _next_groups(connection, stage, _FIRST, _MAX_COUNT_STEPS + 1)
        found.update(ids)
        if len(ids) > _MAX_COUNT_STEPS:
            return None
    return Total(len(found))


def _count(connection: sa.Connection, which: AlertFilter, several: Sequence[Stage]) -> Total:
    """Return how many groups a list has: exact, unless too many alerts would have to be read for that."""
    most = _MAX_COUNT_CHECKED if which.is_about_labels else _MAX_COUNT_WINDOW
    levels = [each.level for each in several]
    seen = (
        sa.select(alerts.c.id, alerts.c.group_id)
        .where(IS_FIRING, alerts.c.level.in_(levels))
        .order_by(alerts.c.level, alerts.c.group_id, alerts.c.id)
        .limit(most)
        .subquery()
    )
    fitting = sa.select(seen).where(*which.conditions(seen.c.id))
    read = connection.execute(sa.select(sa.func.count()).select_from(seen)).scalar_one()
    if not which.is_about_labels:
        distinct = sa.select(sa.func.count(fitting.subquery().c.group_id.distinct()))
        count = int(connection.execute(distinct).scalar_one())
        return Total(min(count, MAX_COUNTED), read < most and count <= MAX_COUNTED)
    group_of: dict[int, int] = dict(map(tuple, connection.execute(fitting)))
    check, found, ids = LabelCheck(connection, which, most), set(), list(group_of)
    for first in range(0, len(ids), _IDS_PER_QUERY):
        found |= {group_of[id_] for id_, fits in check.fitting(ids[first : first + _IDS_PER_QUERY]) if fits}
    return Total(len(found), read < most and check.left > 0)
