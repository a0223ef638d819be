"""Keeps webhooks that are decided later: large ones, which are decided in pieces, and those that came to a replica that does not
agree with the rules in force.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa

from router.core.accept import Receipt
from router.core.undecided_count import (
    MAX_UNDECIDED_ALERTS,
    SMALL_WEBHOOK,
    UNDECIDED,
    UndecidedCount,
)
from router.decide import Policy
from router.model import Millis, Webhook
from router.packed import LearnedDictionary, dictionary_number, unpack
from router.store import jobs
from router.store.database import Database
from router.store.packing import Packer
from router.store.presence_updates import PresenceUpdates
from router.store.schema import dictionaries, meta, webhooks
from router.store.starts import set_meta

# How often the webhooks that wait are counted again at most.
_COUNTS = 3
_IS_SMALL = webhooks.c.undecided <= SMALL_WEBHOOK


@dataclass(frozen=True, slots=True)
class KeptWebhook:
    """A webhook that is kept and not decided yet."""

    number: int
    """Webhooks are numbered in the order of their arrival."""
    source: str
    received_at: Millis
    body: bytes
    sender: str


class UndecidedWebhooks:
    """The webhooks that are kept and not decided yet. Each has a number in the order of arrival."""

    def __init__(self, database: Database, packer: Packer, presence: PresenceUpdates) -> None:
        self._database = database
        self._packer = packer
        self._presence = presence

    @property
    def are_shared(self) -> bool:
        """Whether other processes may keep webhooks in the same database."""
        return self._database.is_shared

    async def keep(
        self, webhook: Webhook, source: str, body: bytes, now: Millis, bound: int = MAX_UNDECIDED_ALERTS
    ) -> int:
        """Keep a webhook whose alerts are decided later. Returns its number after the commit.

        :param bound: how many alerts may wait, of all replicas
        :raises StoreUnavailable: also if others wait already, and it would exceed the bound
        """
        packed = await self._packer.pack_unlearned(body)
        return await self._database.do(jobs.KeepWebhook(webhook, source, packed, now, bound))

    async def count(self) -> UndecidedCount:
        """Return how much waits, of all replicas."""
        return await self._database.read(_stored_count)

    async def recount(self) -> UndecidedCount:
        """Count again how much waits: a version that did not count may have kept webhooks.

        Readers count, because that takes long if very many wait. What they found is stored unless something has changed
        meanwhile: then they count again, a few times.
        """
        for _ in range(_COUNTS):
            stored, found = await self._database.read(_count_again)
            if UndecidedCount.read(stored) == found:
                break
            if await self._database.write(partial(_correct, stored=stored, found=found)):
                break
        return found

    async def numbers(self) -> list[tuple[int, int]]:
        """Return ``(number, count of alerts)`` of each undecided webhook that is decided in pieces, in the order of arrival."""
        return await self._database.read(_large)

    async def small(self, limit: int) -> list[KeptWebhook]:
        """Return the first undecided webhooks that one batch can decide, in the order of arrival."""
        return await self._database.read(partial(_small, limit=limit))

    async def load(self, number: int) -> KeptWebhook:
        """Return a webhook as it was received."""
        return await self._database.read(partial(_kept_webhook, number=number))

    async def decide(
        self,
        number: int,
        webhook: Webhook,
        source: str,
        policy: Policy,
        now: Millis,
        after: int | None = None,
    ) -> Receipt | None:
        """Decide a small kept webhook. Return None if another replica has done so.

        :param after: the number of the one that has to be decided before; None: this one is the oldest
        :raises NotItsTurn: that one is not decided yet
        """
        receipt = await self._database.do(jobs.DecideKept(number, webhook, source, policy, now, after))
        return None if receipt is None else self._presence.note(receipt)

    async def accept_some(
        self, number: int, webhook: Webhook, source: str, policy: Policy, now: Millis
    ) -> Receipt:
        """Decide some alerts of a kept webhook. It is safe to run this twice.

        :param webhook: with these alerts only
        """
        receipt = await self._database.do(jobs.AcceptSome(number, webhook, source, policy, now))
        return self._presence.note(receipt)

    async def finish(
        self, number: int, webhook: Webhook, source: str, policy: Policy, now: Millis
    ) -> frozenset[str]:
        """Mark a webhook as decided, so that the conversations of its group may be sent.

        :returns: the keys of the destinations to wake
        """
        return await self._database.do(jobs.AcceptEnd(number, webhook, source, policy, now))

    async def give_up(self, number: int, reason: str, body: bytes | None = None) -> frozenset[str]:
        """Quarantine a webhook because some of its alerts can't be decided.

        :param body: as it was received; None: :meth:`keep` has kept it
        :returns: the keys of the destinations to wake
        """
        return await self._database.do(jobs.GiveUp(number, reason, body))


_COLUMNS = webhooks.c.id, webhooks.c.source, webhooks.c.received_at, webhooks.c.body, webhooks.c.sender


def _large(connection: sa.Connection) -> list[tuple[int, int]]:
    rows = connection.execute(
        sa.select(webhooks.c.id, webhooks.c.undecided)
        .where(webhooks.c.undecided.is_not(None), ~_IS_SMALL)
        .order_by(webhooks.c.id)
    )
    return [(number, alerts) for number, alerts in rows]


def _kept_webhook(connection: sa.Connection, *, number: int) -> KeptWebhook:
    rows = connection.execute(sa.select(*_COLUMNS).where(webhooks.c.id == number)).all()
    return _unpacked(connection, rows)[0]


def _small(connection: sa.Connection, *, limit: int) -> list[KeptWebhook]:
    rows = sa.select(*_COLUMNS).where(webhooks.c.undecided.is_not(None), _IS_SMALL)
    return _unpacked(connection, connection.execute(rows.order_by(webhooks.c.id).limit(limit)).all())


def _unpacked(connection: sa.Connection, rows: Sequence[Any]) -> list[KeptWebhook]:
    """Return the webhooks of these rows. One that was to be decided at once may be packed with a learned dictionary."""
    learned = _dictionaries(connection, {dictionary_number(row.body) for row in rows} - {None})
    return [
        KeptWebhook(
            row.id, row.source, row.received_at,
            unpack(row.body, learned.get(dictionary_number(row.body) or 0)), row.sender,
        )
        for row in rows
    ]  # fmt: skip


def _dictionaries(connection: sa.Connection, numbers: Iterable[int | None]) -> dict[int, LearnedDictionary]:
    if not numbers:
        return {}
    found = sa.select(dictionaries.c.id, dictionaries.c.words).where(dictionaries.c.id.in_(numbers))
    return {number: LearnedDictionary(number, words) for number, words in connection.execute(found)}


def _stored_text(connection: sa.Connection) -> str | None:
    return connection.execute(sa.select(meta.c.value).where(meta.c.key == UNDECIDED)).scalar()


def _stored_count(connection: sa.Connection) -> UndecidedCount:
    return UndecidedCount.read(_stored_text(connection))


def _count_again(connection: sa.Connection) -> tuple[str | None, UndecidedCount]:
    """Return the stored count and the true one, both of the same moment."""
    stored = sa.select(meta.c.value).where(meta.c.key == UNDECIDED).scalar_subquery()
    small = sa.func.sum(sa.case((_IS_SMALL, 1), else_=0))
    total = sa.select(stored, sa.func.sum(webhooks.c.undecided), small)
    text, alerts, count = connection.execute(total.where(webhooks.c.undecided.is_not(None))).one()
    return text, UndecidedCount(int(alerts or 0), int(count or 0))


def _correct(connection: sa.Connection, *, stored: str | None, found: UndecidedCount) -> bool:
    """Store the true count. Return False if the stored one has changed since it was read."""
    if _stored_text(connection) != stored:
        return False
    set_meta(connection, UNDECIDED, str(found))
    return True
