"""What people hand over to have it judged: moments, labels, and files of alerts."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from router.decide.matchers import MatcherError, parse_matcher
from router.model import SECOND, Labels, Millis, Status
from router.parse import ParseError, fingerprint, parse

# Schedules look years ahead, and calendars end.
_YEARS = (1970, 9000)


class InputError(ValueError):
    """What was given can't be used; says why, and what to write."""


@dataclass(frozen=True, slots=True)
class GivenAlert:
    fingerprint: str
    labels: Labels
    firing: bool = True


def moment(text: str, zone: ZoneInfo) -> Millis:
    """``2026-11-20 22:41``, in the zone unless it says another. :raises InputError:"""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            f"{text!r} is no time; write it like '2026-11-20 22:41' or 2026-11-20T22:41:00Z"
        ) from None
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


def given(labels: Labels) -> GivenAlert:
    return GivenAlert(fingerprint(labels), labels)


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
    except (YAMLError, ValueError) as error:
        raise InputError(f"it is neither JSON nor YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise InputError("it is nested too deeply") from None
    if isinstance(found, dict) and "alerts" in found:
        try:
            alerts = parse(data, now).alerts
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
        return YAML(typ="safe", pure=True).load(io.BytesIO(data))


def several(items: Any) -> list[GivenAlert]:
    """From label maps, or mappings with ``labels``. :raises InputError:"""
    if not isinstance(items, list):
        raise InputError("it is no list of alerts; write a list of label maps")
    return [one(item) for item in items]


def one(item: Any) -> GivenAlert:
    """:raises InputError:"""
    labels = item.get("labels", item) if isinstance(item, Mapping) else None
    if not isinstance(labels, Mapping) or any(isinstance(value, list | dict) for value in labels.values()):
        raise InputError("an alert is a mapping of label names to values, like {alertname: DiskFull}")
    texts = {str(name): _text(value) for name, value in labels.items()}
    status = item.get("status") if labels is not item else None
    try:
        return GivenAlert(fingerprint(texts), texts, firing=status != "resolved")
    except UnicodeEncodeError:
        raise InputError("a label is no text: it has half of a character") from None


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
