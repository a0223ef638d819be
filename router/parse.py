"""Bytes to a Webhook, or a ParseError. Pure, and lenient: whatever can be an alert becomes one.

Shapes taken: Alertmanager's version 4 (and 3), and Grafana's variant of it.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from router.model import SECOND, Alert, Labels, Millis, Status, Webhook

_FIRING = {"firing", "alerting", "active", "pending"}
_RESOLVED = {"resolved", "ok", "normal", "inactive"}
_LINKS = {"dashboard": "dashboardURL", "panel": "panelURL", "silence": "silenceURL", "image": "imageURL"}
_FIRST_MOMENT: Millis = 0  # Go's zero time and anything else before 1970 means "not given"
_LAST_MOMENT: Millis = 253_402_300_799 * SECOND  # the end of 9999
_SECONDS_UP_TO = 10**11  # epoch numbers above are milliseconds

_FNV_OFFSET = 14_695_981_039_346_656_037
_FNV_PRIME = 1_099_511_628_211


class ParseError(ValueError):
    """The body is no webhook; says why."""


def parse(body: bytes) -> Webhook:
    """:raises ParseError: not JSON, or not a webhook"""
    document = _json(body)
    if not isinstance(document, dict):
        raise ParseError(f"not a webhook: the body is {_kind(document)}, not an object")
    if "alerts" not in document:
        raise ParseError("not a webhook: it has no alerts")
    entries = document["alerts"]
    if entries is None:
        entries = []
    if not isinstance(entries, list):
        raise ParseError(f"not a webhook: its alerts are {_kind(entries)}, not a list")
    oddities: list[str] = []
    told = _Told.model_validate({**document, "alerts": []})
    alerts = [
        _alert(entry, told.status, f"alerts[{index}]", oddities)
        for index, entry in enumerate(entries)
        if _is_object(entry, f"alerts[{index}]", oddities)
    ]
    if entries and not alerts:
        raise ParseError("not a webhook: none of its alerts is an object")
    return Webhook(
        receiver=told.receiver,
        group_key=told.group_key or _derived_group(told.group_labels, alerts),
        group_labels=told.group_labels,
        external_url=told.external_url,
        truncated=told.truncated,
        alerts=_distinct(alerts),
        oddities=tuple(oddities),
    )


def fingerprint(labels: Labels) -> str:
    """Prometheus's own: FNV-1a over the sorted labels, 16 hex digits.

    https://github.com/prometheus/common/blob/main/model/signature.go
    """
    total = _FNV_OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            total = ((total ^ byte) * _FNV_PRIME) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{total:016x}"


def _json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8-sig", errors="replace")
        return json.loads(text)
    except RecursionError:
        raise ParseError("not JSON that can be read: nested too deeply") from None
    except ValueError as error:
        raise ParseError(f"not JSON: {error}") from None


def _text(value: Any) -> str:
    """Any JSON value as the text a person would have written; never None, no NUL, no lone surrogates."""
    match value:
        case None:
            text = ""
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case int() | float():
            text = repr(value)
        case _:
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if "\0" in text or not text.isascii():
        text = text.replace("\0", "\ufffd").encode("utf-8", "replace" if _lone(text) else "strict").decode()
    return text


def _lone(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {_text(name): _text(each) for name, each in value.items() if each is not None}


def _count(value: Any) -> int:
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def _time(value: Any) -> Millis | None:
    """RFC 3339 with 0-9 fractional digits, or an epoch number in seconds or milliseconds."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            at = int(value * SECOND) if abs(value) < _SECONDS_UP_TO else int(value)
        else:
            moment = datetime.fromisoformat(str(value).strip())
            if moment.tzinfo is None or moment.year < 1971:
                return None
            at = int(moment.timestamp() * SECOND)
    except (ValueError, OverflowError):
        return None
    return at if _FIRST_MOMENT < at <= _LAST_MOMENT else None


