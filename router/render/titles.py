"""What a message is about in a few words: what fires, the most urgent first, what tells it apart, and how many.

From these words alone, on a lock screen or in a list of incidents, a person knows what fires and where.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from router.model import MAX_INHIBITED_COUNTED, Labels, ShownAlert, Status
from router.render.words import clip, line

# The labels that say best where an alert fires, the best first. They are those of the usual exporters:
# https://prometheus.io/docs/concepts/jobs_instances/ and kube-state-metrics.
WHERE_LABELS = (
    "instance", "host", "hostname", "node", "pod", "target", "device", "mountpoint", "name", "service", "job_name", "job",
    "deployment", "statefulset", "daemonset", "container", "namespace", "cluster",
)  # fmt: skip
_NAME_LABEL = "alertname"
_UNNAMED = "Unnamed alert"
_MAX_NAMES = 3
_MAX_VALUE_CHARS = 60
_MAX_WHERE_LABELS = 2
# Levels that are nouns have a plural.
_NOUNS = frozenset({"warning", "error", "page", "ticket", "notice", "emergency"})


def title_of(
    alerts: Sequence[ShownAlert], known: Labels, levels: Sequence[str], rank: Callable[[str], int],
    hidden: frozenset[str] = frozenset(), ended: int = 0, inhibited: int = 0, truncated: int = 0,
) -> str:  # fmt: skip
    """Return what fires; if nothing does, what ended. Examples: ``HostDown on db-1 (+3 warnings, 2 resolved)``,
    ``HostDown \N{MULTIPLICATION SIGN} 12: n0, n1, n2, …``.

    :param alerts: those of the message
    :param known: labels that stand beside the title: those of the group
    :param rank: of a level, 0 for the most urgent
    :param hidden: names of labels that never say where, such as that of the severity
    :param ended: how many alerts of the conversation have ended, listed or not
    :param inhibited: how many alerts they inhibit, see :attr:`router.model.Conversation.inhibited`
    :param truncated: how many alerts Alertmanager left out
    """
    firing = [each for each in alerts if each.alert.status is Status.FIRING]
    several = firing or list(alerts)
    if not several:
        return line(known.get(_NAME_LABEL, "")) or _UNNAMED
    lead, others = _split(several, rank)
    where = _names(lead, known, hidden | {_NAME_LABEL})
    what = _name(lead[0])
    if len(lead) > 1 or (truncated and not others):
        what += f" \N{MULTIPLICATION SIGN} {len(lead)}{'+' if truncated and not others else ''}"
        what += f": {', '.join(where[:_MAX_NAMES])}{', …' * (len(where) > _MAX_NAMES)}" if where else ""
    elif where:
        what += f" on {where[0]}"
    beside = [f"+{count} {_plural(level, count)}" for level, count in _by_level(others, levels)]
    beside += [_inhibited(inhibited)] if inhibited else []
    beside += [f"{ended} resolved"] if firing and ended else []
    return f"{what} ({', '.join(beside)})" if beside else what


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


def _names(lead: Sequence[ShownAlert], known: Labels, hidden: frozenset[str]) -> list[str]:
    """Return what tells each alert apart: the values of the best labels that differ; of one alert, of the best label."""
    labels = [
        {name: value for name, value in each.alert.labels.items() if value and name not in hidden}
        for each in lead
    ]
    if len(lead) > 1:
        shared = set.intersection(*(set(each.items()) for each in labels))
        labels = [
            {name: value for name, value in each.items() if (name, value) not in shared} for each in labels
        ]
    else:
        labels = [{name: value for name, value in labels[0].items() if known.get(name) != value}]
    names = sorted({name for each in labels for name in each}, key=_preference)
    if len(lead) == 1:
        names = [name for name in names if name in WHERE_LABELS][:1]
    chosen = _enough(labels, names)
    found = (
        "/".join(clip(line(each[name]), _MAX_VALUE_CHARS) for name in chosen if name in each)
        for each in labels
    )
    return [each for each in found if each]


def _enough(labels: Sequence[Labels], names: Sequence[str]) -> Sequence[str]:
    """Return the first labels that tell all alerts apart, at most :data:`_MAX_WHERE_LABELS`."""
    for count in range(1, _MAX_WHERE_LABELS):
        if len({tuple(each.get(name) for name in names[:count]) for each in labels}) == len(labels):
            return names[:count]
    return names[:_MAX_WHERE_LABELS]


def _preference(name: str) -> tuple[int, str]:
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
    return line(each.alert.labels.get(_NAME_LABEL, "")) or _UNNAMED
