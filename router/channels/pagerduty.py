"""PagerDuty: an incident a conversation, by the Events API v2. The one file that knows pdpyras.

pdpyras is at its end of life, so it is pinned; its own retries are off, for the lanes do that.
"""

import asyncio
import hashlib
import json
import re
import threading
import warnings
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Literal

import requests
from pydantic import Field, SecretStr

from router.channels import pagerduty_drawing
from router.channels.base import ChannelSettings, ChannelSpec, DestinationOptions, destination_key
from router.channels.http import REDIRECT_REASONS, REDIRECTS, HttpAnswer, StatusTable
from router.channels.pagerduty_import import PagerDutyImport
from router.channels.pagerduty_line import Line
from router.channels.provider_words import causes_of, masked_outcome, tls_failure
from router.model import (
    MINUTE,
    SECOND,
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
    ShownAlert,
    Status,
)
from router.network import DIRECT, Network
from router.render import TemplateError, Templates
from router.render.words import clip, line
from router.threads import Threads

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # its own notice of end of life
    import pdpyras

# https://developer.pagerduty.com/docs/send-alert-event
SUMMARY = 1_024
DEDUP_KEY = 255
# No limit is written down for the other fields; these keep odd labels from filling the event.
FIELD = 1_024
ADDRESS = 8_192
# https://developer.pagerduty.com/docs/events-api-v2-overview: "The maximum size of an event is 512 KB"; what
# the SDK adds around it (routing key, keys' names) is left room for.
EVENT_BYTES = 512 * 1_024 - 4_096

# https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic
STATUSES = StatusTable(
    # These come from a server at events_url or before it, and not from PagerDuty; a person has to repair that.
    broken=REDIRECTS | {401, 403, 404, 410},
    # A plain event is sent instead; if that is refused as well, the event is rejected. With 400 PagerDuty says why; if it
    # names the routing key, a person has to repair that. 413 comes from a proxy.
    rejected=frozenset({400, 413}),
    reasons={
        400: "event refused", 401: "credentials refused", 403: "forbidden", 404: "nothing at this address",
        410: "gone", 413: "too large", **REDIRECT_REASONS,
    },
)  # fmt: skip
# What PagerDuty may name as the part of an event that is at fault.
_EVENT_PARTS = (
    "event_action", "dedup_key", "payload.summary", "payload.source", "payload.severity", "payload.timestamp",
    "payload.component", "payload.group", "payload.class", "payload.custom_details", "links", "images", "client",
)  # fmt: skip
_ROUTING_KEY = re.compile(r"routing[ _]?key", re.IGNORECASE)
_MAX_PART_CHARS = 60
# What every routing key has in common.
_CAUSE = "pagerduty"
_TIMEOUT_SECONDS = 10
_MAX_TIMEOUTS_PER_ATTEMPT = 3
_NAMELESS = "Unnamed alert"  # PagerDuty takes no blank
# One an attempt under way; what was cut off may need some time to end.
_THREADS = 64
_SEVERITIES = ("critical", "error", "warning", "info")
_COMPONENT = ("component", "service", "app", "job")
_SOURCE = ("instance", "host", "node", "pod", "service", "job", "cluster")


class PagerDutySettings(ChannelSettings):
    """``channels.pagerduty``"""

    events_url: str = "https://events.pagerduty.com"
    """Of a compatible server, or of PagerDuty's EU region."""


