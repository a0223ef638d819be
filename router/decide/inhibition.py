"""Inhibit rules as keys, so that finding a firing alert that mutes another is a look-up and not a search.

Source of the rules: https://github.com/prometheus/alertmanager/blob/main/inhibit/inhibit.go
"""

import hashlib
import json
from dataclasses import dataclass, field

from router.decide.index import MatcherIndex
from router.decide.matchers import Matcher
from router.model import Labels

# Bounds of the name of a source in a reason.
_MAX_LABELS_SHOWN = 6
_MAX_VALUE_CHARS = 60


@dataclass(frozen=True, slots=True)
class Rule:
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    name: str = ""
    """For people: the ``name:`` of the rule, or its position in routes.yaml, like ``inhibit_rules[0]``."""
    _seed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content = [sorted(map(str, self.source)), sorted(map(str, self.target)), sorted(self.equal)]
        object.__setattr__(self, "_seed", hashlib.sha256(json.dumps(content).encode()).digest())

    def key(self, labels: Labels, *, two_sided: bool) -> "Key":
        equal = json.dumps([labels.get(name, "") for name in sorted(self.equal)])
        return Key(hashlib.sha256(self._seed + equal.encode()).hexdigest()[:40], two_sided, self)


@dataclass(frozen=True, slots=True)
class Key:
    """A rule with the values of its ``equal`` labels, which source and target must share.

    ``text`` is what the store indexes. Its length is bounded. It is made of the content of the rule and not of its
    position, so it stays the same while the rule does. ``two_sided``: the alert matches both sides of the rule.
    """

    text: str
    two_sided: bool
    rule: Rule = field(compare=False)


@dataclass(frozen=True, slots=True)
class Inhibition:
    rules: tuple[Rule, ...] = ()
    _sources: MatcherIndex = field(init=False, repr=False, compare=False)
    _targets: MatcherIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sources", MatcherIndex([rule.source for rule in self.rules]))
        object.__setattr__(self, "_targets", MatcherIndex([rule.target for rule in self.rules]))

    def as_source(self, labels: Labels) -> tuple[Key, ...]:
        """Return the keys under which a firing alert with these labels mutes others."""
        return self._keys(labels, self._sources, self._targets)

    def as_target(self, labels: Labels) -> tuple[Key, ...]:
        """Return the keys under which an alert with these labels may be muted.

        A two-sided key is muted by one-sided sources only: two alerts that match both sides of a rule don't mute each
        other, and above all an alert does not mute itself.
        """
        return self._keys(labels, self._targets, self._sources)

    def _keys(self, labels: Labels, side: MatcherIndex, other: MatcherIndex) -> tuple[Key, ...]:
        numbers = tuple(side.holding(labels))
        both = frozenset(other.holding(labels)) if numbers else frozenset()
        keys = (self.rules[number].key(labels, two_sided=number in both) for number in numbers)
        return tuple({key.text: key for key in keys}.values())  # two equal rules count once


def source_text(source: Labels, target: Labels) -> str:
    """Return the name of a source, with the labels that differ from those of its target:
    ``HighErrorRate{instance="web-1", severity="critical"}``.
    """
    apart = [
        name for name, value in sorted(source.items()) if name != "alertname" and target.get(name) != value
    ]
    shown = [f'{_shortened(name)}="{_shortened(source[name])}"' for name in apart[:_MAX_LABELS_SHOWN]]
    if len(apart) > _MAX_LABELS_SHOWN:
        shown.append(f"{len(apart) - _MAX_LABELS_SHOWN} more")
    name = _shortened(source.get("alertname", "")) or "an alert without a name"
    return f"{name}{{{', '.join(shown)}}}" if shown else name


def _shortened(text: str) -> str:
    """Return a text without control characters, of at most :data:`_MAX_VALUE_CHARS` characters."""
    cut = text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 1]}…"
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in cut)


class Firing:
    """Firing alerts by the keys under which they mute others: the store's index, in memory."""

    def __init__(self, inhibition: Inhibition) -> None:
        self._inhibition = inhibition
        self._by_key: dict[str, dict[str, bool]] = {}
        self._keys: dict[str, tuple[Key, ...]] = {}
        self._labels: dict[str, Labels] = {}

    def add(self, fingerprint: str, labels: Labels) -> None:
        self.remove(fingerprint)
        self._keys[fingerprint] = self._inhibition.as_source(labels)
        self._labels[fingerprint] = labels
        for key in self._keys[fingerprint]:
            self._by_key.setdefault(key.text, {})[fingerprint] = key.two_sided

    def remove(self, fingerprint: str) -> None:
        self._labels.pop(fingerprint, None)
        for key in self._keys.pop(fingerprint, ()):
            del self._by_key[key.text][fingerprint]

    def source(self, key: Key) -> Labels | None:
        """Return the labels of a firing alert that mutes the alerts with this key; None: none fires."""
        sources = self._by_key.get(key.text, {}).items()
        return next(
            (self._labels[each] for each, two_sided in sources if not (two_sided and key.two_sided)), None
        )
