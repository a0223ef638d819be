"""Finds the earlier sibling routes that take every alert that a route could get.

A route takes every alert that meets some conditions if the conditions imply each of its matchers. Comparing each route
with every earlier sibling would cost the square of their number. So an index files each sibling under the keys of one
of its matchers: the one whose keys the fewest siblings share. Conditions yield the keys of all matchers that they can
imply, and only the siblings filed under these keys are compared.
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

_Key = tuple[str, ...]
"""A key of the index: ``()`` for a route without matchers, else

- ``("value", label, value)``: a matcher accepts this value
- ``("any text", label)``: a matcher accepts all but the empty value
- ``("prefix", label, prefix)``: a matcher accepts only values that begin so
- ``("other", label)``: any other matcher of the label
- ``("same", label, operator, value)``: this very matcher
"""


class Siblings:
    """The children of a route, indexed."""

    def __init__(self, routes: Sequence[Route], severity: Severity) -> None:
        self._routes = routes
        self._severity = severity
        self._index: dict[_Key, list[int]] = defaultdict(list)
        """The numbers of the routes that stop their siblings, by key."""
        self._first_about: dict[str, int] = {}
        """By label: the number of the first of these routes that has a matcher on it."""
        matchers_of = {
            number: [each for each in route.conditions if not accepts_anything(each)]
            for number, route in enumerate(routes)
            if not route.continue_
        }
        popularity = Counter(
            key for matchers in matchers_of.values() for each in matchers for key in _keys_of(each)
        )
        for number, matchers in matchers_of.items():
            for each in matchers:
                self._first_about.setdefault(self._label(each.name), number)
            rarest = min(
                map(_keys_of, matchers), key=lambda keys: max(popularity[key] for key in keys), default=((),)
            )
            for key in rarest:
                self._index[key].append(number)

    def takers(self, conditions: Conditions, before: int) -> list[Route]:
        """Return routes that together take every alert that meets the conditions; empty: none do, as far as is known.

        :param before: the number of a route; only routes with a lower number than this are considered
        """
        single = self._taker(conditions, before)
        if single is not None:
            return [self._routes[single]]
        for name, cases in conditions.split_by_label():
            # No route takes everything. One that takes a case has a matcher on the label that makes the cases.
            if self._first_about.get(self._label(name), before) >= before:
                continue
            numbers = self._takers_of_cases(cases, before)
            if numbers is not None:
                return [self._routes[number] for number in sorted(numbers)]
        return []

    def _takers_of_cases(self, cases: Iterable[Conditions], before: int) -> set[int] | None:
        """Return the numbers of the routes that take the cases; None: some possible case is left."""
        numbers = set()
        for case in cases:
            number = self._taker(case, before)
            if number is not None:
                numbers.add(number)
            elif case.impossible_label is None:
                return None
        return numbers

    def _taker(self, conditions: Conditions, before: int) -> int | None:
        """Return the number of the first route that takes every alert that meets the conditions."""
        candidates = {
            number
            for key in _keys_implied(conditions)
            for number in self._index.get(key, ())
            if number < before
        }
        return next(
            (each for each in sorted(candidates) if conditions.implies_all(self._routes[each].conditions)),
            None,
        )

    def _label(self, name: str) -> str:
        """Return ``LEVEL`` for the severity label, because the level follows from it; any other name unchanged."""
        return LEVEL if name == self._severity.label else name


def _keys_of(matcher: Matcher) -> tuple[_Key, ...]:
    """Return the keys that a route with this matcher is filed under."""
    values = listed_values(matcher)
    if values is not None:
        return tuple(("value", matcher.name, value) for value in sorted(values))
    if accepts_any_text(matcher):
        return (("any text", matcher.name),)
    prefix = _literal_prefix(matcher.value) if matcher.op == "=~" else ""
    key = ("prefix", matcher.name, prefix) if prefix else ("other", matcher.name)
    return (key, ("same", matcher.name, matcher.op, matcher.value))


def _keys_implied(conditions: Conditions) -> Iterator[_Key]:
    """Yield the keys of all matchers that the conditions may imply."""
    yield ()
    for name, values in conditions.possible_values.items():
        if values:
            value = min(values)  # one is enough: an implied matcher accepts all of them
            yield ("value", name, value)
            yield ("other", name)
            yield from (("prefix", name, value[:length]) for length in range(1, len(value) + 1))
    for matcher in conditions:
        yield ("any text", matcher.name)
        yield ("same", matcher.name, matcher.op, matcher.value)


def _literal_prefix(pattern: str) -> str:
    """Return the literal text that a pattern begins with; empty if it has alternatives."""
    inner = _WRAPPED.fullmatch(pattern)
    if inner is not None and is_balanced(inner.group(1)):
        pattern = inner.group(1)
    if "|" in pattern:
        return ""
    pattern = pattern.removeprefix("^")
    found = _LITERAL_START.match(pattern)
    prefix = found.group() if found is not None else ""
    return prefix[:-1] if pattern[len(prefix) : len(prefix) + 1] in _REPEATS else prefix
