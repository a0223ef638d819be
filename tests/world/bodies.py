"""Odd bodies that senders post or could post, and the right answer to each."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GO_ZERO = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Body:
    name: str
    data: bytes
    status: int
    alerts: int
    """How many of its alerts are accepted."""
    quarantined: bool = False
    """The body is kept in quarantine, perhaps in addition."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def alert(name: str = "HostDown", **fields: Any) -> dict[str, Any]:
    """Return an alert as Alertmanager sends it, with some fields changed."""
    return {
        "status": "firing",
        "labels": {"alertname": name, "instance": "web-1:9100", "severity": "warning"},
        "annotations": {"summary": f"{name} is bad"},
        "startsAt": "2026-11-20T23:17:53.535706Z",
        "endsAt": GO_ZERO,
        "generatorURL": "http://prom.example:9090/graph?g0.expr=up",
        **fields,
    }


def webhook(*alerts: Any, **fields: Any) -> dict[str, Any]:
    return {
        "receiver": "team",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {"alertname": "HostDown"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://am.example:9093",
        "version": "4",
        "groupKey": '{}:{alertname="HostDown"}',
        "truncatedAlerts": 0,
        **fields,
    }


def accepted(name: str, content: Any, alerts: int = 1, *, quarantined: bool = False) -> Body:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Body(name, data, 200, alerts, quarantined)


def kept(name: str, data: bytes, **headers: str) -> Body:
    return Body(name, data, 202, 0, quarantined=True, headers=headers)


def _without(content: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in names}


def _instances(count: int) -> list[dict[str, Any]]:
    return [alert(labels={"alertname": "HostDown", "instance": f"web-{number}"}) for number in range(count)]


_GRAFANA = {
    **webhook(
        alert(
            labels={"alertname": "High CPU", "grafana_folder": "Prod"},
            fingerprint="c6eadffa33fcdf37", silenceURL="https://grafana.example/alerting/silence/new?matcher=a",
            dashboardURL="https://grafana.example/d/abc", panelURL="https://grafana.example/d/abc?viewPanel=1",
            imageURL="", values={"B": 44.23, "C": 1}, valueString="[ var='B' labels={} value=44.23 ]",
        )
    ),
    "version": "1", "orgId": 1, "title": "[FIRING:1] High CPU", "state": "alerting", "message": "**Firing**",
}  # fmt: skip

_V3 = {
    **_without(webhook(alert()), "groupKey", "truncatedAlerts", "version"),
    "version": "3",
    "groupKey": 17_402_318_943_124_598_281,
}

_HOSTILE = "<!channel> <@U012> *b* `c` <script>alert(1)</script> & \r\nBcc: x@y.example\r\n\u2028 \u202e \x1b[31m {{ 7*7 }} {% raw %}"

BODIES: tuple[Body, ...] = (
    accepted("plain", webhook(alert())),
    accepted("resolved", webhook(alert(status="resolved", endsAt="2026-11-20T23:19:52.034129Z"), status="resolved")),
    accepted("empty group", webhook(), 0),
    accepted("null alerts", webhook(alerts=None), 0),
    accepted("only alerts", {"alerts": [{"labels": {"alertname": "A"}}]}),
    accepted("an alert of nothing", webhook({})),
    accepted("null labels", webhook(alert(labels=None))),
    accepted("null annotations", webhook(alert(annotations=None))),
    accepted("missing labels", webhook(_without(alert(), "labels"))),
    accepted("missing annotations", webhook(_without(alert(), "annotations"))),
    accepted("labels are a list", webhook(alert(labels=["a", "b"])), quarantined=True),
    accepted("annotations are text", webhook(alert(annotations="bad")), quarantined=True),
    accepted("integers, floats, booleans and nulls as values", webhook(alert(labels={"alertname": "A", "n": 5, "f": 1.5, "b": True, "x": None}))),
    accepted("nested values", webhook(alert(annotations={"values": {"B": [1, 2, {"c": None}]}}))),
    accepted("no severity", webhook(alert(labels={"alertname": "A"}))),
    accepted("an unknown severity", webhook(alert(labels={"alertname": "A", "severity": "page"}))),
    accepted("a severity in capitals with spaces", webhook(alert(labels={"alertname": "A", "severity": " Critical "}))),
    accepted("no fingerprint", webhook(_without(alert(), "fingerprint"))),
    accepted("a fingerprint that is a number", webhook(alert(fingerprint=7))),
    accepted("one fingerprint, different labels", webhook(*({**each, "fingerprint": "f"} for each in _instances(3))), 3),
    accepted("the same alert twice", webhook(alert(), alert()), 2),
    accepted("the same alert firing and resolved", webhook(alert(), alert(status="resolved"))),
    accepted("version 3", _V3),
    accepted("Grafana's", _GRAFANA),
    accepted("no group key", _without(webhook(alert()), "groupKey", "groupLabels")),
    accepted("null receiver and externalURL", webhook(alert(), receiver=None, externalURL=None)),
    accepted("truncated", webhook(alert(), truncatedAlerts=3)),
    accepted("truncated, as text", webhook(alert(), truncatedAlerts="3")),
    accepted("truncated beyond any integer", webhook(alert(), truncatedAlerts=10**30)),
    accepted("truncated and misleadingly resolved", webhook(alert(status="resolved"), status="resolved", truncatedAlerts=3)),
    accepted("unknown fields of newer versions", webhook(alert(), notification_reason="repeat", routeLabels={"a": "b"})),
    accepted("an unknown status", webhook(alert(status="suppressed"))),
    accepted("a missing status", webhook(_without(alert(), "status"))),
    accepted("nanoseconds and an offset", webhook(alert(startsAt="2026-11-20T23:18:53.562264772+05:30"))),
    accepted("epoch times", webhook(alert(startsAt=1_795_216_673, endsAt=1_795_216_673_535))),
    accepted("times that are none", webhook(alert(startsAt="yesterday", endsAt={}))),
    accepted("400 alerts", webhook(*_instances(400)), 400),
    accepted("a label of 100 kB", webhook(alert(labels={"alertname": "A", "long": "x" * 100_000}))),
    accepted("500 labels", webhook(alert(labels={f"l{number}": "v" for number in range(500)}))),
    accepted("markup, mentions, newlines and control characters", webhook(alert(labels={"alertname": _HOSTILE, _HOSTILE: _HOSTILE}, annotations={"summary": _HOSTILE}), groupLabels={"alertname": _HOSTILE}, receiver=_HOSTILE)),
    accepted("NUL and lone surrogates", webhook(alert(labels={"alertname": "a\0b\ud800c", "\0": "\udfff"}), groupKey="\0\ud800")),
    accepted("emoji and right-to-left text", webhook(alert(labels={"alertname": "🔥 تنبيه", "city": "Zürich"}))),
    accepted("invalid UTF-8", b'{"alerts": [{"labels": {"alertname": "a\xff\xfe"}}]}'),
    accepted("a byte order mark", b"\xef\xbb\xbf" + json.dumps(webhook(alert())).encode()),
    accepted("raw newlines within text", b'{"alerts": [{"annotations": {"summary": "a\nb\tc"}}]}'),
    accepted("duplicate keys", b'{"alerts": [], "alerts": [{"labels": {"a": "1", "a": "2"}}]}'),
    accepted("NaN and Infinity", b'{"alerts": [{"labels": {"a": NaN}, "startsAt": Infinity}], "truncatedAlerts": -Infinity}'),
    accepted("strays among the alerts", webhook(alert(), 7, None, "x"), quarantined=True),
    Body("gzip", gzip.compress(json.dumps(webhook(alert())).encode()), 200, 1, headers={"Content-Encoding": "gzip"}),
    kept("empty", b""),
    kept("not JSON", b"alert=HostDown&state=firing"),
    kept("JSON cut short", json.dumps(webhook(alert())).encode()[:-20]),
    kept("a list", b"[]"),
    kept("null", b"null"),
    kept("an object of another kind", b'{"text": "hello"}'),
    kept("the alerts are an object", b'{"alerts": {"labels": {}}}'),
    kept("only strays", b'{"alerts": [1, "x", null]}'),
    kept("nested without end", b"[" * 200_000),
    kept("a number without end", b'{"alerts": [], "x": ' + b"9" * 10_000 + b"}"),
    kept("UTF-16", json.dumps(webhook(alert())).encode("utf-16")),
    kept("binary", bytes(range(256))),
    kept("corrupt gzip", b"\x1f\x8b\x08\x00 this is no gzip", **{"Content-Encoding": "gzip"}),
    kept("gzip cut short", gzip.compress(json.dumps(webhook(*_instances(9))).encode())[:-30], **{"Content-Encoding": "gzip"}),
)  # fmt: skip
