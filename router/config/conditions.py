"""What can be said of matchers without an alert: which values they leave, what follows from what, what can't be.

Exact where a label has finitely many values left (equalities, plain alternatives, levels); otherwise nothing is
claimed. Nothing here is ever wrongly said to follow or to be impossible.
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from router.decide import Severity
from router.decide.matchers import Matcher
from router.decide.policy import LEVEL, is_level

_LITERAL_TEXT = re.compile(r"[^.^$*+?()\[\]{}|\\]*")
_ANY_VALUE_PATTERNS = frozenset({".*", "^.*$", "(.*)", "^(?:.*)$"})
_ANY_TEXT_PATTERNS = frozenset({".+", "^.+$", "(.+)", "^(?:.+)$"})


def literal_alternatives(pattern: str) -> frozenset[str] | None:
    """The texts that a pattern matches, if it is nothing but alternatives; None: it is more than that."""
    before = None
    while pattern != before:
        before = pattern
        pattern = pattern.removeprefix("^").removesuffix("$")  # the whole value is matched anyway
        inner = pattern.removeprefix("(?:") if pattern.startswith("(?:") else pattern.removeprefix("(")
        if inner != pattern and inner.endswith(")") and is_balanced(inner[:-1]):
            pattern = inner[:-1]
    parts = pattern.split("|")
    return frozenset(parts) if all(_LITERAL_TEXT.fullmatch(part) for part in parts) else None


def is_balanced(text: str) -> bool:
    depths = itertools.accumulate((char == "(") - (char == ")") for char in text)
    return min(depths, default=0) >= 0


class Conditions:
    """Matchers that all hold, of a route and those above it, or of a side of an inhibit rule."""

    def __init__(self, matchers: Iterable[Matcher], severity: Severity) -> None:
        self._matchers = frozenset(matchers)
        self._severity = severity

    def __iter__(self) -> Iterator[Matcher]:
        return iter(self._matchers)

    def extended(self, *more: Matcher) -> "Conditions":
        return Conditions((*self._matchers, *more), self._severity)

    @cached_property
    def _by_name(self) -> dict[str, list[Matcher]]:
        by_name: dict[str, list[Matcher]] = {}
        for matcher in self._matchers:
            by_name.setdefault(matcher.name, []).append(matcher)
        return by_name

    @cached_property
    def possible_values(self) -> dict[str, frozenset[str]]:
        """The values left to each label that has finitely many."""
        found: dict[str, frozenset[str]] = {}
        for name, matchers in self._by_name.items():
            if name == LEVEL:
                continue
            values = next((each for each in map(listed_values, matchers) if each is not None), None)
            if values is not None:
                found[name] = frozenset(
                    value for value in values if all(matcher.accepts(value) for matcher in matchers)
                )
        levels = frozenset(self._severity.levels)
        if (named := found.get(self._severity.label)) is not None:
            levels = frozenset(self._severity.of({self._severity.label: value})[0] for value in named)
        asked = self._by_name.get(LEVEL, ())
        found[LEVEL] = frozenset(level for level in levels if all(each.accepts(level) for each in asked))
        if named is not None:
            found[self._severity.label] = frozenset(
                value
                for value in named
                if self._severity.of({self._severity.label: value})[0] in found[LEVEL]
            )
        return found

    @property
    def impossible_label(self) -> str | None:
        """A label that can't have any value: no alert meets the conditions. None: some may."""
        empty = sorted(name for name, values in self.possible_values.items() if not values)
        return None if not empty else self._severity.label if empty[0] == LEVEL else empty[0]

    def implies(self, matcher: Matcher) -> bool:
        """Whether every alert that meets the conditions is accepted by the matcher, too."""
        if matcher in self._matchers or accepts_anything(matcher):
            return True
        values = self.possible_values.get(matcher.name)
        if values is not None:
            return all(map(matcher.accepts, values))
        asked = self._by_name.get(matcher.name, ())
        return accepts_any_text(matcher) and any(not each.accepts("") for each in asked)

    def implies_all(self, matchers: Iterable[Matcher]) -> bool:
        return all(map(self.implies, matchers))

    def split_by_label(self) -> Iterator[tuple[str, Iterator["Conditions"]]]:
        """Ways to split the conditions into finitely many cases: a label, and a case for each of its values."""
        for name, values in self.possible_values.items():
            if 1 < len(values) <= _MAX_CASES:
                yield (
                    name,
                    (
                        self.extended(is_level(value) if name == LEVEL else Matcher(name, "=", value))
                        for value in sorted(values)
                    ),
                )


_MAX_CASES = 50


def accepts_anything(matcher: Matcher) -> bool:
    return matcher.op == "=~" and matcher.value in _ANY_VALUE_PATTERNS


def accepts_any_text(matcher: Matcher) -> bool:
    """Whether it takes every value but the empty one."""
    return (matcher.op, matcher.value) == ("!=", "") or (
        matcher.op == "=~" and matcher.value in _ANY_TEXT_PATTERNS
    )


def listed_values(matcher: Matcher) -> frozenset[str] | None:
    """The values that it takes, where these are listed."""
    if matcher.op == "=":
        return frozenset({matcher.value})
    return literal_alternatives(matcher.value) if matcher.op == "=~" else None
