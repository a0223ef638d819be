"""What people hand over to have it judged: moments, labels, and files of alerts."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from router.config import ConfigError
from router.config.document import load_text
from router.config.document import plain as read_plain
from router.config.problems import did_you_mean
from router.decide.matchers import MatcherError, parse_matcher
from router.model import SECOND, Labels, Millis, Status
from router.parse import ParseError, fingerprint, parse_webhook

# Schedules look years ahead, and calendars end.
_YEARS = (1970, 9000)
# Of an alert as Alertmanager writes it: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
ALERT_KEYS = frozenset({
    "labels", "status", "annotations", "startsAt", "endsAt", "updatedAt", "generatorURL", "fingerprint", "receivers",
})  # fmt: skip


class InputError(ValueError):
    """What was given can't be used; says why, and what to write."""


@dataclass(frozen=True, slots=True)
class GivenAlert:
    fingerprint: str
    labels: Labels
    firing: bool = True


def moment(text: Any, zone: ZoneInfo) -> Millis:
    """``2026-11-20 22:41``, in the zone unless it says another. :raises InputError:"""
    try:
        at = datetime.fromisoformat(text.strip())
    except (ValueError, AttributeError):
        todo = "write it like '2026-11-20 22:41' or 2026-11-20T22:41:00Z"
        raise InputError(f"{_quoted(text)} is no time; {todo}") from None
    if not _YEARS[0] <= at.year <= _YEARS[1]:
        raise InputError(f"{text!r} is too far away; give a year from {_YEARS[0]} to {_YEARS[1]}")
    return int((at if at.tzinfo is not None else at.replace(tzinfo=zone)).timestamp()) * SECOND


def shown(at: Millis, zone: ZoneInfo) -> str:
    """For people: ``Fri 20 Nov 2026 22:41``."""
    return f"{datetime.fromtimestamp(at / SECOND, zone):%a %d %b %Y %H:%M}"


def stamp(at: Millis, zone: ZoneInfo) -> str:
    """For machines: RFC 3339, with the zone's offset."""
    return datetime.fromtimestamp(at / SECOND, zone).isoformat(timespec="seconds")


def plain(text: str) -> str:
    """For a terminal: what would move its cursor, or begin another line, is written out."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def given(labels: Labels, *, firing: bool = True) -> GivenAlert:
    """:raises InputError: they are no text"""
    try:
        return GivenAlert(fingerprint(labels), labels, firing)
    except UnicodeEncodeError:
        raise InputError(
            "a label is no text: it has half of a character, or bytes that are no UTF-8"
        ) from None


def labels_of(words: Iterable[str]) -> dict[str, str]:
    """From ``name=value``, with or without quotes. :raises InputError:"""
    labels: dict[str, str] = {}
    for word in words:
        try:
            matcher = parse_matcher(word)
        except MatcherError as error:
            raise InputError(f"{word!r} is no label: {error}; write it like severity=critical") from None
        if matcher.op != "=":
            raise InputError(f"{word!r} is no label; an alert has a value: write {matcher.name}=…")
        labels[matcher.name] = matcher.value
    return labels


def alerts_of(data: bytes, now: Millis) -> list[GivenAlert]:
    """From a webhook's body, the answer of Alertmanager's ``/api/v2/alerts``, or a list of label maps; JSON or YAML.

    :raises InputError:
    """
    try:
        found = _read(data)
    except ConfigError as error:
        first = error.errors[0]
        raise InputError(f"line {first.line}, column {first.column}: {first.what}; {first.todo}") from None
    except RecursionError:
        raise InputError("it is nested too deeply") from None
    if isinstance(found, dict) and "alerts" in found:
        try:
            alerts = parse_webhook(data, now).alerts
        except ParseError:
            return several(found["alerts"])
        return [
            GivenAlert(fingerprint(each.labels), each.labels, each.status is Status.FIRING) for each in alerts
        ]
    return several(found if isinstance(found, list) else [found])


def _read(data: bytes) -> Any:
    """YAML takes most of JSON, at a thousandth of the speed."""
    try:
        return json.loads(data)
    except ValueError:
        return read_plain(load_text(data, ""))


def several(items: Any) -> list[GivenAlert]:
    """From label maps, or mappings with ``labels``, as programs write them. :raises InputError:"""
    return [one(item) for item in _list(items)]


def several_written(items: Any) -> list[GivenAlert]:
    """As :func:`several`, as people write them: an unknown key is a mistake. :raises InputError:"""
    return [written(item) for item in _list(items)]


def _list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise InputError("it is no list of alerts; write a list of label maps")
    return items


def written(item: Any) -> GivenAlert:
    """:raises InputError:"""
    alert = one(item)
    if isinstance(item.get("labels"), Mapping):
        known_keys(item, ALERT_KEYS)
    return alert


def known_keys(item: Mapping[str, Any], known: Collection[str]) -> None:
    """:raises InputError: there are others"""
    for key in item:
        if key not in known:
            raise InputError(f"unknown key {key!r}; {did_you_mean(str(key), known, 'the keys here are')}")


def one(item: Any) -> GivenAlert:
    """:raises InputError:"""
    labels = item.get("labels", item) if isinstance(item, Mapping) else None
    if not isinstance(labels, Mapping):
        raise InputError(
            "an alert is a mapping of label names to values; write it like {alertname: DiskFull}"
        )
    for name, value in labels.items():
        if not isinstance(value, str | None):
            raise InputError(f"the label {name!r} is {_quoted(value)}, and not text; put it in quotes")
    texts = {str(name): value or "" for name, value in labels.items()}
    status = item.get("status") if labels is not item else None
    return given(texts, firing=status != "resolved")


def _quoted(value: Any) -> str:
    """A value as JSON writes it, or what it is."""
    match value:
        case str():
            return repr(value)
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case _:
            return json.dumps(value)
