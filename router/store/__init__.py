"""The store: everything that must survive, behind one object. See ``schema`` for the tables."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import bindparam as p

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
from router.store import books, dead, retention, steps, troubles
from router.store.accept import Receipt, accept
from router.store.adopt import Adoption, adopt, known_fragments
from router.store.balance import Balance, balance
from router.store.conversation import renew_database_id
from router.store.dead import UnderWay
from router.store.digests import covered
from router.store.health import StoreUnavailable, unavailable
from router.store.integrity import Integrity, integrity
from router.store.opening import check, migrate
from router.store.record import Recorded, record
from router.store.record import parts as record_parts
from router.store.schema import conversations, deliveries, meta, webhooks
from router.store.snapshot import Snapshot, account, snapshot
from router.store.steps import BEAT
from router.store.storm import BATCH, Limits, claim_in_storm, gather, sift, surges, view
from router.store.troubles import Trouble
from router.store.truth import BATCH as TRUTH_BATCH
from router.store.truth import (
    Answer,
    Listening,
    Reported,
    confirm,
    expire,
    merged,
    openings,
    reopen,
    settle_by_answer,
    settle_doubts,
    unanswered,
)
from router.store.work import Idle, Only, Work, claim, upcoming
from router.store.writer import Database, Statement, Transaction, insert
from router.threads import Threads

T = TypeVar("T")

_QUARANTINE = Statement(insert(webhooks))
_INTERRUPTED = Statement(
    sa.update(deliveries)
    .where(deliveries.c.outcome.is_(None))
    .values(outcome="interrupted", finished_at=p("now"))
)
_RESUME = Statement(
    sa.update(conversations)
    .where(conversations.c.destination == p("destination"), conversations.c.due_at.is_not(None))
    .values(not_before=0)
)
_NOT_PROBED = Statement(sa.delete(meta).where(meta.c.key == "probed"))
_PROBED = Statement(sa.insert(meta).values(key="probed", value=""))


class Store:
    """Open it with :meth:`open`; every method raises :class:`StoreUnavailable` when nothing could be done."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, url: str) -> "Store":
        """Open and migrate.

        :raises StoreUnavailable: can't be opened, is damaged or not ours, or another process serves from it
        """
        database, opening = Database(url), Threads("store-open", 1)
        try:
            await opening.run(check, database.path)
            await opening.run(migrate, database.engine)
        except sa.exc.DBAPIError as error:
            await database.close()
            raise unavailable(error, database.path) from error
        except BaseException:
            await database.close()
            raise
        finally:
            opening.shutdown()
        database.start(asyncio.get_running_loop())
        return cls(database)

    async def close(self, within: float = math.inf) -> None:
        """Finish what is queued. :param within: seconds; a store that is stuck is left behind after these"""
        await self._database.close(within)

    async def begin(self, now: Millis) -> dict[str, str]:
        """What the last process left under way is marked interrupted. Included files as they last were in
        force, by name.
        """

        def work(tx: Transaction) -> dict[str, str]:
            renew_database_id(tx)
            tx.run(_INTERRUPTED, now=now)
            return known_fragments(tx)

        return await self._database.write(work)

    async def fragments(self) -> dict[str, str]:
        """Included files as they last were in force, by name."""
        return await self._database.write(known_fragments)

    async def adopt(self, adoption: Adoption, now: Millis) -> dict[str, str]:
        """Begin under these rules; what is accepted or claimed from now on, by order of the calls, comes after.

        How to reach the destinations that the rules name no more, and that have yet to be told of an end, by key.
        """
        return await self._database.write(lambda tx: adopt(tx, adoption, now))

    async def begin_counting(self, policy: Policy, now: Millis) -> Millis:
        """After a start, under these rules. Since when time has simply passed, see :mod:`router.store.steps`."""
        return await self._database.write(lambda tx: steps.begin(tx, policy, now))

    async def beat(self, now: Millis) -> None:
        """The router runs: said at least once in :data:`BEAT`."""
        await self._database.write(lambda tx: steps.beat(tx, now))

    async def step(self, policy: Policy, now: Millis, *, back: bool) -> Millis:
        """The clock was stepped to ``now``, or nothing could be heard for a while. Since when time passes: now."""
        return await self._database.write(lambda tx: steps.step(tx, policy, now, back=back))

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
        return await self._database.write(
            lambda tx: accept(tx, webhook, source, body, policy, now, certain=certain)
        )

    async def quarantine(
        self, body: bytes, source: str, reason: str, now: Millis, encoding: str | None = None
    ) -> int:
        """Keep a body that can't be used as it came, with the reason. Its id.

        :param encoding: how it is compressed
        """
        row = {"source": source, "received_at": now, "body": body, "quarantined": reason}
        return await self._database.write(lambda tx: tx.add(_QUARANTINE, **row, content_encoding=encoding))

    async def digest(self, destination: Destination, policy: Policy, now: Millis) -> Conversation:
        """What a digest would report if its next slot were now; nothing is changed by asking."""
        covers = covered(destination, policy)
        return await self._database.write(lambda tx: upcoming(tx, destination.key, policy, now, covers))

    async def claim(
        self,
        destination: Destination,
        policy: Policy,
        now: Millis,
        *,
        limits: Limits | None = None,
        overdue: Millis = 0,
    ) -> Work | Idle:
        """Begin the destination's most urgent delivery; its attempt is on the books before anything is sent.

        :param limits: beyond them the lane tells of a storm instead; None: it never does
        :param overdue: only one that has been due for as long as this, in milliseconds
        """
        quiet = destination.digest and destination.options.empty == "all-quiet"
        covers = covered(destination, policy)

        def begin(tx: Transaction, *, sifted: bool) -> Work | Idle | None:
            """None: a storm would begin, by what is due as it was judged so far."""
            if limits is not None:
                if not sifted and surges(tx, destination.key, limits, now):
                    return None
                stormy = claim_in_storm(tx, destination.key, limits, policy, now)
                if stormy is not None:
                    return stormy
            return claim(
                tx, destination.key, policy, now, quiet_digest=quiet, covers=covers, only=Only(overdue)
            )

        work = await self._database.write(partial(begin, sifted=False))
        if work is None:
            await self._sift(destination.key, policy, now)
            work = await self._database.write(partial(begin, sifted=True))
            assert work is not None  # noqa: S101  (narrows the type)
        if isinstance(work, Work) and work.is_storm and limits is not None:
            return await self._gathered(work, limits, policy, now)
        return work

    async def _sift(self, destination: str, policy: Policy, now: Millis) -> None:
        """Before a storm begins. In many transactions, so that webhooks come in between."""
        after = -1
        while after:
            after = await self._database.write(
                lambda tx, after=after: sift(tx, destination, policy, now, after)  # type: ignore[misc]
            )

    async def _gathered(self, storm: Work, limits: Limits, policy: Policy, now: Millis) -> Work:
        """A storm with what its message takes along. In many transactions, so that webhooks come in between."""
        parts: list[Work] = []
        after = -1
        while after:
            more, after = await self._database.write(
                lambda tx, after=after: gather(tx, storm, limits, policy, now, after)  # type: ignore[misc]
            )
            parts += more
        shown = await self._database.write(lambda tx: view(tx, storm, policy))
        return replace(storm, parts=tuple(parts), conversation=replace(storm.conversation, storm=shown))

    async def record(
        self, work: Work, outcome: Outcome, policy: Policy, now: Millis, not_before: Millis
    ) -> Recorded:
        """Book an attempt's outcome."""
        accepted: tuple[Millis, ...] = ()
        wake: frozenset[str] = frozenset()
        for first in range(0, len(work.parts), BATCH):
            some = work.parts[first : first + BATCH]
            recorded = await self._database.write(
                lambda tx, some=some: record_parts(tx, some, outcome, policy, now, not_before)  # type: ignore[misc]
            )
            accepted, wake = accepted + recorded.accepted, wake | recorded.wake
        recorded = await self._database.write(lambda tx: record(tx, work, outcome, policy, now, not_before))
        return Recorded(accepted + recorded.accepted, wake | recorded.wake)

    async def retry(self, letter: int, policy: Policy, now: Millis) -> frozenset[str] | None:
        """Try a dead letter again: the destinations that have something to do now; None: it isn't dead."""
        return await self._database.write(lambda tx: dead.retry(tx, letter, policy, now))

    async def discard(self, letter: int, now: Millis) -> bool:
        """Let a dead letter rest; False: it isn't dead."""
        return await self._database.write(lambda tx: dead.discard(tx, letter, now))

    async def resume(self, destination: str) -> None:
        """Whatever waits after a failure there may be tried at once."""
        await self._database.write(lambda tx: tx.run(_RESUME, destination=destination))

    async def troubles(self) -> tuple[list[Trouble], list[Alert]]:
        """The destinations that nothing gets through to; and the router's own alerts that are about none of them."""
        return await self._database.write(troubles.known)

    async def keep_trouble(self, trouble: Trouble) -> None:
        await self._database.write(lambda tx: troubles.keep(tx, trouble))

    async def forget_trouble(self, destination: str) -> None:
        await self._database.write(lambda tx: troubles.forget(tx, destination))

    async def dead_letters(self) -> list[dict[str, Any]]:
        return await self._database.read(books.dead)

    async def dead_counts(self) -> dict[str, int]:
        """How many dead letters there are, by destination."""
        return await self._database.read(books.dead_counts)

    async def answered(self, answer: Answer, policy: Policy, now: Millis) -> Receipt:
        """Bring what fires into line with Alertmanager's answer. In many transactions, so that webhooks come in
        between.
        """
        receipts = await self._pieces(lambda tx, after: confirm(tx, answer, policy, now, after))
        receipts += await self._pieces(lambda tx, after: settle_by_answer(tx, answer, policy, now, after))
        listed = sorted(answer.alerts)
        for first in range(0, len(listed), TRUTH_BATCH):
            some = listed[first : first + TRUTH_BATCH]
            receipts.append(
                await self._database.write(lambda tx, some=some: reopen(tx, answer, some, policy, now))  # type: ignore[misc]
            )
        return merged(*receipts)

    async def unanswered(self, trusted: frozenset[str], policy: Policy, now: Millis) -> frozenset[str]:
        """Forget what was answered for other sources than these; the destinations to wake."""
        woken = await self._pieces(lambda tx, after: unanswered(tx, trusted, policy, now, after))
        return frozenset().union(*woken)

    async def expire(self, listening: Listening, policy: Policy, now: Millis) -> dict[str, Receipt]:
        """End what nothing was heard of for too long, by source."""
        found: dict[str, list[Receipt]] = {}
        for receipts in await self._pieces(lambda tx, after: expire(tx, listening, policy, now, after)):
            for source, receipt in receipts.items():
                found.setdefault(source, []).append(receipt)
        return {source: merged(*receipts) for source, receipts in found.items()}

    async def _pieces(self, work: Callable[[Transaction, int], tuple[T, int]]) -> list[T]:
        """All of a work that is done in many transactions, so that webhooks come in between.

        :param work: takes where the last piece ended, and says where it ended itself; 0: there are no more
        """
        results: list[T] = []
        after = 0
        while True:
            result, after = await self._database.write(lambda tx, after=after: work(tx, after))  # type: ignore[misc]
            results.append(result)
            if not after:
                return results

    async def settle_doubts(self, policy: Policy, now: Millis) -> tuple[dict[str, Receipt], Millis | None]:
        """Firings that contradicted an end, and that no other end was reported for, count now, by source; and when to
        settle the next. In many transactions, so that webhooks come in between.
        """
        settled: dict[str, Receipt] = {}
        while True:
            some, following = await self._database.write(lambda tx: settle_doubts(tx, policy, now))
            for source, receipt in some.items():
                settled[source] = merged(settled.get(source, Receipt()), receipt)
            if following is None or following > now:
                return settled, following

    async def openings(self, now: Millis) -> dict[str, Millis]:
        """When the next held alert of each source is to be let out, by source."""
        return await self._database.write(lambda tx: openings(tx, now))

    async def ready(self) -> None:
        """Returns once something has been written and committed: an empty transaction needs no room.

        :raises StoreUnavailable:
        """

        def work(tx: Transaction) -> None:
            tx.run(_NOT_PROBED)
            tx.run(_PROBED)

        await self._database.write(work)

    def refused(self, error: StoreUnavailable) -> None:
        """A webhook was: how many it were is said when the store can be written again."""
        self._database.health.refused(error)

    async def status(self) -> dict[str, Any]:
        return await self._database.read(lambda c: {**books.ledger(c), "firing": books.firing(c)})

    async def account(self, since: Millis | None, until: Millis | None) -> dict[str, Any]:
        """The ledger of a period, see :func:`router.store.books.account`."""
        return await self._database.read(lambda c: books.account(c, since, until))

    async def balance(self, last: Balance | None) -> Balance:
        """Whether the books balance. :param last: look at what came since then only"""
        return await self._database.read(lambda c: balance(c, last))

    async def integrity(self, now: Millis) -> Integrity:
        """Whether what is stored agrees with itself, and with what senders say."""
        return await self._database.read(lambda c: integrity(c, now))

    async def prune(self, keep: Retention, now: Millis) -> AsyncIterator[int]:
        """Remove what is finished and old, adding it to the sums; after each transaction, how many rows went."""
        bounds = await self._database.read(lambda c: retention.bounds(c, keep, now))
        for sort in retention.SORTS:
            after = 0
            while found := await self._database.read(partial(sort.find, bounds=bounds, after=after)):
                yield await self._database.write(partial(sort.remove, bounds=bounds, found=found))
                after = found[-1]

    async def backlog(self, now: Millis) -> list[dict[str, Any]]:
        return await self._database.read(lambda c: books.backlog(c, now))

    async def waiting(self) -> list[dict[str, Any]]:
        return await self._database.read(books.waiting)

    async def decided(self) -> list[dict[str, Any]]:
        return await self._database.read(books.decided)

    async def attempts(self) -> list[dict[str, Any]]:
        return await self._database.read(books.attempts)

    async def quarantined(self, limit: int = 100) -> list[dict[str, Any]]:
        """The newest bodies that could not be used: what is known of each, and how it begins."""
        return await self._database.read(lambda c: books.quarantined(c, limit))

    async def quarantined_body(self, number: int) -> bytes | None:
        """The body, whole and as it came; None: there is none of this id in quarantine."""
        return await self._database.read(lambda c: books.quarantined_body(c, number))

    @property
    def trouble(self) -> str | None:
        """Why it can't be written; None while it can."""
        error = self._database.health.error
        return None if error is None else str(error)

    @property
    def location(self) -> str:
        return str(self._database.path)


__all__ = [
    "BEAT",
    "Adoption",
    "Answer",
    "Balance",
    "Idle",
    "Integrity",
    "Limits",
    "Listening",
    "Receipt",
    "Recorded",
    "Reported",
    "Snapshot",
    "Store",
    "StoreUnavailable",
    "Trouble",
    "UnderWay",
    "Work",
    "account",
    "snapshot",
]
