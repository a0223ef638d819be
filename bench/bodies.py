"""Request bodies: webhooks of numbered alerts, one group each, and groups of very many alerts."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from bench.wire import post

_STARTED = datetime.now(UTC).isoformat().replace("+00:00", "Z")
_NEVER = "0001-01-01T00:00:00Z"
_NUMBER = "@NUMBER@"
_BODY_BYTES = 1_400


def _alert(labels: dict[str, str], fill: int = 0) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": "The error rate is above its threshold. " + "x" * fill},
        "startsAt": _STARTED,
        "endsAt": _NEVER,
        "generatorURL": "http://prometheus.example/graph?g0.expr=rate",
        "fingerprint": f"00000000{_NUMBER}",
    }


def _webhook(alerts: list[dict[str, Any]]) -> dict[str, Any]:
    labels = alerts[0]["labels"]
    name = labels["alertname"]
    return {
        "version": "4", "groupKey": f'{{}}:{{alertname="{name}"}}', "truncatedAlerts": 0, "status": "firing",
        "receiver": "bench", "groupLabels": {"alertname": name}, "commonLabels": labels,
        "commonAnnotations": {}, "externalURL": "http://alertmanager.example", "alerts": alerts,
    }  # fmt: skip


def _labels(**more: str) -> dict[str, str]:
    return {"alertname": f"Bench{_NUMBER}E", "cluster": "eu-1", "severity": "critical"} | more


def _numbered(path: str, body: Any, numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield a request for each number. The request is built once; each number costs one join."""
    # The placeholder is as long as a number, so Content-Length is right.
    parts = post(path, json.dumps(body).encode()).split(_NUMBER.encode())
    for number in numbers:
        yield number, (b"%0*d" % (len(_NUMBER), number)).join(parts)


def webhooks(numbers: Iterable[int], path: str = "/webhook", **labels: str) -> Iterator[tuple[int, bytes]]:
    """Yield requests with one firing alert each, in a group of its own; 1.4 KB."""
    plain = len(json.dumps(_webhook([_alert(_labels(**labels))])))
    return _numbered(path, _webhook([_alert(_labels(**labels), _BODY_BYTES - plain)]), numbers)


def hundreds(numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield requests with a group of 100 alerts each."""
    return _numbered(
        "/webhook", _webhook([_alert(_labels(instance=f"host-{n}")) for n in range(100)]), numbers
    )


def posted_alerts(numbers: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Yield requests with the same alerts in the format in which Prometheus posts them to Alertmanager."""
    alert = _alert(_labels(), _BODY_BYTES // 4)
    taken = {name: alert[name] for name in ("labels", "annotations", "startsAt", "generatorURL")}
    return _numbered("/api/v2/alerts", [taken], numbers)


def big_group(count: int, size: int, *, ended: bool = False) -> bytes:
    """Return a webhook with ``count`` alerts of ``size`` bytes each."""
    alerts = []
    for number in range(count):
        labels = {"alertname": "BigGroup", "instance": f"node-{number:06}", "severity": "warning"}
        alert = {
            "status": "resolved" if ended else "firing", "labels": labels, "annotations": {"s": ""},
            "startsAt": _STARTED, "endsAt": datetime.now(UTC).isoformat() if ended else _NEVER,
            "generatorURL": "", "fingerprint": f"{number:016x}",
        }  # fmt: skip
        plain = len(json.dumps(alert, separators=(",", ":")))
        alert["annotations"] = {"s": "x" * (size - plain - 1)}
        alerts.append(alert)
    body = _webhook(alerts)
    body |= {"status": alerts[0]["status"], "commonLabels": {"alertname": "BigGroup", "severity": "warning"}}
    return json.dumps(body, separators=(",", ":")).encode()
