"""Somebody's handler of Alertmanager's webhooks: strict about the payload and the signature, fails on demand.

What it wants is stated here a second time on purpose: the channel must not be judged by its own words.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.listening import Site
from tests.waiting import guarded

PATH_TOKEN = "path-token-of-nobody"  # not a token of anything
SECRET = "signing-secret-of-nobody"
_GROUP: dict[str, type] = {
    "version": str, "groupKey": str, "truncatedAlerts": int, "status": str, "receiver": str, "groupLabels": dict,
    "commonLabels": dict, "commonAnnotations": dict, "externalURL": str, "alerts": list,
}  # fmt: skip
_ALERT: dict[str, type] = {
    "status": str, "labels": dict, "annotations": dict, "startsAt": str, "endsAt": str, "generatorURL": str,
    "fingerprint": str,
}  # fmt: skip
# https://www.rfc-editor.org/rfc/rfc3339#section-5.6
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with one call. ``accept``: the body is taken before it does."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    close: bool = False
    accept: bool = False


HANG = Fault(hang=True, close=True)
CLOSE = Fault(close=True)
LOST_ANSWER = Fault(close=True, accept=True)


def http(status: int, **headers: str) -> Fault:
    return Fault(status, {name.replace("_", "-"): value for name, value in headers.items()})


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it came in, those refused included."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)


@dataclass(frozen=True, slots=True)
class Want:
    """A group that is to be known: its status, and its alerts by fingerprint with theirs."""

    status: str
    alerts: Mapping[str, str]

    def met_by(self, group: Mapping[str, Any]) -> bool:
        alerts = {alert["fingerprint"]: alert["status"] for alert in group["alerts"]}
        return self.status == group["status"] and self.alerts == alerts


class FakeWebhook:
    """``async with FakeWebhook() as hook: … url=hook.url``

    :param authorization: the header that it wants, if any
    :param signed: whether it wants a signature made with ``SECRET``
    """

    def __init__(self, *, authorization: str | None = None, signed: bool = False) -> None:
        self.authorization = authorization
        self.signed = signed
        self.calls: list[Call] = []
        self.groups: dict[str, Mapping[str, Any]] = {}
        """The state of each group as it was last told, by group key."""
        self.refusals: list[str] = []
        self.url = ""
        self._told: set[str] = set()
        self._faults: deque[Fault] = deque()
        self._released = asyncio.Event()
        self._changed = asyncio.Condition()
        self._site: Site | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._site = await Site.open(app)
        self.url = f"http://{self._site.address}/hook/{PATH_TOKEN}?key=a%2Bb"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        assert self._site is not None
        await self._site.close()

    def fail(self, *faults: Fault) -> None:
        """The next calls go wrong like this, one after the other."""
        self._faults.extend(faults)

    def release(self) -> None:
        """What hangs goes on (and finds its connection closed)."""
        self._released.set()
        self._released = asyncio.Event()

    @property
    def only(self) -> Call:
        """The one call there was."""
        (call,) = self.calls
        return call

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return as soon as it holds; it is looked at after every call that came in."""
        async with guarded(lambda: f"groups: {self.groups}"), self._changed:
            await self._changed.wait_for(ready)

    def expect(self, *wanted: Want) -> None:
        """These groups were told like this, and no others; nothing was refused."""
        left = list(self.groups.values())
        problems = [f"refused: {refusal}" for refusal in self.refusals]
        for want in wanted:
            found = next((group for group in left if want.met_by(group)), None)
            problems += [f"missing: {want}"] if found is None else []
            left = [group for group in left if group is not found]
        problems += [f"unexpected: {group}" for group in left]
        assert not problems, "\n".join(problems)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        finally:
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(Call(request.method, request.raw_path, dict(request.headers), await request.read()))
        call = self.calls[-1]
        fault = self._faults.popleft() if self._faults else None
        if fault is None:
            return web.Response(status=self._take(call))
        if fault.accept:
            self._take(call)
        if fault.hang:
            released = self._released
            await self._notify()
            await released.wait()
        if fault.close:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=fault.status, headers=fault.headers, text=f"no, {request.raw_path}")

    def _take(self, call: Call) -> int:
        """The status of the answer. What was told already, by its idempotency key, is taken and does nothing."""
        if self.authorization != call.headers.get("Authorization"):
            self.refusals.append("wrong credentials")
            return 401
        refused = problems(call, signed=self.signed)
        self.refusals += refused
        if refused:
            return 400
        if call.headers["Idempotency-Key"] not in self._told:
            self._told.add(call.headers["Idempotency-Key"])
            self.groups[call.body["groupKey"]] = call.body
        return 200


def problems(call: Call, *, signed: bool) -> list[str]:
    """What there is to say against a request; nothing: it is taken."""
    found = []
    if call.method != "POST" or call.path != f"/hook/{PATH_TOKEN}?key=a%2Bb":
        found.append("it is no POST to the hook")
    if call.headers.get("Content-Type") != "application/json":
        found.append("it is no application/json")
    if call.headers.get("User-Agent") != "alert-router":
        found.append("it doesn't say who it is")
    if not re.fullmatch(r"[0-9a-f]{32}-\d+-\d+-[0-9a-f]{8}", call.headers.get("Idempotency-Key", "")):
        found.append("it has no idempotency key")
    if signed and not hmac.compare_digest(call.headers.get("X-Alert-Router-Signature", ""), signature(call)):
        found.append("it is not signed")
    return found + faults_of(call.body)


def signature(call: Call, secret: str = SECRET) -> str:
    signed = call.headers.get("X-Alert-Router-Timestamp", "").encode() + b"." + call.raw
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def faults_of(body: Any) -> list[str]:
    """What Alertmanager would never have sent."""
    found = _faults_of_shape(body, _GROUP, "the body")
    if found:
        return found
    if body["version"] != "4" or not body["groupKey"]:
        found.append("the version or the group key is wrong")
    for alert in body["alerts"]:
        found += _faults_of_shape(alert, _ALERT, "an alert") or _faults_of_alert(alert)
    if body["status"] == "resolved" and any(alert["status"] == "firing" for alert in body["alerts"]):
        found.append("a resolved group has a firing alert")
    return found


def _faults_of_alert(alert: Mapping[str, Any]) -> list[str]:
    found = [f"{name} is no moment" for name in ("startsAt", "endsAt") if not _MOMENT.fullmatch(alert[name])]
    if alert["status"] == "firing" and not alert["endsAt"].startswith("0001-"):
        found.append("a firing alert has an end")
    return found


def _faults_of_shape(value: Any, shape: Mapping[str, type], what: str) -> list[str]:
    if not isinstance(value, dict) or value.keys() != shape.keys():
        return [f"{what} has other fields"]
    found = [f"{what}: {name} is wrong" for name, kind in shape.items() if not isinstance(value[name], kind)]
    found += [f"{what}: its status is wrong"] if value["status"] not in {"firing", "resolved"} else []
    maps = [each for each in value.values() if isinstance(each, dict)]
    if not all(isinstance(text, str) for each in maps for pair in each.items() for text in pair):
        found.append(f"{what}: a label or an annotation is no text")
    return found
