"""Lists decisions and what became of them: the fates of the ledger, the newest first."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.model import Labels, Millis
from router.store.schema import alerts, changes, fates
from router.store.totals import MAX_COUNTED, Total, count_rows

_MAX_WINDOW = 5_000
"""How many fates a page looks at, at most."""


@dataclass(frozen=True, slots=True)
class DecisionFilter:
    """Which decisions a list has: those that meet all conditions that are given."""

    destination: str | None = None
    fate: str | None = None
    since: Millis | None = None
    """Of changes that were accepted since then (epoch ms)."""


@dataclass(frozen=True, slots=True)
class ListedDecision:
    """A fate. Times are epoch ms."""

    id: int
    at: Millis
    updated_at: Millis
    alert: int
    labels: Labels
    kind: str
    level: str
    destination: str
    fate: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class DecisionPage:
    """A page of the list."""

    rows: tuple[ListedDecision, ...]
    next: int | None
    is_partial: bool
    """See :attr:`router.store.alert_list.AlertPage.is_partial`."""
    total: Total


def list_decisions(
    connection: sa.Connection, which: DecisionFilter, before: int | None, limit: int
) -> DecisionPage:
    """Return a page. :param before: only decisions with a smaller id; None: the newest"""
    window = _window(before)
    is_whole = which == DecisionFilter()
    fitting = window.with_only_columns(fates.c.id) if is_whole else _fitting(window, which)
    ids = list(connection.execute(fitting.limit(limit + 1)).scalars())
    next_, is_partial = (ids[limit - 1], False) if len(ids) > limit else (None, False)
    if next_ is None:
        seen = window.subquery()
        oldest, count, at = connection.execute(
            sa.select(sa.func.min(seen.c.id), sa.func.count(), sa.func.min(seen.c.at))
        ).one()
        if count == _MAX_WINDOW and (which.since is None or at >= which.since):
            next_, is_partial = oldest, True
    return DecisionPage(_read(connection, ids[:limit]), next_, is_partial, _total(connection, which))


def _window(before: int | None) -> sa.Select[Any, Any, Any, Any]:
    columns = (fates.c[name] for name in ("id", "destination", "fate", "at"))
    query: sa.Select[Any, Any, Any, Any] = sa.select(*columns).order_by(fates.c.id.desc()).limit(_MAX_WINDOW)
    return query if before is None else query.where(fates.c.id < before)


def _fitting(window: sa.Select[Any, Any, Any, Any], which: DecisionFilter) -> sa.Select[int]:
    seen = window.subquery("fates")
    query = sa.select(seen.c.id).order_by(seen.c.id.desc())
    given = {"destination": which.destination, "fate": which.fate}
    for name, value in given.items():
        if value is not None:
            query = query.where(seen.c[name] == value)
    return query if which.since is None else query.where(seen.c.at >= which.since)


def _total(connection: sa.Connection, which: DecisionFilter) -> Total:
    if which == DecisionFilter():
        return count_rows(connection, sa.select(fates.c.id).order_by(fates.c.id))
    window = _window(None).limit(MAX_COUNTED)
    count = count_rows(connection, _fitting(window, which)).count
    seen = window.subquery()
    read, at = connection.execute(sa.select(sa.func.count(), sa.func.min(seen.c.at))).one()
    return Total(count, read < MAX_COUNTED or (which.since is not None and at < which.since))


_DECISIONS = (
    sa.select(
        fates.c.id, fates.c.at, fates.c.updated_at, changes.c.alert_id.label("alert"), alerts.c.labels,
        changes.c.kind, changes.c.level, fates.c.destination, fates.c.fate, fates.c.rule, fates.c.reason,
    )
    .join(changes, changes.c.id == fates.c.change_id)
    .join(alerts, alerts.c.id == changes.c.alert_id)
    .where(fates.c.id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(fates.c.id.desc())
)  # fmt: skip
"""Built once, because that takes longer than running it."""


def _read(connection: sa.Connection, ids: list[int]) -> tuple[ListedDecision, ...]:
    if not ids:
        return ()
    rows = connection.execute(_DECISIONS, {"ids": ids}).mappings()
    return tuple(ListedDecision(**{**row, "labels": json.loads(row["labels"])}) for row in rows)
