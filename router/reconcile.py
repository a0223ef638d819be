"""Asks Alertmanager which alerts still fire: at an interval, and just before held alerts are released."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

import structlog

from router.alertmanager_client import AlertmanagerClient
from router.clock import Clock
from router.decide import Policy
from router.metrics import Metrics
from router.model import MINUTE, SECOND, Alertmanager, Millis, Source
from router.store import Answer, Listening, Receipt, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# How long before held alerts are released Alertmanager is asked. That is longer than a request may take.
_ASK_BEFORE_OPENING: Millis = 10 * SECOND
# How often to look for alerts that are no longer repeated, and for new openings of held alerts.
_LOOK_EVERY: Millis = 30 * SECOND
# After this time without an answer, the last answer no longer counts. After a start, Alertmanager has this time to send
# what it could not send while the router was down: it tries at each group_interval, 5m by default.
_GRACE: Millis = 15 * MINUTE


class Reconciler:
    """Keeps the alerts that fire in the store in line with those that fire in Alertmanager."""

    def __init__(  # noqa: PLR0913  (keyword-only: each is a part of the service that it needs)
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        sources: Callable[[], Iterable[Source]],
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
        counting_since: Callable[[], Awaitable[Millis]],
        client: AlertmanagerClient,
        preview: bool = False,
    ) -> None:
        """
        :param counting_since: returns since when time has passed without a step of the clock (epoch ms), see
            :class:`router.clock_watch.ClockWatch`
        :param wake: looks at the lanes of these destinations, because something may be due there
        :param preview: no Alertmanager is asked and no alert becomes stale, because the alerts of a sample are not repeated
        """
        self._store = store
        self._clock = clock
        self._metrics = metrics
        self._sources = sources
        self._policy = policy
        self._wake = wake
        self._counting_since = counting_since
        self._client = client
        self._preview = preview
        self._started = clock.now()
        self._asked_at: dict[str, Millis] = {}
        """When the last request was sent, by source."""
        self._answered_at: dict[str, Millis] = {}
        """When the last request that was answered was sent, by source."""

    def restart(self) -> None:
        """Begin all timers again, as after a start. Call it after a step of the clock."""
        self._started = self._clock.now()
        self._asked_at.clear()
        self._answered_at.clear()

    async def serve(self) -> None:
        """Call :meth:`look` at an interval, without end."""
        never = asyncio.Event()
        while True:
            await self._clock.wait(never, await self.look())

    async def look(self) -> Millis:
        """Ask each Alertmanager whose time has come. Return when to look again (epoch ms). Raises nothing."""
        try:
            return await self._look()
        except StoreUnavailable:
            pass  # the store logs it
        except Exception:
            log.exception("alertmanager's answers could not be used")
        return self._clock.now() + _LOOK_EVERY

    async def _look(self) -> Millis:
        await self._counting_since()  # before anything ends by the passing of time
        now = self._clock.now()
        if self._preview:
            return min(now + _LOOK_EVERY, await self._settle_doubts(now) or now + _LOOK_EVERY)
        asked = {source.name: each for source in self._sources() if (each := source.alertmanager) is not None}
        opening = await self._store.presence.next_opening(now)
        await asyncio.gather(
            *(
                self._ask_source(name, each)
                for name, each in asked.items()
                if self._due(name, each, opening) <= now
            )
        )
        policy = self._policy()
        doubt = await self._settle_doubts(now)
        # Compared with the time before the requests: the clock may have jumped since then, over a suspend.
        answered_at = {name: self._answered_at.get(name, self._started) for name in asked}
        trusted = frozenset(name for name, at in answered_at.items() if now - at < _GRACE)
        self._wake(await self._store.presence.forget_answers(trusted, policy, now))
        starting = now - self._started < _GRACE
        listening = Listening(
            stale_after=0 if now - self._started < min(_GRACE, policy.stale_after) else policy.stale_after,
            asked={name: frozenset(each.urls) for name, each in asked.items()},
            trusted=trusted,
            since=self._started if starting else 0,
        )
        for name, receipt in (await self._store.presence.expire(listening, policy, now)).items():
            self._handle(name, receipt)
        due = [self._due(name, each, opening) for name, each in asked.items()]
        return min([now + _LOOK_EVERY, *due, *([] if doubt is None else [doubt])])

    async def _settle_doubts(self, now: Millis) -> Millis | None:
        """Settle the doubts that have lasted long enough. Return when to settle the next one; None: there is none."""
        settled, following = await self._store.presence.settle_doubts(self._policy(), now)
        for name, receipt in settled.items():
            self._handle(name, receipt)
        return following

    def _due(self, name: str, alertmanager: Alertmanager, opening: Millis | None) -> Millis:
        """Return when to ask: at the interval, and before the next opening."""
        last = self._asked_at.get(name)
        if last is None:
            return 0
        regular = last + alertmanager.every
        ahead = opening - _ASK_BEFORE_OPENING if opening is not None else regular
        return min(regular, ahead) if last < ahead else regular

    async def _ask_source(self, name: str, alertmanager: Alertmanager) -> None:
        counting = await self._counting_since()
        now = self._asked_at[name] = self._clock.now()
        answers = await self._client.ask(alertmanager, now)
        for url, reason in answers.unanswered.items():
            self._metrics.reconcile_failed(name)
            log.warning("alertmanager does not answer", tenant=name, peer=urlsplit(url).netloc, reason=reason)
        if not answers.peers:
            return
        if await self._counting_since() != counting:
            return  # the clock was stepped, so the time of the request means nothing: it is asked again
        self._answered_at[name] = now
        answer = Answer(name, now, answers.alerts, alertmanager.gone_after, answers.peers)
        receipt = await self._store.presence.apply_answer(answer, self._policy(), self._clock.now())
        self._handle(name, receipt)

    def _handle(self, source: str, receipt: Receipt) -> None:
        self._metrics.decided(source, receipt.changes)
        self._wake(receipt.wake)
