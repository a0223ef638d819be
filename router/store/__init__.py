"""The store: everything that must survive, behind one object. See ``schema`` for the tables."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import structlog

from router.core.accept import Receipt
from router.core.adopt import Adoption, Phase, Superseded
from router.core.claim import Work
from router.core.dead_letter_settling import DeliveryUnderWay
from router.core.presence import BATCH as RECONCILE_BATCH
from router.core.presence import Answer, Listening, Reported, merged
from router.core.record import Recorded
from router.core.storms import Limits
from router.core.uptime import BEAT
from router.decide import Policy
from router.model import (
    Alert,
    Conversation,
    Destination,
    Millis,
    Outcome,
    Retention,
    Webhook,
)
from router.packed import pack
from router.store import clock_steps, dictionary, jobs, ledger, retention, starts, story, totals, troubles
from router.store.balance import Balance, recent_balance, whole_balance
from router.store.claiming import Claiming
from router.store.dictionary import Packing
from router.store.health import STORE_REST, StoreUnavailable
from router.store.integrity import Integrity, find_faults
from router.store.jobs import Claimed, Idle, Permit
from router.store.ledger import KeptWebhook
from router.store.recording import Recording
from router.store.rounds import in_pieces, of_each
from router.store.search import PAGE, Found, Search, find
from router.store.snapshot import Snapshot, read_ledger, read_snapshot
from router.store.story import Story
from router.store.totals import LISTS
from router.store.troubles import Trouble
from router.store.writer import Database, Timed
from router.threads import Threads

T = TypeVar("T")
log = structlog.get_logger(__name__)
# From so many bytes on, a body is packed beside the loop: that takes a millisecond and more.
_LARGE = 64 * 1024
_PACKING = 2


class Store:
    """Open it with :meth:`open`; every method raises :class:`StoreUnavailable` when nothing could be done."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._packing = Packing()
        self._beside = Threads("store-pack", _PACKING)
        self._indexed = asyncio.Event()
        """What fires is known to the inhibit rules in force. Nothing is notified before."""
        self._indexed.set()
        self._adopted = 0
        """How often rules were put in force."""
        self.left = asyncio.Event()
        """Something is left that is done in pieces, see :meth:`release`. Set at the start: the last process may have left
        it.
        """
        self.left.set()
        self._recording = Recording(database)
        self._claiming = Claiming(database, self._recording)

    @classmethod
    async def open(cls, url: str, timed: Timed = lambda _seconds, _jobs: None) -> "Store":
        """Open and migrate.

        :param timed: told how long each batch of the writer took, and each of its jobs
        :raises StoreUnavailable: can't be opened, is damaged or not ours, or another process serves from it
        """
        database, opening = Database(url, timed), Threads("store-open", 1)
        try:
            await opening.run(database.open)
        except BaseException:
            await database.close()
            raise
        finally:
            opening.shutdown()
        database.start(asyncio.get_running_loop())
        store = cls(database)
        store._packing.use(await database.read(dictionary.newest))
        return store

    async def close(self, within: float = math.inf) -> None:
        """Finish what is queued. :param within: seconds; a store that is stuck is left behind after these"""
        await self._database.close(within)
        self._beside.shutdown()
        self._claiming.close()

    async def begin(self, now: Millis) -> dict[str, str]:
        """What the last process left under way is marked interrupted. Included files as they last were in
        force, by name.
        """
        await self._database.write(partial(starts.begin, now=now))
        return await self.fragments()

    async def fragments(self) -> dict[str, str]:
        """Included files as they last were in force, by name."""
        return await self._database.do(jobs.KnownFragments())

    async def adopt(self, adoption: Adoption, now: Millis) -> Phase | None:
        """Put these rules in force. What is left to do until everything that fires is judged by them, see
        :meth:`judge_some`; None: nothing.
        """
        before = self._indexed.is_set()
        self._indexed.clear()
        self._adopted = adopted = self._adopted + 1
        try:
            left = await self._database.do(jobs.Adopt(adoption, now))
        except BaseException:
            if before and adopted == self._adopted:
                self._indexed.set()
            raise
        self._open(left, adopted)
        return left

    async def judge_some(self, policy: Policy, now: Millis) -> tuple[Phase | None, frozenset[str]]:
        """Judge the next of what fires by the rules in force: they changed, or the clock was stepped back. First
        everything becomes known to the inhibit rules, and until then nobody is notified; then it is judged. How far this
        went is stored. What is left to do (None: nothing, or other rules are in force by now), and the destinations to
        wake.
        """
        job, adopted = jobs.JudgeSome(policy, now), self._adopted
        try:
            left, woken = await self._judged(job)
        except Superseded:
            return None, frozenset()
        self._open(left, adopted)
        return left, woken

    async def _judged(self, job: jobs.JudgeSome) -> tuple[Phase | None, frozenset[str]]:
        try:
            return await self._database.do(job)
        except (Superseded, StoreUnavailable):
            raise
        except Exception:  # a bug must not keep everything else from being notified
            log.exception(
                "alerts can't be judged by the new rules; they stay as they are until something changes"
            )
            return await self._database.do(replace(job, skip=True))

    def _open(self, left: Phase | None, adopted: int) -> None:
        """Lets claims begin, unless the inhibit rules in force have yet to learn what fires.

        :param adopted: which rules the result belongs to; a result of former rules changes nothing
        """
        if adopted == self._adopted and left is not Phase.INDEX:
            self._indexed.set()

    async def judge(self, policy: Policy, now: Millis) -> None:
        """All of :meth:`judge_some`. In many batches, so that webhooks come in between."""
        left: Phase | None = Phase.INDEX
        while left is not None:
            left, _ = await self.judge_some(policy, now)

    async def retire(self, policy: Policy, now: Millis) -> dict[str, str]:
        """How to reach the destinations that the rules name no more, and that have yet to be notified of an end, by key.
        Call it when no claim by other rules can come any more: once everything is known to the inhibit rules. What a
        process that ended was still to close is closed before.
        """
        await self.close_large(policy, now)
        return await self._database.do(jobs.Retire(policy))

    async def begin_counting(self, policy: Policy, now: Millis) -> Millis:
        """After a start, under these rules. Since when time has simply passed. If the clock was stepped back meanwhile,
        everything that fires is left to :meth:`judge_some`.
        """
        await self._finish_step(policy, now, judging=False)  # that a process which ended had begun
        down, since = await self._database.do(jobs.BeginCounting(now))
        if down is None:
            return since
        await self._step(policy, now, back=down < 0, judging=False)
        return now

    async def beat(self, policy: Policy, now: Millis) -> bool:
        """The router runs: said at least once in :data:`BEAT`. Finishes a step of the clock that could not be finished, and
        says whether there was one: then all lanes have to look again.
        """
        await self._database.do(jobs.Beat(now))
        return await self._finish_step(policy, now)

    async def step(self, policy: Policy, now: Millis, *, back: bool) -> Millis:
        """The clock was stepped to ``now``, or nothing could be heard for a while. Since when time passes: now."""
        await self._step(policy, now, back=back)
        return now

    async def _step(self, policy: Policy, now: Millis, *, back: bool, judging: bool = True) -> None:
        await self._database.write(partial(clock_steps.step, now=now, back=back))
        await self._finish_step(policy, now, judging=judging)

    async def _finish_step(self, policy: Policy, now: Millis, *, judging: bool = True) -> bool:
        """Finish the step of the clock that is under way, if there is one. In many batches, so that webhooks come in between.

        :param judging: what fires is judged by the new time; otherwise it is left to :meth:`judge_some`
        :returns: whether there was one
        """
        found = False
        while (step := await self._database.write(partial(clock_steps.step_some, now=now))) is not None:
            found = True
            if step.table == clock_steps.RULES:
                await self._database.do(jobs.OpenSlots(policy, now))
                if judging:
                    await self.judge(policy, now)
                await self._database.write(partial(clock_steps.finish))
        return found

    async def accept(
        self,
        webhook: Webhook,
        source: str,
        body: bytes,
        policy: Policy,
        now: Millis,
        *,
        certain: bool = False,
    ) -> Receipt:
        """Keep a webhook, decide what it means and for whom; returns after the commit.

        :param certain: what it reports as firing is never in doubt
        """
        packed = await self._packed(body)
        return self._noted(
            await self._database.do(jobs.Accept(webhook, source, packed, policy, now, certain))
        )

    async def keep(self, webhook: Webhook, source: str, body: bytes, now: Millis) -> int:
        """Keep a webhook whose alerts are to be decided in pieces; returns after the commit. Its number in the order of
        arrival.
        """
        # Without what was learned: it may have to go to the quarantine as it came.
        packed = pack(body) if len(body) < _LARGE else await self._beside.run(pack, body)
        return await self._database.do(jobs.Keep(webhook, source, packed, now))

    async def undecided(self) -> list[tuple[int, int]]:
        """The webhooks that were kept and are not decided yet, in the order of their arrival; and how many alerts each
        has.
        """
        return await self._database.read(ledger.undecided)

    async def kept(self, arrival: int) -> KeptWebhook:
        """One that is not decided yet."""
        return await self._database.read(lambda c: ledger.kept(c, arrival))

    async def accept_some(
        self, arrival: int, webhook: Webhook, source: str, policy: Policy, now: Millis
    ) -> Receipt:
        """Decide some alerts of a webhook that was kept. It may run twice. :param webhook: with these alerts only"""
        return self._noted(await self._database.do(jobs.AcceptSome(arrival, webhook, source, policy, now)))

    async def accept_end(
        self, arrival: int, webhook: Webhook, source: str, policy: Policy, now: Millis
    ) -> frozenset[str]:
        """All alerts of it are decided, and what concerns its group may go out. The destinations to wake."""
        return await self._database.do(jobs.AcceptEnd(arrival, webhook, source, policy, now))

    async def give_up(self, arrival: int, reason: str) -> frozenset[str]:
        """Alerts of it can't be decided: it is quarantined. The destinations to wake."""
        return await self._database.do(jobs.GiveUp(arrival, reason))

    async def quarantine(
        self, body: bytes, source: str, reason: str, now: Millis, encoding: str | None = None
    ) -> int:
        """Keep a body that can't be used as it came, with the reason. Its id.

        :param encoding: how it is compressed
        """
        return await self._database.do(jobs.Quarantine(body, source, reason, now, encoding))

    async def digest(self, destination: Destination, policy: Policy, now: Millis) -> Conversation:
        """What a digest would report if its next slot were now; nothing is changed by asking."""
        return await self._database.look(jobs.Upcoming(destination, policy, now))

    async def claim(
        self,
        destination: Destination,
        policy: Policy,
        now: Millis,
        *,
        limits: Limits | None = None,
        overdue: Millis = 0,
    ) -> Work | Idle:
        """Begin the destination's most urgent delivery, see :meth:`claim_several`."""
        found = await self.claim_several(Permit(destination, limits, overdue=overdue), policy, now)
        return found.works[0] if found.works else found.idle or Idle(None)

    async def claim_several(self, permit: Permit, policy: Policy, now: Millis) -> Claimed:
        """Begin the most urgent deliveries of a lane; their attempts are logged before anything is sent."""
        return await self._claiming.claim(permit, policy, now, self._indexed)

    async def record(
        self,
        work: Work,
        outcome: Outcome,
        policy: Policy,
        now: Millis,
        not_before: Millis,
        message: bytes | None = None,
    ) -> Recorded:
        """Put an attempt's outcome into the ledger, see :meth:`router.store.recording.Recording.record`.

        :param message: what was sent, as JSON; None: nothing was
        """
        packed = None if message is None else await self._packed(message)
        recorded = await self._recording.record(work, outcome, policy, now, not_before, packed)
        if packed is not None and (words := self._packing.lesson(now)) is not None:
            with suppress(StoreUnavailable):  # the outcome is recorded; the next lesson comes
                self._packing.use(await self._database.write(partial(dictionary.add, words=words, now=now)))
        return recorded

    async def unclaim(self, works: Sequence[Work], policy: Policy, now: Millis) -> None:
        """Take claims back of which nothing was sent: what they were to tell is due as if nobody had claimed it."""
        await self._recording.unclaim(works, policy, now)

    async def close_large(self, policy: Policy, now: Millis) -> None:
        """What is left to do about conversations of very many that are over. In many batches."""
        await self._recording.close_large(policy, now)

    async def _packed(self, data: bytes) -> bytes:
        """A body or a message, as it is kept."""
        pack = self._packing.pack
        return pack(data) if len(data) < _LARGE else await self._beside.run(pack, data)

    async def retry(self, dead_letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
        """Try a dead letter again: the destinations that have something to do now; None: it isn't dead."""
        return await self._recording.retry(dead_letter, policy, now)

    async def discard(self, dead_letter: int, now: Millis) -> bool:
        """Let a dead letter rest; False: it isn't dead."""
        return await self._recording.discard(dead_letter, now)

    async def resume(self, destination: str) -> None:
        """Whatever waits after a failure there may be tried at once. In many batches, so that webhooks come in between."""
        after = 0
        while True:
            some = partial(starts.resume_some, after=after, destination=destination)
            after = await self._database.write(some)
            if not after:
                return

    async def troubles(self) -> tuple[list[Trouble], list[Alert]]:
        """The destinations that nothing gets through to; and the self-alerts that are about none of them."""
        return await self._database.write(troubles.known)

    async def keep_trouble(self, trouble: Trouble) -> None:
        await self._database.write(partial(troubles.keep, trouble=trouble))

    async def forget_trouble(self, destination: str) -> None:
        await self._database.write(partial(troubles.forget, destination=destination))

    async def dead_letters(self) -> list[dict[str, Any]]:
        return await self._database.read(ledger.dead)

    async def answered(self, answer: Answer, policy: Policy, now: Millis) -> Receipt:
        """Bring what fires into line with Alertmanager's answer. In many batches, so that webhooks come in between."""
        receipts = await in_pieces(self._database, partial(jobs.Confirm, answer, policy, now))
        receipts += await of_each(
            self._database, partial(jobs.Doubted, answer.source),
            lambda ids: jobs.SettleByAnswer(answer, ids, policy, now),
        )  # fmt: skip
        listed = sorted(answer.alerts)
        for first in range(0, len(listed), RECONCILE_BATCH):
            some = tuple(listed[first : first + RECONCILE_BATCH])
            receipts.append(await self._database.do(jobs.Reopen(answer, some, policy, now)))
        return self._noted(merged(*receipts))

    async def unanswered(self, trusted: frozenset[str], policy: Policy, now: Millis) -> frozenset[str]:
        """Forget what was answered for other sources than these; the destinations to wake."""
        woken = await of_each(
            self._database, jobs.Marked, lambda ids: jobs.ForgetAnswers(trusted, ids, policy, now)
        )
        return frozenset().union(*woken)

    async def expire(self, listening: Listening, policy: Policy, now: Millis) -> dict[str, Receipt]:
        """End what nothing was heard of for too long, by source."""
        found: dict[str, list[Receipt]] = {}
        ended = await of_each(
            self._database, partial(jobs.Unheard, listening, now),
            lambda ids: jobs.Expire(listening, ids, policy, now),
        )  # fmt: skip
        for receipts in ended:
            for source, receipt in receipts.items():
                found.setdefault(source, []).append(receipt)
        return {source: self._noted(merged(*receipts)) for source, receipts in found.items()}

    def _noted(self, receipt: Receipt) -> Receipt:
        if receipt.unreleased:
            self.left.set()
        return receipt

    async def release(self, policy: Policy, now: Millis) -> frozenset[str]:
        """Judge the alerts of inhibitors that ended and muted very many. In many batches, so that webhooks come in
        between. The destinations that may have something to do.
        """
        woken: frozenset[str] = frozenset()
        after = 0
        while (found := await self._database.do(jobs.ReleaseSome(policy, now, after))) is not None:
            more, after = found
            woken |= more
        return woken

    async def settle_doubts(self, policy: Policy, now: Millis) -> tuple[dict[str, Receipt], Millis | None]:
        """Firings that contradicted an end, and that no other end was reported for, count now, by source; and when to
        settle the next. In many batches, so that webhooks come in between.
        """
        settled: dict[str, Receipt] = {}
        while True:
            some, following = await self._database.do(jobs.SettleDoubts(policy, now))
            for source, receipt in some.items():
                settled[source] = self._noted(merged(settled.get(source, Receipt()), receipt))
            if following is None or following > now:
                return settled, following

    async def next_opening(self, now: Millis) -> Millis | None:
        """When the next held alert is to be let out, of whatever source; None: none is held."""
        return await self._database.do(jobs.NextOpening(now))

    async def ready(self) -> None:
        """Returns once something has been written and committed: an empty transaction needs no room.

        :raises StoreUnavailable:
        """
        await self._database.write(starts.probe)

    def refused(self, error: StoreUnavailable) -> None:
        """A webhook was: how many it were is said when the store can be written again."""
        self._database.health.refused(error)

    async def status(self) -> dict[str, Any]:
        """The ledger's counts over all time, see :func:`router.store.ledger.status`."""
        return await self._database.read(ledger.status)

    async def lanes(self, now: Millis) -> dict[str, dict[str, Any]]:
        """What is due and what was given up, by destination, see :func:`router.store.totals.lanes`."""
        return await self._database.read(lambda c: totals.lanes(c, now))

    async def status_and_lanes(self, now: Millis) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Both, as they were at one moment."""
        return await self._database.read(lambda c: (ledger.status(c), totals.lanes(c, now)))

    async def ledger(self, since: Millis | None, until: Millis | None) -> dict[str, Any]:
        """The ledger of a period, see :func:`router.store.ledger.ledger_of_period`."""
        return await self._database.read(lambda c: ledger.ledger_of_period(c, since, until))

    async def balance(self, last: Balance | None) -> Balance:
        """Whether the ledger balances. :param last: look at what came since then only. None: at all changes, with rests"""
        if last is not None:
            return await self._database.read(lambda c: recent_balance(c, last))
        return await whole_balance(self._database)

    async def integrity(self, now: Millis, last: Integrity | None = None) -> Integrity:
        """Whether what is stored agrees with itself, and with what senders say.

        :param last: the counters are not looked at once more: that takes a look at all of the history
        """
        return await self._database.read(lambda c: find_faults(c, now, last))

    async def prune(self, keep: Retention, now: Millis) -> AsyncIterator[int]:
        """Remove what is finished and old, adding it to the sums; after each transaction, how many rows went."""
        bounds = await self._database.read(lambda c: retention.bounds(c, keep, now))
        for sort in retention.PRUNE_RULES:
            after = 0
            while found := await self._database.read(partial(sort.find, bounds=bounds, after=after)):
                yield await self._database.write(partial(sort.remove, bounds=bounds, found=found))
                after = found[-1]

    async def total(self, name: str) -> str:
        """How many rows a list has, see :func:`router.store.totals.total`."""
        return await self._database.read(lambda c: totals.total(c, name))

    async def waiting(self) -> list[dict[str, Any]]:
        return await self._database.read(ledger.waiting)

    async def decisions(self) -> list[dict[str, Any]]:
        return await self._database.read(ledger.decisions)

    async def attempts(self) -> list[dict[str, Any]]:
        return await self._database.read(ledger.attempts)

    async def find_alerts(self, search: Search, before: int | None = None, limit: int = PAGE) -> Found:
        """A page of alerts, the newest first. :param before: where it begins, as the page before said"""
        return await self._database.read(lambda c: find(c, search, before, limit))

    async def story(self, alert: int, before: int | None = None, limit: int = story.PAGE) -> Story | None:
        """The last changes of an alert and all that came of them; None: there is no such alert.

        :param before: where the page begins, as the page after it said
        """
        return await self._database.read(lambda c: story.story_of(c, alert, before, limit))

    async def message(self, delivery: int) -> dict[str, Any] | None:
        """What a delivery sent, see :func:`router.store.story.message`; None: nothing is kept."""
        return await self._database.read(lambda c: story.message(c, delivery))

    async def body(self, webhook: int) -> bytes | None:
        """The body of an accepted webhook; None: it is not kept any more, or nobody sent one."""
        return await self._database.read(lambda c: story.body(c, webhook))

    async def quarantined(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest bodies that could not be used: what is known of each, and how it begins."""
        return await self._database.read(lambda c: ledger.quarantined(c, limit))

    async def quarantined_body(self, number: int) -> bytes | None:
        """The body, whole and as it came; None: there is none of this id in quarantine."""
        return await self._database.read(lambda c: ledger.quarantined_body(c, number))

    @property
    def trouble(self) -> str | None:
        """Why it can't be written; None while it can."""
        error = self._database.health.error
        return None if error is None else str(error)

    @property
    def location(self) -> str:
        return self._database.name


__all__ = [
    "BEAT",
    "LISTS",
    "STORE_REST",
    "Adoption",
    "Answer",
    "Balance",
    "Claimed",
    "DeliveryUnderWay",
    "Found",
    "Idle",
    "Integrity",
    "KeptWebhook",
    "Limits",
    "Listening",
    "Permit",
    "Phase",
    "Receipt",
    "Recorded",
    "Reported",
    "Search",
    "Snapshot",
    "Store",
    "StoreUnavailable",
    "Story",
    "Trouble",
    "Work",
    "read_ledger",
    "read_snapshot",
]
