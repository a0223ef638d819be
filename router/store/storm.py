"""Storms: a lane with more due than a minute holds says so in one message, kept up to date until it is over.

The message is a conversation of its own, without members. What it takes along are the due conversations: they
count as told with it. Criticals that fit still get their own messages in between.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam as p

from router.decide import Policy
from router.model import Millis, StormLine, StormView
from router.store.conversation import close, open_conversation, token_of
from router.store.schema import conversations, groups, members
from router.store.work import (
    DUE_NOW,
    Idle,
    Only,
    Work,
    begin,
    claim,
    conversation_of,
    judged_once_more,
    state_of,
    work_of,
)
from router.store.writer import Statement, Transaction, among

_SUBJECT = "storm"
# A storm is over when no more is due than a quarter of what a minute holds.
_OVER = 4
_LINES = 20
# Taken along in one transaction: webhooks wait as long as it takes.
BATCH = 25

_FIND = Statement(
    sa.select(conversations)
    .where(conversations.c.token == p("token"), conversations.c.state == "open")
    .order_by(conversations.c.episode.desc())
    .limit(1)
)
# What has a message of its own is told by it, where messages are edited: the storm's would leave it as it is.
_taken = sa.or_(p("all", type_=sa.Integer) == 1, conversations.c.remote == "{}")
_SURGE = Statement(
    sa.select(
        sa.func.count().label("due"),
        sa.func.count().filter(conversations.c.urgency == 0).label("critical"),
    ).where(*DUE_NOW, _taken)
)
_NEXT_VERSION = Statement(
    sa.update(conversations)
    .where(conversations.c.id == p("conversation"))
    .values(wanted=conversations.c.synced + 1)
)
_ROW = Statement(sa.select(conversations).where(conversations.c.id == p("conversation")))
_DUE_AFTER = Statement(
    sa.select(conversations)
    .where(*DUE_NOW, _taken, conversations.c.id > p("after"), conversations.c.urgency >= p("rank"))
    .order_by(conversations.c.id)
    .limit(BATCH)
)
_shown = (
    conversations.c.destination == p("destination"),
    conversations.c.state == "open",
    conversations.c.slot.is_(None),
    members.c.status == "firing",
    among(members.c.told, ("firing", "maybe")),
)
_firing = sa.func.count().label("firing")
_WORST = Statement(
    sa.select(conversations.c.urgency, groups.c.labels, groups.c.external_url, _firing)
    .join(members, members.c.conversation_id == conversations.c.id)
    .join(groups, groups.c.id == conversations.c.group_id)
    .where(*_shown)
    .group_by(conversations.c.id, conversations.c.urgency, groups.c.labels, groups.c.external_url)
    .order_by(conversations.c.urgency, _firing.desc(), conversations.c.id)
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a lane can take."""

    a_minute: int
    """Deliveries a minute has room for."""
    every: Millis
    """How often the message of a storm is brought up to date."""
    edits: bool = False
    """Messages are edited."""


def surges(tx: Transaction, destination: str, limits: Limits, now: Millis) -> bool:
    """Whether a storm begins, by what is due as it was judged so far."""
    if tx.one(_FIND, token=token_of(destination, "", _SUBJECT)) is not None:
        return False
    return bool(_surge(tx, destination, limits, now)["due"] > limits.a_minute)


def _surge(tx: Transaction, destination: str, limits: Limits, now: Millis) -> Any:
    return tx.one(_SURGE, destination=destination, now=now, due_by=now, all=int(not limits.edits))


def sift(tx: Transaction, destination: str, policy: Policy, now: Millis, after: int) -> int:
    """Judge once more what is due, before a storm begins: what is inhibited by now makes none.

    :param after: the id of the last conversation looked at
    :returns: the same; 0: there are no more
    """
    rows = tx.all(_DUE_AFTER, destination=destination, now=now, due_by=now, after=after, rank=0, all=1)
    for row in rows:
        judged_once_more(tx, row, policy, now)
    return rows[-1]["id"] if len(rows) == BATCH else 0


def claim_in_storm(
    tx: Transaction, destination: str, limits: Limits, policy: Policy, now: Millis
) -> Work | Idle | None:
    """What a lane is to do in a storm; None: there is none, or it is all but over."""
    row = tx.one(_FIND, token=token_of(destination, "", _SUBJECT))
    surge = _surge(tx, destination, limits, now)
    over = row is not None and surge["due"] * _OVER <= limits.a_minute
    unheard = over and row["remote"] == "{}"
    if unheard:
        close(tx, row["id"])
    if unheard or (row is None and surge["due"] <= limits.a_minute):
        return None
    criticals_fit = 0 < surge["critical"] <= limits.a_minute
    if row is not None and row["not_before"] > now:
        if over:
            usual = claim(tx, destination, policy, now, quiet_digest=False)
            if isinstance(usual, Idle):  # but not beyond the storm's last word
                until = row["not_before"] if usual.until is None else min(usual.until, row["not_before"])
                return Idle(until, usual.failing or row["attempts"] > 0)
            return usual
        rank = 0 if criticals_fit else -1
        single = claim(
            tx,
            destination,
            policy,
            now,
            quiet_digest=False,
            only=Only(rank=rank, own=limits.edits),
        )
        return Idle(row["not_before"], row["attempts"] > 0) if isinstance(single, Idle) else single
    id_ = open_conversation(tx, destination, "", _SUBJECT, now).id if row is None else row["id"]
    tx.run(_NEXT_VERSION, conversation=id_)
    row = tx.one(_ROW, conversation=id_)
    conversation = replace(conversation_of(row, now, ()), storm=StormView(0, 0, (), over=over))
    work = work_of(tx, row, conversation, (), now)
    return begin(tx, replace(work, takes=None if over else int(criticals_fit)), now)


def gather(
    tx: Transaction, storm: Work, limits: Limits, policy: Policy, now: Millis, after: int
) -> tuple[list[Work], int]:
    """The next due conversations that a storm's message takes along.

    :param after: the id of the last one looked at
    :returns: them, and the id of the last one looked at; 0: there are no more
    """
    if storm.takes is None:
        return [], 0
    rows = tx.all(
        _DUE_AFTER, destination=storm.conversation.destination, now=now, due_by=now, after=after,
        rank=storm.takes, all=int(not limits.edits),
    )  # fmt: skip
    found = [work for row in rows if (work := state_of(tx, row, policy, now)) is not None]
    return found, rows[-1]["id"] if len(rows) == BATCH else 0


def view(tx: Transaction, storm: Work, policy: Policy) -> StormView:
    """What fires at the destination, as told or about to be told."""
    rows = tx.all(_WORST, destination=storm.conversation.destination)
    levels = policy.severity.levels
    lines = tuple(
        StormLine(
            labels=json.loads(row["labels"]),
            level=levels[min(row["urgency"], len(levels) - 1)],
            firing=row["firing"],
            external_url=row["external_url"],
        )
        for row in rows[:_LINES]
    )
    return StormView(len(rows), sum(row["firing"] for row in rows), lines, over=storm.takes is None)
