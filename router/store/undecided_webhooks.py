"""Keeps webhooks that are too large for one batch, and decides them in pieces."""

from router.core.accept import Receipt
from router.decide import Policy
from router.model import Millis, Webhook
from router.store import jobs, ledger
from router.store.ledger import KeptWebhook
from router.store.packing import Packer
from router.store.presence_updates import PresenceUpdates
from router.store.writer import Database


class UndecidedWebhooks:
    """The webhooks that are kept and not decided yet. Each has a number in the order of arrival."""

    def __init__(self, database: Database, packer: Packer, presence: PresenceUpdates) -> None:
        self._database = database
        self._packer = packer
        self._presence = presence

    async def keep(self, webhook: Webhook, source: str, body: bytes, now: Millis) -> int:
        """Keep a webhook whose alerts are decided in pieces later. Returns its number after the commit."""
        packed = await self._packer.pack_unlearned(body)
        return await self._database.do(jobs.KeepWebhook(webhook, source, packed, now))

    async def numbers(self) -> list[tuple[int, int]]:
        """Return ``(number, count of alerts)`` of each undecided webhook, in the order of arrival."""
        return await self._database.read(ledger.undecided)

    async def load(self, number: int) -> KeptWebhook:
        """Return an undecided webhook as it was received."""
        return await self._database.read(lambda c: ledger.kept_webhook(c, number))

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

    async def give_up(self, number: int, reason: str) -> frozenset[str]:
        """Quarantine a webhook because some of its alerts can't be decided.

        :returns: the keys of the destinations to wake
        """
        return await self._database.do(jobs.GiveUp(number, reason))
