"""Parses bytes into a Webhook, or raises a ParseError. Pure and lenient: every entry that may be an alert becomes one.

It understands Alertmanager's version 4 (and 3), and Grafana's variant of it.
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
"""

import hashlib
import json
from collections.abc import Generator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter
from pydantic_core import from_json

from router.grafana_values import values_of
from router.lenient_json import NotJson, parse_json, parse_json_in_pieces, replace_unfit
from router.model import SECOND, Alert, Labels, Millis, Status, Webhook

_RESOLVED_WORDS = {"resolved", "ok", "normal", "inactive"}
_LINK_FIELD_OF = {
    "dashboard": "dashboardURL",
    "panel": "panelURL",
    "silence": "silenceURL",
    "image": "imageURL",
}
_GRAFANA_FIELDS = frozenset({*_LINK_FIELD_OF.values(), "values", "valueString"})
_FIRST_MOMENT: Millis = 0  # Go's zero time and anything else before 1970 means "not given"
_LAST_MOMENT: Millis = 253_402_300_799 * SECOND  # the end of 9999
_MAX_EPOCH_SECONDS = 10**11  # epoch numbers above are milliseconds
_MAX_TIME_CHARS = 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MAX_TRUNCATED = 2**31 - 1  # what every database's integer holds
_MAX_ODDITIES = 20
_LABELS_OR_NOTHING = (dict, type(None))

_FNV_OFFSET = 14_695_981_039_346_656_037
_FNV_PRIME = 1_099_511_628_211


class ParseError(ValueError):
    """A body is not a webhook. The text says why."""


def parse_webhook(body: bytes, now: Millis = _LAST_MOMENT, sender: str = "") -> Webhook:
    """Return the webhook of a body.

    :param now: an alert without a status fires if its end is later than this; if not given, every end is in the past
    :param sender: the address that posted it

    :raises ParseError: not JSON, or not a webhook
    """
    try:
        try:
            document = from_json(body)
        except ValueError:  # it is not strict JSON in UTF-8, or has lone surrogates
            document = parse_json(body)
        else:
            document = replace_unfit(document) if b"\\u0000" in body else document
        return _whole(_webhook(document, now, sender, []))
    except NotJson as error:
        raise ParseError(f"not JSON: {error}") from None
    except RecursionError:
        raise ParseError("nested too deeply to be read") from None


def parse_in_pieces(body: bytes, now: Millis, sender: str) -> Generator[None, None, Webhook]:
    """Parse a large body, as :func:`parse_webhook` does. Yields after each alert, so that the caller can do other
    work in between.
    """
    oddities: list[str] = []

    def alert(index: int, entry: Any) -> Any:
        """Return the alert of an entry. An entry without a status stays as it is: it gets the status of the group later."""
        if type(entry) is dict and type(status := entry.get("status")) is str and status.strip():
            return _alert(entry, "", now, index, oddities)
        return entry

    try:
        document = yield from parse_json_in_pieces(body, "alerts", alert)
        return (yield from _webhook(document, now, sender, oddities))
    except NotJson as error:
        raise ParseError(f"not JSON: {error}") from None
    except RecursionError:
        raise ParseError("nested too deeply to be read") from None


def _whole(pieces: Generator[None, None, Webhook]) -> Webhook:
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            webhook: Webhook = end.value
            return webhook


