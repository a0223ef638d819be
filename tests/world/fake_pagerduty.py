"""A PagerDuty that takes what the Events API v2 takes, keeps incidents as it would, and fails on demand.

Limits are PagerDuty's own, stated here a second time on purpose: the channel must not be judged by its own
constants. https://developer.pagerduty.com/docs/events-api-v2-overview
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.world.fake_server import CLOSE, HANG, LOST_ANSWER, FakeServer, Fault, is_web_address
from tests.world.fake_server import http as answer

KEY = "fake-routing-key-of-32-character"  # not a key of anything
_ACTIONS = {"trigger", "acknowledge", "resolve"}
_SEVERITIES = {"critical", "error", "warning", "info"}
_EVENT = {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}
_PAYLOAD = {
    "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details",
}  # fmt: skip


def http(status: int, body: str = '{"status":"error"}', **headers: str) -> Fault:
    return answer(status, body, "application/json", **headers)


@dataclass(frozen=True, slots=True)
class Event:
    """A call as it came in, those refused included."""

    status: int
    """The answer it got, or was to get."""
    body: Mapping[str, Any]

    @property
    def action(self) -> str:
        return str(self.body.get("event_action"))

    @property
    def payload(self) -> Mapping[str, Any]:
        return dict(self.body.get("payload", {}))


@dataclass(slots=True)
class Incident:
    """An incident as the one who is paged has it now."""

    dedup_key: str
    triggers: list[Mapping[str, Any]]
    """The events that were taken into it, the first opened it."""
    open: bool = True

    @property
    def summary(self) -> str:
        return str(self.triggers[-1]["payload"]["summary"])

    @property
    def severity(self) -> str:
        return str(self.triggers[-1]["payload"]["severity"])


@dataclass(frozen=True, slots=True)
class Page:
    """An incident that is to be there: its summary holds ``words``, and it is open or not."""

    words: str
    open: bool
    severity: str | None = None

    def met_by(self, incident: Incident) -> bool:
        return (
            self.words in incident.summary
            and self.open is incident.open
            and self.severity in {None, incident.severity}
        )


class FakePagerDuty(FakeServer):
    """``async with FakePagerDuty() as pagerduty: … events_url=pagerduty.url``"""

    routes = (("POST", "/v2/enqueue"),)

    def __init__(self, *keys: str) -> None:
        super().__init__()
        self.keys = set(keys or {KEY})
        self.events: list[Event] = []
        self.incidents: dict[str, list[Incident]] = {key: [] for key in self.keys}
        """By routing key, in the order in which they were opened."""

    @property
    def accepted(self) -> list[Event]:
        return [event for event in self.events if event.status == 202]

    @property
    def only(self) -> Incident:
        """The one incident there is."""
        (incident,) = (each for incidents in self.incidents.values() for each in incidents)
        return incident

    def expect(self, *wanted: Page, key: str = KEY) -> None:
        """These incidents were opened, in this order, and no others; nothing was refused for its content."""
        there = self.incidents[key]
        problems = [
            f"missing: {want}; there is: {there[index : index + 1]}"
            for index, want in enumerate(wanted)
            if index >= len(there) or not want.met_by(there[index])
        ]
        problems += [f"unexpected: {incident}" for incident in there[len(wanted) :]]
        problems += [f"refused: {event.body}" for event in self.events if event.status == 400]
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return f"events: {self.events}; incidents: {self.incidents}"

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        return request.method, json.loads(await request.read())

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        if not fault.accept and (fault.close or fault.status is not None):
            self.events.append(Event(fault.status or 500, body))

    def _take(self, request: web.Request, body: Any) -> web.Response:
        refused = problems(body, request.content_length or 0, self.keys)
        self.events.append(Event(400 if refused else 202, body))
        if refused:
            answer = {"status": "invalid event", "message": "Event object is invalid", "errors": refused}
            return web.json_response(answer, status=400)
        self._open_or_close(body)
        self.on_step("taken")
        success = {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}
        return web.json_response(success, status=202)

    def _open_or_close(self, body: Mapping[str, Any]) -> None:
        """Trigger joins the open incident of its key or opens one; a resolve without one is dropped."""
        incidents = self.incidents[body["routing_key"]]
        key = body["dedup_key"]
        current = next((each for each in incidents if each.dedup_key == key and each.open), None)
        if body["event_action"] == "trigger":
            if current is None:
                incidents.append(Incident(key, [body]))
            else:
                current.triggers.append(body)
        elif body["event_action"] == "resolve" and current is not None:
            current.open = False


def problems(body: Any, size: int, keys: set[str]) -> list[str]:
    """What PagerDuty would say of an event; nothing: it is taken."""
    if not isinstance(body, dict):
        return ["the event is no object"]
    found: list[str] = []
    if size > 512 * 1_024:
        found.append("the event is over 512 KB")
    if body.get("routing_key") not in keys:
        found.append(f"Invalid routing key {body.get('routing_key')}")
    if body.get("event_action") not in _ACTIONS:
        found.append("'event_action' is invalid")
    if not _text(body.get("dedup_key"), 255):
        found.append("'dedup_key' is missing, or longer than 255 characters")
    found += [f"'{name}' is unknown" for name in body.keys() - _EVENT]
    if body.get("event_action") == "trigger":
        found += _faults_of_payload(body.get("payload"))
    for link in body.get("links", []):
        if (
            not isinstance(link, dict)
            or not link.keys() <= {"href", "text"}
            or not is_web_address(link.get("href"))
        ):
            found.append(f"'links' has an invalid one: {link}")
    if "client_url" in body and not is_web_address(body["client_url"]):
        found.append("'client_url' is invalid")
    return found


def _faults_of_payload(payload: Any) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    found = [f"'payload.{name}' is unknown" for name in payload.keys() - _PAYLOAD]
    if not _text(payload.get("summary"), 1_024):
        found.append("'payload.summary' is missing, blank, or longer than 1024 characters")
    if not _text(payload.get("source"), None):
        found.append("'payload.source' is missing or blank")
    if payload.get("severity") not in _SEVERITIES:
        found.append("'payload.severity' is invalid")
    if "timestamp" in payload and not _moment(payload["timestamp"]):
        found.append("'payload.timestamp' is invalid")
    found += [
        f"'payload.{name}' is no text"
        for name in ("component", "group", "class")
        if name in payload and not _text(payload[name], None)
    ]
    if not isinstance(payload.get("custom_details", {}), dict):
        found.append("'payload.custom_details' is no object")
    return found


def _text(value: Any, limit: int | None) -> bool:
    return isinstance(value, str) and bool(value.strip()) and (limit is None or len(value) <= limit)


def _moment(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


__all__ = [
    "CLOSE",
    "HANG",
    "KEY",
    "LOST_ANSWER",
    "Event",
    "FakePagerDuty",
    "Fault",
    "Incident",
    "Page",
    "http",
    "problems",
]
