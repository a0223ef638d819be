"""The slots of digests for the pages: those that are open, and those that were sent or tried."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from router.model import Millis
from router.store.schema import IS_OPEN, IS_UNSETTLED, conversations, dead_letters, deliveries, messages
from router.store.totals import Total, count_rows

# A digest has one open slot, and another one for each that is late.
_MAX_OPEN_SLOTS = 1_000


@dataclass(frozen=True, slots=True)
class OpenSlot:
    """A slot of a digest that is not sent yet."""

    destination: str
    since: Millis | None
    """The begin of its period."""
    slot: Millis
    alerts: int
    """How many alerts the rules sent to it."""
    failed_attempts: int
    next_at: Millis | None
    """When it is tried next; None: a delivery is under way."""


@dataclass(frozen=True, slots=True)
class SentSlot:
    """The last attempt to send a slot of a digest."""

    delivery: int
    since: Millis | None
    slot: Millis | None
    alerts: int
    attempt: int
    started_at: Millis
    finished_at: Millis | None
    outcome: str | None
    """None: the attempt is under way."""
    reason: str
    words: str
    """The provider's answer."""
    is_dead: bool
    """It was given up, and nobody has settled the dead letter."""
    has_message: bool


def open_slots(connection: sa.Connection) -> list[OpenSlot]:
    """Return the slots that are not sent yet, the earliest first."""
    rows = connection.execute(
        sa.select(
            conversations.c.destination, conversations.c.since, conversations.c.slot, conversations.c.size,
            conversations.c.attempts, conversations.c.next_at,
        )
        .where(IS_OPEN, conversations.c.slot.is_not(None))
        .order_by(conversations.c.slot, conversations.c.id)
        .limit(_MAX_OPEN_SLOTS)
    )  # fmt: skip
    return [OpenSlot(*row) for row in rows]


def sent_slots(connection: sa.Connection, destination: str, before: int | None, limit: int) -> list[SentSlot]:
    """Return the last attempt of each slot of a digest, the newest first.

    :param before: only attempts with a smaller id; None: all
    """
    is_dead = sa.exists().where(dead_letters.c.conversation_id == deliveries.c.conversation_id, IS_UNSETTLED)
    has_message = sa.exists().where(messages.c.id == deliveries.c.id)
    query = (
        sa.select(
            deliveries.c.id.label("delivery"), conversations.c.since, conversations.c.slot,
            conversations.c.size.label("alerts"), deliveries.c.attempt,
            deliveries.c.started_at, deliveries.c.finished_at, deliveries.c.outcome, deliveries.c.reason,
            deliveries.c.words, is_dead.label("is_dead"), has_message.label("has_message"),
        )
        .join(conversations, conversations.c.id == deliveries.c.conversation_id)
        .where(*_last_attempts(destination))
        .order_by(deliveries.c.id.desc())
        .limit(limit)
    )  # fmt: skip
    if before is not None:
        query = query.where(deliveries.c.id < before)
    return [SentSlot(**row) for row in connection.execute(query).mappings()]


def count_sent_slots(connection: sa.Connection, destination: str) -> Total:
    """Return how many slots of a digest were sent or tried."""
    rows = sa.select(deliveries.c.id).where(*_last_attempts(destination)).order_by(deliveries.c.id)
    return count_rows(connection, rows)


def latest_slots(
    connection: sa.Connection, destinations: Collection[str], count: int
) -> dict[str, list[SentSlot]]:
    """Return the newest sent slots of each digest. :param count: how many of each"""
    return {each: sent_slots(connection, each, None, count) for each in destinations}


def _last_attempts(destination: str) -> tuple[sa.ColumnElement[bool], ...]:
    later = deliveries.alias("later")
    is_last = ~sa.exists().where(
        later.c.conversation_id == deliveries.c.conversation_id, later.c.id > deliveries.c.id
    )
    return deliveries.c.destination == destination, is_last
