"""The links of a message: runbook, dashboard, source, and a silence of exactly the alerts that the message is about."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from router.model import Alert, Labels
from router.render.formatter import Formatter
from router.render.words import clip, line, web_address

RUNBOOK_ANNOTATIONS = ("runbook_url", "runbook")
DASHBOARD_ANNOTATIONS = ("dashboard_url", "dashboard")
_MAX_FILTER_CHARS = 900
"""Characters of the matchers of a silence in its address. With more, the link would take the room of the alerts."""
_MAX_MATCHERS = 100
_NAME = "alertname"
_MAX_NAMES, _MAX_NAME_CHARS = 2, 30
"""How many names of alerts the words of a silence give, and how much of each."""
_PLAIN_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


@dataclass(frozen=True, slots=True)
class Links:
    """http(s) addresses; empty where there is none."""

    runbook: str = ""
    dashboard: str = ""
    panel: str = ""
    """Grafana's panel, where the dashboard is another address."""
    source: str = ""
    silence: str = ""
    silences: str = "Silence"
    """The words of the link to a silence: they say what it mutes."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        pairs = (
            ("Runbook", self.runbook),
            ("Dashboard", self.dashboard),
            ("Panel", self.panel),
            ("Source", self.source),
            (self.silences, self.silence),
        )
        return iter([(name, address) for name, address in pairs if address])


def linked_note(annotations: Labels, names: Sequence[str]) -> str:
    """Return the name of the first of these annotations that can be a link; empty: none can."""
    return next((name for name in names if web_address(annotations.get(name, ""))), "")


def links_of(alert: Alert, formatter: Formatter, silence: tuple[str, str]) -> Links:
    """Return the links of an alert.

    :param silence: the words and the address of a silence
    """
    notes, extra = alert.annotations, alert.links
    dashboard = formatter.address(
        *(notes.get(name, "") for name in DASHBOARD_ANNOTATIONS), extra.get("dashboard", "")
    )
    panel = formatter.address(extra.get("panel", ""))
    return Links(
        runbook=formatter.address(*(notes.get(name, "") for name in RUNBOOK_ANNOTATIONS)),
        dashboard=dashboard or panel,
        panel=panel if dashboard and panel != dashboard else "",
        source=formatter.address(alert.generator_url),
        silences=formatter.line(silence[0]),
        silence=formatter.address(silence[1]),
    )


def silence_of(external_url: str, alerts: Sequence[Labels]) -> tuple[str, str]:
    """Return the words and the address of Alertmanager's page for a new silence of these alerts, filled in.

    The silence covers the labels that all of them have, and of every other label only the values that they have. Where
    that would be too long, the longest of these lists are left out, never that of the names, and the words say so.

    :returns: two empty texts if no silence would cover these alerts and little else
    """
    base = web_address(external_url)
    values: dict[str, dict[str, None]] = {}
    present: Counter[str] = Counter()
    for each in alerts:
        for name, value in each.items():
            values.setdefault(name, {})[value] = None
            present[name] += 1
    if not base or not values or len(values) > _MAX_MATCHERS:
        return "", ""
    for name, found in values.items():
        if present[name] < len(alerts):
            found[""] = None  # a label that is missing is as good as an empty one
    matchers = {name: _matcher(name, sorted(found)) for name, found in sorted(values.items())}
    lengths = {name: len(quote(each, errors="replace")) for name, each in matchers.items() if each}
    is_exact = len(lengths) == len(matchers)
    lists = sorted(
        (name for name in lengths if len(values[name]) > 1 and name != _NAME), key=lengths.__getitem__
    )
    while sum(lengths.values()) > _MAX_FILTER_CHARS and lists:
        del lengths[lists.pop()]
        is_exact = False
    if sum(lengths.values()) > _MAX_FILTER_CHARS or (not is_exact and _NAME not in lengths):
        return "", ""
    kept = [matchers[name] for name in matchers if name in lengths]
    address = (
        f"{base.rstrip('/')}/#/silences/new?filter={quote('{' + ','.join(kept) + '}', errors='replace')}"
    )
    if not is_exact:
        return f"Silence all {_some(list(values[_NAME]))}", address
    if len(alerts) == 1:
        return "Silence", address
    combinations = math.prod(map(len, values.values()))
    distinct = len({tuple(sorted(each.items())) for each in alerts})
    return f"Silence these {len(alerts)}{' and the like' * (combinations > distinct)}", address


def alertmanager_address(external_url: str, group: Labels) -> str:
    """Return the address of Alertmanager's page of alerts with the labels of a group; empty: there is no such page."""
    base = web_address(external_url)
    if not base:
        return ""
    matchers = [_matcher(name, [value]) for name, value in sorted(group.items())]
    address = f"{base.rstrip('/')}/#/alerts"
    if not matchers or not all(matchers) or len(matchers) > _MAX_MATCHERS:
        return address
    filtered = f"{address}?filter={quote('{' + ','.join(matchers) + '}', errors='replace')}"
    return filtered if len(filtered) <= len(address) + 3 * _MAX_FILTER_CHARS else address


def _some(names: Sequence[str]) -> str:
    shown = (
        " and ".join(clip(line(each), _MAX_NAME_CHARS) for each in names) if len(names) <= _MAX_NAMES else ""
    )
    return shown or f"{clip(line(names[0]), _MAX_NAME_CHARS)} and {len(names) - 1} other names"


def _matcher(name: str, values: Sequence[str]) -> str:
    """Return the matcher of a label; an empty text if it would be too long by itself."""
    if sum(map(len, values)) > _MAX_FILTER_CHARS:
        return ""
    shown = name if _PLAIN_NAME.fullmatch(name) else _quoted(name)
    if len(values) == 1:
        return f"{shown}={_quoted(values[0])}"
    return f"{shown}=~{_quoted('|'.join(map(_literal, values)))}"


def _literal(text: str) -> str:
    """Return a regular expression of Go (RE2) that matches this text alone."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", lambda match: f"\\{match[0]}", text)


def _quoted(text: str) -> str:
    """Return a text quoted for Go, which understands all escapes of JSON."""
    return json.dumps(text, ensure_ascii=False)
