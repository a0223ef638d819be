"""Inhibit rules as keys: whether a firing alert mutes another is a look-up, not a search.

Source of the rules: https://github.com/prometheus/alertmanager/blob/main/inhibit/inhibit.go
"""

import hashlib
import json
from dataclasses import dataclass, field

from router.decide.matchers import Matcher
from router.model import Labels


@dataclass(frozen=True, slots=True)
class Rule:
    source: tuple[Matcher, ...]
    target: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    name: str = ""
    """For people: its place in routes.yaml, ``inhibit_rules[0]``, or the ``name:`` it has there."""
    _seed: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        content = [sorted(map(str, self.source)), sorted(map(str, self.target)), sorted(self.equal)]
        object.__setattr__(self, "_seed", hashlib.sha256(json.dumps(content).encode()).digest())

    def key(self, labels: Labels, *, two_sided: bool) -> "Key":
        equal = json.dumps([labels.get(name, "") for name in sorted(self.equal)])
        return Key(hashlib.sha256(self._seed + equal.encode()).hexdigest()[:40], two_sided, self)


@dataclass(frozen=True, slots=True)
class Key:
    """A rule with the values of its ``equal`` labels: what source and target must share.

    ``text`` is bounded in length, stable while the rule is the same (made of its content, not of its
    position), and is what the store indexes. ``two_sided``: the alert matches both sides of the rule.
    """

    text: str
    two_sided: bool
    rule: Rule = field(compare=False)


@dataclass(frozen=True, slots=True)
class Inhibition:
    rules: tuple[Rule, ...] = ()

    def as_source(self, labels: Labels) -> tuple[Key, ...]:
        """The keys under which a firing alert with these labels mutes others."""
        return tuple(
            rule.key(labels, two_sided=_all(rule.target, labels))
            for rule in self.rules
            if _all(rule.source, labels)
        )

    def as_target(self, labels: Labels) -> tuple[Key, ...]:
        """The keys under which an alert with these labels may be muted.

        A two-sided one is muted by one-sided sources only: two alerts that match both sides of a rule (an
        alert and itself, above all) don't mute each other.
        """
        return tuple(
            rule.key(labels, two_sided=_all(rule.source, labels))
            for rule in self.rules
            if _all(rule.target, labels)
        )


def _all(matchers: tuple[Matcher, ...], labels: Labels) -> bool:
    return all(matcher.matches(labels) for matcher in matchers)
