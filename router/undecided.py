"""Decides large webhooks, which were kept whole and answered at once. When an inhibitor ends that muted very many alerts,
it judges these as well. Both are done in pieces, so that other webhooks come in between.
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
from router.store import STORE_REST, Store, StoreUnavailable
from router.threads import Threads

log = structlog.get_logger(__name__)

LARGE = 200
"""Alerts. A webhook of more is decided in pieces of so many, each some tens of milliseconds of the writer's time."""
_MOST = 200_000
"""Alerts that may wait to be decided: four webhooks of the greatest size."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    """A webhook that was kept."""

    number: int
    """In the order of arrival."""
    alerts: int
    webhook: Webhook | None
    """None: it was kept before the router started, and is read when its turn comes."""
    source: str = ""


class Undecided:
    """Decides webhooks that were kept, one after the other, in the order of their arrival."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
    ) -> None:
        self.alerts = 0
        """How many wait to be decided."""
        self.most = _MOST
        """How many may wait. A webhook that would exceed this is refused, unless it is the only one."""
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._policy = policy
        self._wake = wake
        self._waiting: deque[_Arrival] = deque()
        self._threads = Threads("undecided", 1)

    async def begin(self) -> None:
        """Take over what an earlier process kept and did not decide."""
        for number, alerts in await self._store.undecided():
            self._count(alerts)
            self._put(_Arrival(number, alerts, None))

    async def keep(self, webhook: Webhook, source: str, body: bytes) -> None:
        """Returns once it is durable. :raises StoreUnavailable: it is not, or too much waits to be decided"""
        if self.alerts and self.alerts + len(webhook.alerts) > self.most:
            raise StoreUnavailable(f"{self.alerts} alerts of large webhooks wait to be decided already")
        self._count(len(webhook.alerts))
        try:
            number = await self._store.keep(webhook, source, body, self._clock.now())
        except BaseException:
            self._count(-len(webhook.alerts))
            raise
        self._put(_Arrival(number, len(webhook.alerts), webhook, source))

    async def serve(self) -> None:
        """Decide them as they come; and judge what very many alerts of an inhibitor that ended come to."""
        never, left = asyncio.Event(), self._store.left
        while True:
            left.clear()
            try:
                self._wake(await self._store.release(self._policy(), self._clock.now()))
                while self._waiting:
                    await self._next()
            except StoreUnavailable:
                pass  # which the store says itself
            except Exception:  # it never dies: what it could not do is tried again
                log.exception("large webhooks can't be decided")
            else:
                await left.wait()
                continue
            await self._clock.wait(never, self._clock.now() + STORE_REST)

    async def _next(self) -> None:
        """:raises StoreUnavailable:"""
        arrival = self._waiting[0]
        try:
            await self._decide(arrival)
        except StoreUnavailable:
            raise
        except Exception as error:
            log.exception("a webhook can't be decided", webhook=arrival.number)
            await self._quarantine(arrival, error)
        self._waiting.popleft()
        self._count(-arrival.alerts)

    def close(self) -> None:
        self._threads.shutdown()

    def _put(self, arrival: _Arrival) -> None:
        # Two that were kept in one batch are answered in the order of their numbers.
        self._waiting.append(arrival)
        self._store.left.set()

    def _count(self, by: int) -> None:
        self.alerts += by
        self._metrics.undecided(self.alerts)

    async def _decide(self, arrival: _Arrival) -> None:
        webhook, source = arrival.webhook, arrival.source
        if webhook is None:
            kept = await self._store.kept(arrival.number)
            source = kept.source
            webhook = await self._threads.run(parse_webhook, kept.body, kept.received_at, kept.sender)
        alerts = await self._threads.run(in_order, webhook, self._policy())
        for first in range(0, len(alerts), LARGE):
            await self._decide_some(arrival, webhook, source, alerts[first : first + LARGE])
        policy, now = self._policy(), self._clock.now()
        self._wake(await self._store.accept_end(arrival.number, webhook, source, policy, now))

    async def _decide_some(
        self, arrival: _Arrival, webhook: Webhook, source: str, alerts: list[Alert]
    ) -> None:
        some = replace(webhook, alerts=tuple(alerts))
        receipt = await self._store.accept_some(
            arrival.number, some, source, self._policy(), self._clock.now()
        )
        self._metrics.decided(source, receipt.changes, receipt.decisions)
        self._wake(receipt.wake)

    async def _quarantine(self, arrival: _Arrival, error: Exception) -> None:
        self._wake(await self._store.give_up(arrival.number, undecidable(error)))
        self._metrics.quarantined()


def undecidable(error: Exception) -> str:
    """Why a webhook is quarantined that raises when it is decided. An error may quote what it was about, so this doesn't."""
    return f"it can't be decided: {type(error).__name__}; the log says more"
