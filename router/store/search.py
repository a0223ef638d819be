"""Finds alerts by labels, fingerprint, source and status, newest first, a page at a time.

A page reads a bounded number of alerts. It may have fewer alerts than were asked for, even none, while its cursor says that
there are more to read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.decide.matchers import Matcher
from router.packed import unpack
from router.store.labels import label_hash
from router.store.schema import IS_FIRING, alert_labels, alerts

ALERTS_PER_PAGE = 50
MAX_ALERTS_PER_PAGE = 500
# The largest number of alerts that a page reads, and how many are loaded at a time.
_MAX_CANDIDATES = 2_000
_ALERTS_PER_LOAD = 250
# The alerts of a label are counted up to this bound, to find the rarest label.
_MAX_LABEL_COUNT = 10_000
_SHOWN_COLUMNS = (
    "id", "source", "fingerprint", "labels", "annotations", "status", "level", "starts_at", "ends_at", "changed_at",
    "seen_at", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Search:
    """Which alerts to find: those that match all conditions that are given."""

    matchers: tuple[Matcher, ...] = ()
    fingerprint: str | None = None
    """The sender's fingerprint."""
    source: str | None = None
    status: str | None = None
    """``firing`` or ``resolved``."""


@dataclass(frozen=True, slots=True)
class Found:
    """A page of alerts."""

    alerts: tuple[dict[str, Any], ...]
    """In the order in which they were first seen, newest first; see :func:`alert_as_dict`."""
    before: int | None
    """The cursor of the next page; None: this is the last page."""


def find_alerts(
    connection: sa.Connection, search: Search, before: int | None = None, limit: int = ALERTS_PER_PAGE
) -> Found:
    """Return a page of alerts.

    :param before: the cursor of this page, as the previous page returned it; None: the newest alerts
    :param limit: the largest number of alerts; at most :data:`MAX_ALERTS_PER_PAGE`
    """
    limit = min(max(limit, 1), MAX_ALERTS_PER_PAGE)
    ids = _candidates(connection, search, before)
    found: list[dict[str, Any]] = []
    for first in range(0, len(ids), _ALERTS_PER_LOAD):
        some = ids[first : first + _ALERTS_PER_LOAD]
        rows = {row["id"]: row for row in _rows(connection, some)}
        for id_ in some:
            if id_ in rows and _fits(search, rows[id_]):
                found.append(alert_as_dict(rows[id_]))
                if len(found) == limit:
                    more = id_ != ids[-1] or len(ids) == _MAX_CANDIDATES
                    return Found(tuple(found), id_ if more else None)
    return Found(tuple(found), ids[-1] if len(ids) == _MAX_CANDIDATES else None)


def alert_as_dict(row: Any) -> dict[str, Any]:
    """Return an alert as pages and the API show it: {id, source, fingerprint, labels, annotations, status, level,
    starts_at, ends_at, changed_at, seen_at, note}. Times are epoch ms.
    """
    return {
        **{name: row[name] for name in _SHOWN_COLUMNS},
        "labels": json.loads(row["labels"]),
        "annotations": json.loads(unpack(row["annotations"])),
    }


def _candidates(connection: sa.Connection, search: Search, before: int | None) -> list[int]:
    """Return the ids of alerts that may match, found by the most selective index."""
    hashes = [label_hash(each.name, each.value) for each in search.matchers if each.op == "=" and each.value]
    if search.fingerprint is None and hashes:
        rarest = hashes[0] if len(hashes) == 1 else min(hashes, key=lambda each: _count(connection, each))
        key = alert_labels.c.alert_id
        query = sa.select(key).where(alert_labels.c.label == rarest)
    else:
        key = alerts.c.id
        query = sa.select(key)
        if search.fingerprint is not None:
            query = query.where(alerts.c.fingerprint == search.fingerprint)
        if search.status == "firing":
            query = query.where(IS_FIRING)
    if before is not None:
        query = query.where(key < before)
    return list(connection.execute(query.order_by(key.desc()).limit(_MAX_CANDIDATES)).scalars())


def _count(connection: sa.Connection, label: int) -> int:
    some = (
        sa.select(alert_labels.c.alert_id)
        .where(alert_labels.c.label == label)
        .limit(_MAX_LABEL_COUNT)
        .subquery()
    )
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())


def _rows(connection: sa.Connection, ids: Sequence[int]) -> Sequence[Any]:
    columns = (alerts.c[name] for name in _SHOWN_COLUMNS)
    return connection.execute(sa.select(*columns).where(alerts.c.id.in_(ids))).mappings().all()


def _fits(search: Search, row: Any) -> bool:
    given = ((search.fingerprint, "fingerprint"), (search.source, "source"), (search.status, "status"))
    if any(value is not None and row[name] != value for value, name in given):
        return False
    labels = json.loads(row["labels"])
    return all(matcher.matches(labels) for matcher in search.matchers)
