"""The complete list of a digest's alerts, for what has no room in its mail."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from router.model import DigestLine, DigestView, Status
from router.render.annotations import summary_of
from router.render.digest_groups import name_of
from router.render.formatter import Formatter
from router.render.words import clip, duration, line, listed_labels, moment, when

SECTION_TITLES = {
    "firing": "Still firing", "flapping": "Flapping", "held": "Held", "ended": "Ended", "obsolete": "Never notified",
}  # fmt: skip
"""The titles of the sections by the name of their list in a :class:`DigestView`, in their order."""
_MAX_LINE_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class DigestLines:
    """All alerts of a digest, each in one line of text, with a heading for each section.

    The lines are made while they are iterated over.
    """

    digest: DigestView
    formatter: Formatter

    def __len__(self) -> int:
        """Return how many alerts there are. Headings are not counted."""
        return self.digest.size

    def __iter__(self) -> Iterator[str]:
        for name, title in SECTION_TITLES.items():
            lines: Sequence[DigestLine] = getattr(self.digest, name)
            if lines:
                yield f"{title}: {len(lines)}"
            yield from map(self._line, sorted(lines, key=self._order))

    def _order(self, each: DigestLine) -> tuple[int, str, str]:
        return self.formatter.rank(each.level), name_of(each.alert), str(sorted(each.alert.labels.items()))

    def _line(self, each: DigestLine) -> str:
        alert, formatter = each.alert, self.formatter
        hidden = ("alertname", formatter.severity_label)
        labels = {
            line(name): line(value) for name, value in sorted(alert.labels.items()) if name not in hidden
        }
        began, now = formatter.at(alert.starts_at), moment(self.digest.until, formatter.zone)
        until = alert.ends_at if alert.status is Status.RESOLVED else self.digest.until
        parts = [
            f"[{line(each.level)}] {name_of(alert)}",
            "new" if each.is_new else "",
            f"since {when(began, now)}" if began is not None else "",
            duration(until - alert.starts_at) if until is not None and alert.starts_at is not None else "",
            f"fired {each.fired} times" if each.fired > 1 else "",
            listed_labels(labels), line(summary_of(alert.annotations)), line(each.note),
        ]  # fmt: skip
        return formatter.escape(clip(" · ".join(filter(None, parts)), _MAX_LINE_CHARS))
