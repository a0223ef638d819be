"""The variables of a template, made from a conversation. Every string in them is escaped for the channel already."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from router.model import (
    Alert,
    Conversation,
    DigestLine,
    DigestView,
    Labels,
    Millis,
    ShownAlert,
    Status,
    StormLine,
    StormView,
)
from router.render.folding import Fold, fold
from router.render.words import clean, counted, duration, line, moment, silence_address, web_address

Escape = Callable[[str], str]
_COLORS = ("red", "orange", "blue")
_RESOLVED_COLOR = "green"
_EMOJI = {"red": "🔴", "orange": "🟠", "blue": "🔵", "green": "✅"}
_RUNBOOK_ANNOTATIONS = ("runbook_url", "runbook")
# How many folds the subject of a storm names.
_MAX_FOLDS_IN_SUBJECT = 3
_DASHBOARD_ANNOTATIONS = ("dashboard_url", "dashboard")


@dataclass(frozen=True, slots=True)
class Links:
    """http(s) addresses; empty where there is none."""

    runbook: str = ""
    dashboard: str = ""
    source: str = ""
    silence: str = ""

    def __iter__(self) -> Any:
        pairs = (
            ("Runbook", self.runbook),
            ("Dashboard", self.dashboard),
            ("Source", self.source),
            ("Silence", self.silence),
        )
        return iter([(name, address) for name, address in pairs if address])


@dataclass(frozen=True, slots=True)
class AlertView:
    name: str
    status: str
    level: str
    rank: int
    """0 for the most urgent level."""
    news: bool
    """This message is about its status: it is the first one with this status, or a repeat."""
    labels: Labels
    annotations: Labels
    differing: Labels
    """The labels that not all alerts of the message share."""
    summary: str
    description: str
    started: datetime | None
    ended: datetime | None
    lasted: str
    """In words, the time from its start to its end or to now; empty if the start is unknown."""
    held_since: datetime | None
    links: Links
    note: str
    """Why it counts as ended although no resolved alert came; otherwise empty."""
    again: bool
    """It is a repeat: an earlier message had it in the same status."""
    emoji: str
    """A circle in the colour of its level, or a check mark if it is resolved."""

    @property
    def brief(self) -> str:
        """What tells it apart from the other alerts in few words, like ``db-1/replica``; its name if nothing does."""
        return "/".join(filter(None, self.differing.values())) or self.name


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """Alerts of one name and level, folded into one line."""

    name: str
    level: str
    rank: int
    count: int
    fired: int
    labels: Labels
    """The labels that all of them share, without name and severity."""
    summary: str
    since: datetime | None
    lasted: str
    note: str
    links: Links


@dataclass(frozen=True, slots=True)
class DigestSection:
    title: str
    about: str
    entries: tuple[DigestEntry, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Views:
    """Makes the variables of templates. Knows the levels, the time zone, and how text is escaped."""

    levels: tuple[str, ...]
    severity_label: str
    zone: ZoneInfo
    escape: Escape = field(default=clean)

    def of(self, conversation: Conversation) -> dict[str, Any]:
        """Return the variables for a conversation; see docs/templates.md."""
        now = moment(conversation.now, self.zone)
        if conversation.digest is not None:
            return {"now": now, "zone": self.zone.key, **self._digest(conversation.digest)}
        if conversation.storm is not None:
            storm, first = self._storm(conversation.storm), not conversation.remote
            return {"now": now, "zone": self.zone.key, "first": first, **storm}
        listed = conversation.listed
        common = _common([each.alert.labels for each in listed])
        annotations = _common([each.alert.annotations for each in listed])
        silence = silence_address(conversation.external_url, common)
        alerts = sorted((self._alert(each, common, conversation) for each in listed), key=_urgency)
        firing = [alert for alert in alerts if alert.status == Status.FIRING]
        resolved = [alert for alert in alerts if alert.status == Status.RESOLVED]
        rank = min((alert.rank for alert in firing or resolved), default=0)
        links = self._links(listed[0].alert, silence, annotations) if listed else Links()
        over = conversation.over
        return {
            "title": self._title(conversation, common),
            "scope": self._scope(conversation),
            "status": "resolved" if over else "firing",
            "level": self._text(self.levels[rank]),
            "rank": rank,
            "color": (color := self._color(rank, over=over)),
            "emoji": _EMOJI[color],
            "alerts": alerts,
            "firing": firing,
            "resolved": resolved,
            "resolved_count": conversation.ended,
            "unlisted": conversation.ended - len(resolved),
            "new_firing": [alert for alert in firing if alert.news],
            "new_resolved": [alert for alert in resolved if alert.news],
            "first": not conversation.remote,
            "common_labels": self._labels(common),
            "common_annotations": self._labels(annotations),
            "group_labels": self._labels(conversation.group_labels),
            "other_labels": self._labels(self._other(common, conversation, self.levels[rank])),
            "summary": self._text(annotations.get("summary", "")),
            "description": self._text(annotations.get("description", "") or annotations.get("message", "")),
            "truncated": conversation.truncated,
            "external_url": self._text(web_address(conversation.external_url)),
            # Alertmanager quotes the name as a regular expression: team\.web
            "receiver": self._text(re.sub(r"\\(.)", r"\1", conversation.receiver)),
            "links": alerts[0].links if len(alerts) == 1 else links,
            "held_since": min((alert.held_since for alert in alerts if alert.held_since), default=None),
            "now": now,
            "zone": self.zone.key,
        }

    def _title(self, conversation: Conversation, common: Labels) -> str:
        name = common.get("alertname") or conversation.group_labels.get("alertname")
        if not name:
            names = sorted({each.alert.labels.get("alertname", "") for each in conversation.alerts} - {""})
            name = ", ".join(names[:3]) + (" …" if len(names) > 3 else "") if names else "Unnamed alert"
        return self.escape(line(name))

    def _scope(self, conversation: Conversation) -> str:
        return self._where(conversation.group_labels)

    def _where(self, group: Labels) -> str:
        """Return the group labels that say where, like ``cluster=eu-1``."""
        where = {name: value for name, value in group.items() if name != "alertname" and value}
        return self.escape(line(", ".join(f"{name}={value}" for name, value in sorted(where.items()))))

    def _other(self, common: Labels, conversation: Conversation, level: str) -> Labels:
        """Return the labels that all alerts share, without those that title, scope and level show."""
        said = {**conversation.group_labels, self.severity_label: level}
        return {
            name: value for name, value in common.items() if name != "alertname" and said.get(name) != value
        }

    def _alert(self, shown: ShownAlert, common: Labels, conversation: Conversation) -> AlertView:
        alert = shown.alert
        until = conversation.now
        if alert.status is Status.RESOLVED and alert.ends_at is not None:
            until = alert.ends_at
        labels = {name: self._label(name, value) for name, value in sorted(alert.labels.items())}
        silence = web_address(alert.links.get("silence", "")) or silence_address(
            conversation.external_url, alert.labels
        )
        return AlertView(
            name=self.escape(line(alert.labels.get("alertname", "") or "Unnamed alert")),
            status=alert.status.value,
            level=self._text(shown.level),
            rank=self._rank(shown.level),
            news=shown.news,
            labels=dict(labels.values()),
            annotations=self._labels(alert.annotations),
            differing=dict(label for name, label in labels.items() if common.get(name) != alert.labels[name]),
            summary=self._text(alert.annotations.get("summary", "")),
            description=self._text(
                alert.annotations.get("description", "") or alert.annotations.get("message", "")
            ),
            started=self._at(alert.starts_at),
            ended=self._at(alert.ends_at),
            lasted="" if alert.starts_at is None else duration(until - alert.starts_at),
            held_since=self._at(shown.held_since),
            links=self._links(alert, silence),
            note=self._text(alert.note) if alert.status is Status.RESOLVED else "",
            again=shown.again,
            emoji=_EMOJI[self._color(self._rank(shown.level), over=alert.status is Status.RESOLVED)],
        )

    def _links(self, alert: Alert, silence: str, shared: Labels | None = None) -> Links:
        """Return the links of an alert, or of its group.

        :param shared: for a group: the annotations that all of its alerts share
        """
        notes = alert.annotations if shared is None else shared
        extra = alert.links if shared is None else {}
        return Links(
            runbook=self._address(*(notes.get(name, "") for name in _RUNBOOK_ANNOTATIONS)),
            dashboard=self._address(
                *(notes.get(name, "") for name in _DASHBOARD_ANNOTATIONS),
                extra.get("dashboard", ""),
                extra.get("panel", ""),
            ),
            source=self._address(alert.generator_url),
            silence=self._address(silence),
        )

    def _digest(self, digest: DigestView) -> dict[str, Any]:
        since, until = moment(digest.since, self.zone), moment(digest.until, self.zone)
        sections = (
            self._section("Still firing", "", digest.firing, digest),
            self._section("Flapping", "fired again and again", digest.flapping, digest),
            self._section("Came and went", "", digest.ended, digest),
            self._section("Held", "sent when their hours open", digest.held, digest),
            self._section("Nobody was notified", "ended before anyone was", digest.obsolete, digest),
        )
        return {
            "since": since,
            "until": until,
            "period": f"{_day(since)} to {_day(until)}, {self.zone.key}",
            "sections": [section for section in sections if section.entries],
            "counts": {section.title: section.count for section in sections if section.count},
            "empty": digest.empty,
        }

    def _storm(self, storm: StormView) -> dict[str, Any]:
        news = storm.news
        changed = [*news.firing, *news.eased, *news.resolved]
        worst = storm.lines or changed
        address = next((base for each in worst if (base := web_address(each.external_url))), "")
        rank = min((self._rank(each.level) for each in worst), default=len(self.levels) - 1)
        return {
            "status": "resolved" if storm.over else "firing",
            "level": self._text(self.levels[rank]),
            "rank": rank,
            "color": (color := self._color(rank, over=storm.over)),
            "emoji": _EMOJI[color],
            "groups": storm.groups,
            "total": storm.alerts,
            "resolved": storm.resolved,
            "over": storm.over,
            "more": storm.more,
            "standing": self._folds(storm.lines),
            "unlisted": storm.groups - len(storm.lines),
            "new_firing": self._folds(news.firing),
            "new_eased": self._folds(news.eased),
            "new_resolved": self._folds(news.resolved),
            "new_counts": {
                "firing": len(news.firing), "eased": len(news.eased), "resolved": len(news.resolved),
            },
            "names": {
                name: counted([each.what for each in self._folds(lines)], _MAX_FOLDS_IN_SUBJECT)
                for name, lines in (
                    ("standing", storm.lines), ("firing", news.firing), ("eased", news.eased),
                    ("resolved", news.resolved),
                )
            },
            "link": self._address(f"{address.rstrip('/')}/#/alerts" if address else ""),
        }  # fmt: skip

    def _folds(self, lines: Sequence[StormLine]) -> tuple[Fold, ...]:
        return fold(lines, self._rank, self.escape)

    def _section(
        self, title: str, about: str, lines: Sequence[DigestLine], digest: DigestView
    ) -> DigestSection:
        folded: dict[tuple[int, str, str], list[DigestLine]] = {}
        for each in lines:
            name = line(each.alert.labels.get("alertname", "") or "Unnamed alert")
            folded.setdefault((self._rank(each.level), name, each.note), []).append(each)
        entries = [self._entry(key[1], key[2], group, digest) for key, group in folded.items()]
        entries.sort(key=lambda entry: (entry.rank, entry.since is None, entry.since, entry.name))
        return DigestSection(title, about, tuple(entries), len(lines))

    def _entry(self, name: str, note: str, lines: list[DigestLine], digest: DigestView) -> DigestEntry:
        alerts = [each.alert for each in lines]
        hidden = {"alertname", self.severity_label}
        shared = {
            key: value
            for key, value in _common([alert.labels for alert in alerts]).items()
            if key not in hidden
        }
        since = min((alert.starts_at for alert in alerts if alert.starts_at is not None), default=None)
        ends = [alert.ends_at if alert.status is Status.RESOLVED else digest.until for alert in alerts]
        end = max((at for at in ends if at is not None), default=digest.until)
        notes = _common([alert.annotations for alert in alerts])
        return DigestEntry(
            name=self.escape(name),
            level=self._text(lines[0].level),
            rank=self._rank(lines[0].level),
            count=len(lines),
            fired=sum(each.fired for each in lines),
            labels=self._labels(shared),
            summary=self._text(
                notes.get("summary", "")
                or (alerts[0].annotations.get("summary", "") if len(alerts) == 1 else "")
            ),
            since=self._at(since),
            lasted="" if since is None else duration(end - since),
            note=self._text(note),
            links=self._links(alerts[0], "", notes if len(alerts) > 1 else None),
        )

    def _rank(self, level: str) -> int:
        return self.levels.index(level) if level in self.levels else len(self.levels) - 1

    def _color(self, rank: int, *, over: bool) -> str:
        """Return red for the most urgent level, blue for the least urgent, orange between; green if all is over."""
        if over:
            return _RESOLVED_COLOR
        return _COLORS[0 if rank == 0 else 2 if rank == len(self.levels) - 1 else 1]

    def _text(self, text: str) -> str:
        return self.escape(clean(text).strip())

    def _labels(self, labels: Labels) -> dict[str, str]:
        return dict(self._label(name, value) for name, value in sorted(labels.items()))

    def _label(self, name: str, value: str) -> tuple[str, str]:
        return self.escape(line(name)), self.escape(line(value))

    def _address(self, *candidates: str) -> str:
        return self.escape(next(filter(None, map(web_address, candidates)), ""))

    def _at(self, at: Millis | None) -> datetime | None:
        return None if at is None else moment(at, self.zone)


def _day(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b %H:%M}"


def _common(several: Sequence[Labels]) -> dict[str, str]:
    if not several:
        return {}
    first, *rest = several
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in rest)}


def _urgency(alert: AlertView) -> tuple[bool, int, bool, float]:
    return (
        alert.status != Status.FIRING,
        alert.rank,
        alert.started is None,
        alert.started.timestamp() if alert.started else 0.0,
    )
