"""Which earlier siblings take every alert that would come to a route.

A route takes all that meets some conditions when these imply each of its matchers. To ask every earlier sibling
costs the square of their number. So each sibling is filed under one of its matchers, the one that the fewest share,
and only those are asked that are filed under something that the conditions ask about.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from router.config.conditions import (
    Conditions,
    accepts_any_text,
    accepts_anything,
    is_balanced,
    listed_values,
)
from router.decide import Route, Severity
from router.decide.matchers import Matcher
from router.decide.policy import LEVEL

_WRAPPED = re.compile(r"\^?\(\?:(.*)\)\$?", re.DOTALL)
_LITERAL_START = re.compile(r"[^.^$*+?()\[\]{}|\\]*")
_REPEATS = frozenset("*+?{")
_File = tuple[str, ...]


class Siblings:
    """The children of a route."""

    def __init__(self, routes: Sequence[Route], severity: Severity) -> None:
        self._routes = routes
        self._severity = severity
        self._files: dict[_File, list[int]] = defaultdict(list)
        self._mentioned: dict[str, int] = {}
        """The first sibling that asks about a label."""
        asked = {number: self._asked(route) for number, route in enumerate(routes) if not route.continue_}
        shared = Counter(file for matchers in asked.values() for each in matchers for file in _filed(each))
        for number, matchers in asked.items():
            for each in matchers:
                self._mentioned.setdefault(self._label(each.name), number)
            files = min(
                map(_filed, matchers), key=lambda those: max(shared[file] for file in those), default=((),)
            )
            for file in files:
                self._files[file].append(number)

    def takers(self, asked: Conditions, before: int) -> list[Route]:
        """Those before a number that together take every alert that meets the conditions; empty: some are left."""
        whole = self._taker(asked, before)
        if whole is not None:
            return [self._routes[whole]]
        for name, cases in asked.split_by_label():
            # Whoever takes a case, and not the whole, asks about the label that makes the difference.
            if self._mentioned.get(self._label(name), before) >= before:
                continue
            found = self._each(cases, before)
            if found is not None:
                return [self._routes[number] for number in sorted(found)]
        return []

    def _each(self, cases: Iterable[Conditions], before: int) -> set[int] | None:
        found = set()
        for case in cases:
            number = self._taker(case, before)
            if number is not None:
                found.add(number)
            elif case.impossible_label is None:
                return None
        return found

    def _taker(self, asked: Conditions, before: int) -> int | None:
        """The first one that takes all."""
        numbers = {
            number for file in _looked_for(asked) for number in self._files.get(file, ()) if number < before
        }
        return next(
            (each for each in sorted(numbers) if asked.implies_all(self._routes[each].conditions)), None
        )

    def _asked(self, route: Route) -> list[Matcher]:
        return [each for each in route.conditions if not accepts_anything(each)]

    def _label(self, name: str) -> str:
        """A level follows from its label."""
        return LEVEL if name == self._severity.label else name


def _filed(matcher: Matcher) -> tuple[_File, ...]:
    """Where a sibling with this matcher can be filed."""
    values = listed_values(matcher)
    if values is not None:
        return tuple(("value", matcher.name, value) for value in sorted(values))
    if accepts_any_text(matcher):
        return (("something", matcher.name),)
    prefix = _prefix(matcher.value) if matcher.op == "=~" else ""
    if prefix:
        return (("prefix", matcher.name, prefix), ("same", matcher.name, matcher.op, matcher.value))
    return (("other", matcher.name), ("same", matcher.name, matcher.op, matcher.value))


def _looked_for(asked: Conditions) -> Iterator[_File]:
    """Where all that the conditions may imply is filed."""
    yield ()
    for name, values in asked.possible_values.items():
        if values:
            value = min(values)  # whoever takes all of them takes this one
            yield ("value", name, value)
            yield ("other", name)
            yield from (("prefix", name, value[:length]) for length in range(1, len(value) + 1))
    for matcher in asked:
        yield ("something", matcher.name)
        yield ("same", matcher.name, matcher.op, matcher.value)


def _prefix(pattern: str) -> str:
    """What every text begins with that a pattern matches, as far as that is plain to see."""
    inner = _WRAPPED.fullmatch(pattern)
    if inner is not None and is_balanced(inner.group(1)):
        pattern = inner.group(1)
    if "|" in pattern:
        return ""
    pattern = pattern.removeprefix("^")
    found = _LITERAL_START.match(pattern)
    prefix = found.group() if found is not None else ""
    return prefix[:-1] if pattern[len(prefix) : len(prefix) + 1] in _REPEATS else prefix
