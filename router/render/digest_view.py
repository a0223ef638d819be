"""The variables of a template about a digest. Every string in them is escaped already."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from router.model import DigestLine, DigestView, Labels, Status
from router.render.formatter import Formatter, common
from router.render.links import Links, links_of
from router.render.words import duration, line, moment


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


def digest_values(digest: DigestView, formatter: Formatter) -> dict[str, Any]:
    """Return the variables for a digest; see docs/templates.md."""
    since, until = moment(digest.since, formatter.zone), moment(digest.until, formatter.zone)
    sections = (
        _section(formatter, "Still firing", "", digest.firing, digest),
        _section(formatter, "Flapping", "fired again and again", digest.flapping, digest),
        _section(formatter, "Came and went", "", digest.ended, digest),
        _section(formatter, "Held", "sent when their hours open", digest.held, digest),
        _section(formatter, "Nobody was notified", "ended before anyone was", digest.obsolete, digest),
    )
    return {
        "since": since,
        "until": until,
        "period": f"{_day(since)} to {_day(until)}, {formatter.zone.key}",
        "sections": [section for section in sections if section.entries],
        "counts": {section.title: section.count for section in sections if section.count},
        "empty": digest.empty,
    }


def _section(
    formatter: Formatter, title: str, about: str, lines: Sequence[DigestLine], digest: DigestView
) -> DigestSection:
    folded: dict[tuple[int, str, str], list[DigestLine]] = {}
    for each in lines:
        name = line(each.alert.labels.get("alertname", "") or "Unnamed alert")
        folded.setdefault((formatter.rank(each.level), name, each.note), []).append(each)
    entries = [_entry(formatter, key[1], key[2], group, digest) for key, group in folded.items()]
    entries.sort(key=lambda entry: (entry.rank, entry.since is None, entry.since, entry.name))
    return DigestSection(title, about, tuple(entries), len(lines))


def _entry(
    formatter: Formatter, name: str, note: str, lines: list[DigestLine], digest: DigestView
) -> DigestEntry:
    alerts = [each.alert for each in lines]
    hidden = {"alertname", formatter.severity_label}
    shared = {
        key: value for key, value in common([alert.labels for alert in alerts]).items() if key not in hidden
    }
    since = min((alert.starts_at for alert in alerts if alert.starts_at is not None), default=None)
    ends = [alert.ends_at if alert.status is Status.RESOLVED else digest.until for alert in alerts]
    end = max((at for at in ends if at is not None), default=digest.until)
    notes = common([alert.annotations for alert in alerts])
    return DigestEntry(
        name=formatter.escape(name),
        level=formatter.text(lines[0].level),
        rank=formatter.rank(lines[0].level),
        count=len(lines),
        fired=sum(each.fired for each in lines),
        labels=formatter.labels(shared),
        summary=formatter.text(
            notes.get("summary", "") or (alerts[0].annotations.get("summary", "") if len(alerts) == 1 else "")
        ),
        since=formatter.at(since),
        lasted="" if since is None else duration(end - since),
        note=formatter.text(note),
        links=links_of(
            replace(alerts[0], annotations=notes) if len(alerts) > 1 else alerts[0], formatter, ("", "")
        ),
    )


def _day(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b %H:%M}"