class PagerDutyOptions(DestinationOptions):
    """``- pagerduty: {…}`` of a receiver."""

    routing_key: SecretStr = Field(min_length=32, max_length=32)
    per: Literal["group", "alert"] = "group"
    """One incident an alert group, or one an alert."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Names the destination in metrics and pages; otherwise a digest of the routing key does."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the routing key is enough)
        digest = hashlib.sha256(self.routing_key.get_secret_value().encode()).hexdigest()
        return destination_key("pagerduty", self.name, digest)

    @property
    def per_alert(self) -> bool:
        return self.per == "alert"


class PagerDutyChannel:
    def __init__(
        self, settings: PagerDutySettings, network: Network = DIRECT, *, timeout: float = _TIMEOUT_SECONDS
    ) -> None:
        """:param timeout: in seconds: to connect, and again for each piece of an answer; an attempt has three of these"""
        self._settings = settings
        self._network = network
        self._tls = network.tls_context()
        self._timeout = timeout
        self._threads = Threads("pagerduty", _THREADS)
        self._mine = threading.local()  # a requests session is for one thread
        self._sessions: list[Any] = []  # all threads', to be closed

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        # An incident goes by the key that opened it.
        dedup_key = str(conversation.remote.get("dedup_key", conversation.token))[:DEDUP_KEY]
        if conversation.over:
            return Message("pagerduty", {"event_action": "resolve", "dedup_key": dedup_key})
        values = templates.values(conversation)
        try:
            summary, fallback = line(templates.render("pagerduty.j2", "summary", values)), False
        except TemplateError:
            scope = f" ({values['scope']})" if values["scope"] else ""
            summary, fallback = values["title"] + scope, True
        payload = _payload(conversation, values, summary, templates.levels)
        links = {name: address for name, address in values["links"] if len(address) <= ADDRESS}
        client_url = values["external_url"] if len(values["external_url"]) <= ADDRESS else ""
        left_out = [name for name, _ in values["links"] if name not in links]
        if left_out := left_out + ["Alertmanager"] * (client_url != values["external_url"]):
            payload["custom_details"]["links_left_out"] = left_out
        body = {
            "event_action": "trigger",
            "dedup_key": dedup_key,
            "payload": payload,
            "links": [{"href": address, "text": name} for name, address in links.items()],
            "client": "alert-router",
            "client_url": client_url,
        }
        if len(json.dumps(body)) > EVENT_BYTES:
            why = "details left out: too large"
            rest = {k: v for k, v in payload["custom_details"].items() if k not in {"firing", "resolved"}}
            payload |= {"summary": _noted(payload["summary"], why), "custom_details": {"note": why, **rest}}
        return Message("pagerduty", body, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:
        key = destination.options.routing_key.get_secret_value()
        attempt = Line(self._tls)
        try:
            async with asyncio.timeout(_MAX_TIMEOUTS_PER_ATTEMPT * self._timeout):
                return await self._threads.run(self._enqueue, key, message.body, conversation.now, attempt)
        except TimeoutError:
            return Retry("timeout", ambiguous=True)
        finally:
            attempt.cut()  # else an event could go out long after this attempt, and after what came next

    async def close(self) -> None:
        self._threads.shutdown()
        for session in self._sessions:
            session.close()

    def _enqueue(self, key: str, body: Mapping[str, Any], now: Millis, attempt: Line) -> Outcome:
        session = self._session(key)
        with closing(attempt):
            attempt.serve(session)
            outcome = _sent(session, body, now)
            if isinstance(outcome, Rejected) and "payload" in body:
                outcome = _sent(session, _plain(body), now)
            return masked_outcome(outcome, [key, *self._network.secrets])

    def _session(self, key: str) -> Any:
        sessions: dict[str, Any] = self._mine.__dict__.setdefault("by_key", {})
        if key not in sessions:
            session = pdpyras.EventsAPISession(key)
            session.url = self._settings.events_url.rstrip("/").removesuffix("/v2/enqueue")  # pdpyras adds it
            # One attempt and no more: 429 would be retried for ever, with a blocking sleep.
            session.max_network_attempts = 0
            session.max_http_attempts = -1
            session.retry = {429: 1, 500: 1, 502: 1, 503: 1, 504: 1}
            session.timeout = self._timeout
            session.max_redirects = 0
            # The network settings hold what the environment says; requests would read ~/.netrc as well.
            session.trust_env = False
            proxy = self._network.proxy_for(session.url)
            session.proxies = {} if proxy is None else {"http": proxy, "https": proxy}
            sessions[key] = session
            self._sessions.append(session)
        return sessions[key]


def _sent(session: Any, body: Mapping[str, Any], now: Millis) -> Outcome:
    event = {name: value for name, value in body.items() if value}
    try:
        session.send_event(event.pop("event_action"), **event)
    except pdpyras.PDClientError as error:
        if error.response is None:
            return _unreachable(error.__cause__)
        return _refused(error.response, now)
    except Exception:  # noqa: BLE001  (nothing documents what the SDK raises on odd answers)
        return Retry("bad answer", ambiguous=True)
    return Delivered({"dedup_key": event["dedup_key"]})


def _payload(
    conversation: Conversation, values: Mapping[str, Any], summary: str, levels: tuple[str, ...]
) -> dict[str, Any]:
    labels = values["common_labels"]
    resolved = [told for told in conversation.listed if told.alert.status is Status.RESOLVED]
    unlisted = conversation.ended - len(resolved)
    started = [told.alert.starts_at for told in conversation.firing if told.alert.starts_at is not None]
    source, component = (
        next((labels[name] for name in names if labels.get(name)), "") for names in (_SOURCE, _COMPONENT)
    )
    payload = {
        "summary": clip(summary, SUMMARY) or _NAMELESS,
        "source": clip(source or values["scope"] or values["title"], FIELD) or _NAMELESS,
        "severity": _severity(values["rank"], values["level"], len(levels)),
        "timestamp": _rfc3339(min(started)) if started else None,
        "component": clip(component, FIELD),
        "group": clip(values["scope"], FIELD),
        "class": clip(labels.get("alertname", ""), FIELD),
        "custom_details": {
            "firing": [_details(told) for told in conversation.firing],
            "resolved": [_details(told) for told in resolved],
            "counts": {"firing": len(conversation.firing), "resolved": conversation.ended},
            **({"resolved_not_listed": unlisted} if unlisted else {}),
            **({"not_shown_by_alertmanager": conversation.truncated} if conversation.truncated else {}),
        },
    }
    return {name: value for name, value in payload.items() if value}


def _details(told: ShownAlert) -> dict[str, Any]:
    alert = told.alert
    details: dict[str, Any] = {"labels": dict(alert.labels), "annotations": dict(alert.annotations)}
    if alert.starts_at is not None:
        details["since"] = _rfc3339(alert.starts_at)
    if alert.note and alert.status is Status.RESOLVED:
        details["note"] = alert.note
    return details


def _severity(rank: int, level: str, levels: int) -> str:
    """PagerDuty's own word where the level is one; else by its place among the levels."""
    if level in _SEVERITIES:
        return level
    return _SEVERITIES[min(3, round(rank * 3 / max(1, levels - 1)))]


