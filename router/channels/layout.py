"""Fits the text of a message into a provider's limits. A message has a row for each alert. What is cut is counted, and
alerts that get no row are listed by name.

A :class:`TextFormat` says how a provider marks up and measures text; the rest is the same for all providers.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from router.model import Labels
from router.render import Words
from router.render.view import AlertView
from router.render.words import line

HEX_COLORS = {
    "red": "#d5303e",
    "orange": "#e8912d",
    "yellow": "#d9b310",
    "blue": "#3a7bd5",
    "green": "#2eb67d",
}
"""The colours of a message by their name in the variables of templates; distinct on light and dark backgrounds."""

MAX_TITLE_UNITS = 300
# What other texts of a message get at most; the rest is for the alerts. A summary gets more if there are few alerts.
_MAX_SUMMARY_UNITS, _MAX_LABELS_UNITS = 1_500, 500
FEW_ALERTS = 5
_MIN_ANNOTATION_UNITS = 100
"""An annotation keeps this much, its count included, before the whole text is cut."""
_MAX_ALERT_UNITS = 600
"""What an alert gets if there are many, so that one does not fill the message."""
_MARK_UNITS = 60
"""Room for the words that count what is cut from a text."""
_COUNT_UNITS = 250
"""Room for the words that count alerts without a row and a name."""
_MAX_COUNTED_NAMES, _MAX_COUNTED_NAME_UNITS = 4, 40
_NAMES_SHARE = 3
"""Alerts that have no row share a third of the room for their names."""
_MAX_NAME_UNITS = 60
_MAX_ATOM_CHARS = 12
_MAX_CHARS_PER_UNIT = 8
"""The most characters of a text for one unit of its size. Telegram has the most: 32,768 bytes for 4,096 units."""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How a provider marks up and measures text."""

    escape: Callable[[str], str]
    """Returns a text that shows as it is, without markup and mentions."""
    atom: re.Pattern[str]
    """Matches characters that belong together, such as an entity."""
    size: Callable[[str], int] = len
    """Returns the length of a text with markup, in the unit of the provider's limits."""
    untagged: Callable[[str], str] = str
    """Removes tags, which a split would leave open. It is used for a text that is split only."""
    link: Callable[[str, str], str] = "{}: {}".format
    """Returns the markup of a link, given its words and its address."""

    def split(self, text: str, limit: int) -> tuple[str, str]:
        """Divide a text: the first part has at most ``limit`` units, the second one has the rest.

        The first part ends at a line or a word if one ends in its last quarter, and never within an atom.
        """
        if self.size(text) <= limit:
            return text, ""
        text = self.untagged(text)
        end = self._end(text, 0, limit)
        return text[:end], text[end:]

    def _end(self, text: str, start: int, limit: int) -> int:
        """Return where a piece of an untagged text ends that begins at ``start`` and has at most ``limit`` units.

        It looks at ``limit * _MAX_CHARS_PER_UNIT`` characters, so that its time does not depend on the text's length.
        """
        head = text[start : start + max(1, limit) * _MAX_CHARS_PER_UNIT + _MAX_ATOM_CHARS]
        end = bisect_right(range(len(head) + 1), limit, key=lambda count: self.size(head[:count])) - 1
        end = max(end, 1)  # so that a loop over the rest comes to an end
        if start + end >= len(text):
            return len(text)
        for separator in "\n ":
            if (at := head.rfind(separator, end * 3 // 4, end)) >= 0:
                return start + at + 1
        for atom in self.atom.finditer(head, max(0, end - _MAX_ATOM_CHARS), end + _MAX_ATOM_CHARS):
            if 0 < atom.start() < end < atom.end():
                end = atom.start()
        return start + end

    def clip(self, text: str, limit: int, what: str) -> str:
        """Return at most ``limit`` units of a text. If it is cut, it ends with a count of what is missing.

        :param what: names the text there
        """
        if self.size(text) <= limit:
            return text
        kept, rest = self.split(text, limit - _MARK_UNITS)
        return f"{kept.rstrip()}… ({self.size(rest)} more characters of {what})"

    def short(self, text: str, limit: int) -> str:
        """Return at most ``limit`` units of a name; an ellipsis at its end says that it is cut."""
        return text if self.size(text) <= limit else f"{self.split(text, limit - 1)[0].rstrip()}…"

    def pages(self, text: str, limit: int) -> list[str]:
        """Return all of a text in pieces of at most ``limit`` units; a piece ends with a line where that is near."""
        if self.size(text) <= limit:
            return [text.strip()] if text.strip() else []
        text = self.untagged(text).rstrip()
        pages: list[str] = []
        end = 0
        while end < len(text):
            start, end = end, self._end(text, end, limit)
            if page := text[start:end].strip():
                pages.append(page)
        return pages

    def summary(self, words: Words, limit: int) -> str:
        """Return the block ``summary`` in ``limit`` units. Its longest annotations are cut, so that short ones stay.

        :raises TemplateError: the template failed
        """
        values = words.values

        def write(**texts: Any) -> str:
            return words("summary", **texts)

        return self._fitted(
            write, values["summary"], values["description"], values["notes"], limit, "the summary"
        )

    def alert(self, words: Words, alert: AlertView, limit: int) -> str:
        """Return the block ``alert`` in ``limit`` units. Its longest annotations are cut, so that short ones stay.

        :raises TemplateError: the template failed
        """

        def write(**texts: Any) -> str:
            return words("alert", alert=replace(alert, **texts))

        return self._fitted(write, alert.summary, alert.description, alert.notes, limit, "the alert")

    def _fitted(
        self, write: Callable[..., str], summary: str, description: str, notes: Labels, limit: int, what: str
    ) -> str:
        """Return what ``write`` returns; if that is too long, with annotations that are cut to the same length."""
        text = write()
        if (over := self.size(text) - limit) <= 0:
            return text
        sizes = sorted(map(self.size, [summary, description, *notes.values()]))
        room = sum(sizes) - over
        most = 0
        for number, size in enumerate(sizes):
            most = max(_MIN_ANNOTATION_UNITS, room // (len(sizes) - number))
            room -= min(size, most)
        cut = {name: self.clip(note, most, "the annotation") for name, note in notes.items()}
        text = write(
            summary=self.clip(summary, most, "the summary"),
            description=self.clip(description, most, "the description"),
            notes=cut,
        )
        return self.clip(text, limit, what)

    def rows(self, words: Words, alerts: Sequence[AlertView], room: int) -> list[str]:
        """Return the rows of the first alerts, as many as ``room`` units hold, and a line about the others.

        :raises TemplateError: the template failed
        """
        names = [self.size(self.name_of(each)) + 2 for each in alerts]
        left = [*accumulate(reversed(names), initial=0)][::-1]
        most = max(_MAX_ALERT_UNITS, room // max(1, len(alerts)))
        kept: list[str] = []
        used = 0
        for number, alert in enumerate(alerts, 1):
            row = self.alert(words, alert, most)
            used += self.size(row) + 1
            rest = min(room // _NAMES_SHARE, _COUNT_UNITS + left[number]) if number < len(alerts) else 0
            if used + rest > room:
                used -= self.size(row) + 1
                break
            kept.append(row)
        return kept + self.others(alerts[len(kept) :], room - used)

    def others(self, alerts: Sequence[AlertView], room: int) -> list[str]:
        """Return a line that counts alerts that have no row, and names as many of them as ``room`` units hold.

        :returns: an empty list if there are none
        """
        if not alerts:
            return []
        head = f"… and {len(alerts)} more ({by_status(alerts)}): "
        room -= self.size(head) + _COUNT_UNITS
        shown: list[str] = []
        for number, alert in enumerate(alerts):
            name = self.name_of(alert)
            if (room := room - self.size(name) - 2) < 0:
                return [head + ", ".join([*shown, "and " * bool(shown) + self._by_name(alerts[number:])])]
            shown.append(name)
        return [head + ", ".join(shown)]

    def name_of(self, alert: AlertView) -> str:
        """Return the name that :meth:`others` has for an alert."""
        return self.short(alert.brief, _MAX_NAME_UNITS)

    def _by_name(self, alerts: Sequence[AlertView]) -> str:
        """Return how many alerts of each name there are; in ``_COUNT_UNITS`` units."""
        names = Counter(each.name for each in alerts).most_common()
        texts = [
            f"{count} {self.short(name, _MAX_COUNTED_NAME_UNITS)}"
            for name, count in names[:_MAX_COUNTED_NAMES]
        ]
        if len(names) > _MAX_COUNTED_NAMES:
            texts.append(f"{len(names) - _MAX_COUNTED_NAMES} other names")
        return f"{len(alerts)} not named here ({', '.join(texts)})"

    def links(self, links: Iterable[tuple[str, str]], room: int) -> str:
        """Return links in one line. Those for which ``room`` units are too few are named without their address."""
        kept: list[str] = []
        too_long: list[str] = []
        for name, address in links:
            markup = self.link(name, address)
            if self.size(markup) + 3 > room:
                too_long.append(name)
                continue
            room -= self.size(markup) + 3
            kept.append(markup)
        return " · ".join([*kept, *([f"too long to show: {', '.join(too_long)}"] if too_long else [])])

    def whole(self, words: Words, limit: int, title_block: str = "title") -> str:
        """Return a message of text alone: title, summary, alerts, labels, links and footer, in ``limit`` units.

        :param title_block: the block of the template that gives the first line
        :raises TemplateError: the template failed
        """
        most, alerts = limit // 8, words.values["alerts"]
        title = self.clip(line(words(title_block)), min(most, MAX_TITLE_UNITS), "the title")
        labels = self.clip(words("labels"), min(most, _MAX_LABELS_UNITS), "the labels")
        footer = self.clip(line(words("footer")), min(most, MAX_TITLE_UNITS), "the footer")
        tail = [labels, self.links(all_links(words.values), 2 * most), footer]
        room = limit - sum(self.size(each) + 2 for each in [title, *tail]) - 2
        summary = self.summary(
            words, self.summary_room(words, alerts, room, min(2 * most, _MAX_SUMMARY_UNITS))
        )
        rows = self.rows(words, alerts, room - self.size(summary))
        return "\n\n".join(filter(None, [title, summary, "\n".join(rows), *tail]))

    def summary_room(self, words: Words, alerts: Sequence[AlertView], room: int, least: int) -> int:
        """Return how many units the summary may take: what the rows of a few alerts leave, or else ``least``.

        :param room: what summary and rows may take together
        :raises TemplateError: the template failed
        """
        if len(alerts) > FEW_ALERTS:
            return least
        return max(least, room - sum(self.size(words("alert", alert=alert)) + 1 for alert in alerts))

    def storm(self, words: Words, limit: int, *, is_update: bool) -> "StormText":
        """Return the texts of a storm's message. Body and summary have room for ``limit`` units together.

        :param is_update: the first message exists already and is edited; the news are replies
        :raises TemplateError: the template failed
        """
        title, subject = (
            self.clip(line(words(block)), min(limit // 8, MAX_TITLE_UNITS), f"the {block}")
            for block in ("title", "subject")
        )
        summary = self.clip(words("summary"), min(limit // 4, _MAX_SUMMARY_UNITS), "the summary")
        room = limit - self.size(summary) - 2
        pages = self.pages(words("news"), room)
        if is_update:
            pages = [self.clip(words("standing"), room, "the list"), *pages]
        body = "\n\n".join(filter(None, [summary, *pages[:1]]))
        return StormText(title, subject, body, tuple(pages[1:]))


@dataclass(frozen=True, slots=True)
class StormText:
    """The texts of a storm's message at a provider that edits it."""

    title: str
    subject: str
    """One line about the news, for the replies."""
    body: str
    replies: tuple[str, ...]
    """The news for which the body has no room."""


def all_links(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return name and address of the message's links, and of Alertmanager, which has all that does not fit."""
    alertmanager = [(values["sender"], values["external_url"])] if values["external_url"] else []
    return [*values["links"], *alertmanager]


def by_status(alerts: Iterable[AlertView]) -> str:
    """Return how many alerts fire and how many are resolved, as words."""
    statuses = Counter(alert.status for alert in alerts)
    return ", ".join(f"{statuses[each]} {each}" for each in ("firing", "resolved") if statuses[each])
