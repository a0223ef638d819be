"""An incident: what happened in a period, as the ledger knows it, for people who write about it afterwards."""

from dataclasses import asdict, replace
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from router.decide import is_test
from router.model import OWN_SOURCE, Millis
from router.package import package_version
from router.render.incident_file import (
    IncidentReport,
    file_name,
    incident_markdown,
)
from router.store.alert_filters import AlertFilter
from router.store.audit import AuditLine
from router.web.api.alert_parameters import MatcherText, read_matchers, titles_in_force
from router.web.api.alert_story import StoryEvent, story_events
from router.web.api.cursors import Query
from router.web.api.endpoint import Download, Endpoint
from router.web.api.incident_gathering import IncidentGathering
from router.web.api.moment_parameters import Moment, read_moment, wrong_parameter
from router.web.app_context import AppContext

_ALERTS_PER_READ, _READS_OF_ALERTS = 50, 60
_CHANGES_PER_READ, _READS_OF_A_STORY = 200, 5
_ACTIONS_PER_READ, _READS_OF_ACTIONS = 200, 10
_NAME_CHARS = 200
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
    time_to_resolve: Millis | None = Field(
        description="From the beginning to the end of the last alert, in ms."
    )
    alerts: list[IncidentMember]
    alerts_left_out: int
    is_partial: bool = Field(
        description="The history is so large that not all of it was searched: there are more alerts than counted. A filter searches less."
    )
    silences_unknown: list[str] = Field(
        description="The sources whose Alertmanager did not say which silences there were, each with the reason."
    )
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
    gathered = IncidentGathering(since, until, titles_in_force(context))
    matchers = tuple(each for text in query.filter for each in read_matchers(text))
    await _gather_alerts(context, AlertFilter(None, matchers, since=since, until=until), gathered)
    # The labels of many alerts are matched, so the loop does not wait for it.
    await context.threads.run(gathered.add_silences, await context.silences())
    for line in await _actions_since(context, since):
        gathered.add_action(line)
    return gathered.report(query.name, query.owner, ", ".join(map(str, matchers)))


async def _gather_alerts(context: AppContext, which: AlertFilter, gathered: IncidentGathering) -> None:
    """Add the alerts that changed in the period, the most urgent level first, and count those that have no room. Alerts of
    levels that the rules no longer have come last. Tests of receivers are left out: nothing happened.
    """
    severity = context.policy().severity
    seen: set[int] = set()
    left = _READS_OF_ALERTS
    for levels in (*((level,) for level in severity.levels), ()):
        after = None
        while True:
            page, _ = await context.store.pages.alerts(
                replace(which, levels=levels), severity, after, _ALERTS_PER_READ
            )
            left -= 1
            for each in page.alerts:
                if each.id in seen or gathered.is_full:
                    continue
                seen.add(each.id)
                if not (each.source == OWN_SOURCE and is_test(each.labels)):
                    gathered.add_alert(each, await _story(context, each.id, gathered))
            if gathered.is_full:
                if levels == ():
                    gathered.alerts_left_out = max(0, page.total.count - len(seen))
                    gathered.is_partial = not page.total.is_exact
                break
            after = page.next
            if after is None:
                break
            if left <= 0:  # the search of a huge history ends here, also if it has found little
                gathered.is_partial = True
                break


async def _story(context: AppContext, alert: int, gathered: IncidentGathering) -> list[StoryEvent]:
    """Return the events of an alert in the period. An alert that was reported more than a thousand times in it has only the
    latest.
    """
    events: list[StoryEvent] = []
    before = await context.store.pages.first_change_after(alert, gathered.until)
    for _ in range(_READS_OF_A_STORY):
        story = await context.store.pages.story(alert, before, _CHANGES_PER_READ)
        if story is None:  # pruned meanwhile
            break
        found = list(story_events(story))
        events += found
        before = story.before
        if before is None or any(each.event == "change" and each.at < gathered.since for each in found):
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


SHOW_INCIDENT = Endpoint(
    "GET", "/api/v1/incident", show_incident, IncidentQuery, IncidentAnswer,
    "What happened in a period: the timeline of its alerts, who was notified and how fast; and a file about it, as Markdown.",
)  # fmt: skip
DOWNLOAD_INCIDENT = Endpoint(
    "GET", "/api/v1/incident/file", download_incident, IncidentQuery, Download,
    "The file about an incident, as Markdown.",
)  # fmt: skip
ENDPOINTS = (SHOW_INCIDENT, DOWNLOAD_INCIDENT)
