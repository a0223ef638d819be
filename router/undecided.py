"""Decides webhooks that are kept and answered first.

Large ones are decided in pieces, so that none of them holds up the store for long. Small ones were kept by a replica that does
not agree with the rules in force, or came behind such a webhook. They are decided one after the other, whole.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from router.clock import Clock
from router.core.accept import Receipt
from router.core.large_webhooks import in_order
from router.core.undecided_count import MAX_UNDECIDED_ALERTS, SMALL_WEBHOOK
from router.decide import Policy
from router.metrics import Metrics
from router.model import SECOND, Alert, Millis, Webhook
from router.parse import parse_webhook
from router.store import RETRY_AFTER_FAILED_WRITE, KeptWebhook, Store, StoreUnavailable
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


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A webhook that is kept and not decided yet."""

    number: int
    """Webhooks are numbered in the order of their arrival."""
    alerts: int
    webhook: Webhook | None
    """None: it is read from the store when its turn comes, because an earlier process kept it, or too many alerts wait."""
    source: str = ""


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
        self._waiting: deque[_Arrival] = deque()
        self._is_shared = store.undecided.are_shared
        self._small_kept = asyncio.Event()
        self._threads = Threads("undecided", 2)  # one for large webhooks, and one for small ones

    async def load(self) -> None:
        """Continue with the webhooks that an earlier process or another replica kept and did not decide.

        :raises StoreUnavailable:
        """
        count = await self._store.undecided.recount()
        self._waiting.clear()
        await self._find_large()
        self._set_count(count.alerts)
        if count.small:
            self._small_kept.set()

    def look(self) -> None:
        """Look for webhooks that other replicas have kept."""
        self._small_kept.set()
        self._store.presence.unreleased.set()

    async def refresh(self) -> None:
        """Ask the database how many alerts wait, of all replicas. :raises StoreUnavailable:"""
        self._set_count((await self._store.undecided.count()).alerts)

    async def _find_large(self) -> None:
        """Add the large webhooks that other replicas have kept."""
        known = {each.number for each in self._waiting}
        found = [_Arrival(*each, None) for each in await self._store.undecided.numbers()]
        new = [each for each in found if each.number not in known]
        if new:
            self._waiting = deque(sorted({*self._waiting, *new}, key=lambda each: each.number))

    async def keep(self, webhook: Webhook, source: str, body: bytes) -> int:
        """Keep a webhook. Return its id when it is durable.

        :raises StoreUnavailable: it could not be stored, or too many alerts wait to be decided
        """
        number = await self._store.undecided.keep(webhook, source, body, self._clock.now(), self.max_alerts)
        self._add_count(len(webhook.alerts))
        # If only this one waits, its turn is now.
        is_kept_parsed = self.alerts <= max(_MAX_PARSED_ALERTS, len(webhook.alerts))
        self._enqueue(_Arrival(number, len(webhook.alerts), webhook if is_kept_parsed else None, source))
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
        try:
            await asyncio.gather(*loops)
        finally:
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
            await self._find_large()
        while self._waiting:
            await self._decide_next()

    async def _decide_small(self) -> None:
        """Decide all small webhooks, in the order of their arrival. :raises StoreUnavailable:"""
        while page := await self._store.undecided.small(_PAGE):
            parsed = await self._threads.run(_parsed, page)
            policy, now = self._policy(), self._clock.now()
            decided = await asyncio.gather(
                *(self._decide_whole(kept, webhook, policy, now) for kept, webhook in parsed), return_exceptions=True
            )  # fmt: skip
            for error in decided:
                if isinstance(error, BaseException):
                    raise error

    async def _decide_whole(
        self, kept: KeptWebhook, webhook: Webhook | Exception, policy: Policy, now: Millis
    ) -> None:
        number, source = kept.number, kept.source
        if isinstance(webhook, Exception):
            log.error("a kept webhook can't be parsed", webhook=number, exc_info=webhook)
            await self._quarantine(number, webhook, kept.body)
            return
        try:
            receipt = await self._store.undecided.decide(number, webhook, source, policy, now)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("a webhook can't be decided", webhook=number)
            await self._quarantine(number, error, kept.body)
            self._add_count(-len(webhook.alerts))
        else:
            if receipt is not None:
                self._decided(source, receipt)
                self._add_count(-len(webhook.alerts))

    async def _decide_next(self) -> None:
        """Decide the first waiting webhook. :raises StoreUnavailable:"""
        arrival = self._waiting[0]
        try:
            await self._decide(arrival)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("a webhook can't be decided", webhook=arrival.number)
            await self._quarantine(arrival.number, error)
        if self._waiting and self._waiting[0].number == arrival.number:
            self._waiting.popleft()
        self._add_count(-arrival.alerts)

    def close(self) -> None:
        self._threads.shutdown()

    def _enqueue(self, arrival: _Arrival) -> None:
        # Webhooks that are kept in one batch are answered in the order of their numbers.
        self._waiting.append(arrival)
        self._store.presence.unreleased.set()

    def _add_count(self, alerts: int) -> None:
        self._set_count(max(0, self.alerts + alerts))

    def _set_count(self, alerts: int) -> None:
        self.alerts = alerts
        self._metrics.undecided(alerts)

    async def _decide(self, arrival: _Arrival) -> None:
        webhook, source = arrival.webhook, arrival.source
        if webhook is None:
            kept = await self._store.undecided.load(arrival.number)
            source = kept.source
            webhook = await self._threads.run(parse_webhook, kept.body, kept.received_at, kept.sender)
        alerts = await self._threads.run(in_order, webhook, self._policy())
        for first in range(0, len(alerts), MAX_PIECE_ALERTS):
            await self._decide_piece(arrival, webhook, source, alerts[first : first + MAX_PIECE_ALERTS])
        policy, now = self._policy(), self._clock.now()
        self._wake(await self._store.undecided.finish(arrival.number, webhook, source, policy, now))

    async def _decide_piece(
        self, arrival: _Arrival, webhook: Webhook, source: str, alerts: list[Alert]
    ) -> None:
        piece = replace(webhook, alerts=tuple(alerts))
        receipt = await self._store.undecided.accept_some(
            arrival.number, piece, source, self._policy(), self._clock.now()
        )
        self._decided(source, receipt)

    def _decided(self, source: str, receipt: Receipt) -> None:
        self._metrics.decided(source, receipt.changes, receipt.decisions)
        self._heard(source, receipt.heartbeats)
        self._wake(receipt.wake)

    async def _quarantine(self, number: int, error: Exception, body: bytes | None = None) -> None:
        self._wake(await self._store.undecided.give_up(number, undecidable_reason(error), body))
        self._metrics.quarantined()


def _parsed(page: Iterable[KeptWebhook]) -> list[tuple[KeptWebhook, Webhook | Exception]]:
    """Parse the bodies of webhooks; an exception in place of a webhook says why its body can't be parsed."""
    found: list[tuple[KeptWebhook, Webhook | Exception]] = []
    for kept in page:
        try:
            found.append((kept, parse_webhook(kept.body, kept.received_at, kept.sender)))
        except Exception as error:  # noqa: BLE001  (its caller logs it)
            found.append((kept, error))
    return found


def undecidable_reason(error: Exception) -> str:
    """Return the reason for the quarantine of a webhook whose decision raises an error. The text of the error is left out,
    because it may quote the webhook.
    """
    return f"it can't be decided: {type(error).__name__}; the log says more"
