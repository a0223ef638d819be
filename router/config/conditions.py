"""Reasoning about matchers without an alert: which values a label can have, what implies what, what is impossible.

The results are exact for labels with finitely many possible values: equalities, lists of plain alternatives like
``a|b``, and severity levels. Other labels count as "not known". So an answer "impossible" or "implied" is always
right; the opposite answer may mean "not known".
"""

import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cached_property

from router.decide import Severity
from router.decide.matchers import Matcher
from router.decide.policy import LEVEL, level_matcher

_LITERAL_TEXT = re.compile(r"[^.^$*+?()\[\]{}|\\]*")
_ANY_VALUE_PATTERNS = frozenset({".*", "^.*$", "(.*)", "^(?:.*)$"})
_ANY_TEXT_PATTERNS = frozenset({".+", "^.+$", "(.+)", "^(?:.+)$"})
# A label with more possible values is not split into cases: each case is compared with sibling routes.
_MAX_CASES = 50


class Conditions:
    """Matchers that all apply: those of a route and of the routes above it, or those of a side of an inhibit rule."""

    def __init__(self, matchers: Iterable[Matcher], severity: Severity) -> None:
        self._matchers = frozenset(matchers)
        self._severity = severity

    def __iter__(self) -> Iterator[Matcher]:
        return iter(self._matchers)

    def extended(self, *more: Matcher) -> "Conditions":
        """Return these conditions and more."""
        return Conditions((*self._matchers, *more), self._severity)

    @cached_property
    def possible_values(self) -> dict[str, frozenset[str]]:
        """Return by label the values that meet all conditions on it, for labels with a finite number of such values.

        The severity level is always among them, under the name ``LEVEL``.
        """
        found = dict(self._listed_labels())
        label = self._severity.label
        levels = frozenset(self._severity.levels)
        if label in found:  # the level follows from the value of its label
            levels = frozenset(map(self._level_of, found[label]))
        found[LEVEL] = self._accepted(levels, self._by_name.get(LEVEL, ()))
        if label in found:  # and the value has to have a possible level
            found[label] = frozenset(value for value in found[label] if self._level_of(value) in found[LEVEL])
        return found

    @property
    def impossible_label(self) -> str | None:
        """A label without any possible value, so that no alert meets the conditions; None: no such label is known."""
        empty = sorted(name for name, values in self.possible_values.items() if not values)
        if not empty:
            return None
        return self._severity.label if empty[0] == LEVEL else empty[0]

    def implies(self, matcher: Matcher) -> bool:
        """Return whether the matcher accepts every alert that meets the conditions, as far as that is known."""
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
        """Yield each way to split the conditions into finitely many cases: a label, and a case for each of its values."""
        for name, values in self.possible_values.items():
            if 1 < len(values) <= _MAX_CASES:
                yield name, (self._case(name, value) for value in sorted(values))

    def _case(self, name: str, value: str) -> "Conditions":
        return self.extended(level_matcher(value) if name == LEVEL else Matcher(name, "=", value))

    @cached_property
    def _by_name(self) -> dict[str, list[Matcher]]:
        by_name: dict[str, list[Matcher]] = {}
        for matcher in self._matchers:
            by_name.setdefault(matcher.name, []).append(matcher)
        return by_name

    def _listed_labels(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield the labels for which a matcher lists the values, with those that the other matchers accept."""
        for name, matchers in self._by_name.items():
            values = next((each for each in map(listed_values, matchers) if each is not None), None)
            if values is not None and name != LEVEL:
                yield name, self._accepted(values, matchers)

    @staticmethod
    def _accepted(values: frozenset[str], matchers: Iterable[Matcher]) -> frozenset[str]:
        return frozenset(value for value in values if all(matcher.accepts(value) for matcher in matchers))

    def _level_of(self, value: str) -> str:
        """Return the level of an alert whose severity label has this value."""
        level, _ = self._severity.of({self._severity.label: value})
        return level


def listed_values(matcher: Matcher) -> frozenset[str] | None:
    """Return the values that a matcher accepts, if it lists them; None: it is negated, or it is a pattern."""
    if matcher.op == "=":
        return frozenset({matcher.value})
    return literal_alternatives(matcher.value) if matcher.op == "=~" else None


def literal_alternatives(pattern: str) -> frozenset[str] | None:
    """Return the texts that a pattern matches, if it only lists them, like ``a|b``; None: it is more than a list."""
    before = None
    while pattern != before:
        before = pattern
        pattern = pattern.removeprefix("^").removesuffix("$")  # patterns are anchored anyway
        inner = pattern.removeprefix("(?:") if pattern.startswith("(?:") else pattern.removeprefix("(")
        if inner != pattern and inner.endswith(")") and is_balanced(inner[:-1]):
            pattern = inner[:-1]
    parts = pattern.split("|")
    return frozenset(parts) if all(_LITERAL_TEXT.fullmatch(part) for part in parts) else None


def is_balanced(text: str) -> bool:
    """Return whether no bracket closes before it opens. Then brackets around the text belong together."""
    depths = itertools.accumulate((char == "(") - (char == ")") for char in text)
    return min(depths, default=0) >= 0


def accepts_anything(matcher: Matcher) -> bool:
    """Return whether a matcher evidently accepts every value, the empty one too."""
    return matcher.op == "=~" and matcher.value in _ANY_VALUE_PATTERNS


def accepts_any_text(matcher: Matcher) -> bool:
    """Return whether a matcher evidently accepts every value but the empty one."""
    return (matcher.op, matcher.value) == ("!=", "") or (
        matcher.op == "=~" and matcher.value in _ANY_TEXT_PATTERNS
    )
