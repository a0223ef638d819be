"""Deliveries: which conversation is due, what it is to be told, and what came of it."""

import json
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import (
    Conversation,
    DigestView,
    Labels,
    Millis,
    Status,
    Told,
)  # fmt: skip
from router.store.alert import alert_of
from router.store.conversation import DUE, close, close_if_empty, open_slot, revision_of
from router.store.digests import EVERYBODY, Covers, advance, digest_view
from router.store.place import UNTOLD, reconsider
from router.store.schema import alerts, conversations, deliveries, groups, members
from router.store.writer import Statement, Transaction, insert

# Alerts that ended and were told as ended stay in a message; beyond these only the newest do, the others are counted.
_ENDED_KEPT = 1_000

_later = sa.case(
    (conversations.c.due_at > conversations.c.not_before, conversations.c.due_at),
    else_=conversations.c.not_before,
)
_MINE = (
    conversations.c.destination == p("destination"),
    conversations.c.due_at.is_not(None),
    conversations.c.state == "open",
)
_ends = sa.exists().where(
    members.c.conversation_id == conversations.c.id,
    members.c.status == "resolved",
    members.c.at <= p("now"),
)
DUE_NOW = (
    *_MINE,
    conversations.c.due_at <= p("due_by"),
    conversations.c.not_before <= p("now"),
)
# Criticals first, then ends, then by age.
_NEXT = Statement(
    sa.select(conversations)
    .where(
        *DUE_NOW,
        sa.or_(
            conversations.c.urgency <= p("rank"),
            sa.and_(p("own", type_=sa.Integer) == 1, conversations.c.remote != "{}"),
        ),
    )
    .order_by(
        sa.case((conversations.c.urgency == 0, 0), else_=1),
        sa.case((_ends, 0), else_=1),
        conversations.c.due_at,
        conversations.c.id,
    )
    .limit(1)
)
_SLOT = Statement(sa.select(conversations).where(conversations.c.id == p("conversation")))
_NEXT_TIME = Statement(
    sa.select(sa.func.min(_later).label("at"), sa.func.min(conversations.c.due_at).label("due_at")).where(
        *_MINE
    )
)
_GROUP = Statement(sa.select(groups).where(groups.c.id == p("group")))
_MEMBER_COLUMNS = tuple(column.name for column in members.c)
_MEMBERS = Statement(
    sa.select(alerts, *(members.c[name].label(f"m_{name}") for name in _MEMBER_COLUMNS))
    .join(members, members.c.alert_id == alerts.c.id)
    .where(members.c.conversation_id == p("conversation"))
    .order_by(alerts.c.starts_at, alerts.c.id)
)
_CLAIM_MEMBER = Statement(sa.update(members).where(members.c.id == p("member")).values(told="maybe"))
_NOTHING_DUE = Statement(
    sa.update(members)
    .where(members.c.conversation_id == p("conversation"), members.c.at <= p("now"))
    .values(at=None)
)
_ADD_DELIVERY = Statement(insert(deliveries))
_SET_REVISION = Statement(
    sa.update(conversations).where(conversations.c.id == p("conversation")).values(revision=p("revision_"))
)
_FIRST_ATTEMPT = Statement(
    sa.select(sa.func.min(deliveries.c.started_at).label("at")).where(
        deliveries.c.conversation_id == p("conversation"), deliveries.c.version > p("synced")
    )
)


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is due; ``until``: when something will be, if nothing else happens (None: nothing waits)."""

    until: Millis | None
    failing: bool = False
    """Something is due, and waits only because an attempt failed."""


@dataclass(frozen=True, slots=True)
class Telling:
    """A member that this delivery tells something new: what, and what was told before."""

    member: int
    status: str
    told_before: str
    held: bool


@dataclass(frozen=True, slots=True)
class Work:
    """One attempt to bring a conversation up to date, claimed and logged as begun."""

    delivery: int
    id: int
    source: str
    subject: str
    group: int | None
    conversation: Conversation
    telling: tuple[Telling, ...]
    tried_since: Millis
    """When the first attempt to tell this began."""
    takes: int | None = None
    """Of a storm that isn't over: the rank of urgency from which on its message takes conversations along."""
    parts: tuple["Work", ...] = ()
    """The conversations that it takes along; they have no deliveries of their own."""

    @property
    def may_have_arrived(self) -> bool:
        """An attempt before this one may have told the same: its answer was lost, or the process ended."""
        return any(each.told_before == "maybe" for each in self.telling)

    @property
    def is_storm(self) -> bool:
        return self.conversation.storm is not None


