"""Lists alerts: the most urgent first, a page at a time, with how many there are.

A page reads a bounded number of alerts. If the bound is reached before the page is full, the page says so, and its cursor
continues the search.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.decide import Severity
from router.store import counters
from router.store.alert_filters import AlertFilter, LabelCheck
from router.store.alert_order import Stage, stages, stages_from
from router.store.alert_rows import ListedAlert, listed_alerts
from router.store.counters import CounterKind
from router.store.schema import alert_labels, alerts
from router.store.totals import MAX_COUNTED, Total

Position = tuple[str, int]
"""The stage and the id of the last alert that a page looked at."""
MAX_FEW = 2_000
"""An index that finds at most so many alerts is read whole, and the alerts are sorted in memory."""
_MAX_WINDOW = 20_000
"""How many entries of the index of a stage a page reads at most, if conditions leave some out."""
_MAX_CHECKED = 4_000
"""How many alerts a page reads the labels of at most."""
_MAX_COUNT_WINDOW, _MAX_COUNT_WINDOW_OF_DESTINATION = 50_000, 10_000
_MAX_COUNT_CHECKED = 2_000
_IDS_PER_QUERY = 250


@dataclass(frozen=True, slots=True)
class AlertPage:
    """A page of a list of alerts."""

    alerts: tuple[ListedAlert, ...]
    next: Position | None
    """Where the next page continues; None: this is the last page."""
    is_partial: bool
    """The search ended at the bound of its work: there may be more alerts for this page."""
    total: Total


@dataclass(frozen=True, slots=True)
class _Walk:
    ids: list[int]
    next: Position | None
    is_partial: bool = False


def list_alerts(
    connection: sa.Connection, which: AlertFilter, severity: Severity, after: Position | None, limit: int
) -> AlertPage:
    """Return a page of alerts: what fires before what ended, the most urgent level first, then what was first seen last.

    :param severity: the levels of the rules in force
    :param after: the position of this page, as the previous page returned it; None: the first page
    """
    several = sorted_few(connection, which, severity)
    if several is not None:
        found, total = _page_of(several, severity, after, limit), Total(len(several))
    else:
        found = _walk(connection, which, severity, after, limit)
        if after is None and (found.next is None or found.is_partial):
            total = Total(len(found.ids), is_exact=found.next is None)
        else:
            total = _total(connection, which, severity)
    # Two labels may have the same entry in the index.
    listed = [each for each in listed_alerts(connection, found.ids) if which.fits_labels(each.labels)]
    return AlertPage(tuple(listed), found.next, found.is_partial, total)


def sorted_few(
    connection: sa.Connection, which: AlertFilter, severity: Severity
) -> list[tuple[Stage, int]] | None:
    """Return all alerts of a list, in its order, if an index finds few candidates; None: there are too many."""
    ids = _few_ids(connection, which)
    return None if ids is None else _sorted_ids(connection, which, severity, ids)


def _few_ids(connection: sa.Connection, which: AlertFilter) -> list[int] | None:
    """Return the alerts with the fingerprint, or with the rarest of the labels; None: these are too many to be sorted."""
    queries = []
    if which.fingerprint is not None:
        queries.append(sa.select(alerts.c.id).where(alerts.c.fingerprint == which.fingerprint))
    queries += [
        sa.select(alert_labels.c.alert_id).where(alert_labels.c.label == each) for each in which.label_hashes
    ]
    for query in queries:
        ids = list(connection.execute(query.limit(MAX_FEW + 1)).scalars())
        if len(ids) <= MAX_FEW:
            return ids
    return None


def _sorted_ids(
    connection: sa.Connection, which: AlertFilter, severity: Severity, ids: Sequence[int]
) -> list[tuple[Stage, int]] | None:
    """Return which of these alerts are in the list, in its order; None: their labels are too large to be read for that."""
    wanted = stages(connection, severity, which.status, which.levels)
    order = {(each.level is not None, each.level): number for number, each in enumerate(wanted)}
    found: list[tuple[int, int]] = []
    check = LabelCheck(connection, which, MAX_FEW)
    for first in range(0, len(ids), _IDS_PER_QUERY):
        some = ids[first : first + _IDS_PER_QUERY]
        rows = connection.execute(
            sa.select(alerts.c.id, alerts.c.status, alerts.c.level).where(
                alerts.c.id.in_(some), *which.conditions(alerts.c.id)
            )
        ).all()
        stage_of = {}
        for id_, status, level in rows:
            is_firing = status == "firing"
            number = order.get((is_firing, level if is_firing else None))
            if number is not None and (not which.levels or level in which.levels):
                stage_of[id_] = number
        checked = list(check.fitting(list(stage_of)))
        if len(checked) < len(stage_of):
            return None
        found += [(stage_of[id_], -id_) for id_, fits in checked if fits]
    return [(wanted[number], -negative) for number, negative in sorted(found)]


def _page_of(
    several: Sequence[tuple[Stage, int]], severity: Severity, after: Position | None, limit: int
) -> _Walk:
    if after is not None:
        rest = stages_from([stage for stage, _ in several], after[0], severity)
        several = [
            (stage, id_)
            for stage, id_ in several
            if stage in rest and (stage.name != after[0] or id_ < after[1])
        ]
    page = several[:limit]
    ids = [id_ for _, id_ in page]
    return _Walk(ids, (page[-1][0].name, ids[-1]) if len(several) > limit else None)


def _walk(
    connection: sa.Connection, which: AlertFilter, severity: Severity, after: Position | None, limit: int
) -> _Walk:
    several = stages(connection, severity, which.status, which.levels)
    if after is not None:
        several = stages_from(several, after[0], severity)
    check, window = LabelCheck(connection, which, _MAX_CHECKED), _MAX_WINDOW
    found: list[tuple[Stage, int]] = []
    for stage in several:
        last = after[1] if after is not None and stage.name == after[0] else None
        while True:
            begin = last
            count = limit + 1 - len(found) if not which.is_about_labels else _IDS_PER_QUERY
            query = stage.ids(begin, window, which.conditions).limit(count)
            ids = list(connection.execute(query).scalars())
            for id_, fits in check.fitting(ids):
                last = id_
                if fits:
                    found.append((stage, id_))
                    if len(found) > limit:
                        return _ended(found[:limit])
            if check.left <= 0:
                return _Walk([id_ for _, id_ in found], (stage.name, last or 0), is_partial=True)
            if len(ids) < count:
                break
        oldest, seen = _end_of(connection, stage, begin, window)
        if seen >= window:
            return _Walk([id_ for _, id_ in found], (stage.name, oldest), is_partial=True)
        window -= seen
    return _Walk([id_ for _, id_ in found], None)


def _ended(found: Sequence[tuple[Stage, int]]) -> _Walk:
    stage, id_ = found[-1]
    return _Walk([each for _, each in found], (stage.name, id_))


def _end_of(connection: sa.Connection, stage: Stage, last: int | None, window: int) -> tuple[int, int]:
    """Return the oldest id of a window, and how many ids it has. :param last: where it begins"""
    seen = stage.window(last, window).subquery()
    oldest, count = connection.execute(sa.select(sa.func.min(seen.c.id), sa.func.count())).one()
    return oldest or 0, count


def _total(connection: sa.Connection, which: AlertFilter, severity: Severity) -> Total:
    """Return how many alerts a list has: exact up to :data:`router.store.totals.MAX_COUNTED`, unless too many would have to
    be read for that.
    """
    if which == AlertFilter():
        firing = counters.read_counters(connection, CounterKind.ALERT)
        return Total(firing.get((CounterKind.ALERT, "", "firing"), 0))
    several = stages(connection, severity, which.status, which.levels)
    count = _count_checked if which.is_about_labels else _count
    return count(connection, which, several)


def _count(connection: sa.Connection, which: AlertFilter, several: Sequence[Stage]) -> Total:
    count, is_exact = 0, True
    most = _MAX_COUNT_WINDOW if which.destination is None else _MAX_COUNT_WINDOW_OF_DESTINATION
    for stage in several:
        query = stage.ids(None, most, which.conditions).limit(MAX_COUNTED + 1 - count)
        some = query.subquery()
        count += int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
        if count > MAX_COUNTED:
            return Total(MAX_COUNTED, is_exact=False)
        _, seen = _end_of(connection, stage, None, most + 1)
        is_exact = is_exact and seen <= most
    return Total(count, is_exact)


def _count_checked(connection: sa.Connection, which: AlertFilter, several: Sequence[Stage]) -> Total:
    check, count = LabelCheck(connection, which, _MAX_COUNT_CHECKED), 0
    for stage in several:
        query = stage.ids(None, _MAX_COUNT_CHECKED, which.conditions).limit(_MAX_COUNT_CHECKED)
        ids = list(connection.execute(query).scalars())
        for first in range(0, len(ids), _IDS_PER_QUERY):
            count += sum(fits for _, fits in check.fitting(ids[first : first + _IDS_PER_QUERY]))
        _, seen = _end_of(connection, stage, None, _MAX_COUNT_CHECKED)
        if check.left <= 0 or seen >= _MAX_COUNT_CHECKED:
            return Total(count, is_exact=False)
    return Total(count)
