"""How the API shows an alert: its labels within bounds, its title, its links."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from pydantic import BaseModel, Field

from router.decide import Severity
from router.model import Alert, Labels, Millis, ShownAlert, Status
from router.render.annotations import annotations_of, summary_of
from router.render.formatter import Formatter
from router.render.links import (
    DASHBOARD_ANNOTATIONS,
    RUNBOOK_ANNOTATIONS,
    alertmanager_address,
    links_of,
    silence_of,
)
from router.render.titles import title_of
from router.render.words import clip, web_address
from router.store.alert_rows import AlertGroup, ListedAlert

MAX_LABELS, MAX_VALUE_CHARS = 50, 300
"""How many labels a list has of an alert, and how much of each."""
_MAX_NAME_CHARS = 200
_MAX_TITLE_CHARS = 300
_MAX_SUMMARY_CHARS = 500
_MAX_KNOWN, _MAX_KNOWN_CHARS = 2_048, 4_000
"""How many titles, labels and links are remembered, and the most characters of what each is made of. They take a page most
of its time, and the alerts that fire are shown again and again.
"""
_LINKING = (*RUNBOOK_ANNOTATIONS, *DASHBOARD_ANNOTATIONS)
_Items = tuple[tuple[str, str], ...]


class Link(BaseModel):
    """A link to another service."""

    name: str
    address: str = Field(description="An http(s) address.")


class ShownTexts(BaseModel):
    """Labels or annotations."""

    values: dict[str, str]
    left_out: int = Field(default=0, description="How many more there are.")
    clipped: list[str] = Field(default=[], description="The names of those whose value is cut.")


class GroupName(BaseModel):
    """The group that its sender has put an alert in."""

    id: int
    receiver: str = Field(description="The receiver of the sender.")
    labels: ShownTexts


class AlertSummary(BaseModel):
    """An alert."""

    id: int
    title: str = Field(description="What fires and where.")
    name: str = Field(description="The label alertname; empty: it has none.")
    status: str = Field(description="firing or resolved.")
    level: str = Field(description="Its severity, as the rules read it.")
    source: str
    fingerprint: str = Field(description="The sender's.")
    labels: ShownTexts
    summary: str = Field(description="The annotation summary, or the first line of the description.")
    starts_at: Millis | None = Field(description="Since when it fires; null: its sender did not say.")
    ends_at: Millis | None
    changed_at: Millis = Field(description="When it last fired or ended, as the router saw it.")
    seen_at: Millis = Field(description="When it was last reported.")
    note: str = Field(description="Why it counts as ended although no sender resolved it.")
    withheld: str | None = Field(
        description="Why Alertmanager would not notify of it now (silenced, inhibited); null: it would, or is not asked."
    )
    group: GroupName
    links: list[Link]


class Titles:
    """Makes titles of alerts by the rules in force."""

    def __init__(self, severity: Severity, formatter: Formatter) -> None:
        self._severity, self._formatter = severity, formatter
        self._known = lru_cache(_MAX_KNOWN)(self._title)

    @property
    def formatter(self) -> Formatter:
        return self._formatter

    def of(self, alerts: Iterable[tuple[Labels, str]], group: Labels) -> str:
        """Return what fires and where. :param alerts: the labels and the level of each"""
        several = tuple((tuple(labels.items()), level) for labels, level in alerts)
        is_small = all(_is_small(items) for items, _ in several)
        return (self._known if is_small else self._title)(several, tuple(group.items()))

    def _title(self, alerts: tuple[tuple[_Items, str], ...], group: _Items) -> str:
        shown = [
            ShownAlert(Alert("", dict(items), {}, Status.FIRING), level, news=False)
            for items, level in alerts
        ]
        hidden = frozenset({self._severity.label})
        title = title_of(shown, dict(group), self._severity.levels, self._formatter.rank, hidden)
        return clip(safe(title.text), _MAX_TITLE_CHARS)

    def of_one(self, labels: Labels, level: str = "") -> str:
        return self.of([(labels, level)], {})


def alert_summary(alert: ListedAlert, titles: Titles) -> AlertSummary:
    """Return an alert for a list."""
    annotations = {} if alert.annotations is None else alert.annotations
    group = alert.group
    return AlertSummary(
        id=alert.id, title=titles.of_one(alert.labels, alert.level),
        name=clip(safe(alert.labels.get("alertname", "")), _MAX_NAME_CHARS), status=alert.status,
        level=safe(alert.level), source=safe(alert.source), fingerprint=clip(safe(alert.fingerprint), _MAX_NAME_CHARS),
        labels=shown_texts(alert.labels, MAX_LABELS, MAX_VALUE_CHARS),
        summary=clip(safe(summary_of(annotations)), _MAX_SUMMARY_CHARS) or _missing_summary(alert),
        starts_at=alert.starts_at, ends_at=alert.ends_at, changed_at=alert.changed_at, seen_at=alert.seen_at,
        note=safe(alert.note), withheld=None if alert.withheld is None else safe(alert.withheld), group=group_name(group),
        links=alert_links(alert, titles.formatter),
    )  # fmt: skip


def _missing_summary(alert: ListedAlert) -> str:
    return "(its annotations are too large for this list)" if alert.annotations is None else ""


def group_name(group: AlertGroup) -> GroupName:
    return GroupName(
        id=group.id,
        receiver=clip(safe(group.receiver), _MAX_NAME_CHARS),
        labels=shown_texts(group.labels, MAX_LABELS, MAX_VALUE_CHARS),
    )


def alert_links(alert: ListedAlert, formatter: Formatter) -> list[Link]:
    """Return the links of one alert: its group at its sender, its source, runbook and dashboard, and a silence."""
    silenced: tuple[Labels, ...] = (alert.labels,) if alert.status == "firing" else ()
    return group_links(alert, formatter, silenced, alert.links.get("silence", ""))


def group_links(
    lead: ListedAlert, formatter: Formatter, silenced: Sequence[Labels], own_silence: str
) -> list[Link]:
    """Return the links of a group.

    :param lead: its most urgent alert, which has the runbook, the dashboard and the source
    :param silenced: the labels of the alerts that the link to a silence is about; none: there is no such link
    :param own_silence: the address of a silence of these alerts at their sender; empty: it gave none
    """
    notes = lead.annotations or {}
    group = lead.group
    facts = (
        tuple((name, notes[name]) for name in _LINKING if name in notes), tuple(lead.links.items()),
        tuple(group.labels.items()), *(tuple(each.items()) for each in silenced),
    )  # fmt: skip
    make = _known_links if all(map(_is_small, facts)) else _links
    return list(make(formatter, lead.generator_url, group.external_url, own_silence, *facts))


def _links(
    formatter: Formatter, generator_url: str, external_url: str, own_silence: str, notes: _Items, links: _Items,
    group: _Items, *silenced: _Items,
) -> tuple[Link, ...]:  # fmt: skip
    silence = ("", "")
    if silenced:
        own = web_address(own_silence)
        silence = ("Silence", own_silence) if own else silence_of(external_url, list(map(dict, silenced)))
    model = Alert("", {}, dict(notes), Status.FIRING, generator_url=generator_url, links=dict(links))
    is_grafana = bool(set(model.links) - {"values"})
    name, address = (
        ("Grafana", web_address(external_url))
        if is_grafana
        else ("Alertmanager", alertmanager_address(external_url, dict(group)))
    )
    found = [(name, address), *links_of(model, formatter, silence)]
    return tuple(Link(name=safe(each), address=safe(where)) for each, where in found if web_address(where))


_known_links = lru_cache(_MAX_KNOWN)(_links)


def shown_texts(texts: Mapping[str, str], most: int, max_chars: int, max_all: int = 10**6) -> ShownTexts:
    """Return labels or annotations within bounds.

    :param most: how many
    :param max_chars: how many characters of each value
    :param max_all: how many characters of all values
    """
    items = tuple(texts.items())
    make = _known_texts if _is_small(items) else _texts
    return make(items, most, max_chars, max_all)


def _texts(items: _Items, most: int, max_chars: int, max_all: int) -> ShownTexts:
    texts = dict(items)
    values: dict[str, str] = {}
    clipped: list[str] = []
    names = sorted(texts, key=lambda name: (name != "alertname", name))
    for name in names[:most]:
        shown = clip(safe(name), _MAX_NAME_CHARS)
        while shown in values:
            shown += " (2)"
        value = safe(texts[name][: max_chars + 1])
        space = min(max_chars, max_all - sum(map(len, values.values())))
        if len(value) > space:
            clipped.append(shown)
            value = clip(value, space)
        values[shown] = value
    return ShownTexts(values=values, left_out=len(names) - len(values), clipped=clipped)


_known_texts = lru_cache(_MAX_KNOWN)(_texts)


def _is_small(items: _Items) -> bool:
    """Return whether so much is worth the memory to be remembered."""
    return sum(len(name) + len(value) for name, value in items) <= _MAX_KNOWN_CHARS


def all_annotations(alert: ListedAlert) -> Mapping[str, str]:
    """Return the annotations of an alert, and the values that Grafana measured as one more."""
    return annotations_of(
        Alert(
            alert.fingerprint, alert.labels, alert.annotations or {}, Status.FIRING, generator_url=alert.generator_url,
            links=alert.links, values=alert.links.get("values", ""),
        )
    )  # fmt: skip


def safe(text: str) -> str:
    """Return a text that UTF-8 can encode: lone surrogates are replaced."""
    return text if text.isascii() else text.encode(errors="replace").decode()
