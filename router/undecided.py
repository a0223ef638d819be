"""Decides webhooks that are kept and answered first.

Large ones are decided in pieces, so that none of them holds up the store for long. Small ones were kept by a replica that does
not agree with the rules in force, or came behind such a webhook. They are decided one after the other, whole.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import structlog

from router.clock import Clock
from router.core.accept import Receipt
from router.core.large_webhooks import NotItsTurn, in_order
from router.core.undecided_count import MAX_UNDECIDED_ALERTS, SMALL_WEBHOOK
from router.decide import Policy
from router.metrics import Metrics
from router.model import SECOND, Millis, Webhook
from router.parse import parse_webhook
from router.store import MAX_BATCH_WEIGHT, RETRY_AFTER_FAILED_WRITE, KeptWebhook, Store, StoreUnavailable
from router.threads import Threads

log = structlog.get_logger(__name__)

MAX_PIECE_ALERTS = SMALL_WEBHOOK
LOOK_EVERY: Millis = 3 * SECOND
"""How often the database is asked for webhooks that other replicas have kept, in case that a notice is lost."""
# How many small webhooks are read together.
_PAGE = 256
# A parsed alert takes some kilobytes, and the garbage collector visits its objects again and again. So the other webhooks
# that wait are only in the store, and are parsed again when their turn comes.
_MAX_PARSED_ALERTS = 20_000


_Parsed = tuple[KeptWebhook, Webhook | Exception]
"""A kept webhook; an exception in place of its contents says why its body can't be parsed."""


