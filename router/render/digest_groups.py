"""Groups the alerts of a digest: those of one name, level, source and note are one group, which an entry shows."""

from collections.abc import Sequence
from dataclasses import dataclass

from router.model import Alert, DigestLine, Status
from router.render.formatter import Formatter
from router.render.words import clip, line

_UNNAMED = "Unnamed alert"
_MAX_NAME_CHARS = 100


@dataclass(frozen=True, slots=True)
class DigestGroup:
    """Alerts of one name, level, source and note, in one state."""

    name: str
    level: str
    rank: int
    """0 for the most urgent level."""
    lines: tuple[DigestLine, ...]
    """At least one."""
    count: int
    new: int
    """How many of them the last digest did not report."""
    firing: int
    fired: int
    """How often they fired within the period."""

    @property
    def what(self) -> str:
        """The name and the count, like ``DiskFull \N{MULTIPLICATION SIGN} 12``."""
        return self.name + (f" \N{MULTIPLICATION SIGN} {self.count}" if self.count > 1 else "")


def groups_of(lines: Sequence[DigestLine], formatter: Formatter) -> list[DigestGroup]:
    """Return the groups, by severity; within a level those with new alerts first, then those with the most
    alerts or firings.
    """
    together: dict[tuple[str, ...], list[DigestLine]] = {}
    for each in lines:
        together.setdefault((each.level, name_of(each.alert), each.source, each.note), []).append(each)
    groups = [
        DigestGroup(
            name=formatter.escape(name), level=formatter.line(level), rank=formatter.rank(level), lines=tuple(several),
            count=len(several), new=sum(each.is_new for each in several),
            firing=sum(each.alert.status is Status.FIRING for each in several), fired=sum(each.fired for each in several),
        )
        for (level, name, *_), several in together.items()
    ]  # fmt: skip
    return sorted(groups, key=lambda each: (each.rank, not each.new, -max(each.count, each.fired), each.name))


def name_of(alert: Alert) -> str:
    """Return the name of an alert, as one line."""
    return clip(line(alert.labels.get("alertname", "")), _MAX_NAME_CHARS) or _UNNAMED
