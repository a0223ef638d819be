"""The variables of a template about a digest. Every string in them is escaped already.

A digest is read in a minute: the most urgent alerts have entries, as many as a mail has room for. The others are counted
by name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from router.model import OWN_SOURCE, DigestLine, DigestView
from router.render.digest_entry import DigestEntry, EntryMaker
from router.render.digest_groups import DigestGroup, groups_of
from router.render.digest_lines import SECTION_TITLES, DigestLines
from router.render.digest_summary import about_section, color_of, headline_of, levels_of
from router.render.digest_tenants import tenants_of
from router.render.formatter import Formatter
from router.render.words import moment

# What a person reads in a minute.
_MAX_ENTRIES = 40
# However many alerts are more urgent, a section shows these entries of its own.
_MIN_ENTRIES = 3
# Gmail clips a mail near 102 KB. An entry is in the text of a mail and in its HTML, which adds tags. In both, a character
# that is not plain may take several bytes. The rest of the room is for headings, styles and counts.
_MAX_ENTRIES_BYTES = 64_000
_TAGS_BYTES, _IDENTITY_TAG_BYTES = 800, 60
_MARKED_UP_BYTES = 8
_MAX_OTHERS_CHARS = 600
# Entries of a digest of more alerts than this list fewer identities at first, so that more entries have room.
_SHORT_ALERTS, _SHORT_IDENTITIES_CHARS = 200, 200


@dataclass(frozen=True, slots=True)
class DigestSection:
    """One part of a digest: the alerts of one state."""

    title: str
    about: str
    """Further words about it; empty if there are none."""
    entries: tuple[DigestEntry, ...]
    """The most urgent ones. The alerts for which a digest has no room are in ``others``."""
    count: int
    """How many alerts it has, those without an entry included."""
    new: int
    """How many of them the last digest did not report."""
    others: tuple[str, ...]
    """Counts the alerts without an entry by name, a line for each level: ``12 warning: DiskFull, HostDown``."""


def digest_values(digest: DigestView, formatter: Formatter) -> dict[str, Any]:
    """Return the variables for a digest; see docs/templates.md."""
    since, until = moment(digest.since, formatter.zone), moment(digest.until, formatter.zone)
    lists: dict[str, Sequence[DigestLine]] = {
        name: lines for name in SECTION_TITLES if (lines := getattr(digest, name))
    }
    groups = {name: groups_of(lines, formatter) for name, lines in lists.items()}
    entries = _most_urgent(groups, _entry_maker(digest, formatter))
    sections = [
        DigestSection(
            SECTION_TITLES[name], about_section(name, lines, digest.until, formatter), tuple(entries[name]), len(lines),
            sum(each.is_new for each in lines), _others(groups[name][len(entries[name]) :]),
        )
        for name, lines in lists.items()
    ]  # fmt: skip
    return {
        "since": since,
        "until": until,
        "period": f"{_day(since)} to {_day(until)}, {formatter.zone.key}",
        "headline": headline_of(digest, groups, formatter),
        "color": color_of(digest, formatter),
        "levels": levels_of(digest, formatter),
        "tenants": tenants_of(digest, formatter),
        "sections": sections,
        "counts": {section.title: section.count for section in sections},
        "lines": DigestLines(digest, formatter),
        "empty": digest.empty,
    }


def _entry_maker(digest: DigestView, formatter: Formatter) -> EntryMaker:
    every = (*digest.firing, *digest.flapping, *digest.held, *digest.ended, *digest.obsolete)
    sources = {each.source for each in every} - {OWN_SOURCE}
    maker = EntryMaker(formatter, digest.until, names_sources=len(sources) > 1)
    return maker if len(every) <= _SHORT_ALERTS else replace(maker, identities_chars=_SHORT_IDENTITIES_CHARS)


def _most_urgent(
    groups: Mapping[str, Sequence[DigestGroup]], maker: EntryMaker
) -> dict[str, list[DigestEntry]]:
    """Return the entries of each section that a digest shows: those of its first groups. What room they leave is for more
    identities, those of the most urgent entry first.
    """
    order = [
        (position >= _MIN_ENTRIES, group.rank, number, position, name)
        for number, (name, several) in enumerate(groups.items())
        for position, group in enumerate(several)
    ]
    is_all_new = {name: all(each.new == each.count for each in several) for name, several in groups.items()}
    shown: dict[str, list[DigestEntry]] = {name: [] for name in groups}
    room = _MAX_ENTRIES_BYTES
    for *_, position, name in sorted(order)[:_MAX_ENTRIES]:
        entry = maker.entry(groups[name][position], marks_new=not is_all_new[name])
        size = _size_of(entry)
        if size > room:
            break
        room -= size
        shown[name].append(entry)
    for *_, position, name in sorted(order, key=lambda each: each[1:]):
        if position < len(shown[name]) and shown[name][position].unlisted:
            entry, taken = _with_more_identities(
                shown[name][position], maker.identities(groups[name][position]), room
            )
            shown[name][position] = entry
            room -= taken
    return shown


def _with_more_identities(
    entry: DigestEntry, identities: Iterable[str], room: int
) -> tuple[DigestEntry, int]:
    """Return an entry with as many more identities as fit into ``room`` bytes, and how many bytes these take.

    :param identities: all of its alerts
    """
    more: list[str] = []
    taken = 0
    for text in islice(identities, len(entry.identities), None):
        size = _bytes_of(f"{text}, ") + _IDENTITY_TAG_BYTES
        if taken + size > room:
            break
        taken += size
        more.append(text)
    longer = replace(entry, identities=(*entry.identities, *more), unlisted=entry.unlisted - len(more))
    return longer, taken


def _size_of(entry: DigestEntry) -> int:
    """Return how many bytes an entry takes in a mail at most, in its text and in its HTML."""
    texts = [
        entry.what,
        entry.level,
        entry.news,
        entry.listed,
        entry.by,
        entry.facts,
        entry.summary,
        entry.note,
        entry.more_labels,
    ]
    texts += [text for pair in (*entry.labels.items(), *entry.links) for text in pair]
    return _bytes_of(" ".join(texts)) + _TAGS_BYTES + _IDENTITY_TAG_BYTES * len(entry.identities)


def _bytes_of(text: str) -> int:
    """Return how many bytes a text takes in a mail at most, in its text and in its HTML, without tags."""
    marked_up = sum(not each.isascii() or each in "=&<>\"'" for each in text)
    return 2 * len(text.encode(errors="replace")) + _MARKED_UP_BYTES * marked_up


def _others(groups: Sequence[DigestGroup]) -> tuple[str, ...]:
    """Return a line for each level that counts the alerts without an entry by name."""
    levels: dict[str, list[DigestGroup]] = {}
    for each in groups:
        levels.setdefault(each.level, []).append(each)
    room = _MAX_OTHERS_CHARS // max(1, len(levels))
    return tuple(
        f"{sum(each.count for each in several)} {level}: {_names(several, room)}"
        for level, several in levels.items()
    )


def _names(groups: Sequence[DigestGroup], room: int) -> str:
    """Return the names of these groups, as many as ``room`` characters hold, and how many more names there are."""
    names: list[str] = []
    for each in groups:
        name = each.what + (f" (fired {each.fired} times)" if each.fired > each.count else "")
        room -= len(name) + 2
        if room < 0 and names:
            break
        names.append(name)
    more = len(groups) - len(names)
    return ", ".join(names) + (f", and {more} other name{'s' * (more > 1)}" if more else "")


def _day(at: datetime) -> str:
    return f"{at:%a} {at.day} {at:%b %H:%M}"
