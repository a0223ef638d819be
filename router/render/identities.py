"""What tells alerts of one name apart in few words: the values of the labels that differ, like ``team-0/nightly-0``."""

import re
from collections.abc import Sequence

from router.model import Labels
from router.render.titles import WHERE_LABELS, enough, preference
from router.render.words import clip, line

# Labels that contain others: they stand first wherever they differ. The widest first.
_SCOPE_LABELS = ("cluster", "namespace")
_MAX_LABELS = 4
_MAX_VALUE_CHARS = 60
_DIGITS = re.compile(r"(\d+)")


def labels_apart(alerts: Sequence[Labels], hidden: frozenset[str]) -> tuple[str, ...]:
    """Return the names of the labels that tell these alerts apart; of one alert, of the label that says best where it
    is. At most four, and none if no label differs.

    :param alerts: the labels of each; at least one
    :param hidden: names of labels that never say where, such as ``alertname``
    """
    names = sorted({name for each in alerts for name in each} - hidden, key=preference)
    if len(alerts) == 1:
        return tuple(name for name in names if name in WHERE_LABELS and alerts[0][name])[:1]
    counts = {name: len({each.get(name, "") for each in alerts}) for name in names}
    differing = [name for name in names if counts[name] > 1]
    chosen = [name for name in differing if name in WHERE_LABELS and counts[name] == len(alerts)][:1]
    chosen = chosen or [*enough(alerts, differing, _MAX_LABELS)]
    # Others say where several of the alerts are. A label that has another value for each alert only repeats the first.
    others = [name for name in differing if name in WHERE_LABELS and counts[name] < len(alerts)]
    scopes = [name for name in _SCOPE_LABELS if name in differing]
    return tuple(dict.fromkeys([*scopes, *chosen, *others]))[:_MAX_LABELS]


def identity_text(labels: Labels, names: Sequence[str]) -> str:
    """Return the values of these labels of an alert, as one line; empty if it has none of them."""
    values = [clip(line(labels[name]), _MAX_VALUE_CHARS) for name in names if labels.get(name)]
    # A path brings its own slash: db-1/var
    return "".join(
        value if value.startswith("/") or not at else f"/{value}" for at, value in enumerate(values)
    )


def in_natural_order(text: str) -> tuple[str | int, ...]:
    """Return a key that sorts ``n2`` before ``n10``."""
    parts = _DIGITS.split(text)
    return tuple(int(part) if number % 2 else part for number, part in enumerate(parts))
