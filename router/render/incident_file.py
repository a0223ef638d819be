"""The file of an incident, as Markdown: what happened and when, as the ledger knows it, and the headings that people fill in."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from router.model import Millis
from router.render.words import counted, duration, line, moment

_SPECIAL = re.compile(r"([\\`*\[\]<>|~&#]|(?<!\w)_|_(?!\w))")
_MAX_SHOWN_ALERTS, _MAX_SHOWN_DESTINATIONS = 4, 6
_TO_FILL_IN = "_(to fill in)_"


@dataclass(frozen=True, slots=True)
class IncidentEntry:
    """A line of the timeline. Equal events of several alerts, or at several destinations, are one line."""

    at: Millis
    what: str
    """alert, decision, silence, notification, failure, resolution or action."""
    words: str
    alerts: tuple[str, ...] = ()
    """The titles of the alerts that it is about."""
    destinations: tuple[str, ...] = ()
    rule: str = ""
    """The name and the position of the rule that decided."""


@dataclass(frozen=True, slots=True)
class IncidentAlert:
    """An alert of the incident. Times are epoch ms."""

    title: str
    level: str
    status: str
    """firing or resolved."""
    began_at: Millis | None
    """When it began to fire, as its sender says; None: it did not say."""
    ended_at: Millis | None
    summary: str
    runbook: str = ""
    """An http(s) address; empty: it has none."""


@dataclass(frozen=True, slots=True)
class NotifiedDestination:
    """What a destination was notified of during the incident."""

    destination: str
    first_at: Millis | None
    """When the first delivery ended; None: none succeeded."""
    notified: int
    """How many deliveries succeeded."""
    failed: int


@dataclass(frozen=True, slots=True)
class IncidentReport:
    """An incident, as the ledger knows it. Times are epoch ms."""

    name: str
    owner: str
    """Empty: it is to fill in."""
    since: Millis
    until: Millis
    filter: str
    """The matchers that choose its alerts; empty: all alerts of the period."""
    alerts: tuple[IncidentAlert, ...]
    """The most urgent first."""
    alerts_left_out: int
    entries: tuple[IncidentEntry, ...]
    """By time."""
    entries_left_out: int
    destinations: tuple[NotifiedDestination, ...]
    began_at: Millis | None
    """When the first alert began to fire, as its sender says, or else when it was reported."""
    reported_at: Millis | None
    notified_at: Millis | None
    resolved_at: Millis | None
    """When the last alert ended; None: some fire, or nothing was found."""
    silences_unknown: tuple[str, ...] = ()
    """The sources whose Alertmanager did not say which silences there were, each with the reason."""
    is_partial: bool = False
    """The history is so large that not all of it was searched: there may be more alerts."""

    @property
    def firing(self) -> int:
        return sum(each.status == "firing" for each in self.alerts)

    @property
    def time_to_notify(self) -> Millis | None:
        """From the first report to the first delivery; None: there is no delivery."""
        return _between(self.reported_at, self.notified_at)

    @property
    def time_to_resolve(self) -> Millis | None:
        """From the beginning to the end of the last alert; None: it is not over."""
        return _between(self.began_at, self.resolved_at)


def _between(begin: Millis | None, end: Millis | None) -> Millis | None:
    return None if begin is None or end is None else max(0, end - begin)


def file_name(report: IncidentReport, zone: ZoneInfo) -> str:
    """Return the name of the file: the day on which the incident began, like ``2026-11-20.md``."""
    began = report.since if report.began_at is None else report.began_at
    return f"{moment(began, zone):%Y-%m-%d}.md"


def markdown(text: str) -> str:
    """Return a text as one line of Markdown that shows it literally."""
    return _SPECIAL.sub(r"\\\1", line(text))


def incident_markdown(report: IncidentReport, zone: ZoneInfo, made_at: Millis, version: str) -> str:
    """Return the file.

    :param zone: of all times
    :param made_at: when the file is made (epoch ms)
    :param version: of the router
    """
    return "\n".join(_lines(report, zone, made_at, version)) + "\n"


def _lines(report: IncidentReport, zone: ZoneInfo, made_at: Millis, version: str) -> Iterator[str]:
    yield f"# {markdown(report.name)}"
    yield ""
    yield from _table(("", ""), _facts(report, zone))
    for title, hint in (
        ("Summary", "What happened, in two or three sentences."),
        ("Impact", "Who noticed it, what did not work, for how long."),
    ):
        yield from ("", f"## {title}", "", f"_{hint}_")
    yield from ("", "## Timeline", "", f"Times are in {markdown(zone.key)}.", "")
    yield from _table(("Time", "What", ""), (_row(each, report, zone) for each in report.entries))
    if report.entries_left_out:
        yield from (
            "",
            f"{report.entries_left_out:,} more lines are left out here; the pages of the alerts have them.",
        )
    if report.silences_unknown:
        asked = markdown(counted(report.silences_unknown, _MAX_SHOWN_DESTINATIONS))
        yield from ("", f"Which silences there were is not known of these sources: {asked}.")
    yield from ("", "## Notifications", "")
    if report.destinations:
        heads = ("Destination", "First notified", "After the report", "Delivered", "Failed attempts")
        yield from _table(heads, (_notified(each, report, zone) for each in report.destinations))
    else:
        yield "Nobody was notified."
    yield from ("", "## Alerts", "")
    if report.alerts:
        heads = ("Alert", "Level", "Began", "Ended", "Summary")
        yield from _table(heads, (_alert(each, report, zone) for each in report.alerts))
    else:
        yield "No alert fired or ended in this period."
    if report.alerts_left_out:
        yield from ("", f"{report.alerts_left_out:,} more alerts are left out.")
    if report.is_partial:
        yield from (
            "",
            "The history is too large to be searched whole: there may be more alerts than counted here.",
        )
    for title, hint in (
        ("Causes", "Why it happened, and why it was not noticed before."),
        ("What went well", "What helped."),
        (
            "What went badly",
            "What cost time. Did the right people hear of it, soon enough, and could they act on it?",
        ),
    ):
        yield from ("", f"## {title}", "", f"_{hint}_")
    yield from ("", "## Actions", "")
    yield from _table(("What", "Who", "Until"), [("", "", "")])
    chosen = f"alerts with {markdown(report.filter)}" if report.filter else "all alerts"
    period = f"{_moment(report.since, zone)} to {_moment(report.until, zone)}"
    yield from (
        "",
        "---",
        "",
        f"Made by alert-router {version} on {_moment(made_at, zone)} from its ledger: {chosen}, {period}.",
    )


def _facts(report: IncidentReport, zone: ZoneInfo) -> Iterator[tuple[str, str]]:
    levels = dict.fromkeys(each.level for each in report.alerts)
    counts = ", ".join(
        f"{sum(each.level == level for each in report.alerts)} {markdown(level)}" for level in levels
    )
    more = f" and {report.alerts_left_out:,} more" if report.alerts_left_out else ""
    yield "Owner", markdown(report.owner) or _TO_FILL_IN
    yield "Alerts", f"{counts or 'none'}{more}"
    yield "Began", _moment(report.began_at, zone)
    yield "Reported to the router", _moment(report.reported_at, zone)
    if report.notified_at is None:
        yield "First notification", "nobody was notified"
    else:
        yield "First notification", _moment(report.notified_at, zone)
        yield (
            "Time to notify",
            f"{_span(report.time_to_notify)} after the report, {_span(_between(report.began_at, report.notified_at))} after it began",
        )
    if report.resolved_at is None:
        yield "Ended", f"not yet: {report.firing} still firing" if report.alerts else "unknown"
    else:
        yield "Ended", _moment(report.resolved_at, zone)
        yield "Time to resolve", _span(report.time_to_resolve)


def _row(entry: IncidentEntry, report: IncidentReport, zone: ZoneInfo) -> tuple[str, str, str]:
    where = counted(list(map(markdown, entry.destinations)), _MAX_SHOWN_DESTINATIONS)
    alerts = counted(list(map(markdown, entry.alerts)), _MAX_SHOWN_ALERTS)
    words = markdown(entry.words) + (f" (rule {markdown(entry.rule)})" if entry.rule else "")
    return _short(entry.at, report.since, zone), entry.what, ": ".join(filter(None, (alerts, where, words)))


def _notified(each: NotifiedDestination, report: IncidentReport, zone: ZoneInfo) -> tuple[str, ...]:
    first = "never" if each.first_at is None else _short(each.first_at, report.since, zone)
    after = _span(_between(report.reported_at, each.first_at))
    return markdown(each.destination), first, after, f"{each.notified:,}", f"{each.failed:,}"


def _alert(each: IncidentAlert, report: IncidentReport, zone: ZoneInfo) -> tuple[str, ...]:
    ended = "still firing" if each.status == "firing" else _short(each.ended_at, report.since, zone)
    address = each.runbook.replace("(", "%28").replace(")", "%29")
    runbook = f" [runbook]({address})" if address else ""
    return (
        markdown(each.title),
        markdown(each.level),
        _short(each.began_at, report.since, zone),
        ended,
        markdown(each.summary) + runbook,
    )


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield _cells(heads)
    yield _cells(["---"] * len(heads))
    yield from map(_cells, rows)


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _moment(at: Millis | None, zone: ZoneInfo) -> str:
    return "unknown" if at is None else f"{_date(moment(at, zone))} {moment(at, zone):%H:%M:%S}"


def _short(at: Millis | None, since: Millis, zone: ZoneInfo) -> str:
    """Return a moment with its date, unless it is on the day on which the period begins."""
    if at is None:
        return "unknown"
    local = moment(at, zone)
    is_same_day = local.date() == moment(since, zone).date()
    return f"{local:%H:%M:%S}" if is_same_day else f"{_date(local)} {local:%H:%M:%S}"


def _date(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b %Y}"


def _span(span: Millis | None) -> str:
    return "unknown" if span is None else duration(span)