def _rfc3339(at: Millis) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds")


def _plain(body: Mapping[str, Any]) -> dict[str, Any]:
    """An event without what PagerDuty could find fault with: the page counts."""
    payload = body["payload"]
    counts = payload["custom_details"]["counts"]
    alerts = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    summary = _noted(payload["summary"], f"{alerts}; details left out: refused by PagerDuty")
    return {
        "event_action": body["event_action"],
        "dedup_key": body["dedup_key"],
        "payload": {"summary": summary, "source": payload["source"], "severity": payload["severity"]},
    }


def _noted(summary: str, why: str) -> str:
    return f"{clip(summary, SUMMARY - len(why) - 3)} ({why})"


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
    """Return what PagerDuty says is wrong with an event. It names the part first, and quotes its value after that."""
    errors = answer.data.get("errors")
    several = errors if isinstance(errors, list) else [errors]
    return [str(each)[:_MAX_PART_CHARS] for each in (answer.data.get("message"), *several)]


def _unreachable(error: BaseException | None) -> Retry | Broken:
    """What requests raised under the SDK's words."""
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
            # These two wrapped errors mean that there never was a connection; anything else may have come
            # after the event had been sent.
            never = any(name in repr(error) for name in ("NewConnectionError", "NameResolutionError"))
            reason, ambiguous = "connection failed", not never
    return Retry(reason, ambiguous=ambiguous, words=words, cause=_CAUSE)


PAGERDUTY = ChannelSpec(
    name="pagerduty", title="PagerDuty", nothing_sent="No incident yet.", section="pagerduty", settings=PagerDutySettings, options=PagerDutyOptions, make=PagerDutyChannel,
    # https://developer.pagerduty.com/docs/events-api-v2-overview#limits: 120 calls a minute and key. A page waits for no
    # slow answer to the one before it.
    limits=LaneLimits(Rate(120, MINUTE, burst=20), max_concurrency=4), placeholder={}, dedupes=True,
    importer=PagerDutyImport, draw=pagerduty_drawing.draw,
)  # fmt: skip
