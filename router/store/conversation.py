"""Conversations: found, opened in episodes, one version on, due and closed.

A conversation in which nothing fires and from which nothing is left to tell is closed, whatever ended it.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Conversation, Millis
from router.store.schema import conversations, dead_letters, deliveries, groups, members, meta
from router.store.writer import Statement, Transaction, among, insert

ADD_CONVERSATION = Statement(insert(conversations))
FIND_CONVERSATION = Statement(
    sa.select(conversations)
    .where(conversations.c.token == p("token"))
    .order_by(conversations.c.episode.desc())
    .limit(1)
)
_bumped: dict[str, Any] = {
    "wanted": conversations.c.wanted + 1,
    "urgency": sa.case((conversations.c.urgency > p("rank"), p("rank")), else_=conversations.c.urgency),
    "group_id": sa.func.coalesce(p("group"), conversations.c.group_id),
    "not_before": sa.case((conversations.c.partly == 1, 0), else_=conversations.c.not_before),
}
_next_telling = (
    sa.select(sa.func.min(members.c.at))
    .where(members.c.conversation_id == p("conversation"))
    .scalar_subquery()
)
# A digest is due at its slot; any other conversation when the first of its members is.
BUMP_SLOT = Statement(sa.update(conversations).where(conversations.c.id == p("conversation")).values(_bumped))
BUMP = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values({**_bumped, "due_at": _next_telling})
)
DUE = Statement(
    sa.update(conversations).where(conversations.c.id == p("conversation")).values(due_at=_next_telling)
)
_CLOSE = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(state="closed", due_at=None)
)
_CLOSE_MEMBERS = Statement(
    sa.update(members).where(members.c.conversation_id == p("conversation")).values(open=0)
)
_of_it = members.c.conversation_id == conversations.c.id
_something_to_tell = sa.or_(
    sa.exists().where(
        _of_it,
        sa.or_(
            members.c.status == "firing",
            among(members.c.told, ("firing", "maybe")),
            members.c.at.is_not(None),
        ),
    ),
    # Somebody may have it tried again.
    sa.exists().where(dead_letters.c.conversation_id == conversations.c.id, dead_letters.c.state == "dead"),
)
# Alerts that Alertmanager left out (max_alerts) may fire: it is told as over when the group is shown whole.
_hidden_may_fire = sa.and_(
    ~conversations.c.subject.startswith("alert:"),
    sa.exists().where(groups.c.id == conversations.c.group_id, groups.c.truncated > 0),
    sa.exists().where(_of_it, members.c.told == "resolved"),
)
EMPTY = sa.and_(
    conversations.c.state == sa.literal_column("'open'"),
    # Else it is a digest or a storm. Written so that the index of what is open is used, not that of groups.
    sa.func.coalesce(conversations.c.group_id, 0) != 0,
    ~_something_to_tell,
    ~_hidden_may_fire,
)
"""An open conversation with nothing firing in it and nothing left to tell: there are none between transactions."""
_IS_EMPTY = Statement(sa.select(conversations.c.id).where(conversations.c.id == p("conversation"), EMPTY))
_WENT_OUT = Statement(
    sa.select(deliveries.c.id)
    .join(conversations, conversations.c.id == deliveries.c.conversation_id)
    .where(conversations.c.token == p("token"), deliveries.c.outcome == "delivered")
    .limit(1)
)


_DATABASE_ID = Statement(sa.select(meta.c.value).where(meta.c.key == "database_id"))
_NO_DATABASE_ID = Statement(sa.delete(meta).where(meta.c.key == "database_id"))
_NEW_DATABASE_ID = Statement(sa.insert(meta).values(key="database_id", value=p("id_")))


@dataclass(frozen=True, slots=True)
class Opened:
    """An open conversation. ``fresh``: made just now, without members."""

    id: int
    wanted: int
    fresh: bool


def open_conversation(
    tx: Transaction, destination: str, source: str, subject: str, now: Millis, **given: Any
) -> Opened:
    """The open conversation of this subject; a new episode, made of ``given``, if the last one is over."""
    token = token_of(destination, source, subject)
    last = tx.one(FIND_CONVERSATION, token=token)
    if last is not None and last["state"] == "open":
        return Opened(last["id"], last["wanted"], fresh=False)
    values: dict[str, Any] = {
        "destination": destination, "source": source, "subject": subject,
        "episode": 1 if last is None else last["episode"] + 1,
        "token": token,
        "state": "open", "group_id": None, "urgency": 99, "wanted": 0, "synced": 0, "due_at": None,
        "not_before": 0, "attempts": 0, "partly": 0, "remote": "{}", "since": None, "slot": None, "created_at": now,
        "key": key_of(tx, token), "revision": "",
    }  # fmt: skip
    values.update(given)
    return Opened(tx.add(ADD_CONVERSATION, **values), values["wanted"], fresh=True)


def close(tx: Transaction, conversation: int) -> None:
    tx.run(_CLOSE, conversation=conversation)
    tx.run(_CLOSE_MEMBERS, conversation=conversation)


def close_if_empty(tx: Transaction, conversation: int) -> None:
    """After something of it ended, was given up or was settled."""
    if tx.one(_IS_EMPTY, conversation=conversation) is not None:
        close(tx, conversation)


def token_of(destination: str, source: str, subject: str) -> str:
    return _hash(destination, source, subject)


def key_of(tx: Transaction, token: str) -> str:
    """How providers know the conversations with this token that are opened now."""
    return _hash(database_id(tx), token)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def renew_database_id(tx: Transaction) -> None:
    """Replaces the random id of the database. Runs at each start, because a start after a restore looks like any other,
    and a restored database must not reuse keys from after its backup. Open conversations keep their keys.
    """
    tx.run(_NO_DATABASE_ID)
    tx.run(_NEW_DATABASE_ID, id_=secrets.token_hex(16))


def database_id(tx: Transaction) -> str:
    """Random, 32 hex digits; in every key that a provider sees."""
    row = tx.one(_DATABASE_ID)
    return "" if row is None else str(row["value"])


def revision_of(tx: Transaction, conversation: Conversation) -> str:
    """See :class:`Conversation`. A digest has one revision: it goes out once."""
    version = f"{conversation.version}-"
    if conversation.revision and (
        conversation.digest is not None or conversation.revision.startswith(version)
    ):
        return conversation.revision
    return version + database_id(tx)[:8]


def open_slot(tx: Transaction, policy: Policy, digest: str, now: Millis, **given: Any) -> Opened:
    """The digest's next slot."""
    slot = next_slot(tx, policy, digest, now)
    since = min(policy.schedules[digest].previous(slot - 1), now)
    return open_conversation(
        tx, digest, "", f"slot:{slot}", now, slot=slot, due_at=slot, since=since, **given
    )


def next_slot(tx: Transaction, policy: Policy, digest: str, now: Millis) -> Millis:
    """The first that has not gone out: after the clock was stepped back, some to come have."""
    schedule = policy.schedules[digest]
    slot = schedule.next(now)
    while tx.one(_WENT_OUT, token=token_of(digest, "", f"slot:{slot}")) is not None:
        slot = schedule.next(slot)
    return slot
