"""Records what came of deliveries, and settles dead letters: what is about very many alerts in many batches."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from router.core.claim import Work
from router.core.dead_letter_settling import RETRIED
from router.core.record import Recorded, with_unknown_arrival
from router.core.rows import LARGE
from router.core.storms import BATCH
from router.core.unclaim import NOT_BEGUN
from router.decide import Policy
from router.model import Delivered, Millis, Outcome, Rejected, Retry
from router.store import jobs
from router.store.jobs import job
from router.store.writer import Database


class Recording:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        work: Work,
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        not_before: Millis,
        message: bytes | None = None,
    ) -> Recorded:
        """Put an attempt's outcome into the ledger. A storm's message first: what is not recorded yet when the process
        dies is told again, and by the same message. The last one of a storm comes last, because it ends the storm.

        :param message: what was sent, packed; None: nothing was
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
            await self.close_large(policy, now)
        accepted = tuple(at for each in recorded for at in each.accepted)
        wake = frozenset().union(*(each.wake for each in recorded))
        return Recorded(accepted, wake, recorded[0].next_at if len(recorded) == 1 else 0)

    async def unclaim(self, works: Sequence[Work], policy: Policy, now: Millis) -> None:
        """Take claims back, see :meth:`router.store.Store.unclaim`. A storm's parts first, then its message."""
        waiting = [part for work in works for part in (*work.parts, work)]
        left = [(await self._record_some(each, NOT_BEGUN, policy, now))[0] for each in waiting]
        for first in range(0, len(left), BATCH):
            await self._database.do(jobs.Unclaim(tuple(left[first : first + BATCH]), policy, now))

    async def _record_parts(
        self, parts: Sequence[Work], outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
    ) -> list[Recorded]:
        """What came of the conversations that a storm's message took along."""
        recorded: list[Recorded] = []
        while parts:
            sizes = accumulate(len(each.notice) for each in parts[:BATCH])
            count = max(1, sum(size <= job.PIECE for size in sizes))
            some, parts = tuple(parts[:count]), parts[count:]
            if count == 1:
                part, found = await self._record_some(some[0], outcome, policy, now)
                some, recorded = (part,), recorded + found
            recorded.append(await self._database.do(jobs.RecordParts(some, outcome, policy, now, not_before)))
        return recorded

    async def _record_some(
        self,
        work: Work,
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        dead_letters: Sequence[tuple[str, str]] = (),
    ) -> tuple[Work, list[Recorded]]:
        """Record what came of a conversation of very many members, but for its end. What is left to record of it.

        :param letters: the reasons and recipients of its dead letters
        """
        if len(work.notice) <= LARGE:
            return work, []
        recorded: list[Recorded] = []
        for reason, recipient in dead_letters:
            given_up = (
                with_unknown_arrival(work) if isinstance(outcome, Rejected) and outcome.ambiguous else work
            )
            await self._database.do(jobs.WriteDeadLetter(given_up, reason, recipient, now))
        for first in range(0, len(work.notice), job.PIECE):
            piece = replace(work, notice=work.notice[first : first + job.PIECE])
            recorded.append(await self._database.do(jobs.RecordSome(piece, outcome, policy, now)))
        return replace(work, notice=(), again=work.may_have_arrived), recorded

    async def close_large(self, policy: Policy, now: Millis) -> None:
        """What is left to do about conversations of very many that are over. In many batches."""
        while await self._database.do(jobs.CloseSome(policy, now)):
            pass

    async def retry(self, dead_letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
        """Try a dead letter again: the destinations that have something to do now; None: it isn't dead."""
        found = await self._database.do(jobs.RetryDeadLetter(dead_letter, policy, now))
        if not isinstance(found, jobs.NoticesByMember):
            return found
        left = list(found.by_member.items())
        while left:
            some, left = dict(left[: job.PIECE]), left[job.PIECE :]
            if not await self._database.do(jobs.RetryMembers(dead_letter, some, policy, now)):
                return None
        return await self._database.do(jobs.SettleDeadLetter(dead_letter, RETRIED, now))

    async def discard(self, dead_letter: int, now: Millis) -> bool:
        """Let a dead letter rest; False: it isn't dead."""
        found = await self._database.do(jobs.DiscardDeadLetter(dead_letter, now))
        if not isinstance(found, jobs.NoticesByMember):
            return found
        left = list(found.by_member)
        while left:
            some, left = left[: job.PIECE], left[job.PIECE :]
            if not await self._database.do(jobs.DiscardMembers(dead_letter, some, now)):
                return False
        return await self._database.do(jobs.SettleDeadLetter(dead_letter, "discarded", now)) is not None
