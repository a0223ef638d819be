"""A PagerDuty that takes what the Events API v2 takes, keeps incidents as it would, and fails on demand.

Limits are PagerDuty's own, stated here a second time on purpose: the channel must not be judged by its own
constants. https://developer.pagerduty.com/docs/events-api-v2-overview
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from urllib.parse import urlsplit

from aiohttp import web

from tests.listening import Site
from tests.waiting import guarded

KEY = "fake-routing-key-of-32-character"  # not a key of anything
_ACTIONS = {"trigger", "acknowledge", "resolve"}
_SEVERITIES = {"critical", "error", "warning", "info"}
_EVENT = {"routing_key", "event_action", "dedup_key", "payload", "images", "links", "client", "client_url"}
_PAYLOAD = {
    "summary", "source", "severity", "timestamp", "component", "group", "class", "custom_details",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call. ``accept``: the event is taken before it does."""

    status: int = 500
    body: str = '{"status":"error"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    close: bool = False
    accept: bool = False


HANG = Fault(hang=True, close=True)
CLOSE = Fault(close=True)
LOST_ANSWER = Fault(close=True, accept=True)


def http(status: int, body: str = '{"status":"error"}', **headers: str) -> Fault:
    return Fault(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


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


class FakePagerDuty:
    """``async with FakePagerDuty() as pagerduty: … events_url=pagerduty.url``"""

    def __init__(self, *keys: str) -> None:
        self.keys = set(keys or {KEY})
        self.events: list[Event] = []
        self.incidents: dict[str, list[Incident]] = {key: [] for key in self.keys}
        """By routing key, in the order in which they were opened."""
        self.url = ""
        self.on_step: Callable[[str], None] = lambda _: None
        """Told of each call, as it goes: ``received``, ``taken``, ``answered``."""
        self._faults: deque[Fault] = deque()
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()
        self._site: Site | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v2/enqueue", self._serve)
        self._site = await Site.open(app)
        self.url = f"http://{self._site.address}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        assert self._site is not None
        await self._site.close()

    def fail(self, *faults: Fault) -> None:
        """The next calls go wrong like this, one after the other."""
        self._faults.extend(faults)

    def recover(self) -> None:
        """Whatever was still to go wrong does not."""
        self._faults.clear()
        self.release()

    def release(self) -> None:
        """What hangs goes on (and finds its connection closed)."""
        self._released.set()
        self._released = asyncio.Event()

    @property
    def accepted(self) -> list[Event]:
        return [event for event in self.events if event.status == 202]

    @property
    def only(self) -> Incident:
        """The one incident there is."""
        (incident,) = (each for incidents in self.incidents.values() for each in incidents)
        return incident

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return as soon as it holds; it is looked at after every call that came in."""
        async with guarded(lambda: f"events: {self.events}; incidents: {self.incidents}"), self._changed:
            await self._changed.wait_for(ready)

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

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answered(request, await self._answer(request))
        finally:
            await self._notify()

    async def _answered(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        if request.transport is None or request.transport.is_closing():
            return answer
        with contextlib.suppress(ConnectionError):  # whoever asked is gone
            await answer.prepare(request)
            await answer.write_eof()
            self.on_step("answered")
        return answer

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw)
        self.on_step("received")
        fault = self._faults.popleft() if self._faults else None
        if fault is None or fault.accept:
            refused = problems(body, len(raw), self.keys)
            self.events.append(Event(400 if refused else 202, body))
            if not refused:
                self._take(body)
                self.on_step("taken")
        else:
            refused = []
            self.events.append(Event(fault.status, body))
        if fault is not None:
            return await self._go_wrong(request, fault)
        if refused:
            return web.json_response(
                {"status": "invalid event", "message": "Event object is invalid", "errors": refused},
                status=400,
            )
        return web.json_response(
            {"status": "success", "message": "Event processed", "dedup_key": body["dedup_key"]}, status=202
        )

    async def _go_wrong(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        if fault.hang:
            released = self._released
            await self._notify()
            await released.wait()
        if fault.close:
            assert request.transport is not None
            request.transport.close()
            return web.Response()
        return web.Response(
            status=fault.status, text=fault.body, content_type="application/json", headers=fault.headers
        )

    def _take(self, body: Mapping[str, Any]) -> None:
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
        if not isinstance(link, dict) or not link.keys() <= {"href", "text"} or not _web(link.get("href")):
            found.append(f"'links' has an invalid one: {link}")
    if "client_url" in body and not _web(body["client_url"]):
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


def _web(value: Any) -> bool:
    return isinstance(value, str) and urlsplit(value).scheme in {"http", "https"}
