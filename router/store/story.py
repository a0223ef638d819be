"""The story of an alert: its changes, the decisions and their rules, the attempts, and the fates."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from router.core.fates import states_of
from router.core.rows import FateRow, FormerFateRow
from router.core.storms import storm_token
from router.model import Fate, Millis
from router.packed import unpack
from router.store import search
from router.store.dictionary import unpack_stored
from router.store.schema import (
    alerts,
    changes,
    configurations,
    conversations,
    deliveries,
    fates,
    former_fates,
    members,
    messages,
    webhooks,
)  # fmt: skip

CHANGES_PER_PAGE = 20
MAX_CHANGES_PER_PAGE = 200
# How many attempts and former fates a page has at most. The page says how many more there are.
_MAX_ATTEMPTS = _MAX_FORMER_FATES = 500
# Fates that end a decision.
_FINAL_FATES = (Fate.DELIVERED, Fate.OBSOLETE, Fate.DEAD)
_EVENT_ORDER = ("change", "decision", "attempt", "fate")
Event = dict[str, Any]
Configurations = dict[int, tuple[str, dict[str, str]]]
"""By id: the sha256, and the position of each rule (file:line)."""


@dataclass(frozen=True, slots=True)
class Story:
    """A page of the story of an alert."""

    alert: dict[str, Any]
    """See :func:`router.store.search.alert_as_dict`."""
    events: tuple[Event, ...]
    """By time. Each has ``at`` (epoch ms) and ``event``:

    - ``change``, a report of the alert: ``id``, ``webhook``, ``kind``, ``level``
    - ``decision``, and ``fate``, its result: ``change``, ``destination``, ``fate``, ``reason``, ``rule``, ``position``
      (file:line) and ``configuration`` (a sha256), each None if it is not known
    - ``attempt``: ``destination``, ``delivery``, ``attempt``, ``finished_at``, ``outcome``, ``reason``, ``words``,
      ``storm`` (whether a storm's message covered it), ``message`` (whether the sent message is kept)
    """
    left_out: int
    """How many of the oldest attempts and former fates of this time are left out, because there are too many."""
    before: int | None
    """The cursor of the next page, which has earlier events; None: this page has the first event."""


def story_of(
    connection: sa.Connection, alert: int, before: int | None = None, limit: int = CHANGES_PER_PAGE
) -> Story | None:
    """Return the last changes of an alert and all that followed from them; None: there is no such alert.

    :param before: the cursor that the page with the next later changes returned; None: the newest changes
    :param limit: the largest number of changes; at most :data:`MAX_CHANGES_PER_PAGE`
    """
    row = connection.execute(sa.select(alerts).where(alerts.c.id == alert)).mappings().first()
    if row is None:
        return None
    limit = min(max(limit, 1), MAX_CHANGES_PER_PAGE)
    query = sa.select(changes).where(changes.c.alert_id == alert)
    if before is not None:
        at = sa.select(changes.c.at).where(changes.c.id == before).scalar_subquery()
        query = query.where(sa.tuple_(changes.c.at, changes.c.id) < sa.tuple_(at, sa.literal(before)))
    query = query.order_by(changes.c.at.desc(), changes.c.id.desc())
    found = connection.execute(query.limit(limit + 1)).mappings().all()
    page = found[:limit]
    events = list(_changes(page))
    fated = _fates(connection, page)
    former, undecided = _former(connection, page)
    events += _states(connection, fated, former)
    attempts, unshown = _attempts(connection, alert, page, before)
    events += [*attempts, *_in_storms(connection, fated, attempts)]
    events.sort(key=lambda each: (each["at"], _EVENT_ORDER.index(each["event"])))
    return Story(
        search.alert_as_dict(row),
        tuple(events),
        undecided + unshown,
        page[-1]["id"] if len(found) > limit else None,
    )


def first_change_after(connection: sa.Connection, alert: int, at: Millis) -> int | None:
    """Return the first change of an alert after a moment (epoch ms), as a cursor for what was before; None: there is none."""
    query = sa.select(changes.c.id).where(changes.c.alert_id == alert, changes.c.at > at)
    return connection.execute(query.order_by(changes.c.at, changes.c.id).limit(1)).scalar()


def message(connection: sa.Connection, delivery: int) -> dict[str, Any] | None:
    """Return what a delivery sent; None: no message is kept.

    It has ``channel``, ``body`` in the channel's own shape, and ``fallback`` if its template failed. If the body was too
    large to keep, it has ``left_out`` instead of ``body``: the number of alerts that the message was about.
    """
    packed = connection.execute(sa.select(messages.c.body).where(messages.c.id == delivery)).scalar()
    return None if packed is None else json.loads(unpack_stored(connection, packed))


def body(connection: sa.Connection, webhook: int) -> bytes | None:
    """Return the body of an accepted webhook; None: there is none, or it was pruned."""
    accepted = webhooks.c.id == webhook, webhooks.c.quarantined.is_(None)
    packed = connection.execute(sa.select(webhooks.c.body).where(*accepted)).scalar()
    return unpack_stored(connection, packed) if packed else None


def _changes(page: Iterable[Any]) -> Iterator[Event]:
    for row in page:
        yield {
            "at": row["at"], "event": "change", "id": row["id"], "webhook": row["webhook_id"],
            "kind": row["kind"], "level": row["level"],
        }  # fmt: skip


_FATES = sa.select(*(fates.c[name] for name in FateRow._fields)).where(
    fates.c.change_id.in_(sa.bindparam("ids", expanding=True))
)


def _fates(connection: sa.Connection, page: Sequence[Any]) -> list[FateRow]:
    rows = connection.execute(_FATES, {"ids": [row["id"] for row in page]}).all()
    return list(map(FateRow._make, rows))


def _former(connection: sa.Connection, page: Sequence[Any]) -> tuple[list[FormerFateRow], int]:
    """Return the former fates of a page's fates, and how many are left out."""
    columns = (former_fates.c[name] for name in FormerFateRow._fields)
    whole = former_fates.join(fates, fates.c.id == former_fates.c.fate_id)
    of_page = fates.c.change_id.in_([row["id"] for row in page])
    newest = sa.select(*columns).select_from(whole).where(of_page).order_by(former_fates.c.id.desc())
    found = [FormerFateRow(*row) for row in connection.execute(newest.limit(_MAX_FORMER_FATES))]
    return found[::-1], _count_beyond(connection, len(found), _MAX_FORMER_FATES, whole, of_page)


def _count_beyond(
    connection: sa.Connection,
    found: int,
    limit: int,
    whole: sa.FromClause,
    *conditions: sa.ColumnElement[bool],
) -> int:
    """Return how many rows there are beyond a limit.

    :param found: how many rows a query with this limit found
    """
    if found < limit:
        return 0
    count = sa.select(sa.func.count()).select_from(whole).where(*conditions)
    return int(connection.execute(count).scalar_one()) - limit


def _states(
    connection: sa.Connection, fated: Sequence[FateRow], former: Sequence[FormerFateRow]
) -> Iterator[Event]:
    """Yield an event for each state that a fate had or has."""
    named = {row.configuration for row in fated} | {row.configuration for row in former}
    known = _configurations(connection, named - {None})
    by_id = {row.id: row for row in fated}
    for was in former:
        yield _state(by_id[was.fate_id], (was.at, was.fate, was.reason), was.rule, was.configuration, known)
    for row in fated:
        for state in states_of(row):
            yield _state(row, state, row.rule, row.configuration, known)


def _state(
    row: FateRow, state: tuple[Millis, str, str], rule: str, configuration: int | None, known: Configurations
) -> Event:
    at, fate, reason = state
    sha256, positions = known.get(configuration or 0, (None, {}))
    return {
        "at": at, "event": "fate" if fate in _FINAL_FATES else "decision", "change": row.change_id,
        "destination": row.destination, "fate": fate, "reason": reason, "rule": rule,
        "position": positions.get(rule), "configuration": sha256,
    }  # fmt: skip


def _configurations(connection: sa.Connection, ids: Iterable[int | None]) -> Configurations:
    found = connection.execute(sa.select(configurations).where(configurations.c.id.in_(list(ids)))).mappings()
    return {row["id"]: (row["sha256"], json.loads(unpack(row["positions"]))) for row in found}


_ATTEMPT_COLUMNS = (
    deliveries.c.started_at.label("at"), deliveries.c.id.label("delivery"), deliveries.c.destination,
    deliveries.c.attempt, deliveries.c.finished_at, deliveries.c.outcome, deliveries.c.reason, deliveries.c.words,
    sa.exists().where(messages.c.id == deliveries.c.id).label("message"),
)  # fmt: skip


def _attempts(
    connection: sa.Connection, alert: int, page: Sequence[Any], before: int | None
) -> tuple[list[Event], int]:
    """Return the attempts of the alert's conversations in the time of a page, and how many are left out."""
    if not page:
        return [], 0
    conditions = [members.c.alert_id == alert, deliveries.c.started_at >= page[-1]["at"]]
    if before is not None:
        end = sa.select(changes.c.at).where(changes.c.id == before).scalar_subquery()
        conditions.append(deliveries.c.started_at < sa.func.coalesce(end, deliveries.c.started_at + 1))
    whole = members.join(deliveries, deliveries.c.conversation_id == members.c.conversation_id)
    newest = (
        sa.select(*_ATTEMPT_COLUMNS).select_from(whole).where(*conditions).order_by(deliveries.c.id.desc())
    )
    found = connection.execute(newest.limit(_MAX_ATTEMPTS)).mappings().all()
    left_out = _count_beyond(connection, len(found), _MAX_ATTEMPTS, whole, *conditions)
    return [_attempt(row, storm=False) for row in found], left_out


def _in_storms(
    connection: sa.Connection, fated: Iterable[FateRow], attempts: Iterable[Event]
) -> Iterator[Event]:
    """Yield the attempts of storms whose messages covered the alert.

    A fate that a storm delivered has the time at which the storm's attempt finished.
    """
    own = {(each["destination"], each["finished_at"]) for each in attempts}
    ended = {
        (row.destination, row.updated_at)
        for row in fated
        if row.fate == Fate.DELIVERED and row.member_id is not None
    } - own  # fmt: skip
    if not ended:
        return
    query = (
        sa.select(*_ATTEMPT_COLUMNS)
        .join(conversations, conversations.c.id == deliveries.c.conversation_id)
        .where(
            conversations.c.token.in_({storm_token(destination) for destination, _ in ended}),
            deliveries.c.finished_at.in_({at for _, at in ended}),
        )
        .order_by(deliveries.c.id)
    )
    for row in connection.execute(query.limit(_MAX_ATTEMPTS)).mappings():
        if (row["destination"], row["finished_at"]) in ended:
            yield _attempt(row, storm=True)


def _attempt(row: Any, *, storm: bool) -> Event:
    return {"event": "attempt", **row, "storm": storm, "message": bool(row["message"])}
