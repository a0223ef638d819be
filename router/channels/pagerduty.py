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
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, Literal

import requests
from pydantic import Field, SecretStr

from router.channels.base import Kind, Options, Section
from router.model import (
    SECOND,
    Conversation,
    Delivered,
    Destination,
    Message,
    Millis,
    Outcome,
    Rejected,
    Retry,
    Told,
)
from router.render import TemplateError, Templates
from router.render.words import clip, line

with warnings.catch_warnings():
    warnings.simplefilter("ignore", UserWarning)  # its own notice of end of life
    import pdpyras

# https://developer.pagerduty.com/api-reference/YXBpOjI3NDgyNjU-pager-duty-v2-events-api
SUMMARY = 1_024
DEDUP_KEY = 255
# https://developer.pagerduty.com/docs/events-api-v2-overview: "The maximum size of an event is 512 KB"; what
# the SDK adds around it (routing key, keys' names) is left room for.
EVENT_BYTES = 512 * 1_024 - 4_096
# https://developer.pagerduty.com/docs/events-api-v2-overview#limits (120 calls a minute and key)
_PER_SECOND = 2.0
_TIMEOUT_SECONDS = 10
_THREADS = 8
_SEVERITIES = ("critical", "error", "warning", "info")
_COMPONENT = ("component", "service", "app", "job")
_SOURCE = ("instance", "host", "node", "pod", "service", "job", "cluster")


class Settings(Section):
    """``channels.pagerduty``"""

    events_url: str = "https://events.pagerduty.com"
    """Of a compatible server, or of PagerDuty's EU region."""


class PagerDutyOptions(Options):
    """``- pagerduty: {…}`` of a receiver."""

    routing_key: SecretStr = Field(min_length=32, max_length=32)
    per: Literal["group", "alert"] = "group"
    """One incident an alert group, or one an alert."""
    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """Names the destination in metrics and pages; otherwise a digest of the routing key does."""

    def key(self, receiver: str) -> str:  # noqa: ARG002  (the routing key is enough)
        digest = hashlib.sha256(self.routing_key.get_secret_value().encode()).hexdigest()
        return f"pagerduty:{self.name or digest[:8]}"

    @property
    def per_alert(self) -> bool:
        return self.per == "alert"


class PagerDuty:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(_THREADS, "pagerduty")
        self._sessions = threading.local()  # a requests session is for one thread

    def render(self, destination: Destination, conversation: Conversation, templates: Templates) -> Message:  # noqa: ARG002
        values = templates.values(conversation)
        dedup_key = str(conversation.remote.get("dedup_key", conversation.token))
        if conversation.over:
            return Message("pagerduty", {"event_action": "resolve", "dedup_key": dedup_key})
        try:
            summary, fallback = line(templates.render("pagerduty.j2", "summary", values)), False
        except TemplateError:
            summary, fallback = "", True
        body = {
            "event_action": "trigger",
            "dedup_key": dedup_key[:DEDUP_KEY],
            "payload": _payload(conversation, values, summary or values["title"], templates.levels),
            "links": [{"href": address, "text": name} for name, address in values["links"]],
            "client": "alert-router",
            "client_url": values["external_url"],
        }
        if len(json.dumps(body).encode()) > EVENT_BYTES:
            body["payload"]["custom_details"] = {
                "note": "The details were over PagerDuty's 512 KB and are left out; see Alertmanager.",
                "firing": len(values["firing"]),
                "resolved": len(values["resolved"]),
            }
        return Message("pagerduty", body, fallback)

    async def send(self, destination: Destination, conversation: Conversation, message: Message) -> Outcome:  # noqa: ARG002
        key = destination.options.routing_key.get_secret_value()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._enqueue, key, dict(message.body))

    async def close(self) -> None:
        # An attempt under way ends by its own timeout; its outcome is found out after the next start.
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _enqueue(self, key: str, body: dict[str, Any]) -> Outcome:
        action, dedup_key = body.pop("event_action"), body["dedup_key"]
        try:
            self._session(key).send_event(action, **{name: value for name, value in body.items() if value})
        except pdpyras.PDClientError as error:
            return _failed(error)
        except requests.RequestException as error:
            return _unreachable(error)
        except Exception as error:  # noqa: BLE001  (the SDK raises KeyError and more on odd answers)
            return Retry(f"bad answer: {type(error).__name__}", ambiguous=True)
        return Delivered({"dedup_key": dedup_key})

    def _session(self, key: str) -> Any:
        sessions = self._sessions.__dict__.setdefault("by_key", {})
        if key not in sessions:
            session = pdpyras.EventsAPISession(key)
            session.url = self._settings.events_url.rstrip("/")
            # One attempt and no more: 429 would be retried for ever, with a blocking sleep.
            session.max_network_attempts = 0
            session.max_http_attempts = -1
            session.retry = {429: 1, 500: 1, 502: 1, 503: 1, 504: 1}
            session.timeout = _TIMEOUT_SECONDS
            sessions[key] = session
        return sessions[key]


