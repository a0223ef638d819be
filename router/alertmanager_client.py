"""Asks the peers of an Alertmanager for their alerts and silences."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TypeVar

import aiohttp
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from router.decide.matchers import Matcher, MatcherError
from router.model import SECOND, Alertmanager, Millis, Source, identity_of
from router.network import Network
from router.store import Reported
from router.threads import Threads

A = TypeVar("A")
# The time for a request and its answer.
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)
_MAX_SILENCES_BYTES = 16 * 2**20


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


class _SilenceMatcher(BaseModel):
    name: str
    value: str
    is_regex: bool = Field(alias="isRegex")
    is_equal: bool = Field(default=True, alias="isEqual")

    @property
    def matcher(self) -> Matcher:
        """:raises MatcherError: the regular expression is none of RE2"""
        return Matcher(
            self.name,
            ("=~" if self.is_equal else "!~") if self.is_regex else ("=" if self.is_equal else "!="),
            self.value,
        )


class _PeerSilence(BaseModel):
    """https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (gettableSilence)"""

    id: str
    created_by: str = Field(alias="createdBy")
    comment: str
    starts_at: AwareDatetime = Field(alias="startsAt")
    ends_at: AwareDatetime = Field(alias="endsAt")
    matchers: list[_SilenceMatcher]


_ANSWER = TypeAdapter(list[_Alert])
_SILENCES = TypeAdapter(list[_PeerSilence])
_QUERY = dict.fromkeys(("active", "silenced", "inhibited", "unprocessed"), "true")


class PeerError(Exception):
    """A peer did not answer. The text says why, without the address."""


@dataclass(frozen=True, slots=True)
class PeerAnswers:
    """The answers of the peers of a source's Alertmanager. A peer that did not answer counts neither for nor against an alert."""

    alerts: Mapping[str, Reported]
    """The alerts that at least one peer lists, by identity."""
    peers: frozenset[str]
    """The URLs of those that answered."""
    unanswered: Mapping[str, str]
    """The peers that gave no answer: the reason of each, by its URL."""


@dataclass(frozen=True, slots=True)
class KnownSilence:
    """A silence of an Alertmanager, also one that has expired. Times are epoch ms, by its clock."""

    source: str
    matchers: tuple[Matcher, ...]
    created_by: str
    comment: str
    starts_at: Millis
    ends_at: Millis


@dataclass(frozen=True, slots=True)
class KnownSilences:
    """The silences of all sources that can be asked. Alertmanager keeps expired ones for five days by default."""

    silences: tuple[KnownSilence, ...] = ()
    unanswered: Mapping[str, str] = field(default_factory=dict)
    """The sources that gave no answer: the reason of each, by its name."""


