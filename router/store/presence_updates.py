"""Brings alerts into line with Alertmanager's answers and with the time that has passed, in many batches."""

import asyncio
from functools import partial

from router.core.accept import Receipt, merged
from router.core.conclusions import ALERTS_PER_BATCH
from router.core.presence import Answer
from router.core.staleness import Listening
from router.decide import Policy
from router.model import Millis
from router.store import jobs
from router.store.database import Database
from router.store.pieces import for_found_ids, in_pieces


class PresenceUpdates:
    """Changes alerts by Alertmanager's answers, or by the absence of reports about them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.unreleased = asyncio.Event()
        """Set when :meth:`release` may have something to do. It is set at the start, because the last process may have
        left something.
        """
        self.unreleased.set()

    async def apply_answer(self, answer: Answer, policy: Policy, now: Millis) -> Receipt:
        """Bring the firing alerts of a source into line with Alertmanager's answer."""
        receipts = await in_pieces(self._database, partial(jobs.Confirm, answer, policy, now))
        receipts += await for_found_ids(
            self._database, partial(jobs.FindDoubted, answer.source),
            lambda ids: jobs.SettleByAnswer(answer, ids, policy, now),
        )  # fmt: skip
        listed = sorted(answer.alerts)
        for first in range(0, len(listed), ALERTS_PER_BATCH):
            some = tuple(listed[first : first + ALERTS_PER_BATCH])
            receipts.append(await self._database.do(jobs.Reopen(answer, some, policy, now)))
        return self.note(merged(*receipts))

    async def forget_answers(self, trusted: frozenset[str], policy: Policy, now: Millis) -> frozenset[str]:
        """Forget the answers about all sources but these.

        :param trusted: names of sources
        :returns: the keys of the destinations to wake
        """
        woken = await for_found_ids(
            self._database, jobs.FindMarked, lambda ids: jobs.ForgetAnswers(trusted, ids, policy, now)
        )
        return frozenset().union(*woken)

    async def expire(self, listening: Listening, policy: Policy, now: Millis) -> dict[str, Receipt]:
        """End the firing alerts that were not repeated for too long. Return what changed, by source."""
        found: dict[str, list[Receipt]] = {}
        ended = await for_found_ids(
            self._database, partial(jobs.FindStale, listening, now),
            lambda ids: jobs.Expire(listening, ids, policy, now),
        )  # fmt: skip
        for receipts in ended:
            for source, receipt in receipts.items():
                found.setdefault(source, []).append(receipt)
        return {source: self.note(merged(*receipts)) for source, receipts in found.items()}

    async def settle_doubts(self, policy: Policy, now: Millis) -> tuple[dict[str, Receipt], Millis | None]:
        """Accept the doubtful firings that no other end has contradicted in time.

        A firing is in doubt if it contradicts an end that was reported shortly before.

        :returns: what changed, by source; and when to settle the next doubt (epoch ms; None: there is none)
        """
        settled: dict[str, Receipt] = {}
        while True:
            some, following = await self._database.do(jobs.SettleDoubts(policy, now))
            for source, receipt in some.items():
                settled[source] = self.note(merged(settled.get(source, Receipt()), receipt))
            if following is None or following > now:
                return settled, following

    async def release(self, policy: Policy, now: Millis) -> frozenset[str]:
        """Judge the alerts again that were muted by inhibitors which have ended and which muted very many.

        It takes many batches, so that webhooks come in between.

        :returns: the keys of the destinations that may have something to send
        """
        woken: frozenset[str] = frozenset()
        after = 0
        while (found := await self._database.do(jobs.ReleaseSome(policy, now, after))) is not None:
            more, after = found
            woken |= more
        return woken

    async def next_opening(self, now: Millis) -> Millis | None:
        """Return when the next held alert of any source becomes due (epoch ms); None: none is held."""
        return await self._database.do(jobs.NextOpening(now))

    def note(self, receipt: Receipt) -> Receipt:
        """Set :attr:`unreleased` if the receipt has work for :meth:`release`. Return the receipt."""
        if receipt.unreleased:
            self.unreleased.set()
        return receipt
