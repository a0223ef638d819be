"""Begins deliveries. The delivery of a large conversation takes many batches, and its content is read on a reader's
connection.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial

from router.core.claimed_delivery import NO_STORM, ClaimedDelivery, Share
from router.core.head import Grant
from router.core.large_conversations import LargeClaim
from router.core.storms import CONVERSATIONS_PER_BATCH, Limits, Room, with_line
from router.decide import Policy
from router.model import Destination, Millis, Retry
from router.store import conversation_rows, jobs
from router.store.database import Database
from router.store.jobs import (
    ClaimAgain,
    Claimed,
    LargeConversation,
    LargeDigest,
    NotIndexed,
    Permit,
    StormBegins,
)
from router.store.pieces import in_pieces
from router.store.recording import Recording
from router.store.rule_changes import RuleChanges
from router.threads import Threads


class Claiming:
    """Claims deliveries for lanes."""

    def __init__(self, database: Database, recording: Recording) -> None:
        self._database = database
        self._recording = recording
        self._lost: dict[str, list[tuple[ClaimedDelivery, BaseException]]] = {}
        """By destination key: deliveries that were begun, can't go on, and could not be made due again yet; each with the error."""
        self._builder = Threads("store-build", 1)
        """Builds what a large conversation says from its rows."""

    def close(self) -> None:
        """End the thread once it is idle. Waits for nothing."""
        self._builder.shutdown()

    async def claim(self, permit: Permit, policy: Policy, now: Millis, rules: RuleChanges) -> Claimed:
        """Begin deliveries, see :meth:`router.store.Store.claim_several`.

        :param rules: nothing is claimed before the inhibit rules know all firing alerts
        """
        destination, limits, job = permit.destination, permit.limits, jobs.Claim(permit, policy, now)
        while lost := self._lost.get(destination.key):
            await self._give_back(*lost.pop(), policy, now)
        while True:
            work: ClaimedDelivery | None = None
            match found := await self._claim_when_indexed(job, rules):
                case StormBegins():
                    await self._recheck(destination.key, found.limits, policy, now)
                    job = replace(job, rechecked=True)
                case ClaimAgain():
                    pass
                case LargeConversation():
                    work = await self._claim_large(found.id, permit, policy, now)
                case LargeDigest():
                    work = await self._claim_report(found.id, permit, policy, now)
                case Claimed((storm,)) if storm.is_storm and limits is not None:
                    work = await self._fill_storm(storm, limits, permit, policy, now)
                case Claimed():
                    return found
            if work is not None:
                return Claimed((work,))
            job = replace(job, permit=replace(permit, ahead=False))  # only the first look waits for a webhook

    async def _claim_when_indexed(
        self, job: jobs.Claim, rules: RuleChanges
    ) -> Claimed | ClaimAgain | StormBegins | LargeConversation | LargeDigest:
        """Run a claim as soon as the inhibit rules know all firing alerts. Another replica may have put the rules in force."""
        while True:
            await rules.indexed.wait()
            found = await self._database.do(job)
            if not isinstance(found, NotIndexed):
                return found
            await rules.index(job.policy, job.now)

    async def _claim_large(
        self, id_: int, permit: Permit, policy: Policy, now: Millis
    ) -> ClaimedDelivery | None:
        """Begin the delivery of a large conversation. Return None if it has nothing to send any more."""
        before = await self._mark_members(id_, policy, now, permit.grant)
        begun = await self._database.do(jobs.StartLarge(id_, now, before, None, permit.grant))
        if begun is None:
            await self._recording.close_large(policy, now)
            return None
        try:
            work = await self._build_work(begun, before, policy, now)
            return None if await self._is_unsent(work, permit.destination, policy, now) else work
        except BaseException as error:
            await self._give_back(begun.work, error, policy, now)
            raise

    async def _claim_report(
        self, id_: int, permit: Permit, policy: Policy, now: Millis
    ) -> ClaimedDelivery | None:
        """Begin the delivery of a large digest; None: it has nothing to report after all."""
        await self._mark_members(id_, policy, now, permit.grant)
        work = await self._database.look(jobs.ReportDigest(id_, permit.destination, policy, now))
        begun = await self._database.do(jobs.StartDigest(work, permit.destination, policy, now, permit.grant))
        if begun is None:
            await self._recording.close_large(policy, now)
        return begun

    async def _is_unsent(
        self, work: ClaimedDelivery, destination: Destination, policy: Policy, now: Millis
    ) -> bool:
        """Take a claim back if all its alerts have ended since they were marked, and no message is sent for ends."""
        if destination.send_resolved or not work.says_only_ends:
            return False
        await self._recording.unclaim((work,), policy, now)
        await self._recording.close_large(policy, now)
        return True

    async def _mark_members(
        self, id_: int, policy: Policy, now: Millis, grant: Grant | None
    ) -> dict[int, str]:
        """Mark the members of a large conversation that have news.

        :returns: the status that the destination was notified of before, by the id of each marked member
        """
        before: dict[int, str] = {}
        for marked in await in_pieces(self._database, partial(jobs.MarkMembers, id_, policy, now, grant)):
            before |= marked
        return before

    async def _build_work(
        self, begun: LargeClaim, before: Mapping[int, str], policy: Policy, now: Millis
    ) -> ClaimedDelivery:
        content = partial(conversation_rows.load_content, id_=begun.row.id, policy=policy, now=now)
        known, inhibited = await self._database.read(content)
        build = conversation_rows.build_work
        return await self._builder.run(build, begun, known, before, policy, now, inhibited)

    async def _give_back(
        self, work: ClaimedDelivery, error: BaseException, policy: Policy, now: Millis
    ) -> None:
        """Make a delivery due again that was begun and can't go on. If that fails, the next claim tries it again.

        The delivery counts as possibly sent, so its message may be sent twice but is never lost.
        """
        lost = Retry(f"not read: {type(error).__name__}", ambiguous=True)
        try:
            await self._recording.record(work, lost, policy, now, now)
        except BaseException:
            self._lost.setdefault(work.conversation.destination, []).append((work, error))
            raise

    async def _find_absorbable(self, destination: str, share: Share, now: Millis) -> AsyncIterator[list[int]]:
        """Yield the ids of conversations that a storm's message can absorb, most urgent first, some thousands at a
        time. It is possible that they are no longer due when they are handled.
        """
        at: jobs.Position | None = jobs.FIRST_POSITION
        while at is not None:
            found = await self._database.do(jobs.FindAbsorbable(destination, now, share, at))
            at = found[-1] if len(found) == jobs.CONVERSATIONS_PER_LOOK else None
            yield [id_ for _, id_ in found]

    async def _recheck(self, destination: str, limits: Limits, policy: Policy, now: Millis) -> None:
        """Judge the conversations that are due again, until enough of them are still due for a storm. It takes many
        batches, so that webhooks come in between.
        """
        due = 0
        async for ids in self._find_absorbable(destination, Share(absorbs_all=True, edits=limits.edits), now):
            while ids and due <= limits.above:
                looked_at, more = await self._database.do(
                    jobs.Recheck(ids[:CONVERSATIONS_PER_BATCH], policy, now)
                )
                ids, due = ids[looked_at:], due + more  # noqa: PLW2901  (the ids that are left)
            if due > limits.above:
                return

    async def _fill_storm(
        self, storm: ClaimedDelivery, limits: Limits, permit: Permit, policy: Policy, now: Millis
    ) -> ClaimedDelivery | None:
        """Return the work of a storm with all conversations that its message absorbs; None: nothing is left to send.
        It takes many batches, so that webhooks come in between.
        """
        parts: list[ClaimedDelivery] = []
        try:
            room = await self._collect_parts(storm, parts, Room(limits.room), permit, policy, now)
            shown = await self._database.do(jobs.BuildStormView(storm, tuple(parts), room.full, policy))
        except BaseException as error:
            await self._give_back(replace(storm, parts=tuple(parts)), error, policy, now)
            raise
        if shown is None:
            return None
        return replace(storm, parts=tuple(parts), conversation=replace(storm.conversation, storm=shown))

    async def _collect_parts(
        self,
        storm: ClaimedDelivery,
        parts: list[ClaimedDelivery],
        room: Room,
        permit: Permit,
        policy: Policy,
        now: Millis,
    ) -> Room:
        """Append the works of the conversations that a storm's message absorbs to ``parts``. Return the space that is left in
        the message.
        """
        async for ids in self._find_absorbable(storm.conversation.destination, storm.share or NO_STORM, now):
            while ids and not room.full:
                more, room, looked_at = await self._database.do(
                    jobs.Absorb(storm, ids[:CONVERSATIONS_PER_BATCH], policy, now, room, permit.grant)
                )
                parts += more
                if not looked_at:
                    looked_at = 1
                    room = await self._collect_large_part(storm, ids[0], parts, room, permit, policy, now)
                ids = ids[looked_at:]  # noqa: PLW2901  (the ids that are left)
            if room.full:
                break
        return room

    async def _collect_large_part(
        self,
        storm: ClaimedDelivery,
        id_: int,
        parts: list[ClaimedDelivery],
        room: Room,
        permit: Permit,
        policy: Policy,
        now: Millis,
    ) -> Room:
        """Append the work of a large conversation to ``parts``, see :meth:`_claim_large`. If the message has no space for it,
        none of its members is marked.
        """
        expected_work = partial(conversation_rows.expected_work, id_=id_, policy=policy, now=now)
        expected = await self._database.read(expected_work)
        if expected is None or with_line(room, expected, policy).full:
            return room if expected is None else replace(room, full=True)
        before = await self._mark_members(id_, policy, now, permit.grant)
        begun = await self._database.do(jobs.StartLarge(id_, now, before, storm, permit.grant))
        if begun is None:
            return room
        parts.append(begun.work)
        parts[-1] = await self._build_work(begun, before, policy, now)
        if await self._is_unsent(parts[-1], permit.destination, policy, now):
            parts.pop()
            return room
        return with_line(room, parts[-1], policy)
