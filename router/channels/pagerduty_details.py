"""The details of a PagerDuty event: first what a person reads on a phone, then every alert as JSON.

PagerDuty shows each detail as a row: its name, and its text or JSON. https://developer.pagerduty.com/docs/send-alert-event
"""

import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from router.model import SECOND, Conversation, Labels, Millis, ShownAlert, Status
from router.render.annotations import annotations_of
from router.render.formatter import common
from router.render.view import AlertView
from router.render.words import clip, counted, listed_labels, web_address

_MAX_ROW_CHARS = 500
_MAX_NAME_CHARS = 100
_MAX_NAMES = 3
"""Alerts that are named before a text that they share; the others are counted."""
_MAX_TEXT_CHARS = 20_000
_LEFT_OUT = "left out"
_OWN_NAMES = frozenset({"status", "firing", "resolved", "labels", "links", "counts", "alerts", _LEFT_OUT})
"""The router's own names of details. An annotation of such a name gets another one."""
_LEFT_OUT_BYTES = 1_000
"""Room for the words that count what is left out."""
_DESCRIPTIONS = frozenset({"description", "message"})
# The annotations of an alert that stay the longest in its JSON.
_SHORT_ANNOTATIONS = frozenset({"summary"})


@dataclass(frozen=True, slots=True)
class _Extent:
    """How much of the alerts the details have. What all alerts share stays."""

    descriptions: bool = True
    notes: bool = True
    """Their annotations beside summary and description, and their links."""
    alerts: bool = True
    """Every alert as JSON, with its labels."""


# What takes most space and helps least at 3 a.m. goes first.
_EXTENTS = (
    _Extent(),
    _Extent(descriptions=False),
    _Extent(descriptions=False, notes=False),
    _Extent(descriptions=False, notes=False, alerts=False),
)


