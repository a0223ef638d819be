"""The entries of a digest: one stands for alerts of one name and level, and lists what tells them apart."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice

from router.model import Alert, DigestLine, Labels, Millis, Status
from router.render.annotations import summary_of
from router.render.digest_groups import DigestGroup
from router.render.digest_summary import NEVER_NOTIFIED
from router.render.formatter import Formatter, common
from router.render.identities import identity_text, in_natural_order, labels_apart
from router.render.links import Links, links_of, silence_of
from router.render.words import clip, duration, line, moment, when

_MAX_SUMMARY_CHARS, _MAX_NOTE_CHARS = 200, 200
_MAX_LABEL_CHARS, _MAX_LABELS_CHARS = 100, 400
_MAX_IDENTITIES, _MAX_IDENTITIES_CHARS = 30, 700
"""Of an entry at first. A digest with room left shows more of them."""
_MAX_LINKS_CHARS = 4_000
"""Characters of the addresses of all links. Those that are longer are named in the note."""
_NO_IDENTITY = "(no label)"


@dataclass(frozen=True, slots=True)
class DigestEntry:
    """Alerts of one name and level."""

    name: str
    what: str
    """The name and the count, like ``DiskFull \N{MULTIPLICATION SIGN} 12``."""
    level: str
    rank: int
    """0 for the most urgent level."""
    color: str
    """As of a message: the colour of its level; green if none of them fires."""
    count: int
    new: int
    """How many of them the last digest did not report."""
    news: str
    """``new``, or ``3 new``; empty if none is, or if all alerts of the section are."""
    firing: int
    fired: int
    """How often they fired within the period."""
    by: str
    """The names of the labels whose values are the identities: ``namespace/job_name``."""
    identities: tuple[str, ...]
    """What tells each alert apart, new ones first, like ``team-0/nightly-0 (new)``; not all of them if there are many."""
    unlisted: int
    """How many alerts are in no identity."""
    labels: Labels
    """The labels that all of them share, without name, severity and identity; not all of them if they are long."""
    more_labels: str
    """How many more such labels there are, like ``and 3 more labels``; empty if ``labels`` has them all."""
    summary: str
    since: datetime | None
    lasted: str
    timing: str
    """When the first one began and how long it lasts, or when they fired."""
    opens: datetime | None
    """Held: when the hours of the first one open."""
    note: str
    source: str
    """The configured source; empty if all alerts of the digest are of one."""
    links: Links

    @property
    def listed(self) -> str:
        """The identities, and how many more there are."""
        more = [f"and {self.unlisted} more"] if self.unlisted else []
        return ", ".join([*self.identities, *more])

    @property
    def facts(self) -> str:
        """When it fired and how often, and the source, like ``since Fri 08:00 (1 d), fired 35 times``."""
        fired = f"fired {self.fired} times" if self.fired > self.count else ""
        return ", ".join(filter(None, [self.timing, fired, self.source and f"from {self.source}"]))


@dataclass(frozen=True, slots=True)
class EntryMaker:
    """Makes the entries of a digest."""

    formatter: Formatter
    until: Millis
    """The end of the digest's period (epoch ms)."""
    names_sources: bool = False
    """The digest has alerts of several sources."""
    identities_chars: int = _MAX_IDENTITIES_CHARS
    """How many characters the identities of an entry take at most, unless a mail has room for more."""

    @property
    def hidden(self) -> frozenset[str]:
        """The names of the labels that an entry shows as its name and its level."""
        return frozenset({"alertname", self.formatter.severity_label})

    def entry(self, group: DigestGroup, *, marks_new: bool = True) -> DigestEntry:
        """Return the entry of a group. :param marks_new: it says which of them are new"""
        formatter, lines, alerts = self.formatter, group.lines, [each.alert for each in group.lines]
        apart = labels_apart([each.labels for each in alerts], self.hidden)
        identities = self._first_identities(group)
        since, end = self._span(alerts)
        labels, more_labels = self._shared_labels(alerts, apart)
        links, too_long = _short_enough(_links(lines, formatter))
        note = "" if lines[0].note == NEVER_NOTIFIED else clip(line(lines[0].note), _MAX_NOTE_CHARS)
        note = "; ".join(filter(None, [note, too_long and f"too long to show: {too_long}"]))
        news = "new" if group.new == group.count else f"{group.new} new"
        openings = [each.opens_at for each in lines if each.opens_at is not None]
        return DigestEntry(
            name=group.name, what=group.what, level=group.level, rank=group.rank,
            color=formatter.color(group.rank, over=not group.firing), count=group.count, new=group.new,
            news=news if group.new and marks_new else "", firing=group.firing, fired=group.fired,
            by=formatter.line("/".join(apart)) if group.count > 1 else "", identities=identities,
            unlisted=group.count - len(identities) if identities else 0, labels=labels,
            more_labels=more_labels, summary=formatter.escape(_summary(alerts)), since=formatter.at(since),
            lasted="" if since is None else duration(end - since), timing=self._timing(alerts),
            opens=formatter.at(min(openings, default=None)), note=formatter.escape(note),
            source=formatter.line(lines[0].source) if self.names_sources else "", links=links,
        )  # fmt: skip

    def identities(self, group: DigestGroup) -> Iterator[str]:
        """Yield what tells each alert of a group apart, new ones first; nothing if no label does."""
        lines = group.lines
        apart = labels_apart([each.alert.labels for each in lines], self.hidden)
        if not apart:
            return
        is_mixed = 0 < group.new < group.count
        named = [(each, identity_text(each.alert.labels, apart) or _NO_IDENTITY) for each in lines]
        named.sort(key=lambda each: (not each[0].is_new, -each[0].fired, in_natural_order(each[1])))
        for each, name in named:
            marks = ["new"] if each.is_new and is_mixed else []
            marks += [f"{each.fired} times"] if each.fired > 1 and len(lines) > 1 else []
            yield self.formatter.escape(name + (f" ({', '.join(marks)})" if marks else ""))

    def _first_identities(self, group: DigestGroup) -> tuple[str, ...]:
        """Return as many identities as an entry always has room for, at least one."""
        texts: list[str] = []
        room = self.identities_chars
        for text in islice(self.identities(group), _MAX_IDENTITIES):
            room -= len(text) + 2
            if room < 0 and texts:
                break
            texts.append(text)
        return tuple(texts)

    def _shared_labels(self, alerts: Sequence[Alert], apart: Sequence[str]) -> tuple[Labels, str]:
        """Return the labels that all alerts share and that the entry does not show elsewhere, as many as it has room for,
        and how many more there are, in words.
        """
        shared = common([each.labels for each in alerts])
        names = [name for name in sorted(shared) if name not in self.hidden and name not in apart]
        shown: dict[str, str] = {}
        room = _MAX_LABELS_CHARS
        for name in names:
            short = clip(line(name), _MAX_LABEL_CHARS)
            value = clip(line(shared[name]), _MAX_LABEL_CHARS)
            size = len(short) + len(value) + 3
            if size <= room:
                room -= size
                shown[self.formatter.escape(short)] = self.formatter.escape(value)
        more = len(names) - len(shown)
        return shown, f"and {more} more label{'s' * (more > 1)}" if more else ""

    def _span(self, alerts: Sequence[Alert]) -> tuple[Millis | None, Millis]:
        """Return the first start of these alerts, None if none is known, and their last end; now, if one fires."""
        ends = [each.ends_at if each.status is Status.RESOLVED else self.until for each in alerts]
        return (
            min((each.starts_at for each in alerts if each.starts_at is not None), default=None),
            max((at for at in ends if at is not None), default=self.until),
        )

    def _timing(self, alerts: Sequence[Alert]) -> str:
        """Return when the alerts fired, as text. Of alerts that fire and alerts that have ended, it is about the former."""
        firing = [each for each in alerts if each.status is Status.FIRING]
        several = firing or alerts
        some = f"{len(firing)} fire now, " if 0 < len(firing) < len(alerts) else ""
        since, end = self._span(several)
        if since is None:
            return some.rstrip(", ")
        zone = self.formatter.zone
        first, last, now = (moment(at, zone) for at in (since, end, self.until))
        lasted = duration(end - since)
        if firing:
            oldest = "the oldest " if len({each.starts_at for each in several}) > 1 else ""
            return f"{some}{oldest}since {when(first, now)} ({lasted})"
        return (
            f"{when(first, now)}, for {lasted}"
            if len(several) == 1
            else f"{when(first, now)} to {when(last, now)}"
        )


