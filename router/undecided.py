"""Decides large webhooks. They are kept and answered first, and then decided in pieces, so that none of them holds up the
store for long.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import structlog

from router.clock import Clock
from router.core.large_webhooks import in_order
from router.decide import Policy
from router.metrics import Metrics
from router.model import Alert, Webhook
from router.parse import parse_webhook
from router.store import RETRY_AFTER_FAILED_WRITE, Store, StoreUnavailable
from router.threads import Threads

log = structlog.get_logger(__name__)

MAX_PIECE_ALERTS = 200
"""A webhook with more alerts than this is decided in pieces of this size. Each piece takes the writer some tens of
milliseconds.
"""
# Four webhooks of the largest size.
_MAX_UNDECIDED_ALERTS = 200_000
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
    """Keeps large webhooks, and decides them one after the other in the order of their arrival."""

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
        """How many alerts wait to be decided."""
        self.max_alerts = _MAX_UNDECIDED_ALERTS
        """The largest number of alerts that wait. A webhook that would exceed this is refused, unless no other waits.
        """
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._wake = wake
        self._heard = heard
        self._waiting: deque[_Arrival] = deque()
        self._threads = Threads("undecided", 1)

    async def load(self) -> None:
        """Continue with the webhooks that an earlier process kept and did not decide. :raises StoreUnavailable:"""
        for number, alerts in await self._store.undecided.numbers():
            self._add_count(alerts)
            self._enqueue(_Arrival(number, alerts, None))

    async def keep(self, webhook: Webhook, source: str, body: bytes) -> int:
        """Keep a webhook. Return its id when it is durable.

        :raises StoreUnavailable: it could not be stored, or too many alerts wait to be decided
        """
        if self.alerts and self.alerts + len(webhook.alerts) > self.max_alerts:
            raise StoreUnavailable(f"{self.alerts} alerts of large webhooks wait to be decided already")
        self._add_count(len(webhook.alerts))
        try:
            number = await self._store.undecided.keep(webhook, source, body, self._clock.now())
        except BaseException:
            self._add_count(-len(webhook.alerts))
            raise
        # If only this one waits, its turn is now.
        is_kept_parsed = self.alerts <= max(_MAX_PARSED_ALERTS, len(webhook.alerts))
        self._enqueue(_Arrival(number, len(webhook.alerts), webhook if is_kept_parsed else None, source))
        return number

    async def serve(self) -> None:
        """Decide webhooks as they come. Also judge again the alerts that an ended inhibitor muted, where they are too many
        for one unit of work.
        """
        never, left = asyncio.Event(), self._store.presence.unreleased
        while True:
            left.clear()
            try:
                self._wake(await self._store.presence.release(self._policy(), self._clock.now()))
                while self._waiting:
                    await self._decide_next()
            except StoreUnavailable:
                pass  # the store logs it
            except Exception:  # the task must go on: it tries again
                log.exception("large webhooks can't be decided")
            else:
                await left.wait()
                continue
            await self._clock.wait(never, self._clock.now() + RETRY_AFTER_FAILED_WRITE)

    async def _decide_next(self) -> None:
        """Decide the first waiting webhook. :raises StoreUnavailable:"""
        arrival = self._waiting[0]
        try:
            await self._decide(arrival)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("a webhook can't be decided", webhook=arrival.number)
            await self._quarantine(arrival, error)
        self._waiting.popleft()
        self._add_count(-arrival.alerts)

    def close(self) -> None:
        self._threads.shutdown()

    def _enqueue(self, arrival: _Arrival) -> None:
        # Webhooks that are kept in one batch are answered in the order of their numbers.
        self._waiting.append(arrival)
        self._store.presence.unreleased.set()

    def _add_count(self, alerts: int) -> None:
        self.alerts += alerts
        self._metrics.undecided(self.alerts)

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
        self._metrics.decided(source, receipt.changes, receipt.decisions)
        self._heard(source, receipt.heartbeats)
        self._wake(receipt.wake)

    async def _quarantine(self, arrival: _Arrival, error: Exception) -> None:
        self._wake(await self._store.undecided.give_up(arrival.number, undecidable_reason(error)))
        self._metrics.quarantined()


def undecidable_reason(error: Exception) -> str:
    """Return the reason for the quarantine of a webhook whose decision raises an error. The text of the error is left out,
    because it may quote the webhook.
    """
    return f"it can't be decided: {type(error).__name__}; the log says more"
