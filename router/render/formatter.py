"""Makes values into text that is safe for a channel: labels, times, addresses, levels and their colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo

from router.model import Labels, Millis
from router.render.words import clean, line, moment, web_address

Escape = Callable[[str], str]
_RESOLVED_COLOR = "green"
EMOJI = {"red": "🔴", "orange": "🟠", "yellow": "🟡", "blue": "🔵", "green": "✅"}


@dataclass(frozen=True, slots=True)
class Formatter:
    """Knows the levels, the time zone, and how text is escaped."""

    levels: tuple[str, ...]
    """The most urgent first."""
    severity_label: str
    zone: ZoneInfo
    escape: Escape = field(default=clean)

    def rank(self, level: str) -> int:
        """Return the position of a level, 0 for the most urgent; an unknown level is the least urgent."""
        return self.levels.index(level) if level in self.levels else len(self.levels) - 1

    def color(self, rank: int, *, over: bool) -> str:
        """Return red for the most urgent level, blue for the least urgent, orange and yellow between; green if all is over."""
        if over:
            return _RESOLVED_COLOR
        last = len(self.levels) - 1
        if rank in {0, last}:
            return "blue" if rank else "red"
        # Of the levels between, the more urgent half is orange.
        return "orange" if 2 * rank <= last else "yellow"

    def text(self, text: str) -> str:
        return self.escape(clean(text).strip())

    def line(self, text: str) -> str:
        return self.escape(line(text))

    def labels(self, labels: Labels) -> dict[str, str]:
        """Return labels, or annotations, by name, each as one line."""
        return self._named(labels, self.line)

    def notes(self, annotations: Labels) -> dict[str, str]:
        """Return annotations by name; their line breaks stay."""
        return self._named(annotations, self.text)

    def _named(self, labels: Labels, text: Escape) -> dict[str, str]:
        """Return texts by name. Names that look the same once they are clean get a number, so that none is lost."""
        found: dict[str, str] = {}
        for name, value in sorted(labels.items()):
            shown, number = self.line(name), 2
            while shown in found:
                shown, number = self.line(f"{name} ({number})"), number + 1
            found[shown] = text(value)
        return found

    def address(self, *candidates: str) -> str:
        """Return the first candidate that can be a link; empty: none can."""
        return self.escape(next(filter(None, map(web_address, candidates)), ""))

    def at(self, at: Millis | None) -> datetime | None:
        return None if at is None else moment(at, self.zone)


def common(several: Sequence[Labels]) -> dict[str, str]:
    """Return the labels that all have in common."""
    if not several:
        return {}
    first, *rest = several
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in rest)}
