"""A handler of Alertmanager's webhooks that is strict about the payload and the signature, and fails on demand.

What it wants is stated here a second time on purpose: the channel must not be judged by its own words.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.world.fake_server import CLOSE, HANG, LOST_ANSWER, FakeServer, Fault, differences
from tests.world.fake_server import http as answer

PATH_TOKEN = "path-token-of-nobody"  # not a token of anything
SECRET = "signing-secret-of-nobody"
_PATH = f"/hook/{PATH_TOKEN}?key=a%2Bb"
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


def http(status: int, **headers: str) -> Fault:
    """It quotes the address, as some servers do."""
    return answer(status, f"no, {_PATH}", "text/plain", **headers)


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


class FakeWebhook(FakeServer):
    """``async with FakeWebhook() as hook: … url=hook.url``

    :param authorization: the header that it wants, if any
    :param signed: whether it wants a signature made with ``SECRET``
    """

    routes = (("*", "/{path:.*}"),)
    path = _PATH

    def __init__(self, *, authorization: str | None = None, signed: bool = False) -> None:
        super().__init__()
        self.authorization = authorization
        self.signed = signed
        self.calls: list[Call] = []
        self.groups: dict[str, Mapping[str, Any]] = {}
        """The latest state of each group, by group key."""
        self.refusals: list[str] = []
        self._known_keys: set[str] = set()

    @property
    def only(self) -> Call:
        """The one call there was."""
        (call,) = self.calls
        return call

    def expect(self, *wanted: Want) -> None:
        """These groups are known like this, and no others; nothing was refused."""
        problems = [f"refused: {refusal}" for refusal in self.refusals]
        problems += differences(wanted, self.groups.values())
        assert not problems, "\n".join(problems)

    def _shown(self) -> str:
        return str(self.groups)

    async def _read(self, request: web.Request) -> tuple[str, Any]:
        call = Call(request.method, request.raw_path, dict(request.headers), await request.read())
        return request.method, call

    def _record(self, method: str, request: web.Request, body: Any, fault: Fault) -> None:
        self.calls.append(body)

    def _take(self, request: web.Request, body: Call) -> web.Response:
        return web.Response(status=self._status(body), text=f"no, {body.path}")

    def _status(self, call: Call) -> int:
        """The status of the answer. A body whose idempotency key is known is taken and does nothing."""
        if self.authorization != call.headers.get("Authorization"):
            self.refusals.append("wrong credentials")
            return 401
        refused = problems(call, signed=self.signed)
        self.refusals += refused
        if refused:
            return 400
        if call.headers["Idempotency-Key"] not in self._known_keys:
            self._known_keys.add(call.headers["Idempotency-Key"])
            self.groups[call.body["groupKey"]] = call.body
        return 200


def problems(call: Call, *, signed: bool) -> list[str]:
    """What there is to say against a request; nothing: it is taken."""
    found = []
    if call.method != "POST" or call.path != _PATH:
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


__all__ = [
    "CLOSE",
    "HANG",
    "LOST_ANSWER",
    "PATH_TOKEN",
    "SECRET",
    "Call",
    "FakeWebhook",
    "Fault",
    "Want",
    "faults_of",
    "http",
    "problems",
    "signature",
]
