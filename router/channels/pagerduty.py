"""PagerDuty: one incident for each conversation, through the Events API v2. Only this file calls pdpyras.

pdpyras is at its end of life, so its version is pinned. Its own retries are off, because the lanes retry.
"""

import asyncio
import hashlib
import re
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SecretStr

from router.channels import pagerduty_drawing, pagerduty_event
from router.channels.base import ChannelSettings, ChannelSpec, DestinationOptions, destination_key
from router.channels.http import REDIRECT_REASONS, REDIRECTS, HttpAnswer, StatusTable
from router.channels.pagerduty_import import PagerDutyImport
from router.channels.provider_words import causes_of, masked_outcome, tls_failure
from router.channels.steps import may_send
from router.model import (
    MINUTE,
    Broken,
    Conversation,
    Delivered,
    Destination,
    LaneLimits,
    Message,
    Millis,
    Outcome,
    Rate,
    Rejected,
    Retry,
)
from router.network import DIRECT, Network
from router.render import Templates
from router.threads import Threads

if TYPE_CHECKING:
    from router.channels.pagerduty_adapter import CancellableAdapter

# https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic
STATUSES = StatusTable(
    # These come from another server at events_url, or from a proxy, and not from PagerDuty. A person has to repair that.
    broken=REDIRECTS | {401, 403, 404, 410},
    # Smaller events are sent instead; if they are refused as well, the event is rejected. With 400 PagerDuty says why; if it
    # names the routing key, a person has to repair that. 413 comes from a proxy.
    rejected=frozenset({400, 413}),
    reasons={
        400: "event refused", 401: "credentials refused", 403: "forbidden", 404: "nothing at this address",
        410: "gone", 413: "too large", **REDIRECT_REASONS,
    },
)  # fmt: skip
# The parts of an event that PagerDuty may name as invalid.
_EVENT_PARTS = (
    "event_action", "dedup_key", "payload.summary", "payload.source", "payload.severity", "payload.timestamp",
    "payload.component", "payload.group", "payload.class", "payload.custom_details", "links", "images", "client",
)  # fmt: skip
_ROUTING_KEY = re.compile(r"routing[ _]?key", re.IGNORECASE)
_MAX_PART_CHARS = 60
# The cause that all routing keys share, see router.model.Retry.
_CAUSE = "pagerduty"
_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3
# One thread for each attempt. A cancelled attempt may keep its thread for a while.
_MAX_THREADS = 64


class PagerDutySettings(ChannelSettings):
    """``channels.pagerduty``"""

    events_url: str = "https://events.pagerduty.com"
    """The address of PagerDuty's EU region, or of a compatible server."""


class PagerDutyOptions(DestinationOptions):
    """``- pagerduty: {…}`` of a receiver."""

    routing_key: SecretStr = Field(min_length=32, max_length=32)
    per: Literal["group", "alert"] = "group"
    """One incident for an alert group, or one for each alert."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """The destination's name in metrics and pages; None: a hash of the routing key is used."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the routing key is enough)
        sha256 = hashlib.sha256(self.routing_key.get_secret_value().encode()).hexdigest()
        return destination_key("pagerduty", self.name, sha256)

    @property
    def per_alert(self) -> bool:
        return self.per == "alert"