@dataclass(frozen=True, slots=True)
class Only:
    """Some of what is due at a destination; as it stands: all."""

    overdue: Millis = 0
    """It has been due for as long as this, in milliseconds."""
    rank: int = 2**31
    """It is as urgent as this; 0: critical."""
    own: bool = False
    """Or it has been told by a message of its own, whatever its rank."""


def claim(
    tx: Transaction,
    destination: str,
    policy: Policy,
    now: Millis,
    *,
    quiet_digest: bool,
    covers: Covers = EVERYBODY,
    only: Only = Only(),
) -> Work | Idle:
    """The most urgent due conversation of a destination, with its present state; inhibition and hours are
    judged once more for what nobody was told yet.

    :param quiet_digest: an empty digest is sent as "all quiet" instead of skipped
    :param covers: of a digest: whose held and moot alerts it reports
    :param only: what of all that is due
    """
    while (
        row := tx.one(
            _NEXT,
            destination=destination,
            now=now,
            due_by=now - only.overdue,
            rank=only.rank,
            own=int(only.own),
        )
    ) is not None:
        work = (
            state_of(tx, row, policy, now)
            if row["slot"] is None
            else _claim_digest(tx, row, policy, now, quiet=quiet_digest, covers=covers)
        )
        if work is not None:
            return begin(tx, work, now)
    following = tx.one(_NEXT_TIME, destination=destination)
    return Idle(following["at"], following["due_at"] is not None and following["due_at"] <= now)


def begin(tx: Transaction, work: Work, now: Millis) -> Work:
    """Log an attempt."""
    conversation = work.conversation
    delivery = tx.add(
        _ADD_DELIVERY, conversation_id=work.id, destination=conversation.destination, version=conversation.version,
        attempt=conversation.attempt, started_at=now, finished_at=None, outcome=None, reason="", words="",
    )  # fmt: skip
    revision = revision_of(tx, conversation)
    if revision != conversation.revision:
        tx.run(_SET_REVISION, conversation=work.id, revision_=revision)
    return replace(work, delivery=delivery, conversation=replace(conversation, revision=revision))


def state_of(tx: Transaction, row: Any, policy: Policy, now: Millis) -> Work | None:
    """A conversation that is due, as it is to be told, its attempt not logged yet; None: there is nothing to tell
    after all, and it isn't due any more.
    """
    known = judged_once_more(tx, row, policy, now)
    row = tx.one(_SLOT, conversation=row["id"])  # one version on for each that was judged
    told: list[Told] = []
    telling: list[Telling] = []
    ended = 0
    for member in reversed(known):
        news = _due(member, now) and (member["m_status"] == "firing" or member["m_told"] not in UNTOLD)
        if not news:
            if member["m_told"] == "none" or (
                member["m_told"] == "resolved" and member["m_status"] == "firing"
            ):
                continue
            if member["m_told"] == "resolved":
                ended += 1
                if ended > _ENDED_KEPT:
                    continue
        else:
            telling.append(
                Telling(
                    member["m_id"], member["m_status"], member["m_told"], member["m_held_since"] is not None
                )
            )
        alert = replace(alert_of(member), status=Status(member["m_status"]))
        again = news and member["m_status"] == member["m_told"] == "firing"
        held_since = member["m_held_since"] if news else None
        told.append(Told(alert, member["level"], news, held_since, again))
    if not telling:
        tx.run(_NOTHING_DUE, conversation=row["id"], now=now)
        tx.run(DUE, conversation=row["id"])
        close_if_empty(tx, row["id"])
        return None
    for each in telling:
        tx.run(_CLAIM_MEMBER, member=each.member)
    group = tx.one(_GROUP, group=row["group_id"])
    per_alert = row["subject"].startswith("alert:")
    conversation = conversation_of(
        row, now, tuple(reversed(told)), receiver=group["receiver"], group_labels=json.loads(group["labels"]),
        external_url=group["external_url"], truncated=0 if per_alert else group["truncated"],
    )  # fmt: skip
    conversation = replace(conversation, left_out=max(0, ended - _ENDED_KEPT))
    return work_of(tx, row, conversation, tuple(telling), now)