def _webhook(document: Any, now: Millis, sender: str, oddities: list[str]) -> Generator[None, None, Webhook]:
    """Yield after each alert; return the webhook. :param document: JSON, in which entries may be alerts already"""
    if type(document) is not dict:
        raise ParseError(f"not a webhook: the body is {_json_type(document)}, not an object")
    if "alerts" not in document:
        raise ParseError("not a webhook: it has no alerts")
    entries = document["alerts"] if document["alerts"] is not None else []
    if type(entries) is not list:
        raise ParseError(f"not a webhook: its alerts are {_json_type(entries)}, not a list")
    given: _WebhookModel = _webhook_model(document)
    group_status = given.status.strip()
    strays: list[str] = []
    alerts: dict[str, Alert] = {}
    several: dict[str, list[Alert]] = {}
    for index, entry in enumerate(entries):
        if type(entry) is Alert:
            alert = entry
        elif type(entry) is dict:
            alert = _alert(entry, group_status, now, index, oddities)
        else:
            strays.append(f"alerts[{index}] is {_json_type(entry)}, not an object")
            continue
        before = alerts.setdefault(alert.identity, alert)
        if before is not alert:
            several.setdefault(alert.identity, [before]).append(alert)
        yield
    if entries and not alerts:
        raise ParseError("not a webhook: none of its alerts is an object")
    return Webhook(
        receiver=given.receiver,
        group_key=given.group_key or _derived_group(given.group_labels, alerts),
        group_labels=given.group_labels,
        external_url=given.external_url,
        truncated=max(0, given.truncated - given.truncated_resolved),
        alerts=_in_order(alerts, several) if several else tuple(alerts.values()),
        oddities=_shortened(strays) + _shortened(oddities) if strays or oddities else (),
        sender=sender,
    )


def fingerprint(labels: Labels) -> str:
    """Return the fingerprint that Prometheus gives labels: FNV-1a over the sorted labels, 16 hex digits.

    https://github.com/prometheus/common/blob/main/model/signature.go
    """
    total = _FNV_OFFSET
    for name in sorted(labels):
        for byte in b"%b\xff%b\xff" % (name.encode(), labels[name].encode()):
            total = ((total ^ byte) * _FNV_PRIME) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{total:016x}"


