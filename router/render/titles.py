"""What a message is about in a few words: what fires, the most urgent first, what tells it apart, and how many.

From these words alone, on a lock screen or in a list of incidents, a person knows what fires and where.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from router.model import MAX_INHIBITED_COUNTED, Labels, ShownAlert, Status
from router.render.words import clip, line

# The labels that say where an alert fires, the best first: those of Prometheus, the usual exporters, kube-state-metrics.
# https://prometheus.io/docs/concepts/jobs_instances/
_MACHINE_LABELS = ("instance", "host", "hostname", "node", "pod", "target")
# These are of little help on their own, and stand beside the title anyway if alerts are grouped by them.
_WIDE_LABELS = ("job", "namespace", "cluster")
WHERE_LABELS = (
    *_MACHINE_LABELS, "device", "mountpoint", "name", "service", "job_name", "deployment", "statefulset", "daemonset",
    "container", *_WIDE_LABELS,
)  # fmt: skip
_NAME_LABEL = "alertname"
_UNNAMED = "Unnamed alert"
_MAX_NAMES = 3
_MAX_NAME_CHARS, _MAX_VALUE_CHARS = 150, 60
_MAX_WHERE_LABELS = 2
# Levels that are nouns have a plural.
_NOUNS = frozenset({"warning", "error", "page", "ticket", "notice", "emergency"})


@dataclass(frozen=True, slots=True)
class Title:
    """What a message is about."""

    what: str
    """What fires and where."""
    beside: tuple[str, ...] = ()
    """What else there is, counted."""
    labels: frozenset[str] = frozenset()
    """The names of the labels whose value the title gives for every alert that it names."""

    @property
    def text(self) -> str:
        return self.with_scope("")

    def with_scope(self, scope: str) -> str:
        """Return the title with the labels that say where else: ``HostDown on db-1 (cluster=eu; 2 resolved)``."""
        parts = "; ".join(filter(None, [scope, ", ".join(self.beside)]))
        return f"{self.what} ({parts})" if parts else self.what


def title_of(
    alerts: Sequence[ShownAlert], group: Labels, levels: Sequence[str], rank: Callable[[str], int],
    hidden: frozenset[str] = frozenset(), ended: int = 0, inhibited: int = 0, truncated: int = 0,
) -> Title:  # fmt: skip
    """Return what fires; if nothing does, what ended.

    Examples: ``HostDown on db-1 (+3 warnings, 2 resolved)``, ``HostDown \N{MULTIPLICATION SIGN} 12: n0, n1, n2, …``,
    ``DiskFull \N{MULTIPLICATION SIGN} 2 on db-1: /data, /var``.

    :param alerts: those of the message
    :param group: the labels of the group; they stand beside the title, without those that it gives
    :param rank: of a level, 0 for the most urgent
    :param hidden: names of labels that never say where, such as that of the severity
    :param ended: how many alerts of the conversation have ended, listed or not
    :param inhibited: how many alerts they inhibit, see :attr:`router.model.Conversation.inhibited`
    :param truncated: how many alerts Alertmanager left out
    """
    firing = [each for each in alerts if each.alert.status is Status.FIRING]
    several = firing or list(alerts)
    if not several:
        return Title(_UNNAMED)
    lead, others = _split(several, rank)
    labels = [_where(each.alert.labels, hidden) for each in lead]
    is_incomplete = bool(truncated) and not others
    if len(lead) == 1 and not is_incomplete:
        what, used = _one(_name(lead[0]), labels[0], group)
    else:
        what, used = _many(
            f"{_name(lead[0])} \N{MULTIPLICATION SIGN} {len(lead)}{'+' * is_incomplete}", labels
        )
    beside = [f"+{count} {_plural(level, count)}" for level, count in _by_level(others, levels)]
    beside += [_inhibited(inhibited)] if inhibited else []
    beside += [f"{ended} resolved"] if firing and ended else []
    return Title(what, tuple(beside), used)


def _one(name: str, labels: Labels, group: Labels) -> tuple[str, frozenset[str]]:
    beside = {each for each in _WIDE_LABELS if group.get(each)}
    best = next((each for each in WHERE_LABELS if each in labels and each not in beside), None)
    return (name, frozenset()) if best is None else (f"{name} on {labels[best]}", frozenset({best}))


def _many(what: str, labels: Sequence[Labels]) -> tuple[str, frozenset[str]]:
    """Return the words for alerts of one name: the machine that all share, and what tells each apart."""
    shared = dict(set.intersection(*(set(each.items()) for each in labels)))
    machine = next((each for each in _MACHINE_LABELS if each in shared), None)
    differing = [{name: value for name, value in each.items() if name not in shared} for each in labels]
    names = sorted({name for each in differing for name in each}, key=preference)
    chosen = enough(differing, names, _MAX_WHERE_LABELS)
    found = ("/".join(each[name] for name in chosen if name in each) for each in differing)
    apart = [each for each in dict.fromkeys(found) if each]
    what += f" on {shared[machine]}" if machine is not None else ""
    what += f": {', '.join(apart[:_MAX_NAMES])}{', …' * (len(apart) > _MAX_NAMES)}" if apart else ""
    return what, frozenset() if machine is None else frozenset({machine})


def _where(labels: Labels, hidden: frozenset[str]) -> dict[str, str]:
    return {
        name: clip(line(value), _MAX_VALUE_CHARS)
        for name, value in labels.items()
        if name != _NAME_LABEL and name not in hidden and value.strip()
    }


def _split(
    several: Sequence[ShownAlert], rank: Callable[[str], int]
) -> tuple[list[ShownAlert], list[ShownAlert]]:
    """Return the alerts that the title names, and the others: those of one name that are the most urgent.

    Among names of the same level, the one with the most alerts leads.
    """
    best = min(rank(each.level) for each in several)
    names = Counter(_name(each) for each in several if rank(each.level) == best)
    most = max(names.values())
    name = min(name for name, count in names.items() if count == most)
    lead = [each for each in several if rank(each.level) == best and _name(each) == name]
    chosen = set(map(id, lead))
    return lead, [each for each in several if id(each) not in chosen]


def enough(labels: Sequence[Labels], names: Sequence[str], most: int) -> Sequence[str]:
    """Return the first of these labels that tell all alerts apart together, at most ``most``."""
    for count in range(1, most):
        if len({tuple(each.get(name, "") for name in names[:count]) for each in labels}) == len(labels):
            return names[:count]
    return names[:most]


def preference(name: str) -> tuple[int, str]:
    """Return a key that sorts labels by how well they say where an alert fires."""
    return (WHERE_LABELS.index(name) if name in WHERE_LABELS else len(WHERE_LABELS), name)


def _by_level(others: Sequence[ShownAlert], levels: Sequence[str]) -> list[tuple[str, int]]:
    counts: Mapping[str, int] = Counter(each.level for each in others)
    known = [level for level in levels if level in counts]
    return [(level, counts[level]) for level in [*known, *sorted(counts.keys() - set(known))]]


def _inhibited(count: int) -> str:
    return f"+{count} inhibited" if count <= MAX_INHIBITED_COUNTED else f"{MAX_INHIBITED_COUNTED}+ inhibited"


def _plural(level: str, count: int) -> str:
    return f"{line(level)}s" if count > 1 and level in _NOUNS else line(level)


def _name(each: ShownAlert) -> str:
    return clip(line(each.alert.labels.get(_NAME_LABEL, "")), _MAX_NAME_CHARS) or _UNNAMED
