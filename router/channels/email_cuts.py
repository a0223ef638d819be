"""Cuts the variables of a template, so that a mail becomes shorter. What is cut is named or counted.

Each kind of message has a function: alert groups, storms, digests.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from router.channels.layout import TextFormat
from router.render.digest_entry import DigestEntry
from router.render.folding import Fold
from router.render.links import Links
from router.render.view import AlertView
from router.render.words import line

_PLAIN = TextFormat(escape=str, atom=re.compile(r"[^\W_]+"))
_MAX_NAME_CHARS, _MAX_BRIEF_CHARS = 200, 60
_MAX_ADDRESS_CHARS = 2_000
_MAX_OTHER_LINES = 100
"""Lines of alerts without an entry, one for each name and status."""
_COUNT_CHARS = 60
"""Room for the words of such a line that count."""


class Cut(NamedTuple):
    """The variables that replace those of a message, and lines about what they leave out."""

    values: Mapping[str, Any]
    others: list[str]


def cut_group(values: Mapping[str, Any], entries: int, chars: int, room: int) -> Cut:
    """Return the variables of a group with shorter texts, and with the first alerts alone in ``alerts``.

    :param entries: how many alerts stay
    :param chars: of each text
    :param room: characters for the names of the others
    """
    alerts = values["alerts"]
    shorter = _Shorter(chars)
    cut = {
        **{name: shorter.text(values[name], name) for name in ("summary", "description")},
        **{
            name: shorter.texts(values[name])
            for name in ("notes", "common_labels", "common_annotations", "group_labels", "other_labels")
        },
        **{
            name: _PLAIN.clip(values[name], _MAX_NAME_CHARS * 2, name)
            for name in ("title", "scope", "receiver")
        },
        "news": [_PLAIN.clip(each, _MAX_NAME_CHARS, "the name") for each in values["news"]],
        "links": shorter.links(values["links"]),
        "external_url": values["external_url"] if len(values["external_url"]) <= _MAX_ADDRESS_CHARS else "",
        "alerts": [shorter.alert(each) for each in alerts[:entries]],
    }
    return Cut(cut, [*named(alerts[entries:], room), *shorter.notes])


def named(alerts: Sequence[AlertView], room: int) -> list[str]:
    """Return lines that name alerts, one for each status and name: ``FIRING HostDown (3): n0, n1, n2``.

    What ``room`` characters don't hold is counted.
    """
    folds: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for each in alerts:
        folds[each.status.upper(), each.name, each.level].append(_brief(each))
    lines: list[str] = []
    room = max(room, 2 * _COUNT_CHARS)
    for number, ((status, name, level), briefs) in enumerate(folds.items()):
        head = f"{status} {level}: {_PLAIN.short(name, _MAX_NAME_CHARS)}"
        head += f" \N{MULTIPLICATION SIGN} {len(briefs)}" if len(briefs) > 1 else ""
        room -= len(head) + _COUNT_CHARS
        if number and (room < 0 or number == _MAX_OTHER_LINES):
            rest = list(folds.values())[number:]
            lines.append(f"and {sum(map(len, rest))} more, with {len(rest)} other names")
            break
        text = _joined([brief for brief in briefs if brief], room)
        room -= len(text)
        lines.append(f"{head}: {text}" if text else head)
    return lines


def _brief(alert: AlertView) -> str:
    """Return what tells an alert apart beside its name and its level."""
    values = [
        value for name, value in alert.differing.items() if name != "alertname" and value != alert.level
    ]
    return _PLAIN.short(line("/".join(filter(None, values))), _MAX_BRIEF_CHARS)


def _joined(names: Sequence[str], room: int) -> str:
    """Return names with commas, as many as ``room`` characters hold, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if (room := room - len(name) - 2) < 0:
            return ", ".join([*shown, f"and {len(names) - len(shown)} more"])
        shown.append(name)
    return ", ".join(shown)


