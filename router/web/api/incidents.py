"""An incident: what happened in a period, as the ledger knows it, for people who write about it afterwards."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from router.metrics import package_version
from router.model import Millis
from router.render.incident_file import (
    IncidentAlert,
    IncidentEntry,
    IncidentReport,
    NotifiedDestination,
    file_name,
    incident_markdown,
)
from router.render.words import clip, duration
from router.store.alert_filters import AlertFilter
from router.store.alert_rows import ListedAlert
from router.store.audit import AuditLine
from router.web.api.alert_parameters import MatcherText, read_matchers, titles_in_force
from router.web.api.alert_story import StoryEvent, story_events
from router.web.api.cursors import Query
from router.web.api.endpoint import Download, Endpoint
from router.web.api.moment_parameters import Moment, read_moment, wrong_parameter
from router.web.api.shown_alerts import AlertSummary, Titles, alert_summary
from router.web.app_context import AppContext

_MAX_ALERTS = 200
_MAX_ENTRIES = 1_000
"""How many alerts and lines of the timeline an incident has. The others are counted."""
_ALERTS_PER_READ = 50
_CHANGES_PER_READ, _READS_OF_A_STORY = 200, 5
_ACTIONS_PER_READ, _READS_OF_ACTIONS = 200, 10
_NAME_CHARS, _WORDS_CHARS = 200, 1_000
_OWNER_LABELS = ("owner", "team")
_OTHER_OUTCOMES = {
    "retry": "an attempt failed", "rejected": "the message was refused", "broken": "the destination is broken",
    "interrupted": "an attempt was interrupted, its answer is not known",
}  # fmt: skip
_FATES = {"pending": "to be sent: ", "obsolete": "not sent: ", "dead": "given up: "}
"""How the words of a decision begin. The reasons of the others say what was decided."""
_Grouping = tuple[Millis, str, str, str]
Words = Annotated[str, StringConstraints(max_length=_NAME_CHARS, pattern=r"^[^\x00]*$")]


class IncidentQuery(Query):
    """Which alerts and which time."""

    name: Annotated[Words, Field(min_length=1, description="The title of the incident.")]
    since: Annotated[Moment, Field(description="Where the period begins, see above.")]
    until: Moment = None
    """Where the period ends, including this moment; absent: now."""
    filter: Annotated[
        tuple[MatcherText, ...],
        Field(max_length=20, description='Matchers as in Alertmanager: ``team="db"``. Absent: all alerts of the period.'),
    ] = ()  # fmt: skip
    owner: Annotated[
        Words, Field(description="Absent: the label ``owner`` or ``team``, if all alerts have the same.")
    ] = ""


class IncidentLine(BaseModel):
    """A line of the timeline. Equal events of several alerts, or at several destinations, are one line."""

    model_config = ConfigDict(from_attributes=True)

    at: Millis
    what: str = Field(
        description="alert, decision, silence, notification, failure, resolution or action (of an operator)."
    )
    words: str
    alerts: list[str] = Field(description="The titles of the alerts that it is about.")
    destinations: list[str]
    rule: str


class IncidentMember(BaseModel):
    """An alert of the incident."""

    model_config = ConfigDict(from_attributes=True)

    title: str
    level: str
    status: str
    began_at: Millis | None
    ended_at: Millis | None
    summary: str
    runbook: str


class IncidentDestination(BaseModel):
    """What a destination was notified of."""

    model_config = ConfigDict(from_attributes=True)

    destination: str
    first_at: Millis | None = Field(description="When the first delivery ended; null: none succeeded.")
    notified: int = Field(description="How many deliveries succeeded.")
    failed: int


class IncidentAnswer(BaseModel):
    """An incident, as the ledger knows it."""

    name: str
    owner: str
    since: Millis
    until: Millis
    filter: str
    file: str = Field(description="The name of the file.")
    markdown: str = Field(description="The file: the facts, and the headings that people fill in.")
    began_at: Millis | None = Field(
        description="When the first alert began to fire, as its sender says, or else when it was reported."
    )
    reported_at: Millis | None
    notified_at: Millis | None
    resolved_at: Millis | None = Field(description="When the last alert ended; null: some fire.")
    time_to_notify: Millis | None = Field(description="From the first report to the first delivery, in ms.")
    time_to_resolve: Millis | None = Field(description="From the begin to the end of the last alert, in ms.")
    alerts: list[IncidentMember]
    alerts_left_out: int
    timeline: list[IncidentLine]
    timeline_left_out: int
    destinations: list[IncidentDestination]


async def show_incident(context: AppContext, query: IncidentQuery) -> IncidentAnswer:
    report = await _report(context, query)
    zone = ZoneInfo(context.config().timezone)
    facts = asdict(replace(report, alerts=(), entries=(), destinations=()))
    del facts["entries"], facts["entries_left_out"]
    return IncidentAnswer(
        **facts | {
            "file": file_name(report, zone), "markdown": _markdown(context, report, zone),
            "time_to_notify": report.time_to_notify, "time_to_resolve": report.time_to_resolve,
            "alerts": [IncidentMember.model_validate(each) for each in report.alerts],
            "timeline": [IncidentLine.model_validate(asdict(each)) for each in report.entries],
            "timeline_left_out": report.entries_left_out,
            "destinations": [IncidentDestination.model_validate(each) for each in report.destinations],
        }
    )  # fmt: skip


async def download_incident(context: AppContext, query: IncidentQuery) -> Download:
    report = await _report(context, query)
    zone = ZoneInfo(context.config().timezone)
    return Download(_markdown(context, report, zone).encode(), file_name(report, zone))


def _markdown(context: AppContext, report: IncidentReport, zone: ZoneInfo) -> str:
    return incident_markdown(report, zone, context.clock.now(), package_version())


async def _report(context: AppContext, query: IncidentQuery) -> IncidentReport:
    now = context.clock.now()
    since = read_moment(context, "since", query.since)
    if since is None:
        raise wrong_parameter("since", "it is missing; write it like 2h, or 2026-11-20 22:41")
    until = read_moment(context, "until", query.until) or now
    if until <= since:
        raise wrong_parameter("until", "it is not later than since")
    gathered = _Gathered(since, until, titles_in_force(context))
    matchers = tuple(each for text in query.filter for each in read_matchers(text))
    await _gather_alerts(context, AlertFilter(None, matchers, since=since), gathered)
    for line in await _actions_since(context, since):
        gathered.add_action(line)
    return gathered.report(query, ", ".join(map(str, matchers)))


async def _gather_alerts(context: AppContext, which: AlertFilter, gathered: "_Gathered") -> None:
    """Add the alerts that changed since the begin of the period, the most urgent level first, and count those that have no
    room. Alerts of levels that the rules no longer have come last.
    """
    severity = context.policy().severity
    seen: set[int] = set()
    for levels in (*((level,) for level in severity.levels), ()):
        after = None
        while True:
            page, _ = await context.store.pages.alerts(
                replace(which, levels=levels), severity, after, _ALERTS_PER_READ
            )
            if levels == ():
                gathered.alerts_left_out = max(0, page.total.count - len(seen))
            if gathered.is_full:
                break
            for each in page.alerts:
                if each.id not in seen and not gathered.is_full:
                    seen.add(each.id)
                    gathered.add_alert(each, await _story(context, each.id, gathered.since))
            after = page.next
            if after is None:
                break


async def _story(context: AppContext, alert: int, since: Millis) -> list[StoryEvent]:
    """Return the events of an alert, back to the begin of the period. An alert that was reported more often than
    thousands of times since has only the latest.
    """
    events: list[StoryEvent] = []
    before: int | None = None
    for _ in range(_READS_OF_A_STORY):
        story = await context.store.pages.story(alert, before, _CHANGES_PER_READ)
        if story is None:  # pruned meanwhile
            break
        events += story_events(story)
        before = story.before
        if before is None or any(each.event == "change" and each.at < since for each in story_events(story)):
            break
    return events


async def _actions_since(context: AppContext, since: Millis) -> list[AuditLine]:
    """Return what operators did, the oldest first."""
    found: list[AuditLine] = []
    for _ in range(_READS_OF_ACTIONS):
        lines, _ = await context.store.pages.actions(found[-1].id if found else None, _ACTIONS_PER_READ)
        found += lines
        if len(lines) < _ACTIONS_PER_READ or lines[-1].at < since:
            break
    return [line for line in reversed(found) if line.at >= since]


class _Gathered:
    """Collects what belongs to an incident."""

    def __init__(self, since: Millis, until: Millis, titles: Titles) -> None:
        self.since, self._until, self._titles = since, until, titles
        self._alerts: list[IncidentAlert] = []
        self.alerts_left_out = 0
        """How many alerts have no room."""
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
        inside = [each for each in events if self.since <= each.at <= self._until]
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
        self._owners.add(_owner_of(summary))
        self._reported += [each.at for each in changes if each.kind == "fired"]
        for each in inside:
            self._add_event(each, summary.title)

    def _began_at(self, alert: ListedAlert, changes: list[StoryEvent]) -> Millis | None:
        """Return when an alert began to fire. The start that its sender gave is that of its latest firing."""
        fired = [each.at for each in changes if each.kind == "fired"]
        first = min(fired, default=None)
        is_latest = len(fired) <= 1 and alert.starts_at is not None and alert.changed_at <= self._until
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
        at = event.at if event.finished_at is None else event.finished_at
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

    def add_action(self, line: AuditLine) -> None:
        """Add what an operator did, if it was in the period."""
        if self.since <= line.at <= self._until:
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

    def report(self, query: IncidentQuery, matchers: str) -> IncidentReport:
        lines = _folded(
            IncidentEntry(at, what, clip(words, _WORDS_CHARS), tuple(alerts), tuple(destinations), rule)
            for (at, what, words, rule), (alerts, destinations) in sorted(
                self._lines.items(), key=lambda each: (each[0][0], _ORDER.index(each[0][1]))
            )
        )
        reported = min(self._reported, default=None)
        delivered = [
            each.finished_at or each.at for each in self._deliveries.values() if each.outcome == "delivered"
        ]
        is_over = bool(self._alerts) and all(each.status == "resolved" for each in self._alerts)
        ends = [each.ended_at for each in self._alerts if each.ended_at is not None]
        owner = query.owner or (next(iter(self._owners)) if len(self._owners) == 1 else "")
        return IncidentReport(
            name=query.name, owner=owner, since=self.since, until=self._until, filter=matchers,
            alerts=tuple(self._alerts), alerts_left_out=self.alerts_left_out, entries=tuple(lines[:_MAX_ENTRIES]),
            entries_left_out=max(0, len(lines) - _MAX_ENTRIES), destinations=tuple(self._notified()),
            began_at=min((each.began_at for each in self._alerts if each.began_at is not None), default=reported),
            reported_at=reported, notified_at=min(delivered, default=None),
            resolved_at=max(ends, default=None) if is_over else None,
        )  # fmt: skip

    def _notified(self) -> Iterable[NotifiedDestination]:
        first: dict[str, Millis] = {}
        notified: Counter[str] = Counter()
        failed: Counter[str] = Counter()
        for each in self._deliveries.values():
            where = each.destination or ""
            if each.outcome == "delivered":
                at = each.at if each.finished_at is None else each.finished_at
                first[where] = min(at, first.get(where, at))
                notified[where] += 1
            elif each.outcome is not None:
                failed[where] += 1
        for where in sorted({*notified, *failed}, key=lambda key: (first.get(key, self._until), key)):
            yield NotifiedDestination(where, first.get(where), notified[where], failed[where])


_ORDER = ("alert", "decision", "silence", "notification", "failure", "resolution", "action")


def _folded(entries: Iterable[IncidentEntry]) -> list[IncidentEntry]:
    """Return the entries with equal failures as one, at the time of the first: retries of an outage would fill the timeline."""
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


SHOW_INCIDENT = Endpoint(
    "GET", "/api/v1/incident", show_incident, IncidentQuery, IncidentAnswer,
    "What happened in a period: the timeline of its alerts, who was notified and how fast; and a file about it, as Markdown.",
)  # fmt: skip
DOWNLOAD_INCIDENT = Endpoint(
    "GET", "/api/v1/incident/file", download_incident, IncidentQuery, Download,
    "The file about an incident, as Markdown.",
)  # fmt: skip
ENDPOINTS = (SHOW_INCIDENT, DOWNLOAD_INCIDENT)
