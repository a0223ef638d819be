"""Begins deliveries: what is about very many alerts, or groups, in many batches. What it says is read beside the writer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from functools import partial

from router.core.claim import NO_STORM, Share, Work
from router.core.large_conversations import LargeClaim
from router.core.storms import BATCH, Limits, Room, with_line
from router.decide import Policy
from router.model import Destination, Millis, Retry
from router.store import conversation, jobs
from router.store.jobs import Again, Claimed, Many, ManyReported, Permit, Surges
from router.store.recording import Recording
from router.store.rounds import in_pieces
from router.store.writer import Database
from router.threads import Threads


class Claiming:
    def __init__(self, database: Database, recording: Recording) -> None:
        self._database = database
        self._recording = recording
        self._lost: dict[str, list[tuple[Work, BaseException]]] = {}
        """What was begun, by destination, and is to be given back."""
        self._building = Threads("store-build", 1)
        """Makes what a conversation of very many members says, of its rows."""

    def close(self) -> None:
        self._building.shutdown()

    async def claim(self, permit: Permit, policy: Policy, now: Millis, ready: asyncio.Event) -> Claimed:
        """Begin deliveries, see :meth:`router.store.Store.claim_several`. :param ready: nothing is claimed before"""
        destination, limits, job = permit.destination, permit.limits, jobs.Claim(permit, policy, now)
        while lost := self._lost.get(destination.key):
            await self._give_back(*lost.pop(), policy, now)
        while True:
            await ready.wait()
            work: Work | None = None
            found = await self._database.do(job)
            match found:
                case Surges():
                    await self._recheck(destination.key, found.limits, policy, now)
                    job = replace(job, rechecked=True)
                case Again():
                    pass
                case Many():
                    work = await self._claim_large(found.id, destination, policy, now)
                case ManyReported():
                    work = await self._claim_report(found.id, destination, policy, now)
                case Claimed((storm,)) if storm.is_storm and limits is not None:
                    work = await self._absorbed(storm, limits, destination, policy, now)
                case Claimed():
                    return found
            if work is not None:
                return Claimed((work,))

    async def _claim_large(
        self, id_: int, destination: Destination, policy: Policy, now: Millis
    ) -> Work | None:
        """Begin the delivery of a conversation of very many members, in many batches; what it says is read beside the
        writer. None: there was nothing to say after all.
        """
        before = await self._marked(id_, policy, now)
        begun = await self._database.do(jobs.Start(id_, now, before))
        if begun is None:
            await self._recording.close_large(policy, now)
            return None
        try:
            work = await self._built(begun, before, now)
            return None if await self._is_unsent(work, destination, policy, now) else work
        except BaseException as error:
            await self._give_back(begun.work, error, policy, now)
            raise

    async def _claim_report(
        self, id_: int, destination: Destination, policy: Policy, now: Millis
    ) -> Work | None:
        """Begin the delivery of a digest of very many alerts: they are judged in many batches, and what it says is read
        beside the writer. None: there was nothing to say after all.
        """
        await self._marked(id_, policy, now)
        work = await self._database.look(jobs.Report(id_, destination, policy, now))
        begun = await self._database.do(jobs.StartReport(work, destination, policy, now))
        if begun is None:
            await self._recording.close_large(policy, now)
        return begun

    async def _is_unsent(self, work: Work, destination: Destination, policy: Policy, now: Millis) -> bool:
        """Take a claim back if all its alerts have ended since they were marked, and no message is sent for ends."""
        if destination.send_resolved or not work.says_only_ends:
            return False
        await self._recording.unclaim((work,), policy, now)
        await self._recording.close_large(policy, now)
        return True

    async def _marked(self, id_: int, policy: Policy, now: Millis) -> dict[int, str]:
        """What the destination was notified of before, by the members that there is news of."""
        before: dict[int, str] = {}
        for marked in await in_pieces(self._database, partial(jobs.Mark, id_, policy, now)):
            before |= marked
        return before

    async def _built(self, begun: LargeClaim, before: Mapping[int, str], now: Millis) -> Work:
        known = await self._database.read(partial(conversation.members, id_=begun.row.id))
        return await self._building.run(conversation.work, begun, known, before, now)

    async def _give_back(self, work: Work, error: BaseException, policy: Policy, now: Millis) -> None:
        """What was begun and can't go on is due again, with the next claim at the latest. It counts as sent perhaps: it
        is told twice rather than never.
        """
        lost = Retry(f"not read: {type(error).__name__}", ambiguous=True)
        try:
            await self._recording.record(work, lost, policy, now, now)
        except BaseException:
            self._lost.setdefault(work.conversation.destination, []).append((work, error))
            raise

    async def _due(self, destination: str, share: Share, now: Millis) -> AsyncIterator[list[int]]:
        """The conversations that a storm's message tells, the most urgent first, some thousands at a time. They may be due
        no more when they are looked at.
        """
        at: jobs.Position | None = jobs.START
        while at is not None:
            found = await self._database.do(jobs.Due(destination, now, share, at))
            at = found[-1] if len(found) == jobs.DUE else None
            yield [id_ for _, id_ in found]

    async def _recheck(self, destination: str, limits: Limits, policy: Policy, now: Millis) -> None:
        """Judge what is due once more, until there is enough for a storm. In many batches, so that webhooks come in
        between.
        """
        due = 0
        async for ids in self._due(destination, Share(taking=True, edits=limits.edits), now):
            while ids and due <= limits.above:
                looked_at, more = await self._database.do(jobs.Recheck(ids[:BATCH], policy, now))
                ids, due = ids[looked_at:], due + more  # noqa: PLW2901  (what is left of them)
            if due > limits.above:
                return

    async def _absorbed(
        self, storm: Work, limits: Limits, destination: Destination, policy: Policy, now: Millis
    ) -> Work | None:
        """A storm with what its message takes along. In many batches, so that webhooks come in between. None: it has
        nothing to tell after all.
        """
        parts: list[Work] = []
        try:
            room = await self._absorb(storm, parts, Room(limits.room), destination, policy, now)
            shown = await self._database.do(jobs.View(storm, tuple(parts), room.full, policy))
        except BaseException as error:
            await self._give_back(replace(storm, parts=tuple(parts)), error, policy, now)
            raise
        if shown is None:
            return None
        return replace(storm, parts=tuple(parts), conversation=replace(storm.conversation, storm=shown))

    async def _absorb(
        self,
        storm: Work,
        parts: list[Work],
        room: Room,
        destination: Destination,
        policy: Policy,
        now: Millis,
    ) -> Room:
        """Collect what a storm's message takes along. What room it has left."""
        async for ids in self._due(storm.conversation.destination, storm.share or NO_STORM, now):
            while ids and not room.full:
                more, room, looked_at = await self._database.do(
                    jobs.Absorb(storm, ids[:BATCH], policy, now, room)
                )
                parts += more
                if not looked_at:
                    looked_at = 1
                    room = await self._absorb_large(storm, ids[0], parts, room, destination, policy, now)
                ids = ids[looked_at:]  # noqa: PLW2901  (what is left of them)
            if room.full:
                break
        return room

    async def _absorb_large(
        self,
        storm: Work,
        id_: int,
        parts: list[Work],
        room: Room,
        destination: Destination,
        policy: Policy,
        now: Millis,
    ) -> Room:
        """As :meth:`_claim_large`, for a storm's message. Nothing of it is marked if the message has no room for it."""
        expected = await self._database.read(partial(conversation.expected, id_=id_, now=now))
        if expected is None or with_line(room, expected, policy).full:
            return room if expected is None else replace(room, full=True)
        before = await self._marked(id_, policy, now)
        begun = await self._database.do(jobs.Start(id_, now, before, storm))
        if begun is None:
            return room
        parts.append(begun.work)
        parts[-1] = await self._built(begun, before, now)
        if await self._is_unsent(parts[-1], destination, policy, now):
            parts.pop()
            return room
        return with_line(room, parts[-1], policy)