Text = Annotated[str, BeforeValidator(_text)]
LabelSet = Annotated[dict[str, str], BeforeValidator(_labels)]
Count = Annotated[int, BeforeValidator(_count)]
Time = Annotated[Millis | None, BeforeValidator(_time)]


class _Told(BaseModel):
    """What is read of the body; every other field is ignored."""

    model_config = ConfigDict(extra="ignore")

    receiver: Text = ""
    group_key: Text = Field(default="", alias="groupKey")
    group_labels: LabelSet = Field(default={}, alias="groupLabels")
    external_url: Text = Field(default="", alias="externalURL")
    truncated: Count = Field(default=0, alias="truncatedAlerts")
    status: Text = ""


class _ToldAlert(BaseModel):
    model_config = ConfigDict(extra="ignore")

    status: Text = ""
    labels: LabelSet = {}
    annotations: LabelSet = {}
    starts_at: Time = Field(default=None, alias="startsAt")
    ends_at: Time = Field(default=None, alias="endsAt")
    generator_url: Text = Field(default="", alias="generatorURL")
    fingerprint: Text = ""


def _is_object(entry: Any, place: str, oddities: list[str]) -> bool:
    if isinstance(entry, dict):
        return True
    oddities.append(f"{place} is {_kind(entry)}, not an object")
    return False


def _alert(entry: dict[str, Any], group_status: str, place: str, oddities: list[str]) -> Alert:
    oddities += [
        f"{place}.{name} are {_kind(entry[name])}, not an object"
        for name in ("labels", "annotations")
        if not isinstance(entry.get(name), dict | None)
    ]
    told = _ToldAlert.model_validate(entry)
    status = _status(told, group_status)
    given = told.fingerprint if isinstance(entry.get("fingerprint"), str) else ""
    return Alert(
        fingerprint=given or (fingerprint(told.labels) if told.labels else _content_hash(entry)),
        labels=told.labels,
        annotations=told.annotations,
        status=status,
        starts_at=told.starts_at,
        ends_at=told.ends_at if status is Status.RESOLVED else None,
        generator_url=told.generator_url,
        links={name: _text(entry[field]) for name, field in _LINKS.items() if entry.get(field)},
    )


def _status(told: _ToldAlert, group_status: str) -> Status:
    """What is neither firing nor resolved in any known word counts as firing: it is never lost."""
    for word in (
        told.status.strip().casefold(),
        "" if told.ends_at is None else "resolved",
        group_status.strip().casefold(),
    ):
        if word in _RESOLVED:
            return Status.RESOLVED
        if word:
            return Status.FIRING
    return Status.FIRING


def _content_hash(entry: Mapping[str, Any]) -> str:
    """An alert without labels is told apart by what it says, apart from its status and end."""
    content = {name: value for name, value in entry.items() if name not in {"status", "endsAt"}}
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _derived_group(group_labels: Labels, alerts: list[Alert]) -> str:
    """Without a group key, alerts of the same group labels, or of the same name, are a group."""
    labels = group_labels or {"alertname": alerts[0].labels.get("alertname", "") if alerts else ""}
    return "derived:" + ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def _distinct(alerts: list[Alert]) -> tuple[Alert, ...]:
    """One fingerprint with different labels is a sender's mistake: told apart by the labels. The same alert
    twice stays so, its end before its firing: of a contradiction, the firing counts.
    """
    label_sets: dict[str, set[frozenset[tuple[str, str]]]] = {}
    for alert in alerts:
        label_sets.setdefault(alert.fingerprint, set()).add(frozenset(alert.labels.items()))
    told = [
        replace(alert, fingerprint=fingerprint(alert.labels))
        if len(label_sets[alert.fingerprint]) > 1
        else alert
        for alert in alerts
    ]
    times = Counter(alert.fingerprint for alert in told)
    if max(times.values(), default=0) > 1:
        told.sort(key=lambda alert: (alert.starts_at or 0, alert.status is Status.FIRING))
    return tuple(told)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "an object"
