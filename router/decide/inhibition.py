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

    def as_source(self, labels: Labels) -> tuple[Key, ...]: ...
    def as_target(self, labels: Labels) -> tuple[Key, ...]: ...
