"""Conversations: found, opened in episodes, one version on, due and closed."""

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Millis
from router.store.schema import conversations, deliveries, members
from router.store.writer import Statement, Transaction, insert

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
CLOSE = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(state="closed", due_at=None)
)
_WENT_OUT = Statement(
    sa.select(deliveries.c.id)
    .join(conversations, conversations.c.id == deliveries.c.conversation_id)
    .where(conversations.c.token == p("token"), deliveries.c.outcome == "delivered")
    .limit(1)
)


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
    }  # fmt: skip
    values.update(given)
    return Opened(tx.add(ADD_CONVERSATION, **values), values["wanted"], fresh=True)


def token_of(destination: str, source: str, subject: str) -> str:
    return hashlib.sha256(f"{destination}\n{source}\n{subject}".encode()).hexdigest()[:32]


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
