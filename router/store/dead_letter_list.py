"""Lists the unsettled dead letters: the most urgent first, then the newest."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.store.conversation_topics import topics_of
from router.store.schema import IS_UNSETTLED, alerts, dead_letters, members
from router.store.totals import Total, count_rows

DeadLetterPosition = tuple[int, int]
"""The urgency and the id of the last row of a page."""
# A list shows the first alerts of each dead letter. A row of a list has this much of the text of its notices.
_MAX_LISTED_ALERTS = 10
_LISTED_NOTICES_CHARS = 2_000
_NOTICE = re.compile(r'\{"member"[^{}]*\}')
_NOTICE_COUNT = (
    sa.func.length(dead_letters.c.notices)
    - sa.func.length(sa.func.replace(dead_letters.c.notices, '{"member"', '{"member'))
).label("alerts_total")
_COLUMNS = (
    dead_letters.c.id, dead_letters.c.conversation_id, dead_letters.c.destination, dead_letters.c.recipient,
    dead_letters.c.at, dead_letters.c.reason, dead_letters.c.state, dead_letters.c.settled_at, dead_letters.c.urgency,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeadLetterPage:
    """A page of the list."""

    rows: list[dict[str, Any]]
    """Each: {id, conversation_id, destination, recipient, at, reason, state, settled_at, urgency, topic, alerts,
    alerts_total}. ``alerts`` are the first ones: {id, labels, level, status (now), unnotified (the status that was not
    sent)}. ``recipient`` is the only recipient that was not notified; empty: no recipient was."""
    total: Total
    after: DeadLetterPosition | None
    """The cursor of the next page; None: this is the last one."""


def list_dead_letters(
    connection: sa.Connection,
    destinations: tuple[str, ...] = (),
    after: DeadLetterPosition | None = None,
    limit: int = 50,
) -> DeadLetterPage:
    """Return a page of the unsettled dead letters.

    :param destinations: only those of these destinations (keys); empty: of all
    :param after: the cursor that the page before returned; None: the first page
    """
    found = unsettled_ids(connection, destinations, after, limit + 1)
    ids = [id_ for _, id_ in found[:limit]]
    total = count_unsettled(connection, destinations)
    return DeadLetterPage(_rows(connection, ids), total, found[limit - 1] if len(found) > limit else None)


def count_unsettled(connection: sa.Connection, destinations: tuple[str, ...] = ()) -> Total:
    """Return how many unsettled dead letters these destinations have."""
    key = dead_letters.c.id
    several = [count_rows(connection, sa.select(key).where(*each)) for each in _parts(destinations)]
    return Total(sum(each.count for each in several), all(each.is_exact for each in several))


def unsettled_ids(
    connection: sa.Connection, destinations: tuple[str, ...], after: DeadLetterPosition | None, limit: int
) -> list[DeadLetterPosition]:
    """Return the urgency and the id of the next unsettled dead letters, in the order of the list."""
    found: list[DeadLetterPosition] = []
    for part in _parts(destinations):
        found += _of_part(connection, part, after, limit)
    found.sort(key=lambda each: (each[0], -each[1]))
    return found[:limit]


def _parts(destinations: tuple[str, ...]) -> Iterable[tuple[sa.ColumnElement[bool], ...]]:
    if not destinations:
        return [(IS_UNSETTLED,)]
    return [(IS_UNSETTLED, dead_letters.c.destination == each) for each in destinations]


def _of_part(
    connection: sa.Connection,
    part: tuple[sa.ColumnElement[bool], ...],
    after: DeadLetterPosition | None,
    limit: int,
) -> list[DeadLetterPosition]:
    """Return the next ones of a part. There are few levels, so each is read by itself, in the order of the index."""
    urgency, id_ = dead_letters.c.urgency, dead_letters.c.id
    found: list[DeadLetterPosition] = []
    at_least = 0 if after is None else after[0]
    while len(found) < limit:
        level = connection.execute(
            sa.select(sa.func.min(urgency)).where(*part, urgency >= at_least)
        ).scalar_one()
        if level is None:
            break
        older = (id_ < after[1],) if after is not None and level == after[0] else ()
        query = sa.select(id_).where(*part, urgency == level, *older).order_by(id_.desc())
        found += [(level, each) for each in connection.execute(query.limit(limit - len(found))).scalars()]
        at_least = level + 1
    return found


def _rows(connection: sa.Connection, ids: list[int]) -> list[dict[str, Any]]:
    begin = sa.func.substr(dead_letters.c.notices, 1, _LISTED_NOTICES_CHARS).label("notices")
    query = sa.select(*_COLUMNS, begin, _NOTICE_COUNT).where(dead_letters.c.id.in_(ids))
    found = {row["id"]: dict(row) for row in connection.execute(query).mappings()}
    return _with_alerts(connection, [found[id_] for id_ in ids if id_ in found], _MAX_LISTED_ALERTS)


def read_dead_letter(connection: sa.Connection, number: int, max_alerts: int) -> dict[str, Any] | None:
    """Return a dead letter as :attr:`DeadLetterPage.rows` has it, also a settled one; None: there is none with this id.

    :param max_alerts: how many alerts it has at most
    """
    query = sa.select(*_COLUMNS, dead_letters.c.notices, _NOTICE_COUNT).where(dead_letters.c.id == number)
    row = connection.execute(query).mappings().first()
    return None if row is None else _with_alerts(connection, [dict(row)], max_alerts)[0]


def _with_alerts(
    connection: sa.Connection, rows: list[dict[str, Any]], max_alerts: int
) -> list[dict[str, Any]]:
    notices = {row["id"]: _first_notices(row.pop("notices"), max_alerts) for row in rows}
    wanted = [each["member"] for several in notices.values() for each in several]
    found = connection.execute(
        sa.select(members.c.id.label("member"), alerts.c.id, alerts.c.labels, alerts.c.level, alerts.c.status)
        .join(alerts, alerts.c.id == members.c.alert_id)
        .where(members.c.id.in_(wanted))
    ).mappings()
    by_member = {row["member"]: row for row in found}
    topics = topics_of(connection, [row["conversation_id"] for row in rows]) if rows else {}
    return [
        {
            **row,
            "topic": topics[row["conversation_id"]],
            "alerts": [
                _alert(by_member[each["member"]], each["status"])
                for each in notices[row["id"]]
                if each["member"] in by_member
            ],
        }
        for row in rows
    ]


def _first_notices(text: str, limit: int) -> list[dict[str, Any]]:
    """Return the first notices of a dead letter. The text may be cut."""
    found = []
    for match in _NOTICE.finditer(text):
        found.append(json.loads(match[0]))
        if len(found) == limit:
            break
    return found


def _alert(row: Any, unnotified: str) -> dict[str, Any]:
    return {
        "id": row["id"], "labels": json.loads(row["labels"]), "level": row["level"], "status": row["status"],
        "unnotified": unnotified,
    }  # fmt: skip
