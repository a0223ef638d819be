"""The order of lists of alerts: what fires before what ended; of what fires, the most urgent level first; then the newest.

A list is walked in stages. Each stage is a range of an index, so that a page reads few rows wherever it begins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.decide import Severity
from router.store.schema import IS_FIRING, alerts

_FIRING = "firing "
_RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Stage:
    """Alerts that stand together in a list: those of one level that fire, or all that ended."""

    name: str
    """It stands in cursors."""
    level: str | None
    """None: what ended."""
    levels: tuple[str, ...] = ()
    """Of what ended: only these levels; empty: all."""

    def ids(
        self, after: int | None, window: int, conditions: Callable[[sa.ColumnElement[int]], Sequence[sa.ColumnElement[bool]]]
    ) -> sa.Select[int]:  # fmt: skip
        """Return the query for the ids of this stage, the newest first.

        :param after: only smaller ids; None: all
        :param window: how many entries of the index are read
        :param conditions: makes more conditions for the column of the id
        """
        seen = self.window(after, window).subquery()
        query = sa.select(seen.c.id).where(*conditions(seen.c.id)).order_by(seen.c.id.desc())
        if self.level is None:
            query = query.where(seen.c.status == _RESOLVED)
            if self.levels:
                query = query.where(seen.c.level.in_(self.levels))
        return query

    def window(self, after: int | None, limit: int) -> sa.Select[Any, Any, Any, Any]:
        """Return the query for the ids that :meth:`ids` looks at: a range of an index, or of the table for what ended."""
        columns = (alerts.c.id,) if self.level is not None else (alerts.c.id, alerts.c.status, alerts.c.level)
        query: sa.Select[Any, Any, Any, Any] = sa.select(*columns).order_by(alerts.c.id.desc()).limit(limit)
        if self.level is not None:
            query = query.where(IS_FIRING, alerts.c.level == self.level)
        return query if after is None else query.where(alerts.c.id < after)


def firing_levels(connection: sa.Connection) -> list[str]:
    """Return the levels of what fires, sorted by name. It reads one entry of an index for each level."""
    return list(connection.execute(_FIRING_LEVELS).scalars())


def _firing_levels() -> sa.Select[str]:
    found = (
        sa.select(sa.func.min(alerts.c.level).label("level")).where(IS_FIRING).cte("found", recursive=True)
    )
    after = sa.select(sa.func.min(alerts.c.level)).where(IS_FIRING, alerts.c.level > found.c.level)
    found = found.union_all(sa.select(after.scalar_subquery()).where(found.c.level.is_not(None)))
    return sa.select(found.c.level).where(found.c.level.is_not(None)).order_by(found.c.level)


_FIRING_LEVELS = _firing_levels()
"""Built once, because that takes longer than running it."""


def ordered_levels(levels: Sequence[str], severity: Severity) -> list[str]:
    """Return levels, the most urgent first. Levels that the rules no longer have come after the default level."""
    default = severity.levels.index(severity.default)

    def rank(level: str) -> tuple[int, bool, str]:
        is_known = level in severity.levels
        return severity.levels.index(level) if is_known else default, not is_known, level

    return sorted(levels, key=rank)


def stages(
    connection: sa.Connection, severity: Severity, status: str | None, levels: Sequence[str] = ()
) -> list[Stage]:
    """Return the stages of a list.

    :param status: ``firing`` or ``resolved``; None: both
    :param levels: only these; empty: all
    """
    found = []
    if status != _RESOLVED:
        known = firing_levels(connection)
        chosen = [level for level in known if not levels or level in levels]
        found = [Stage(_FIRING + level, level) for level in ordered_levels(chosen, severity)]
    return found if status == "firing" else [*found, Stage(_RESOLVED, None, tuple(levels))]


def stages_from(several: Sequence[Stage], name: str, severity: Severity) -> list[Stage]:
    """Return the stages from the one with this name on. If it is gone, because nothing fires there any more, return those
    that would follow it.
    """
    if name == _RESOLVED or not name.startswith(_FIRING):
        return [each for each in several if each.level is None]
    level = name.removeprefix(_FIRING)
    firing = [each.level for each in several if each.level is not None]
    order = ordered_levels(sorted({*firing, level}), severity)
    return [each for each in several if each.level is None or order.index(each.level) >= order.index(level)]