def _payload(
    conversation: Conversation, values: Mapping[str, Any], summary: str, levels: tuple[str, ...]
) -> dict[str, Any]:
    labels = values["common_labels"]
    started = [told.alert.starts_at for told in conversation.firing if told.alert.starts_at is not None]
    payload = {
        "summary": clip(summary, SUMMARY),
        "source": next(
            (labels[name] for name in _SOURCE if labels.get(name)), values["scope"] or values["title"]
        ),
        "severity": _severity(values["rank"], values["level"], len(levels)),
        "timestamp": _rfc3339(min(started)) if started else None,
        "component": next((labels[name] for name in _COMPONENT if labels.get(name)), None),
        "group": values["scope"] or None,
        "class": labels.get("alertname"),
        "custom_details": {
            "firing": [_details(told) for told in conversation.firing],
            "resolved": [_details(told) for told in conversation.resolved],
            "counts": {"firing": len(conversation.firing), "resolved": len(conversation.resolved)},
            **({"not_shown_by_alertmanager": conversation.truncated} if conversation.truncated else {}),
        },
    }
    return {name: value for name, value in payload.items() if value}


def _details(told: Told) -> dict[str, Any]:
    alert = told.alert
    return {"labels": dict(alert.labels), "annotations": dict(alert.annotations)} | (
        {"since": _rfc3339(alert.starts_at)} if alert.starts_at is not None else {}
    )


def _severity(rank: int, level: str, levels: int) -> str:
    """PagerDuty's own word where the level is one; else by its place among the levels."""
    if level in _SEVERITIES:
        return level
    return _SEVERITIES[min(3, round(rank * 3 / max(1, levels - 1)))]


def _rfc3339(at: Millis) -> str:
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds")


def _failed(error: Any) -> Outcome:
    """https://developer.pagerduty.com/docs/events-api-v2-overview#response-codes--retry-logic"""
    response = error.response
    if response is None:
        cause = error.__cause__ or error.__context__
        return (
            _unreachable(cause)
            if isinstance(cause, requests.RequestException)
            else Retry("connection failed")
        )
    status = response.status_code
    if status == 429:
        return Retry("http 429", after=_retry_after(response.headers.get("Retry-After")), pause=True)
    if status >= 500 or status in {401, 403, 404, 408}:
        return Retry(f"http {status}", ambiguous=status >= 500)
    return Rejected(f"http {status}{_why(response)}")


def _why(response: Any) -> str:
    """PagerDuty's first words on what is wrong with the event, which never hold the routing key."""
    try:
        errors = response.json().get("errors", [])
    except (ValueError, AttributeError):
        return ""
    text = str(errors[0]) if isinstance(errors, list) and errors else ""
    text = re.sub(r"[0-9A-Za-z]{20,}", "…", text)
    return f": {clip(line(text), 120)}" if text else ""


def _unreachable(error: BaseException) -> Retry:
    if isinstance(error, requests.ConnectTimeout):
        return Retry("connect timeout")
    if isinstance(error, requests.Timeout):
        return Retry("timeout", ambiguous=True)
    return Retry("connection failed", ambiguous=not _never_connected(error))


def _never_connected(error: BaseException) -> bool:
    return "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)


def _retry_after(value: str | None) -> Millis | None:
    try:
        return None if value is None else int(float(value) * SECOND)
    except ValueError:
        return None


PAGERDUTY = Kind(
    name="pagerduty", section="pagerduty", settings=Settings, options=PagerDutyOptions, make=PagerDuty,
    per_second=_PER_SECOND, burst=20, placeholder={},
)  # fmt: skip
