"""Asks Alertmanager which alerts still fire: at an interval, and just before held alerts are released."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from router.clock import Clock
from router.decide import Policy
from router.metrics import Metrics
from router.model import MINUTE, SECOND, Alertmanager, Millis, Source, identity_of
from router.network import DIRECT, Network
from router.store import Answer, Listening, Receipt, Reported, Store, StoreUnavailable

log = structlog.get_logger(__name__)

# Alertmanager is asked this long before held alerts are released, and has this long to answer.
_ASK_BEFORE_OPENING: Millis = 10 * SECOND
_TIMEOUT = aiohttp.ClientTimeout(total=5)
# How often to look for alerts that are no longer repeated, and for new openings of held alerts.
_LOOK_EVERY: Millis = 30 * SECOND
# After this time without an answer, the last answer no longer counts. After a start, Alertmanager has this time to send
# what it could not send while the router was down: it tries at each group_interval, 5m by default.
_GRACE: Millis = 15 * MINUTE


class _Status(BaseModel):
    """https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (alertStatus)"""

    state: str
    silenced_by: list[str] = Field(alias="silencedBy")
    inhibited_by: list[str] = Field(alias="inhibitedBy")

    @property
    def withheld(self) -> str | None:
        """Why Alertmanager sends no notification; None: it does."""
        if self.state != "suppressed":
            return None
        how = "silenced" if self.silenced_by else "inhibited" if self.inhibited_by else "muted"
        return f"{how} in Alertmanager"


class _Alert(BaseModel):
    """https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (gettableAlert)"""

    labels: dict[str, str]
    starts_at: AwareDatetime = Field(alias="startsAt")
    updated_at: AwareDatetime | None = Field(default=None, alias="updatedAt")
    status: _Status


_ANSWER = TypeAdapter(list[_Alert])
_QUERY = dict.fromkeys(("active", "silenced", "inhibited", "unprocessed"), "true")


class PeerError(Exception):
    """A peer did not answer. The text says why, without the address."""


@dataclass(frozen=True, slots=True)
class PeerAnswers:
    """The answers of the peers of a source's Alertmanager. Peers that did not answer are left out of the comparison."""

    alerts: Mapping[str, Reported]
    """The alerts that at least one peer lists, by identity."""
    peers: frozenset[str]
    """The URLs of those that answered."""
    unanswered: Mapping[str, str]
    """Why the other peers gave no answer, by URL."""


async def ask_peers(alertmanager: Alertmanager, now: Millis, network: Network = DIRECT) -> PeerAnswers:
    """Ask all peers at the same time. :param network: the proxies and certificate authorities"""
    connector = aiohttp.TCPConnector(ssl=network.tls_context() or True)
    async with aiohttp.ClientSession(
        timeout=_TIMEOUT, headers=_headers(alertmanager), connector=connector
    ) as session:
        answers = await asyncio.gather(
            *(_ask_peer(session, url, now, network.proxy_for(url)) for url in alertmanager.urls),
            return_exceptions=True,
        )
    alerts: dict[str, Reported] = {}
    unanswered: dict[str, str] = {}
    for url, answer in zip(alertmanager.urls, answers, strict=True):
        match answer:
            case PeerError():
                unanswered[url] = str(answer)
            case BaseException():
                raise answer
            case _:
                for identity, each in answer.items():
                    known = alerts.get(identity)
                    alerts[identity] = each if known is None else _merged(known, each)
    return PeerAnswers(alerts, frozenset(alertmanager.urls) - unanswered.keys(), unanswered)


def _merged(one: Reported, other: Reported) -> Reported:
    """Return an alert that two peers have: it notifies if it does at either of them."""
    notifying = [each for each in (one, other) if each.withheld is None]
    chosen = notifying or [one, other]
    return Reported(
        starts_at=min(each.starts_at for each in chosen),
        withheld=None if notifying else one.withheld,
        peers=one.peers | other.peers,
        updated_at=max((each.updated_at for each in chosen if each.updated_at is not None), default=None),
    )