@dataclass(slots=True)
class _Shorter:
    """Shortens texts, and remembers what has to be said about it."""

    chars: int
    """Characters of each text."""
    long_links: int = 0

    def text(self, text: str, what: str) -> str:
        return _PLAIN.clip(text, self.chars, f"the {what}")

    def texts(self, labels: Mapping[str, str]) -> dict[str, str]:
        """Return names and values, both shorter. Names that become the same are numbered."""
        shorter: dict[str, str] = {}
        for name, each in labels.items():
            short = _PLAIN.clip(name, _MAX_NAME_CHARS, "the name")
            shorter[short if short not in shorter else f"{short} {len(shorter)}"] = self.text(each, "value")
        return shorter

    def links(self, links: Links) -> Links:
        """Return the links without those that are too long."""
        long = [name for name in _ADDRESSES if len(getattr(links, name)) > _MAX_ADDRESS_CHARS]
        self.long_links += len(long)
        return replace(links, **dict.fromkeys(long, ""))

    def alert(self, alert: AlertView) -> AlertView:
        own = [each for each in alert.own_links if len(each[1]) <= _MAX_ADDRESS_CHARS]
        self.long_links += len(alert.own_links) - len(own)
        return replace(
            alert,
            name=_PLAIN.clip(alert.name, _MAX_NAME_CHARS, "the name"),
            summary=self.text(alert.summary, "summary"),
            description=self.text(alert.description, "description"),
            note=self.text(alert.note, "note"),
            own_links=tuple(own),
            labels=self.texts(alert.labels),
            annotations=self.texts(alert.annotations),
            differing=self.texts(alert.differing),
            notes=self.texts(alert.notes),
        )

    @property
    def notes(self) -> list[str]:
        count = self.long_links
        return [f"{count} link{'s are' if count > 1 else ' is'} too long for this mail."] if count else []


_ADDRESSES = ("runbook", "dashboard", "panel", "source", "silence")


_STANDING_SHARE = 4
"""The list of what still fires gets a quarter of the names of a list of news: no earlier mail named the news."""


def cut_storm(values: Mapping[str, Any], entries: int) -> Cut:
    """Return the variables of a storm with at most ``entries`` names in each list of news, and fewer of what still fires."""
    kinds = {
        "new_firing": "new",
        "new_eased": "with fewer alerts",
        "new_resolved": "resolved",
        "standing": "firing",
    }
    cut, others = {}, []
    for key, what in kinds.items():
        folds: list[Fold] = []
        room = entries // _STANDING_SHARE if key == "standing" else entries
        for fold in values[key]:
            folds += [_first_names(fold, room)] if room > 0 else []
            room -= max(1, len(fold.names))
        if left := sum(fold.count for fold in values[key][len(folds) :]):
            others.append(f"and {left} more groups {what}")
        cut[key] = tuple(folds)
    return Cut(cut, others)


def _first_names(fold: Fold, room: int) -> Fold:
    names = fold.names[:room]
    if more := len(fold.names) - len(names):
        return replace(fold, names=(*names, f"and {more} more"))
    return fold


def cut_digest(values: Mapping[str, Any], entries: int) -> Cut:
    """Return the variables of a digest with at most ``entries`` entries in each section, and as many identities in each
    entry.
    """
    sections = values["sections"]
    left = sum(_counts(each.entries[entries:]) for each in sections)
    shorter = [
        replace(each, entries=tuple(_first_identities(entry, entries) for entry in each.entries[:entries]))
        for each in sections
    ]
    return Cut({"sections": shorter}, [f"and {left} more alerts without a line"] if left else [])


def _first_identities(entry: DigestEntry, count: int) -> DigestEntry:
    left = len(entry.identities) - count
    if left <= 0:
        return entry
    return replace(entry, identities=entry.identities[:count], unlisted=entry.unlisted + left)


def _counts(entries: Iterable[DigestEntry]) -> int:
    return sum(each.count for each in entries)


def cut(values: Mapping[str, Any], entries: int, chars: int, room: int) -> Cut:
    """Return the variables of a message of any kind with fewer entries and shorter texts.

    :param entries: how many alerts, names or lines stay in each list
    :param chars: of each text of an alert group
    :param room: characters for the names of the alerts without an entry
    """
    if "alerts" in values:
        return cut_group(values, entries, chars, room)
    return cut_digest(values, entries) if "sections" in values else cut_storm(values, entries)


def items_of(values: Mapping[str, Any]) -> int:
    """Return how many alerts, names or lines a message has at most in a list."""
    if "alerts" in values:
        return len(values["alerts"])
    if "sections" in values:
        entries = [entry for section in values["sections"] for entry in section.entries]
        lists = [section.entries for section in values["sections"]] + [entry.identities for entry in entries]
        return max(map(len, lists), default=0)
    return max(sum(max(1, len(fold.names)) for fold in values[key]) for key in _STORM_LISTS)


_STORM_LISTS = ("new_firing", "new_eased", "new_resolved", "standing")