def judged_once_more(tx: Transaction, row: Any, policy: Policy, now: Millis) -> list[Any]:
    """The members of a conversation, after those that are due and that nobody was told of were judged."""
    known = tx.all(_MEMBERS, conversation=row["id"])
    stale = [m for m in known if _due(m, now) and m["m_status"] == "firing" and m["m_told"] in UNTOLD]
    for member in stale:
        reconsider(tx, policy, member["id"], now)
    return tx.all(_MEMBERS, conversation=row["id"]) if stale else known


def _due(member: Any, now: Millis) -> bool:
    return member["m_at"] is not None and member["m_at"] <= now


def _claim_digest(
    tx: Transaction, row: Any, policy: Policy, now: Millis, *, quiet: bool, covers: Covers
) -> Work | None:
    known = tx.all(_MEMBERS, conversation=row["id"])
    for member in known:
        if member["status"] == "firing" and member["m_verdict"] in ("digest", "inhibited"):
            reconsider(tx, policy, member["id"], now)
    known = tx.all(_MEMBERS, conversation=row["id"])
    view = digest_view(tx, row, policy, now, covers)
    telling = tuple(
        Telling(m["m_id"], m["m_status"], m["m_told"], held=True) for m in known if m["m_verdict"] == "digest"
    )
    if view.empty and not quiet:
        advance(tx, row["id"], row["destination"], policy, now)
        close(tx, row["id"])
        return None
    return work_of(tx, row, conversation_of(row, now, (), digest=view), telling, now)


def upcoming(tx: Transaction, destination: str, policy: Policy, now: Millis, covers: Covers) -> Conversation:
    """The next slot of a digest, as it stands."""
    row = tx.one(_SLOT, conversation=open_slot(tx, policy, destination, now).id)
    view = replace(digest_view(tx, row, policy, now, covers), until=now)
    return conversation_of(row, now, (), digest=view)


def conversation_of(
    row: Any, now: Millis, alerts_: tuple[Told, ...], *, receiver: str = "", group_labels: Labels | None = None,
    external_url: str = "", truncated: int = 0, digest: DigestView | None = None,
) -> Conversation:  # fmt: skip
    return Conversation(
        destination=row["destination"], token=row["key"], episode=row["episode"], version=row["wanted"], now=now,
        receiver=receiver, group_labels=group_labels or {}, external_url=external_url, truncated=truncated,
        alerts=alerts_, remote=json.loads(row["remote"]), attempt=row["attempts"] + 1, digest=digest,
        revision=row["revision"],
    )  # fmt: skip


def work_of(
    tx: Transaction, row: Any, conversation: Conversation, telling: tuple[Telling, ...], now: Millis
) -> Work:
    first = now
    if row["attempts"] > 0:
        attempted = tx.one(_FIRST_ATTEMPT, conversation=row["id"], synced=row["synced"])["at"]
        first = attempted or row["due_at"] or now  # a storm's attempts are not its own
    return Work(
        0,
        row["id"],
        row["source"],
        row["subject"],
        row["group_id"],
        conversation,
        telling,
        min(first, now),
    )