async def _ask_peer(
    session: aiohttp.ClientSession, url: str, now: Millis, proxy: str | None
) -> dict[str, Reported]:
    """Return all alerts that a peer has, by identity. :raises PeerError:"""
    try:
        async with session.get(
            f"{url}/api/v2/alerts", params=_QUERY, allow_redirects=False, proxy=proxy
        ) as answer:
            if answer.status != HTTPStatus.OK:
                raise PeerError(f"http {answer.status}")
            entries = _ANSWER.validate_json(await answer.read())
            date = answer.headers.get("Date")
    except TimeoutError:
        raise PeerError("timeout") from None
    except (aiohttp.ClientError, OSError):
        raise PeerError("connection failed") from None
    except ValidationError:
        raise PeerError("bad answer") from None
    peer_now = _parsed_date(date)
    return {
        identity_of(each.labels): Reported(
            int(each.starts_at.timestamp() * SECOND),
            each.status.withheld,
            frozenset({url}),
            _at_our_clock(each.updated_at, peer_now, now),
        )
        for each in entries
    }


def _parsed_date(date: str | None) -> datetime | None:
    """https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1"""
    try:
        return parsedate_to_datetime(date or "")
    except ValueError:
        return None


def _at_our_clock(at: datetime | None, peer_now: datetime | None, now: Millis) -> Millis | None:
    """Return a peer's time by the clock of the router. Clocks of peers may differ by minutes, so only the age of a time
    counts.

    :param peer_now: the time of the peer's clock when it answered
    """
    if at is None or peer_now is None or peer_now.tzinfo is None or at > peer_now:
        return None
    return now - int((peer_now - at).total_seconds() * SECOND)


def _headers(alertmanager: Alertmanager) -> dict[str, str]:
    if alertmanager.bearer_token is not None:
        return {"Authorization": f"Bearer {alertmanager.bearer_token}"}
    if alertmanager.username is None:
        return {}
    pair = f"{alertmanager.username}:{alertmanager.password or ''}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


class Reconciler:
    """Keeps the alerts that the store has as firing in line with those that Alertmanager has."""

    def __init__(  # noqa: PLR0913  (keyword-only: each is a room that it needs)
        self,
        *,
        store: Store,
        clock: Clock,
        metrics: Metrics,
        sources: Callable[[], Iterable[Source]],
        policy: Callable[[], Policy],
        wake: Callable[[Iterable[str]], None],
        counting_since: Callable[[], Awaitable[Millis]],
        network: Callable[[], Network] = lambda: DIRECT,
        preview: bool = False,
    ) -> None:
        """
        :param counting_since: compares the clocks, see :class:`router.clock_watch.ClockWatch`
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
        self._network = network
        self._preview = preview
        self._started = clock.now()
        self._asked_at: dict[str, Millis] = {}
        """When the last request was sent, by source."""
        self._answered_at: dict[str, Millis] = {}
        """When the last request that was answered was sent, by source."""

    def restart(self) -> None:
        """After a step of the clock: all timers begin again, as after a start."""
        self._started = self._clock.now()
        self._asked_at.clear()
        self._answered_at.clear()

    async def serve(self) -> None:
        """Look at an interval, without end."""
        never = asyncio.Event()
        while True:
            await self._clock.wait(never, await self.look())

    async def look(self) -> Millis:
        """Ask the Alertmanagers that are due. Return when to look again (epoch ms). Raises nothing."""
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
        """Return when to settle the next doubt; None: there is none."""
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
        answers = await ask_peers(alertmanager, now, self._network())
        for url, reason in answers.unanswered.items():
            self._metrics.reconcile_failed(name)
            log.warning("alertmanager does not answer", source=name, peer=urlsplit(url).netloc, reason=reason)
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
