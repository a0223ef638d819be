"""Asks the peers of an Alertmanager for their alerts."""

import asyncio
import base64
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import aiohttp
from pydantic import AwareDatetime, BaseModel, Field, TypeAdapter, ValidationError

from router.model import SECOND, Alertmanager, Millis, identity_of
from router.network import Network
from router.store import Reported
from router.threads import Threads

# The time for a request and its answer.
_REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=5)


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
    """The answers of the peers of a source's Alertmanager. A peer that did not answer counts neither for nor against an alert."""

    alerts: Mapping[str, Reported]
    """The alerts that at least one peer lists, by identity."""
    peers: frozenset[str]
    """The URLs of those that answered."""
    unanswered: Mapping[str, str]
    """The peers that gave no answer: the reason of each, by its URL."""


class AlertmanagerClient:
    """Asks Alertmanagers for their alerts, by the network settings in force."""

    def __init__(self, network: Callable[[], Network]) -> None:
        """:param network: returns the proxies and certificate authorities in force"""
        self._network = network
        self._authorities = ""
        """The certificate authorities that the context was made of, see :attr:`router.network.Network.ca_certificates`."""
        self._tls: ssl.SSLContext | None = None
        self._making_tls = asyncio.Lock()

    async def ask(self, alertmanager: Alertmanager, now: Millis) -> PeerAnswers:
        """Ask all peers at the same time, and return their answers."""
        network = self._network()
        connector = aiohttp.TCPConnector(ssl=await self._tls_context(network) or True)
        async with aiohttp.ClientSession(
            timeout=_REQUEST_TIMEOUT, headers=_headers(alertmanager), connector=connector
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
