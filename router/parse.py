"""Bytes to a Webhook, or a ParseError. Pure, and lenient: whatever can be an alert becomes one.

Shapes taken: Alertmanager's version 4 (and 3), and Grafana's variant of it.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from router.model import SECOND, Alert, Labels, Millis, Status, Webhook

_RESOLVED = {"resolved", "ok", "normal", "inactive"}
_LINKS = {"dashboard": "dashboardURL", "panel": "panelURL", "silence": "silenceURL", "image": "imageURL"}
_FIRST_MOMENT: Millis = 0  # Go's zero time and anything else before 1970 means "not given"
_LAST_MOMENT: Millis = 253_402_300_799 * SECOND  # the end of 9999
_SECONDS_UP_TO = 10**11  # epoch numbers above are milliseconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MOST_HIDDEN = 2**31 - 1  # what every database's integer holds
_MOST_ODDITIES = 20
_UNFIT = re.compile("[\0\ud800-\udfff]")  # what no database and no provider takes as text

_FNV_OFFSET = 14_695_981_039_346_656_037
_FNV_PRIME = 1_099_511_628_211


class ParseError(ValueError):
    """The body is no webhook; says why."""


def parse(body: bytes, now: Millis = _LAST_MOMENT) -> Webhook:
    """:param now: an alert without a status fires until its end; not given: every end has come

    :raises ParseError: not JSON, or not a webhook
    """
    try:
        return _webhook(_json(body), now)
    except RecursionError:
        raise ParseError("nested too deeply to be read") from None


def _webhook(document: Any, now: Millis) -> Webhook:
    if not isinstance(document, dict):
        raise ParseError(f"not a webhook: the body is {_kind(document)}, not an object")
    if "alerts" not in document:
        raise ParseError("not a webhook: it has no alerts")
    entries = document["alerts"] if document["alerts"] is not None else []
    if not isinstance(entries, list):
        raise ParseError(f"not a webhook: its alerts are {_kind(entries)}, not a list")
    objects = {index: entry for index, entry in enumerate(entries) if isinstance(entry, dict)}
    if entries and not objects:
        raise ParseError("not a webhook: none of its alerts is an object")
    oddities = _strays(entries)
    told = _Told.model_validate(document)
    alerts = [
        _alert(entry, told.status, now, f"alerts[{index}]", oddities) for index, entry in objects.items()
    ]
    return Webhook(
        receiver=told.receiver,
        group_key=told.group_key or _derived_group(told.group_labels, alerts),
        group_labels=told.group_labels,
        external_url=told.external_url,
        truncated=max(0, told.truncated - told.truncated_resolved),
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
        # Not strict: a raw newline or tab within a text is no reason to lose an alert.
        return json.loads(body.decode("utf-8-sig", errors="replace"), strict=False)
    except ValueError as error:
        raise ParseError(f"not JSON: {error}") from None


def _text(value: Any) -> str:
    """Any JSON value as text, what is none as compact JSON; never None, no NUL, no lone surrogates."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return _UNFIT.sub("\ufffd", text)


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {_text(name): _text(each) for name, each in value.items() if each is not None}


def _count(value: Any) -> int:
    try:
        return min(max(0, int(value)), _MOST_HIDDEN)
    except (TypeError, ValueError, OverflowError):
        return 0


def _time(value: Any) -> Millis | None:
    """RFC 3339 with 0-9 fractional digits, or an epoch number in seconds or milliseconds."""
    try:
        match value:
            case bool():
                return None
            case int() | float():
                at = int(value * SECOND if abs(value) < _SECONDS_UP_TO else value)
            case str():
                moment = datetime.fromisoformat(value.strip().upper())
                if moment.tzinfo is None:
                    return None
                at = (moment - _EPOCH) // _MILLISECOND
            case _:
                return None
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
    truncated_resolved: Count = Field(default=0, alias="truncatedResolved")
    """How many of them have ended: our own webhook channel says so."""
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


def _strays(entries: list[Any]) -> list[str]:
    strays = [index for index, entry in enumerate(entries) if not isinstance(entry, dict)]
    named = [
        f"alerts[{index}] is {_kind(entries[index])}, not an object" for index in strays[:_MOST_ODDITIES]
    ]
    more = len(strays) - len(named)
    return [*named, f"and {more} more like these"] if more else named


def _alert(entry: dict[str, Any], group_status: str, now: Millis, place: str, oddities: list[str]) -> Alert:
    oddities += [
        f"{place}.{name} are {_kind(entry[name])}, not an object"
        for name in ("labels", "annotations")
        if not isinstance(entry.get(name), dict | None)
    ]
    told = _ToldAlert.model_validate(entry)
    word = told.status.strip() or group_status.strip()
    status = _status(word, told.ends_at, now)
    given = told.fingerprint.strip() if isinstance(entry.get("fingerprint"), str) else ""
    return Alert(
        fingerprint=given or (fingerprint(told.labels) if told.labels else _content_hash(entry)),
        labels=told.labels,
        annotations=told.annotations,
        status=status,
        starts_at=told.starts_at,
        ends_at=told.ends_at if status is Status.RESOLVED else None,
        generator_url=told.generator_url,
        links={name: _text(entry[field]) for name, field in _LINKS.items() if entry.get(field)},
        fires_until=told.ends_at if status is Status.FIRING and not word else None,
    )


def _status(word: str, ends_at: Millis | None, now: Millis) -> Status:
    """What is neither firing nor resolved in any known word counts as firing: it is never lost. Without a word, the
    end says it; one that is to come is no end yet.
    """
    ended = word.casefold() in _RESOLVED if word else ends_at is not None and ends_at <= now
    return Status.RESOLVED if ended else Status.FIRING


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
    """What the body says twice of one alert comes in an order in which the last word counts."""
    same: dict[str, list[Alert]] = {}
    for alert in alerts:
        same.setdefault(alert.identity, []).append(alert)
    return tuple(alert for several in same.values() for alert in _in_order(several))


def _in_order(several: list[Alert]) -> list[Alert]:
    """By start where every one is known. Of a contradiction about one start, the firing counts."""
    if len(several) == 1:
        return several
    dated = all(alert.starts_at is not None for alert in several)
    firing = {alert.starts_at if dated else None for alert in several if alert.status is Status.FIRING}
    kept = [
        alert
        for alert in several
        if alert.status is Status.FIRING or (alert.starts_at if dated else None) not in firing
    ]
    return sorted(kept, key=lambda each: (each.starts_at or 0) if dated else 0)


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
