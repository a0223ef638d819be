"""What a list shows of a group that fires: how many alerts fire at each level, since when, and the most urgent of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from router.model import Millis
from router.store.alert_order import Stage
from router.store.alert_rows import AlertGroup, ListedAlert, listed_alerts, read_groups
from router.store.schema import IS_FIRING, alerts

ALERTS_PER_GROUP = 5
"""How many alerts of a group a page has at most, the most urgent first."""


@dataclass(frozen=True, slots=True)
class FiringGroup:
    """A group with alerts that fire."""

    group: AlertGroup
    levels: tuple[tuple[str, int], ...]
    """How many of its alerts fire at each level, the most urgent level first."""
    since: Millis | None
    """The earliest start of an alert that fires (epoch ms); None: no start is known."""
    newest: Millis | None
    """The latest start."""
    alerts: tuple[ListedAlert, ...]
    """Its most urgent alerts, at most :data:`ALERTS_PER_GROUP`."""


def read_firing_groups(
    connection: sa.Connection, several: Sequence[Stage], ids: Sequence[int]
) -> tuple[FiringGroup, ...]:
    """Return groups in this order. Those that no longer fire are left out."""
    levels = [each.level for each in several if each.level is not None]
    counts = _levels_of(connection, levels, ids)
    rows = read_groups(connection, set(ids))
    samples = _samples(connection, levels, counts)
    return tuple(
        FiringGroup(
            rows[id_],
            tuple((level, counts[id_][level][0]) for level in levels if level in counts[id_]),
            min(starts, default=None), max(ends, default=None), samples.get(id_, ()),
        )
        for id_ in ids
        if id_ in rows and id_ in counts
        for starts in [[start for _, start, _ in counts[id_].values() if start is not None]]
        for ends in [[end for _, _, end in counts[id_].values() if end is not None]]
    )  # fmt: skip


Counts = Mapping[int, Mapping[str, tuple[int, Millis | None, Millis | None]]]
"""By group and level: how many alerts fire, the earliest and the latest start."""


_ROWS = (
    sa.select(alerts.c.group_id, alerts.c.level, alerts.c.starts_at)
    .where(
        IS_FIRING,
        alerts.c.level.in_(sa.bindparam("levels", expanding=True)),
        alerts.c.group_id.in_(sa.bindparam("ids", expanding=True)),
    )
    .subquery()
)
_START = _ROWS.c.starts_at
_LEVELS = sa.select(
    _ROWS.c.group_id, _ROWS.c.level, sa.func.count(), sa.func.min(_START), sa.func.max(_START)
).group_by(_ROWS.c.group_id, _ROWS.c.level)
"""Built once, because that takes longer than running it."""


def _levels_of(connection: sa.Connection, levels: Sequence[str], ids: Sequence[int]) -> Counts:
    found: dict[int, dict[str, tuple[int, Millis | None, Millis | None]]] = {}
    for group, level, count, first, last in connection.execute(_LEVELS, {"levels": levels, "ids": list(ids)}):
        found.setdefault(group, {})[level] = (count, first, last)
    return found


def _samples(
    connection: sa.Connection, levels: Sequence[str], counts: Counts
) -> dict[int, tuple[ListedAlert, ...]]:
    """Return the most urgent alerts of each group, and of one level those that were first seen last."""
    wanted: list[tuple[int, str, int]] = []
    for group, by_level in counts.items():
        space = ALERTS_PER_GROUP
        for level in levels:
            if level in by_level and space > 0:
                wanted.append((group, level, space))
                space -= by_level[level][0]
    ids = list(_newest(connection, wanted))
    found: dict[int, list[ListedAlert]] = {}
    for alert in listed_alerts(connection, ids):
        found.setdefault(alert.group.id, []).append(alert)
    return {group: tuple(several) for group, several in found.items()}


def _newest(connection: sa.Connection, wanted: Sequence[tuple[int, str, int]]) -> Iterable[int]:
    """Yield the newest alerts. :param wanted: each time a group, a level, and how many"""
    for first in range(0, len(wanted), _PARTS_PER_QUERY):
        some = wanted[first : first + _PARTS_PER_QUERY]
        parts = [_NEWEST.format(number=number) for number in range(len(some))]
        values = {
            f"{name}{number}": value
            for number, each in enumerate(some)
            for name, value in zip(("group", "level", "count"), each, strict=True)
        }
        yield from connection.execute(sa.text(" UNION ALL ".join(parts)), values).scalars().all()


_PARTS_PER_QUERY = 100
_NEWEST = (
    "SELECT id FROM (SELECT id FROM alerts WHERE status = 'firing' AND level = :level{number} AND group_id = :group{number}"
    " ORDER BY id DESC LIMIT :count{number}) AS newest{number}"
)
