"""Finds which of many sets of matchers match an alert, without trying each of them.

Each set is a bit. For each label, masks of these bits say which sets a value of the label allows. So an alert costs a
few operations on wide integers, however many sets there are. A regular expression is tried once for each value, and only
if its set is not ruled out otherwise.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from router.decide.matchers import Matcher
from router.model import Labels

# By label. Most values of labels come again; the bound is for labels whose values never do.
_MAX_VALUES_REMEMBERED = 8_192


class MatcherIndex:
    """Sets of matchers. A set matches an alert if all of its matchers do."""

    def __init__(self, sets: Sequence[tuple[Matcher, ...]]) -> None:
        by_name: dict[str, dict[int, tuple[Matcher, ...]]] = defaultdict(dict)
        for number, matchers in enumerate(sets):
            for matcher in matchers:
                by_name[matcher.name][number] = (*by_name[matcher.name].get(number, ()), matcher)
        everything = (1 << len(sets)) - 1
        self._labels = {name: _Label(asked, everything) for name, asked in by_name.items()}
        # By set: the labels that an alert must have, because the set refuses their empty value.
        self._required: list[frozenset[str]] = [
            frozenset(
                name for name in {m.name for m in matchers} if not _all_accept(by_name[name][number], "")
            )
            for number, matchers in enumerate(sets)
        ]
        # A set is a candidate only if the alert has the rarest of its required labels.
        popular = Counter(name for required in self._required for name in required)
        self._anchored: dict[str, int] = defaultdict(int)
        self._anywhere = 0
        for number, required in enumerate(self._required):
            if required:
                self._anchored[min(required, key=lambda name: (popular[name], name))] |= 1 << number
            else:
                self._anywhere |= 1 << number

    def holding(self, labels: Labels) -> Iterator[int]:
        """Yield the numbers of the sets that match, ascending."""
        candidates = self._anywhere
        asked = []
        for name, value in labels.items():
            label = self._labels.get(name)
            if label is not None:
                candidates |= self._anchored.get(name, 0)
                asked.append((label, value))
        for label, value in asked:
            candidates &= label.possible(value)
        for label, value in asked:
            if not candidates:
                return
            candidates = label.holding(value, candidates)
        while candidates:
            lowest = candidates & -candidates
            candidates ^= lowest
            number = lowest.bit_length() - 1
            if self._required[number] <= labels.keys():
                yield number


class _Label:
    """The matchers of all sets on one label."""

    def __init__(self, asked: dict[int, tuple[Matcher, ...]], everything: int) -> None:
        self._asked = asked
        self._exact: dict[str, int] = defaultdict(int)
        self._patterns = 0
        for number, matchers in asked.items():
            wanted = next((matcher.value for matcher in matchers if matcher.op == "="), None)
            if wanted is None:
                self._patterns |= 1 << number
            else:
                self._exact[wanted] |= 1 << number
        self._free = everything & ~sum(1 << number for number in asked)
        self._matched: dict[str, tuple[int, int]] = {}
        """By value of the label: the mask of the sets that were tested with it, and the mask of the sets that match."""

    def possible(self, value: str) -> int:
        """Return the mask of the sets that don't require another value."""
        return self._free | self._patterns | self._exact.get(value, 0)

    def holding(self, value: str, candidates: int) -> int:
        """Return the mask of the candidates whose matchers on this label match the value.

        :param candidates: all possible
        """
        unclear = candidates & ~self._free
        if not unclear:
            return candidates
        asked, holding = self._matched.get(value, (0, 0))
        todo = unclear & ~asked
        if todo:
            asked |= todo
            while todo:
                lowest = todo & -todo
                todo ^= lowest
                if _all_accept(self._asked[lowest.bit_length() - 1], value):
                    holding |= lowest
            if len(self._matched) >= _MAX_VALUES_REMEMBERED:
                del self._matched[next(iter(self._matched))]
            self._matched[value] = asked, holding
        return candidates & (self._free | holding)


def _all_accept(matchers: tuple[Matcher, ...], value: str) -> bool:
    return all(matcher.accepts(value) for matcher in matchers)
