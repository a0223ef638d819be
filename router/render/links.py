"""The links of a message: runbook, dashboard, source, and a silence of exactly the alerts that the message is about."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from router.model import Alert, Labels
from router.render.formatter import Formatter
from router.render.words import web_address

RUNBOOK_ANNOTATIONS = ("runbook_url", "runbook")
DASHBOARD_ANNOTATIONS = ("dashboard_url", "dashboard")
_MAX_FILTER_CHARS = 900
"""Characters of the matchers of a silence in its address. With more, the link would take the room of the alerts."""
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
        silences=formatter.escape(silence[0]),
        silence=formatter.address(silence[1]),
    )


def silence_of(external_url: str, alerts: Sequence[Labels]) -> tuple[str, str]:
    """Return the words and the address of Alertmanager's page for a new silence of these alerts, filled in.

    The silence covers the labels that all of them have, and of every other label only the values that they have. Where
    that would be too long, the longest of these lists is left out, never that of the names, and the words say so.

    :returns: two empty texts if there can be no silence
    """
    base = web_address(external_url)
    values = {
        name: sorted({each.get(name, "") for each in alerts})
        for name in sorted({name for each in alerts for name in each})
    }
    if not base or not values:
        return "", ""
    matchers = {name: _matcher(name, each) for name, each in values.items()}
    is_exact = True
    while sum(len(quote(each, errors="replace")) for each in matchers.values()) > _MAX_FILTER_CHARS:
        lists = [name for name in matchers if len(values[name]) > 1 and name != "alertname"]
        if not lists:
            return "", ""
        del matchers[max(lists, key=lambda name: len(matchers[name]))]
        is_exact = False
    address = f"{base.rstrip('/')}/#/silences/new?filter={quote('{' + ','.join(matchers.values()) + '}', errors='replace')}"
    if not is_exact:
        return f"Silence all {' and '.join(values.get('alertname', ['of these']))}", address
    return "Silence" if len(alerts) == 1 else f"Silence these {len(alerts)}", address


def _matcher(name: str, values: Sequence[str]) -> str:
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
