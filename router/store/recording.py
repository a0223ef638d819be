"""Records the outcomes of deliveries. Also settles dead letters: retries or discards them. A large conversation or dead
letter takes many batches.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate

from router.core.claimed_delivery import ClaimedDelivery
from router.core.dead_letter_settling import RETRIED
from router.core.record import Recorded, with_unknown_arrival
from router.core.rows import LARGE
from router.core.storms import CONVERSATIONS_PER_BATCH
from router.core.unclaim import NOT_BEGUN
from router.decide import Policy
from router.model import Delivered, Millis, Outcome, Rejected, Retry
from router.store import jobs
from router.store.database import Database
from router.store.health import RulesReplaced
from router.store.jobs import job


class Recording:
    """Records outcomes, takes back claims, and settles dead letters."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        work: ClaimedDelivery,
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        not_before: Millis,
        message: bytes | None = None,
    ) -> Recorded:
        """Record the outcome of an attempt in the ledger.

        The storm's own work is recorded before the conversations that its message absorbed. If the process ends in
        between, the storm sends the conversations that are not recorded again. The last message of a storm is
        recorded after its conversations, because it ends the storm.

        :param not_before: when the next attempt can begin at the earliest (epoch ms)
        :param message: what was sent, packed; None: nothing was sent
        """
        storm = work.conversation.storm
        ends = storm is not None and storm.over
        recorded = await self._record_parts(work.parts, outcome, policy, now, not_before) if ends else []
        refused = outcome.refused if isinstance(outcome, Delivered | Retry) else ()
        dead_letters = [(each.shown, each.recipient) for each in refused]
        if isinstance(outcome, Rejected):
            dead_letters.append((outcome.shown, ""))
        work, found = await self._record_some(work, outcome, policy, now, dead_letters)
        recorded += found
        recorded.append(await self._database.do(jobs.Record(work, outcome, policy, now, not_before, message)))
        if not ends:
            recorded += await self._record_parts(work.parts, outcome, policy, now, not_before)
        if any(each.closing for each in recorded):
            with suppress(RulesReplaced):  # a replica that agrees with the rules in force closes them
                await self.close_large(policy, now)
        accepted = tuple(at for each in recorded for at in each.accepted)
        wake = frozenset().union(*(each.wake for each in recorded))
        return Recorded(accepted, wake, recorded[0].next_at if len(recorded) == 1 else 0)

    async def unclaim(self, works: Sequence[ClaimedDelivery], policy: Policy, now: Millis) -> None:
        """Take back claims, see :meth:`router.store.Store.unclaim`. The parts of a storm come before the storm itself."""
        waiting = [part for work in works for part in (*work.parts, work)]
        left = [(await self._record_some(each, NOT_BEGUN, policy, now))[0] for each in waiting]
        for first in range(0, len(left), CONVERSATIONS_PER_BATCH):
            await self._database.do(
                jobs.Unclaim(tuple(left[first : first + CONVERSATIONS_PER_BATCH]), policy, now)
            )

    async def _record_parts(
        self,
        parts: Sequence[ClaimedDelivery],
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        not_before: Millis,
    ) -> list[Recorded]:
        """Record the outcome for the conversations that a storm's message absorbed."""
        recorded: list[Recorded] = []
        while parts:
            sizes = accumulate(len(each.notices) for each in parts[:CONVERSATIONS_PER_BATCH])
            count = max(1, sum(size <= job.MEMBERS_PER_BATCH for size in sizes))
            some, parts = tuple(parts[:count]), parts[count:]
            if count == 1:
                part, found = await self._record_some(some[0], outcome, policy, now)
                some, recorded = (part,), recorded + found
            recorded.append(await self._database.do(jobs.RecordParts(some, outcome, policy, now, not_before)))
        return recorded

    async def _record_some(
        self,
        work: ClaimedDelivery,
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        dead_letters: Sequence[tuple[str, str]] = (),
    ) -> tuple[ClaimedDelivery, list[Recorded]]:
        """Record the outcome for the members of a large conversation. Other works are returned unchanged.

        :param dead_letters: the reasons and recipients of its dead letters
        :returns: the work with what is left to record, and what was recorded
        """
        if len(work.notices) <= LARGE:
            return work, []
        recorded: list[Recorded] = []
        for reason, recipient in dead_letters:
            given_up = (
                with_unknown_arrival(work) if isinstance(outcome, Rejected) and outcome.ambiguous else work
            )
            await self._database.do(jobs.WriteDeadLetter(given_up, reason, recipient, now))
        for first in range(0, len(work.notices), job.MEMBERS_PER_BATCH):
            piece = replace(work, notices=work.notices[first : first + job.MEMBERS_PER_BATCH])
            recorded.append(await self._database.do(jobs.RecordSome(piece, outcome, policy, now)))
        return replace(work, notices=(), again=work.may_have_arrived), recorded

    async def close_large(self, policy: Policy, now: Millis) -> None:
        """Finish closing the large conversations that are over, in many batches."""
        while await self._database.do(jobs.CloseSome(policy, now)):
            pass

    async def retry(self, dead_letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
        """Send what a dead letter is about again, see :meth:`router.store.Store.retry`."""
        found = await self._database.do(jobs.RetryDeadLetter(dead_letter, policy, now))
        if not isinstance(found, jobs.NoticesByMember):
            return found
        left = list(found.by_member.items())
        while left:
            some, left = dict(left[: job.MEMBERS_PER_BATCH]), left[job.MEMBERS_PER_BATCH :]
            if not await self._database.do(jobs.RetryMembers(dead_letter, some, policy, now)):
                return None
        return await self._database.do(jobs.SettleDeadLetter(dead_letter, RETRIED, now))

    async def discard(self, dead_letter: int, now: Millis) -> bool:
        """Settle a dead letter without another attempt, see :meth:`router.store.Store.discard`."""
        found = await self._database.do(jobs.DiscardDeadLetter(dead_letter, now))
        if not isinstance(found, jobs.NoticesByMember):
            return found
        left = list(found.by_member)
        while left:
            some, left = left[: job.MEMBERS_PER_BATCH], left[job.MEMBERS_PER_BATCH :]
            if not await self._database.do(jobs.DiscardMembers(dead_letter, some, now)):
                return False
        return await self._database.do(jobs.SettleDeadLetter(dead_letter, "discarded", now)) is not None