def _text(value: Any) -> str:
    """Return any JSON value as text: null as an empty text, other values as compact JSON."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {name: _text(each) for name, each in value.items() if each is not None}


def _count(value: Any) -> int:
    try:
        return min(max(0, int(value)), _MAX_TRUNCATED)
    except (TypeError, ValueError, OverflowError):
        return 0


def _nothing(_value: Any) -> str:
    return ""


def _time(value: Any) -> Millis | None:
    """Return a time in epoch ms, from RFC 3339 with 0-9 fractional digits, or from epoch seconds or milliseconds.

    None: it is neither, or out of bounds.
    """
    if type(value) is str:
        return _moment(value) if len(value) <= _MAX_TIME_CHARS else None
    if type(value) is not int and type(value) is not float:
        return None
    try:
        return _within(int(value * SECOND if abs(value) < _MAX_EPOCH_SECONDS else value))
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=4096)
def _moment(text: str) -> Millis | None:
    """Return a time in epoch ms. Cached: alerts of a group often start together, and most have Go's zero time as end."""
    try:
        moment = datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None
    return None if moment.tzinfo is None else _within((moment - _EPOCH) // _MILLISECOND)


def _within(at: Millis) -> Millis | None:
    return at if _FIRST_MOMENT < at <= _LAST_MOMENT else None


# The first member of each union accepts what Alertmanager sends, in Rust. Python only runs for other values.
_AS_IT_IS = Field(union_mode="left_to_right")
Text = Annotated[str | Annotated[str, BeforeValidator(_text)], _AS_IT_IS]
OnlyText = Annotated[str | Annotated[str, BeforeValidator(_nothing)], _AS_IT_IS]
LabelSet = Annotated[dict[str, str] | Annotated[dict[str, str], BeforeValidator(_labels)], _AS_IT_IS]
Count = Annotated[
    Annotated[int, Field(ge=0, le=_MAX_TRUNCATED)] | Annotated[int, BeforeValidator(_count)], _AS_IT_IS
]


class _WebhookModel(BaseModel):
    """The fields that the router reads from a webhook's body. It ignores all others."""

    model_config = ConfigDict(extra="ignore", strict=True)

    receiver: Text = ""
    group_key: Text = Field(default="", alias="groupKey")
    group_labels: LabelSet = Field(default={}, alias="groupLabels")
    external_url: Text = Field(default="", alias="externalURL")
    truncated: Count = Field(default=0, alias="truncatedAlerts")
    truncated_resolved: Count = Field(default=0, alias="truncatedResolved")
    """How many of the truncated alerts have ended. The router's own webhook channel sends it."""
    status: Text = ""


class _AlertModel(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    status: Text = ""
    labels: LabelSet = {}
    annotations: LabelSet = {}
    starts_at: Any = Field(default=None, alias="startsAt")
    ends_at: Any = Field(default=None, alias="endsAt")
    generator_url: Text = Field(default="", alias="generatorURL")
    fingerprint: OnlyText = ""


_webhook_model = TypeAdapter(_WebhookModel).validator.validate_python
_alert_model = TypeAdapter(_AlertModel).validator.validate_python


def _alert(entry: dict[str, Any], group_status: str, now: Millis, index: int, oddities: list[str]) -> Alert:
    for name in ("labels", "annotations"):
        if type(entry.get(name)) not in _LABELS_OR_NOTHING:
            oddities += [f"alerts[{index}].{name} are {_json_type(entry[name])}, not an object"]
    given: _AlertModel = _alert_model(entry)
    word = given.status.strip() or group_status
    ends_at = _time(given.ends_at)
    # An unknown status counts as firing, so that the alert is not lost. Without a status, the end decides: an end that
    # is yet to come means that the alert fires.
    ended = word.casefold() in _RESOLVED_WORDS if word else ends_at is not None and ends_at <= now
    is_grafana = not _GRAFANA_FIELDS.isdisjoint(entry)
    return Alert(
        given.fingerprint.strip() or (fingerprint(given.labels) if given.labels else _content_hash(entry)),
        given.labels,
        given.annotations,
        Status.RESOLVED if ended else Status.FIRING,
        _time(given.starts_at),
        ends_at if ended else None,
        given.generator_url,
        _links(entry) if is_grafana else {},
        values=values_of(entry) if is_grafana else "",
        fires_until=None if ended or word else ends_at,
    )


def _shortened(oddities: list[str]) -> tuple[str, ...]:
    more = len(oddities) - _MAX_ODDITIES
    return (*oddities[:_MAX_ODDITIES], f"and {more} more like these") if more > 0 else tuple(oddities)


def _links(entry: dict[str, Any]) -> dict[str, str]:
    return {name: _text(entry[field]) for name, field in _LINK_FIELD_OF.items() if entry.get(field)}


def _content_hash(entry: Mapping[str, Any]) -> str:
    """Return a hash of an entry without its status and end: the identity of an alert that has no labels."""
    content = {name: value for name, value in entry.items() if name not in {"status", "endsAt"}}
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _derived_group(group_labels: Labels, alerts: Mapping[str, Alert]) -> str:
    """Return the key of a group that has none: its group labels, or else the name of its first alert."""
    first = next(iter(alerts.values()), None)
    labels = group_labels or {"alertname": first.labels.get("alertname", "") if first else ""}
    return "derived:" + ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def _in_order(alerts: Mapping[str, Alert], several: Mapping[str, list[Alert]]) -> tuple[Alert, ...]:
    """Return the alerts in the order of the body. If an alert has several entries, see :func:`_last_word`."""
    return tuple(
        [
            each
            for identity, alert in alerts.items()
            for each in (_last_word(several[identity]) if identity in several else (alert,))
        ]
    )


def _last_word(several: list[Alert]) -> list[Alert]:
    """Return several entries of one alert in the order of their starts, if all starts are known. Of two entries with the
    same start, one firing and one resolved, only the firing one is kept.
    """
    dated = all(alert.starts_at is not None for alert in several)
    firing = {alert.starts_at if dated else None for alert in several if alert.status is Status.FIRING}
    kept = [
        alert
        for alert in several
        if alert.status is Status.FIRING or (alert.starts_at if dated else None) not in firing
    ]
    return sorted(kept, key=lambda each: (each.starts_at or 0) if dated else 0)


def _json_type(value: Any) -> str:
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
