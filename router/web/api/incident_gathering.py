"""Collects what belongs to an incident from the stories of its alerts and the log of actions."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from router.alertmanager_client import KnownSilences
from router.model import Labels, Millis
from router.render.incident_file import IncidentAlert, IncidentEntry, IncidentReport, NotifiedDestination
from router.render.words import clip, duration
from router.store.alert_rows import ListedAlert
from router.store.audit import AuditLine
from router.web.api.alert_story import StoryEvent
from router.web.api.shown_alerts import AlertSummary, Titles, alert_summary

_WORDS_CHARS = 1_000
_MAX_ALERTS = 200
_MAX_ENTRIES = 1_000
"""How many alerts and lines of the timeline an incident has. The others are counted."""
_OWNER_LABELS = ("owner", "team")
_OTHER_OUTCOMES = {
    "retry": "an attempt failed", "rejected": "the message was refused", "broken": "the destination is broken",
    "interrupted": "an attempt was interrupted, its answer is not known",
}  # fmt: skip
_FATES = {"pending": "to be sent: ", "obsolete": "not sent: ", "dead": "given up: "}
"""How the words of a decision begin. The reasons of the others say what was decided."""
_Grouping = tuple[Millis, str, str, str]


class IncidentGathering:
    """Collects what belongs to an incident."""

    def __init__(self, since: Millis, until: Millis, titles: Titles) -> None:
        self.since, self.until, self._titles = since, until, titles
        self._alerts: list[IncidentAlert] = []
        self.alerts_left_out = 0
        """How many alerts have no room."""
        self.is_partial = False
        """Not all alerts of the history were looked at: there may be more."""
        self._labels: list[tuple[str, str, Labels]] = []
        """The title, the source and the labels of each alert."""
        self._silences_unknown: tuple[str, ...] = ()
        self._lines: dict[_Grouping, tuple[dict[str, None], dict[str, None]]] = {}
        """The alerts and the destinations of each line, without those that occur twice."""
        self._deliveries: dict[int, StoryEvent] = {}
        self._reported: list[Millis] = []
        self._owners: set[str] = set()

    @property
    def is_full(self) -> bool:
        return len(self._alerts) >= _MAX_ALERTS

    def add_alert(self, alert: ListedAlert, events: Iterable[StoryEvent]) -> None:
        """Add an alert, if something happened to it in the period."""
        summary = alert_summary(alert, self._titles)
        inside = [each for each in events if self.since <= each.at <= self.until]
        changes = [each for each in inside if each.event == "change" and each.kind in {"fired", "resolved"}]
        if not changes:
            return
        ended = [each.at for each in changes if each.kind == "resolved"]
        last = max(changes, key=lambda each: each.at)
        status = "firing" if last.kind == "fired" else "resolved"
        runbook = next((each.address for each in summary.links if each.name == "Runbook"), "")
        self._alerts.append(
            IncidentAlert(
                summary.title, summary.level, status, self._began_at(alert, changes),
                max(ended, default=None) if status == "resolved" else None, summary.summary, runbook,
            )
        )  # fmt: skip
        self._labels.append((summary.title, alert.source, alert.labels))
        self._owners.add(_owner_of(summary))
        self._reported += [each.at for each in changes if each.kind == "fired"]
        for each in inside:
            self._add_event(each, summary.title)

    def _began_at(self, alert: ListedAlert, changes: list[StoryEvent]) -> Millis | None:
        """Return when an alert began to fire. The start that its sender gave is that of its latest firing."""
        fired = [each.at for each in changes if each.kind == "fired"]
        first = min(fired, default=None)
        is_latest = len(fired) <= 1 and alert.starts_at is not None and alert.changed_at <= self.until
        return alert.starts_at if is_latest or first is None else first

    def _add_event(self, event: StoryEvent, title: str) -> None:
        position = (event.position or "").rpartition("/")[2]
        rule = " at ".join(filter(None, (event.rule, position))) if event.event == "decision" else ""
        match event.event:
            case "change" if event.kind == "fired":
                self._add(event.at, "alert", f"fired ({event.level})", title)
            case "change" if event.kind == "resolved":
                self._add(event.at, "resolution", event.words.removeprefix("It "), title)
            case "attempt":
                self._add_attempt(event, title)
            case "decision" | "fate" if event.fate != "delivered":
                is_silence = event.fate == "inhibited" and (event.reason or "").startswith("silenced")
                words = _FATES.get(event.fate or "", "") + (event.reason or event.fate or "")
                what = "silence" if is_silence else "decision"
                self._add(event.at, what, words, title, event.destination or "", rule)

    def _add_attempt(self, event: StoryEvent, title: str) -> None:
        at = _ended_at(event)
        if event.delivery is not None:
            self._deliveries[event.delivery] = event
        storm = ", in the message of a storm" if event.storm else ""
        if event.outcome == "delivered":
            self._add(at, "notification", f"notified{storm}", title, event.destination or "")
        elif event.outcome is not None:
            words = _OTHER_OUTCOMES.get(event.outcome, event.outcome)
            why = event.provider or event.reason or ""
            self._add(
                at, "failure", f"{words}{storm}: {why}" if why else words, title, event.destination or ""
            )

    def add_silences(self, known: KnownSilences) -> None:
        """Add the silences of Alertmanager that matched an alert of the incident in the period."""
        self._silences_unknown = tuple(f"{source}: {why}" for source, why in sorted(known.unanswered.items()))
        for each in known.silences:
            if each.starts_at > self.until or each.ends_at < self.since:
                continue
            words = f"silenced in Alertmanager by {each.created_by} for {duration(each.ends_at - each.starts_at)}: {each.comment}"
            begins_before = each.starts_at < self.since
            for title, source, labels in self._labels:
                if source == each.source and all(matcher.matches(labels) for matcher in each.matchers):
                    self._add(
                        max(each.starts_at, self.since),
                        "silence",
                        f"already {words}" if begins_before else words,
                        title,
                    )
                    if each.ends_at <= self.until:
                        self._add(each.ends_at, "silence", f"the silence of {each.created_by} ended", title)

    def add_action(self, line: AuditLine) -> None:
        """Add what an operator did, if it was in the period."""
        if self.since <= line.at <= self.until:
            outcome = line.outcome or "its end is not known"
            words = " ".join(filter(None, (f"{line.actor}:", line.action, line.target, f"({outcome})")))
            self._add(line.at, "action", words)

    def _add(
        self, at: Millis, what: str, words: str, alert: str = "", destination: str = "", rule: str = ""
    ) -> None:
        alerts, destinations = self._lines.setdefault((at, what, words, rule), ({}, {}))
        if alert:
            alerts[alert] = None
        if destination:
            destinations[destination] = None

    def report(self, name: str, given_owner: str, matchers: str) -> IncidentReport:
        """Return what was collected.

        :param given_owner: empty: the owner that all alerts have
        :param matchers: those by which the alerts were chosen
        """
        lines = _folded(
            IncidentEntry(
                at, what, clip(words, _WORDS_CHARS), tuple(alerts), tuple(sorted(destinations)), rule
            )
            for (at, what, words, rule), (alerts, destinations) in sorted(
                self._lines.items(), key=lambda each: (each[0][0], _ORDER.index(each[0][1]))
            )
        )
        reported = min(self._reported, default=None)
        delivered = [_ended_at(each) for each in self._deliveries.values() if each.outcome == "delivered"]
        is_over = bool(self._alerts) and all(each.status == "resolved" for each in self._alerts)
        ends = [each.ended_at for each in self._alerts if each.ended_at is not None]
        owner = given_owner or (next(iter(self._owners)) if len(self._owners) == 1 else "")
        return IncidentReport(
            name=name, owner=owner, since=self.since, until=self.until, filter=matchers,
            alerts=tuple(self._alerts), alerts_left_out=self.alerts_left_out, entries=tuple(lines[:_MAX_ENTRIES]),
            entries_left_out=max(0, len(lines) - _MAX_ENTRIES), destinations=tuple(self._notified()),
            began_at=min((each.began_at for each in self._alerts if each.began_at is not None), default=reported),
            reported_at=reported, notified_at=min(delivered, default=None),
            resolved_at=max(ends, default=None) if is_over else None, is_partial=self.is_partial,
            silences_unknown=self._silences_unknown,
        )  # fmt: skip

    def _notified(self) -> Iterable[NotifiedDestination]:
        first: dict[str, Millis] = {}
        notified: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for each in self._deliveries.values():
            where = each.destination or ""
            if each.outcome == "delivered":
                at = _ended_at(each)
                first[where] = min(at, first.get(where, at))
                notified[where] += 1
            elif each.outcome is not None:
                failed[where] += 1
        for where in sorted({*notified, *failed}, key=lambda key: (first.get(key, self.until), key)):
            yield NotifiedDestination(where, first.get(where), notified[where], failed[where])


_ORDER = ("alert", "resolution", "decision", "silence", "notification", "failure", "action")


def _ended_at(attempt: StoryEvent) -> Millis:
    """Return when an attempt ended; while it is under way, when it began."""
    return attempt.at if attempt.finished_at is None else attempt.finished_at


def _folded(entries: Iterable[IncidentEntry]) -> list[IncidentEntry]:
    """Join equal failures into one entry, at the time of the first one. Otherwise the retries of an outage would fill the
    timeline.
    """
    found: dict[IncidentEntry, list[Millis]] = {}
    for each in entries:
        key = replace(each, at=0) if each.what == "failure" else each
        found.setdefault(key, []).append(each.at)
    lines = [
        replace(each, at=times[0], words=each.words + _times_words(times)) for each, times in found.items()
    ]
    return sorted(lines, key=lambda each: each.at)


def _times_words(times: list[Millis]) -> str:
    return f" ({len(times)} times within {duration(times[-1] - times[0])})" if len(times) > 1 else ""


def _owner_of(alert: AlertSummary) -> str:
    labels = alert.labels.values
    return next((labels[name] for name in _OWNER_LABELS if labels.get(name)), "")