def _summary(alerts: Sequence[Alert]) -> str:
    """Return the summary of these alerts in one line; if theirs differ, that of one of them, as an example."""
    summaries = dict.fromkeys(line(summary_of(each.annotations)) for each in alerts)
    first = next(filter(None, summaries), "")
    text = f"for example: {first}" if first and len(summaries) > 1 else first
    return clip(text, _MAX_SUMMARY_CHARS)


def _links(lines: Sequence[DigestLine], formatter: Formatter) -> Links:
    """Return the links that are right for all of these alerts, and a silence of those that fire."""
    alerts = [each.alert for each in lines]
    shared = replace(
        alerts[0], annotations=common([each.annotations for each in alerts]),
        links=common([each.links for each in alerts]), generator_url=_same(each.generator_url for each in alerts),
    )  # fmt: skip
    firing = [each for each in lines if each.alert.status is Status.FIRING]
    silence = "", ""
    if len(firing) == 1 and (own := firing[0].alert.links.get("silence", "")):
        silence = "Silence", own
    elif firing:
        # The peers of an Alertmanager share their silences.
        silence = silence_of(firing[0].external_url, [each.alert.labels for each in firing])
    return links_of(shared, formatter, silence)


def _short_enough(links: Links) -> tuple[Links, str]:
    """Return the links for which an entry has room, and the names of the others."""
    room = _MAX_LINKS_CHARS
    too_long: list[str] = []
    for field, name in (("runbook", "Runbook"), ("dashboard", "Dashboard"), ("source", "Source"),
                        ("panel", "Panel"), ("silence", links.silences)):  # fmt: skip
        address = getattr(links, field)
        if len(address) > room:
            too_long.append(name)
            links = replace(links, **{field: ""})
        else:
            room -= len(address)
    return links, ", ".join(too_long)


def _same(texts: Iterable[str]) -> str:
    """Return the text that all of these are; empty if they differ."""
    different = set(texts)
    return different.pop() if len(different) == 1 else ""
