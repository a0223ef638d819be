"""Reads alerts that people and programs write: labels, and files of alerts."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from router.config import ConfigError
from router.config.document import load_text
from router.config.document import read_value as read_plain
from router.config.problems import did_you_mean
from router.decide.matchers import Matcher, MatcherError, parse_matcher, parse_matchers
from router.model import Labels, Millis, Status
from router.parse import ParseError, fingerprint, parse_webhook
from router.rules.moments import InputError, value_text

# The keys of an alert as Alertmanager writes it: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
ALERT_KEYS = frozenset({
    "labels", "status", "annotations", "startsAt", "endsAt", "updatedAt", "generatorURL", "fingerprint", "receivers",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class GivenAlert:
    """An alert that a command is asked about, or that fires at the same time."""

    fingerprint: str
    labels: Labels
    firing: bool = True


def printable(text: str) -> str:
    """Return a text for a terminal, with escapes for what would move the cursor or begin another line."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def given_alert(labels: Labels, *, firing: bool = True) -> GivenAlert:
    """Return an alert of these labels. :raises InputError: a label is not valid text"""
    try:
        return GivenAlert(fingerprint(labels), labels, firing)
    except UnicodeEncodeError:
        raise InputError(
            "a label is not text: it has a lone surrogate, or bytes that are not UTF-8"
        ) from None


def parse_labels(words: Iterable[str]) -> dict[str, str]:
    """Return labels from words like ``name=value``, the value quoted or not. :raises InputError: one is not a label"""
    labels: dict[str, str] = {}
    for word in words:
        try:
            matcher = parse_matcher(word)
        except MatcherError as error:
            raise InputError(f"{word!r} is not a label: {error}; write it like severity=critical") from None
        _add_label(labels, matcher, word)
    return labels


def parse_label_text(text: str) -> dict[str, str]:
    """Return labels from a text like ``severity="critical", team="db"``, or with one ``name=value`` a line.

    :raises InputError: a part of it is not a label
    """
    labels: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.split("\n"))):
        try:
            matchers = parse_matchers(line)
        except MatcherError as error:
            raise InputError(f"{line!r} is not a label: {error}; write it like severity=critical") from None
        for matcher in matchers:
            _add_label(labels, matcher, str(matcher))
    return labels


def _add_label(labels: dict[str, str], matcher: Matcher, word: str) -> None:
    """:raises InputError: the matcher is not an equality"""
    if matcher.op != "=":
        raise InputError(f"{word!r} is not a label; an alert has a value: write {matcher.name}=…")
    labels[matcher.name] = matcher.value


def parse_alerts(data: bytes, now: Millis) -> list[GivenAlert]:
    """Return the alerts of a webhook's body, of the answer of Alertmanager's ``/api/v2/alerts``, or of a list of label
    maps; as JSON or YAML.

    :raises InputError: it is none of these
    """
    try:
        found = read_json_or_yaml(data)
    except ConfigError as error:
        first = error.errors[0]
        raise InputError(f"line {first.line}, column {first.column}: {first.what}; {first.todo}") from None
    except RecursionError:
        raise InputError("it is nested too deeply") from None
    if isinstance(found, dict) and "alerts" in found:
        try:
            alerts = parse_webhook(data, now).alerts
        except ParseError:
            return alerts_from(found["alerts"])
        return [
            GivenAlert(fingerprint(each.labels), each.labels, each.status is Status.FIRING) for each in alerts
        ]
    return alerts_from(found if isinstance(found, list) else [found])


def read_json_or_yaml(data: bytes) -> Any:
    """Return the data of JSON or YAML. JSON is tried first, because a YAML parser takes a thousand times as long."""
    try:
        return json.loads(data)
    except ValueError:
        return read_plain(load_text(data, ""))


def alerts_from(items: Any) -> list[GivenAlert]:
    """Return alerts as programs write them: label maps, or mappings with ``labels``, whose other keys are ignored.

    :raises InputError: it is not a list, or an item is not an alert
    """
    return [alert_from(item) for item in _list(items)]


def alerts_as_written(items: Any) -> list[GivenAlert]:
    """Read alerts that people write, as :func:`alerts_from` does. An unknown key is an error. :raises InputError:"""
    return [alert_as_written(item) for item in _list(items)]


def _list(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise InputError("it is not a list of alerts; write a list of label maps")
    return items


def alert_as_written(item: Any) -> GivenAlert:
    """Read an alert that people write, as :func:`alert_from` does. An unknown key is an error. :raises InputError:"""
    alert = alert_from(item)
    if isinstance(item.get("labels"), Mapping):
        check_keys(item, ALERT_KEYS)
    return alert


def check_keys(item: Mapping[str, Any], known: Collection[str]) -> None:
    """:raises InputError: a key is not among the known ones"""
    for key in item:
        if key not in known:
            raise InputError(f"unknown key {key!r}; {did_you_mean(str(key), known, 'the keys here are')}")


def alert_from(item: Any) -> GivenAlert:
    """Return an alert with the given labels.

    :param item: the alert's labels, or a mapping with the key ``labels``
    :raises InputError: the item is neither
    """
    labels = item.get("labels", item) if isinstance(item, Mapping) else None
    if not isinstance(labels, Mapping):
        raise InputError(
            "an alert is a mapping of label names to values; write it like {alertname: DiskFull}"
        )
    for name, value in labels.items():
        if not isinstance(value, str | None):
            raise InputError(f"the label {name!r} is {value_text(value)}, not text; put it in quotes")
    texts = {str(name): value or "" for name, value in labels.items()}
    status = item.get("status") if labels is not item else None
    return given_alert(texts, firing=status != "resolved")