@dataclass(slots=True)
class _LeftOut:
    """Counts what is left out."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, count: int) -> None:
        if count:
            self.counts[what] = self.counts.get(what, 0) + count

    def text(self, why: str) -> str:
        return f"{', '.join(f'{count} {what}' for what, count in self.counts.items())}: {why}"


def details_of(
    conversation: Conversation, values: Mapping[str, Any], room: int
) -> tuple[dict[str, Any], bool]:
    """Return the details, in ``room`` bytes of JSON, and whether they have the links of every alert.

    The details are texts by name, and the list ``alerts``.

    If they are too long, the descriptions of the alerts are left out, then their other annotations, then their JSON, and
    at last rows. The text ``left out`` counts them.

    :param values: the variables of the template, not escaped
    """
    for extent in _EXTENTS:
        details = _details(conversation, values, extent)
        if _size(details) <= room:
            return details, extent.alerts and extent.notes
    return cut_details(details, room, "the event would be larger than 512 KB"), False


def cut_details(details: Mapping[str, Any], room: int, why: str) -> dict[str, Any]:
    """Return the texts of details in ``room`` bytes: the first ones, cut after a line. ``left out`` counts the rest.

    :param why: what is wrong with more
    """
    left_out = _LeftOut()
    earlier = str(details.get(_LEFT_OUT, ""))
    texts = {
        name: text for name, text in details.items() if isinstance(text, str) and text and name != _LEFT_OUT
    }
    left_out.add("alerts as JSON", len(details.get("alerts", ())))
    room -= _LEFT_OUT_BYTES + _size(earlier)
    kept: dict[str, Any] = {}
    for name, text in texts.items():
        lines = text.split("\n")
        sizes = [*accumulate(map(_size, lines), initial=_size(name) + 4)]
        fitting = max(0, bisect_right(sizes, room) - 1)
        if fitting:
            kept[name] = "\n".join(lines[:fitting])
            room -= sizes[fitting]
        left_out.add(f"lines of {name if name in _OWN_NAMES else 'annotations'}", len(lines) - fitting)
    said = "; ".join(filter(None, [earlier, left_out.text(why) if left_out.counts else ""]))
    return {**({_LEFT_OUT: said} if said else {}), **kept}


def _details(conversation: Conversation, values: Mapping[str, Any], extent: _Extent) -> dict[str, Any]:
    left_out = _LeftOut()
    own = {
        "status": " · ".join(filter(None, [values["counts"], _hidden(conversation)])),
        "firing": "\n".join(map(_row, values["firing"])),
        "resolved": "\n".join(map(_row, values["resolved"])),
    }
    texts = _texts(values, extent)
    message_links = frozenset(address for _, address in values["links"])
    rest = {"labels": listed_labels(values["common_labels"])}
    named = {f"annotation {name}" if name in _OWN_NAMES else name: text for name, text in texts.items()}
    listed = [
        *conversation.firing,
        *(each for each in conversation.listed if each.alert.status is Status.RESOLVED),
    ]
    left_out.add("descriptions", 0 if extent.descriptions else _count(listed, descriptions=True))
    left_out.add("other annotations", 0 if extent.notes else _count(listed, descriptions=False))
    left_out.add("alerts as JSON, with their labels", 0 if extent.alerts else len(listed))
    details: dict[str, Any] = {
        "status": own.pop("status"),
        _LEFT_OUT: left_out.text("the event would be larger than 512 KB") if left_out.counts else "",
        **own, **named, **{name: shortened(text) for name, text in rest.items()},
        "alerts": [_as_json(each, extent, message_links) for each in listed] if extent.alerts else [],
    }  # fmt: skip
    return {name: value for name, value in details.items() if value}


@dataclass(slots=True)
class _Text:
    """Collects the lines of a text until it is as long as it is shown, and counts the characters of the rest."""

    kept: list[str] = field(default_factory=list)
    chars: int = 0
    """Of all lines and the line breaks between them."""

    def add(self, line: str) -> None:
        if not line:
            return
        if self.chars <= _MAX_TEXT_CHARS:
            self.kept.append(line)
        self.chars += len(line) + bool(self.chars)

    def __str__(self) -> str:
        return shortened("\n".join(self.kept), chars=self.chars)


def _texts(values: Mapping[str, Any], extent: _Extent) -> dict[str, str]:
    """Return annotations by name: what all alerts share as it is, the rest after the names of the alerts that have it.

    A text has at most ``_MAX_TEXT_CHARS`` characters, and a count of what is missing.
    """
    texts: dict[str, _Text] = defaultdict(_Text)
    shared = {"summary": values["summary"], "description": values["description"], **values["notes"]}
    for name, text in shared.items():
        texts[name].add(text)
    owners: dict[tuple[str, str], list[str]] = {}
    alerts: Sequence[AlertView] = values["alerts"]
    for alert in alerts:
        notes = {name: note for name, note in alert.notes.items() if extent.notes}
        if alert.description and extent.descriptions:
            owners.setdefault(("description", alert.description), []).append(alert.brief)
        for each in notes.items():
            owners.setdefault(each, []).append(alert.brief)
    for (name, text), briefs in owners.items():
        texts[name].add(f"{counted([clip(each, _MAX_NAME_CHARS) for each in briefs], _MAX_NAMES)}: {text}")
    return {name: str(text) for name, text in texts.items()}


def _row(alert: AlertView) -> str:
    """Return an alert as one line: its level, what tells it apart, since when, and what it alone says."""
    name = clip(alert.brief, _MAX_NAME_CHARS)
    return clip(
        " · ".join(filter(None, [f"{alert.emoji} {name}", alert.timing, " ".join(alert.summary.split())])),
        _MAX_ROW_CHARS,
    )


def _hidden(conversation: Conversation) -> str:
    """Return what Alertmanager left out, in words; an empty text if there is nothing."""
    count = conversation.truncated
    return f"{count} more not shown by Alertmanager (max_alerts)" if count else ""


def _count(listed: Sequence[ShownAlert], *, descriptions: bool) -> int:
    """Return how many descriptions the alerts have, or how many annotations beside summary and description.

    What all alerts share does not count, because the texts have it.
    """
    shared = common([annotations_of(each.alert) for each in listed])
    return sum(
        (name in _DESCRIPTIONS) is descriptions
        and name not in _SHORT_ANNOTATIONS
        and shared.get(name) != text
        for each in listed
        for name, text in annotations_of(each.alert).items()
    )


def _as_json(shown: ShownAlert, extent: _Extent, message_links: frozenset[str]) -> dict[str, Any]:
    """Return an alert for programs. Its runbook, and a dashboard that an annotation names, are among its annotations.

    :param message_links: the addresses that the event has as links already
    """
    alert = shown.alert
    links = {name: web_address(alert.links.get(name, "")) for name in ("dashboard", "panel")}
    details: dict[str, Any] = {
        "status": alert.status.value,
        "labels": dict(alert.labels),
        "annotations": _annotations(annotations_of(alert), extent),
        "source": alert.generator_url if extent.notes and alert.generator_url not in message_links else "",
        "links": {
            name: address
            for name, address in links.items()
            if extent.notes and address and address not in message_links
        },
        "since": "" if alert.starts_at is None else rfc3339(alert.starts_at),
        "note": alert.note if alert.status is Status.RESOLVED else "",
    }
    return {name: value for name, value in details.items() if value}


def _annotations(annotations: Labels, extent: _Extent) -> dict[str, str]:
    return {
        name: text
        for name, text in annotations.items()
        if name in _SHORT_ANNOTATIONS or (extent.descriptions if name in _DESCRIPTIONS else extent.notes)
    }


def shortened(text: str, most: int = _MAX_TEXT_CHARS, *, chars: int | None = None) -> str:
    """Return a text; after ``most`` characters of it a count of what is missing.

    :param chars: how many characters the whole text has, if ``text`` is only its beginning
    """
    chars = len(text) if chars is None else chars
    return text if chars <= most else f"{text[:most].rstrip()}… ({chars - most} more characters)"


def _size(value: Any) -> int:
    return len(json.dumps(value))


def rfc3339(at: Millis) -> str:
    """Return a moment (epoch ms) as PagerDuty reads it, in UTC."""
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat(timespec="milliseconds")