class Undecided:
    """Keeps webhooks, and decides them one after the other in the order of their arrival: the large ones, and the small ones."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
        heard: Callable[[str, Iterable[str]], None] = lambda _source, _heartbeats: None,
    ) -> None:
        """:param wake: looks at the lanes of these destinations, because something may be due there
        :param heard: records heartbeats (arguments: the source, their names)
        """
        self.alerts = 0
        """How many alerts wait to be decided, as far as this process knows."""
        self.max_alerts = MAX_UNDECIDED_ALERTS
        """The largest number of alerts that wait, of all replicas. A webhook that would exceed this is refused, unless no other
        waits.
        """
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._wake = wake
        self._heard = heard
        self._is_serving = False
        self._parsed: dict[int, tuple[Webhook, str]] = {}
        """Large webhooks that were kept here and wait, with their sources, by number. Only while they are decided here."""
        self._is_shared = store.undecided.are_shared
        self._small_kept = asyncio.Event()
        self._threads = Threads("undecided", 2)  # one for large webhooks, and one for small ones

    async def load(self) -> None:
        """Count what an earlier process or other replicas kept and did not decide. :meth:`serve` continues with it.

        :raises StoreUnavailable:
        """
        self._set_count((await self._store.undecided.recount()).alerts)

    def look(self) -> None:
        """Look for webhooks that other replicas have kept."""
        self._small_kept.set()
        self._store.presence.unreleased.set()

    async def refresh(self) -> None:
        """Ask the database how many alerts wait, of all replicas. :raises StoreUnavailable:"""
        self._set_count((await self._store.undecided.count()).alerts)

    async def keep(self, webhook: Webhook, source: str, body: bytes) -> int:
        """Keep a webhook. Return its id when it is durable.

        :raises StoreUnavailable: it could not be stored, or too many alerts wait to be decided
        """
        number = await self._store.undecided.keep(webhook, source, body, self._clock.now(), self.max_alerts)
        self._add_count(len(webhook.alerts))
        # If only this one waits, its turn is now.
        if self._is_serving and self.alerts <= max(_MAX_PARSED_ALERTS, len(webhook.alerts)):
            self._parsed[number] = webhook, source
        self._store.presence.unreleased.set()
        return number

    def kept(self, webhook: Webhook) -> None:
        """Decide a small webhook soon that the store has only kept."""
        self._add_count(len(webhook.alerts))
        self._small_kept.set()

    async def serve(self) -> None:
        """Decide webhooks as they come. Also judge again the alerts that an ended inhibitor muted, where they are too many
        for one unit of work.
        """
        loops = [
            asyncio.create_task(self._serve(self._decide_large, self._store.presence.unreleased), name="undecided large"),
            asyncio.create_task(self._serve(self._decide_small, self._small_kept), name="undecided small"),
        ]  # fmt: skip
        self._is_serving = True
        try:
            await asyncio.gather(*loops)
        finally:
            self._is_serving = False
            self._parsed.clear()
            for each in loops:
                each.cancel()

    async def _serve(self, decide: Callable[[], Awaitable[None]], left: asyncio.Event) -> None:
        """Decide each time when something is left."""
        never = asyncio.Event()
        while True:
            left.clear()
            try:
                await decide()
            except StoreUnavailable:
                pass  # the store logs it
            except Exception:  # the task must go on: it tries again
                log.exception("kept webhooks can't be decided")
            else:
                if self._is_shared:
                    await self._clock.wait(left, self._clock.now() + LOOK_EVERY)
                else:
                    await left.wait()
                continue
            await self._clock.wait(never, self._clock.now() + RETRY_AFTER_FAILED_WRITE)

    async def _decide_large(self) -> None:
        """Decide all large webhooks. :raises StoreUnavailable:"""
        policy, now = self._policy(), self._clock.now()
        self._wake(await self._store.presence.release(policy, now))
        if self._is_shared:
            await self._store.close_large(policy, now)  # what replicas left that no longer agreed
        for number, alerts in await self._store.undecided.numbers():
            await self._decide_large_one(number, alerts)

    async def _decide_small(self) -> None:
        """Decide all small webhooks, in the order of their arrival. If one of them can't be decided now, begin again with it.

        :raises StoreUnavailable:
        """
        while page := await self._store.undecided.small(_PAGE):
            for group in _batches(await self._threads.run(_parsed, page)):
                if not await self._decide_group(group):
                    break

    async def _decide_group(self, group: Sequence[_Parsed]) -> bool:
        """Decide small webhooks that have room in one batch. Return False if some are left, because of one before them.

        :raises StoreUnavailable:
        """
        policy, now = self._policy(), self._clock.now()
        before = [None, *(kept.number for kept, _ in group)]
        decided = await asyncio.gather(
            *(
                self._decide_whole(*each, policy, now, after)
                for each, after in zip(group, before, strict=False)
            ),
            return_exceptions=True,
        )
        errors = [each for each in decided if isinstance(each, BaseException)]
        for error in errors:
            if not isinstance(error, NotItsTurn):
                raise error
        return not errors

    async def _decide_whole(
        self,
        kept: KeptWebhook,
        webhook: Webhook | Exception,
        policy: Policy,
        now: Millis,
        after: int | None,
    ) -> None:
        """Decide a small webhook, or quarantine it.

        :param after: the number of the webhook that was kept just before this one; None: this one is the oldest
        :raises NotItsTurn: the one before it is not decided yet
        :raises StoreUnavailable:
        """
        number, source = kept.number, kept.source
        if isinstance(webhook, Exception):
            log.error("a kept webhook can't be parsed", webhook=number, exc_info=webhook)
            await self._quarantine(number, webhook, kept.body)
            return
        try:
            receipt = await self._store.undecided.decide(number, webhook, source, policy, now, after)
        except (StoreUnavailable, NotItsTurn):
            raise
        except Exception as error:
            log.exception("a webhook can't be decided", webhook=number)
            await self._quarantine(number, error, kept.body)
            self._add_count(-len(webhook.alerts))
        else:
            if receipt is not None:
                self._decided(source, receipt)
                self._add_count(-len(webhook.alerts))

    async def _decide_large_one(self, number: int, alerts: int) -> None:
        """Decide a large webhook in pieces, or quarantine it. :raises StoreUnavailable:"""
        try:
            await self._decide_in_pieces(number)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("a webhook can't be decided", webhook=number)
            await self._quarantine(number, error)
        self._parsed.pop(number, None)
        self._add_count(-alerts)

    def close(self) -> None:
        self._threads.shutdown()

    def _add_count(self, alerts: int) -> None:
        self._set_count(max(0, self.alerts + alerts))

    def _set_count(self, alerts: int) -> None:
        self.alerts = alerts
        self._metrics.undecided(alerts)

    async def _decide_in_pieces(self, number: int) -> None:
        webhook, source = self._parsed.get(number) or await self._read(number)
        alerts = await self._threads.run(in_order, webhook, self._policy())
        for first in range(0, len(alerts), MAX_PIECE_ALERTS):
            piece = replace(webhook, alerts=tuple(alerts[first : first + MAX_PIECE_ALERTS]))
            receipt = await self._store.undecided.accept_some(
                number, piece, source, self._policy(), self._clock.now()
            )
            self._decided(source, receipt)
        policy, now = self._policy(), self._clock.now()
        self._wake(await self._store.undecided.finish(number, webhook, source, policy, now))

    async def _read(self, number: int) -> tuple[Webhook, str]:
        """Return a webhook and its source from the store."""
        kept = await self._store.undecided.load(number)
        return await self._threads.run(parse_webhook, kept.body, kept.received_at, kept.sender), kept.source

    def _decided(self, source: str, receipt: Receipt) -> None:
        self._metrics.decided(source, receipt.changes, receipt.decisions)
        self._heard(source, receipt.heartbeats)
        self._wake(receipt.wake)

    async def _quarantine(self, number: int, error: Exception, body: bytes | None = None) -> None:
        self._wake(await self._store.undecided.give_up(number, undecidable_reason(error), body))
        self._metrics.quarantined()


def _parsed(page: Iterable[KeptWebhook]) -> list[_Parsed]:
    """Parse the bodies of webhooks."""
    found: list[_Parsed] = []
    for kept in page:
        try:
            found.append((kept, parse_webhook(kept.body, kept.received_at, kept.sender)))
        except Exception as error:  # noqa: BLE001  (its caller logs it)
            found.append((kept, error))
    return found


def _batches(page: Iterable[_Parsed]) -> Iterator[list[_Parsed]]:
    """Split webhooks into groups that have room in one batch each, so that other jobs come in between."""
    group: list[_Parsed] = []
    weight = 0
    for each in page:
        alerts = 0 if isinstance(each[1], Exception) else len(each[1].alerts)
        if group and weight + alerts > MAX_BATCH_WEIGHT:
            yield group
            group, weight = [], 0
        group.append(each)
        weight += alerts
    yield group


def undecidable_reason(error: Exception) -> str:
    """Return the reason for the quarantine of a webhook whose decision raises an error. The text of the error is left out,
    because it may quote the webhook.
    """
    return f"it can't be decided: {type(error).__name__}; the log says more"