class AlertmanagerClient:
    """Asks Alertmanagers for their alerts and silences, by the network settings in force."""

    def __init__(self, network: Callable[[], Network]) -> None:
        """:param network: returns the proxies and certificate authorities in force"""
        self._network = network
        self._authorities = ""
        """The certificate authorities that the context was made of, see :attr:`router.network.Network.ca_certificates`."""
        self._tls: ssl.SSLContext | None = None
        self._making_tls = asyncio.Lock()

    async def ask(self, alertmanager: Alertmanager, now: Millis) -> PeerAnswers:
        """Ask all peers for their alerts at the same time, and return their answers."""
        network = self._network()
        async with self._session(alertmanager, network) as session:
            answers = await asyncio.gather(
                *(_ask_peer(session, url, now, network.proxy_for(url)) for url in alertmanager.urls),
                return_exceptions=True,
            )
        answered, unanswered = _sorted_out(alertmanager.urls, answers)
        alerts: dict[str, Reported] = {}
        for reported in answered:
            for identity, each in reported.items():
                known = alerts.get(identity)
                alerts[identity] = each if known is None else _merged(known, each)
        return PeerAnswers(alerts, frozenset(alertmanager.urls) - unanswered.keys(), unanswered)

    async def silences(self, sources: Iterable[Source]) -> KnownSilences:
        """Ask the Alertmanagers of all sources at the same time for their silences. A source without an Alertmanager is skipped."""
        asked = [(each.name, each.alertmanager) for each in sources if each.alertmanager is not None]
        answers = await asyncio.gather(
            *(self._silences_of(name, where) for name, where in asked), return_exceptions=True
        )
        answered, unanswered = _sorted_out([name for name, _ in asked], answers)
        return KnownSilences(tuple(each for silences in answered for each in silences), unanswered)

    async def _silences_of(self, source: str, alertmanager: Alertmanager) -> list[KnownSilence]:
        """Return the silences of the first peer that answers: peers have the same. :raises PeerError: none answers"""
        network, error = self._network(), PeerError("it has no peer")
        async with self._session(alertmanager, network) as session:
            for url in alertmanager.urls:
                try:
                    return await _ask_silences(session, url, source, network.proxy_for(url))
                except PeerError as failed:
                    error = failed
        raise error

    @asynccontextmanager
    async def _session(
        self, alertmanager: Alertmanager, network: Network
    ) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(ssl=await self._tls_context(network) or True)
        async with aiohttp.ClientSession(
            timeout=_REQUEST_TIMEOUT, headers=_headers(alertmanager), connector=connector
        ) as session:
            yield session

    async def _tls_context(self, network: Network) -> ssl.SSLContext | None:
        """Return what verifies servers; None: aiohttp's own default does.

        The context is kept until the authorities change. It is made in a thread, because that reads all authorities of the
        system and takes tens of milliseconds.
        """
        async with self._making_tls:
            if network.ca_certificates != self._authorities:
                threads = Threads("tls", 1)
                try:
                    self._tls = await threads.run(network.tls_context)
                finally:
                    threads.shutdown()
                self._authorities = network.ca_certificates
            return self._tls


def _sorted_out(names: Sequence[str], answers: Sequence[A | BaseException]) -> tuple[list[A], dict[str, str]]:
    """Return the answers, and why the others gave none, by name. An error that is no :class:`PeerError` is raised."""
    answered: list[A] = []
    unanswered: dict[str, str] = {}
    for name, answer in zip(names, answers, strict=True):
        match answer:
            case PeerError():
                unanswered[name] = str(answer)
            case BaseException():
                raise answer
            case _:
                answered.append(answer)
    return answered, unanswered


def _merged(one: Reported, other: Reported) -> Reported:
    """Merge the reports of two peers about an alert. The alert counts as withheld only if both peers withhold it."""
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
    async with _answer_of(session, f"{url}/api/v2/alerts", proxy, _QUERY) as answer:
        entries = _ANSWER.validate_json(await answer.read())
        date = answer.headers.get("Date")
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


async def _ask_silences(
    session: aiohttp.ClientSession, url: str, source: str, proxy: str | None
) -> list[KnownSilence]:
    """Return all silences that a peer has. :raises PeerError:"""
    async with _answer_of(session, f"{url}/api/v2/silences", proxy, {}) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > _MAX_SILENCES_BYTES:
                raise PeerError("too many silences")
        entries = _SILENCES.validate_json(bytes(body))
        return [
            KnownSilence(
                source, tuple(matcher.matcher for matcher in each.matchers), each.created_by, each.comment,
                int(each.starts_at.timestamp() * SECOND), int(each.ends_at.timestamp() * SECOND),
            )
            for each in entries
        ]  # fmt: skip


@asynccontextmanager
async def _answer_of(
    session: aiohttp.ClientSession, address: str, proxy: str | None, query: Mapping[str, str]
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the answer of a peer. :raises PeerError: there is none, or it can't be read"""
    try:
        async with session.get(address, params=query, allow_redirects=False, proxy=proxy) as answer:
            if answer.status != HTTPStatus.OK:
                raise PeerError(f"http {answer.status}")
            yield answer
    except TimeoutError:
        raise PeerError("timeout") from None
    except (aiohttp.ClientError, OSError):
        raise PeerError("connection failed") from None
    except (ValidationError, MatcherError):
        raise PeerError("bad answer") from None


def _parsed_date(date: str | None) -> datetime | None:
    """Parse the header ``Date``; None: it is missing or invalid. https://www.rfc-editor.org/rfc/rfc9110#section-6.6.1"""
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