class PagerDutyChannel:
    def __init__(
        self, settings: PagerDutySettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: seconds to connect, and again for each piece of the answer; an attempt may take three times as
        long
        """
        # They are imported here, and not in a thread at the first event, because the import changes the warnings filter of
        # the whole process for a moment.
        from router.channels import pagerduty_adapter, pagerduty_sdk

        self._pdpyras, self._new_adapter = pagerduty_sdk.pdpyras, pagerduty_adapter.CancellableAdapter
        self._settings = settings
        self._network = network
        self._tls = network.tls_context()
        self._timeout = timeout
        self._threads = Threads("pagerduty", _MAX_THREADS)
        self._thread_local = threading.local()  # a session of requests is for one thread
        self._sessions: list[Any] = []  # of all threads, to close them

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        body, fallback = pagerduty_event.render_event(conversation, templates)
        return Message("pagerduty", body, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        key = destination.options.routing_key.get_secret_value()
        attempt = self._new_adapter(self._tls, may_send.get())
        try:
            async with asyncio.timeout(_MAX_TIMEOUTS_PER_ATTEMPT * self._timeout):
                return await self._threads.run(self._enqueue, key, message.body, conversation.now, attempt)
        except TimeoutError:
            return Retry("timeout", ambiguous=True)
        finally:
            attempt.cancel()  # otherwise an event could be sent long after this attempt, and after later events

    async def close(self) -> None:
        self._threads.shutdown()
        for session in self._sessions:
            session.close()

    def _enqueue(
        self, key: str, body: Mapping[str, Any], now: Millis, attempt: "CancellableAdapter"
    ) -> Outcome:
        session = self._session(key)
        with closing(attempt):
            attempt.serve(session)
            outcome = _send_event(session, body, now)
            for smaller in pagerduty_event.smaller_events(body) if "payload" in body else ():
                if not isinstance(outcome, Rejected):
                    break
                outcome = _send_event(session, smaller, now)
            return masked_outcome(outcome, [key, *self._network.secrets])

    def _session(self, key: str) -> Any:
        sessions: dict[str, Any] = self._thread_local.__dict__.setdefault("by_key", {})
        if key not in sessions:
            session = self._pdpyras.EventsAPISession(key)
            session.url = self._settings.events_url.rstrip("/").removesuffix(
                "/v2/enqueue"
            )  # pdpyras appends that
            # Exactly one attempt: pdpyras would retry a 429 without end, with a blocking sleep.
            session.max_network_attempts = 0
            session.max_http_attempts = -1
            session.retry = {429: 1, 500: 1, 502: 1, 503: 1, 504: 1}
            session.timeout = self._timeout
            session.max_redirects = 0
            # The network settings have the proxies of the environment already; requests would read ~/.netrc as well.
            session.trust_env = False
            proxy = self._network.proxy_for(session.url)
            session.proxies = {} if proxy is None else {"http": proxy, "https": proxy}
            sessions[key] = session
            self._sessions.append(session)
        return sessions[key]


def _send_event(session: Any, body: Mapping[str, Any], now: Millis) -> Outcome:
    from router.channels.pagerduty_sdk import pdpyras

    event = {name: value for name, value in body.items() if value}
    try:
        session.send_event(event.pop("event_action"), **event)
    except pdpyras.PDClientError as error:
        if error.response is None:
            return _unreachable(error.__cause__)
        return _refused(error.response, now)
    except Exception:  # noqa: BLE001  (the SDK does not document what it raises on odd answers)
        return Retry("bad answer", ambiguous=True)
    return Delivered({"dedup_key": event["dedup_key"]})


def _refused(response: Any, now: Millis) -> Outcome:
    answer = HttpAnswer(response.status_code, response.headers, response.content)
    if answer.is_success:  # PagerDuty took the event, or a server in between answered
        return Retry("bad answer", ambiguous=True, words=answer.words, cause=_CAUSE)
    reason = STATUSES.reason(answer.status)
    if answer.status in STATUSES.rejected:
        errors = _errors(answer)
        if any(map(_ROUTING_KEY.search, errors)):
            return Broken(f"http {answer.status}: routing key refused", words=answer.words)
        part = next((part for part in _EVENT_PARTS for each in errors if part in each), "")
        reason = f"{reason} ({part})" if part else reason
    return STATUSES.failure(answer, now, reason=reason, cause="" if answer.status == 429 else _CAUSE)


def _errors(answer: HttpAnswer) -> list[str]:
    """Return the errors that PagerDuty reports about an event. Each begins with the part; a quoted value, which may be
    anything, follows and is cut off.
    """
    errors = answer.data.get("errors")
    several = errors if isinstance(errors, list) else [errors]
    return [str(each)[:_MAX_PART_CHARS] for each in (answer.data.get("message"), *several)]


def _unreachable(error: BaseException | None) -> Retry | Broken:
    """Return what an error of requests means for the event. The SDK wraps these errors."""
    import requests

    *_, root = causes_of(error) if error is not None else (None,)
    words = str(root or "")
    if error is not None and (fault := tls_failure(error)):
        return Broken(fault, words=words, cause=_CAUSE)
    match error:
        case requests.TooManyRedirects(response=requests.Response(status_code=status)):
            return Broken(STATUSES.reason(status), words=words, cause=_CAUSE)
        case requests.ConnectTimeout():
            reason, ambiguous = "connect timeout", False
        case requests.Timeout():
            reason, ambiguous = "timeout", True
        case requests.exceptions.SSLError():
            reason, ambiguous = "tls failed", True
        case requests.exceptions.ProxyError():
            reason, ambiguous = "proxy failed", False
        case _:
            # These two wrapped errors mean that there was no connection. Any other error may have come after the event
            # was sent.
            never_connected = any(
                name in repr(error) for name in ("NewConnectionError", "NameResolutionError")
            )
            reason, ambiguous = "connection failed", not never_connected
    return Retry(reason, ambiguous=ambiguous, words=words, cause=_CAUSE)


PAGERDUTY = ChannelSpec(
    name="pagerduty", title="PagerDuty", nothing_sent="No incident yet.",
    section="pagerduty", settings=PagerDutySettings, options=PagerDutyOptions, make=PagerDutyChannel,
    # https://developer.pagerduty.com/docs/events-api-v2-overview#limits: 120 calls per minute for each key. Four at the same
    # time, so that no event waits for a slow answer to an earlier one.
    limits=LaneLimits(Rate(120, MINUTE, burst=20), max_concurrency=4), placeholder={}, dedupes=True,
    importer=PagerDutyImport, draw=pagerduty_drawing.draw,
    secret_keys_elsewhere=frozenset({"service_key"}),
)  # fmt: skip
