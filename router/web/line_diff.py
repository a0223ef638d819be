"""A unified diff of two texts whose time is bounded: Python's difflib takes minutes for some texts.

Lines that occur once in both texts are matched first (a patience diff), which takes time in proportion to the lines. What
is left between two of them is compared by difflib only while that is cheap; the rest counts as replaced.
"""

import difflib
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_LINES = 20_000
"""How many lines of each text are compared."""
MAX_SHOWN_LINES = 1_000
"""How many lines a diff has."""
_MAX_LINE_CHARS = 500
_LINE_END = re.compile(r"\r\n|\r|\n")
_CONTEXT_LINES = 3
# The comparison takes about a second for this: lines of each pass, and for difflib lines x lines x the fewer lines.
_MAX_WORK = 5_000_000

Range = tuple[int, int, int, int]
"""From and to of the former text, and from and to of the new one."""


@dataclass(frozen=True, slots=True)
class LineDiff:
    """How a text differs from a former one."""

    lines: tuple[str, ...]
    """As in a unified diff: each begins with ``@@``, a space, ``-`` or ``+``. Long lines are cut."""
    added: int
    removed: int
    is_cut: bool
    """There are more lines than these, or one of the texts was not compared to its end."""


def split_lines(text: str) -> list[str]:
    """Return the lines of a text as YAML counts them: Python knows more line ends."""
    lines = _LINE_END.split(text)
    return lines if lines[-1] else lines[:-1]


def diff_lines(before: str, after: str) -> LineDiff:
    """Return how a text differs from a former one."""
    old, new = split_lines(before), split_lines(after)
    is_cut = max(len(old), len(new)) > MAX_LINES
    old, new = old[:MAX_LINES], new[:MAX_LINES]
    changed = list(_Comparison(old, new).changes((0, len(old), 0, len(new))))
    shown: list[str] = []
    for hunk in _hunks(changed):
        shown += _shown(hunk, old, new)
        if len(shown) > MAX_SHOWN_LINES:
            shown, is_cut = shown[:MAX_SHOWN_LINES], True
            break
    return LineDiff(
        tuple(f"{each[:_MAX_LINE_CHARS]} …" if len(each) > _MAX_LINE_CHARS else each for each in shown),
        added=sum(end - begin for _, _, begin, end in changed),
        removed=sum(end - begin for begin, end, _, _ in changed),
        is_cut=is_cut,
    )


class _Comparison:
    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        self._old = old
        self._new = new
        self._work = 0

    def changes(self, whole: Range) -> Iterator[Range]:
        """Yield the ranges that differ, in order."""
        pending = [whole]
        while pending:
            begin, end, new_begin, new_end = self._trimmed(pending.pop())
            if begin == end and new_begin == new_end:
                continue
            self._work += end - begin + new_end - new_begin
            anchors = self._anchors(begin, end, new_begin, new_end) if self._work <= _MAX_WORK else []
            if not anchors:
                yield from self._compared(begin, end, new_begin, new_end)
                continue
            between = []
            for at, new_at in [*anchors, (end, new_end)]:
                between.append((begin, at, new_begin, new_at))
                begin, new_begin = at + 1, new_at + 1
            pending += reversed(between)

    def _trimmed(self, found: Range) -> Range:
        begin, end, new_begin, new_end = found
        while begin < end and new_begin < new_end and self._old[begin] == self._new[new_begin]:
            begin, new_begin = begin + 1, new_begin + 1
        while begin < end and new_begin < new_end and self._old[end - 1] == self._new[new_end - 1]:
            end, new_end = end - 1, new_end - 1
        return begin, end, new_begin, new_end

    def _anchors(self, begin: int, end: int, new_begin: int, new_end: int) -> list[tuple[int, int]]:
        """Return the lines that occur once in both ranges and are in the same order in both: as many as possible."""
        old, new = self._old[begin:end], self._new[new_begin:new_end]
        once = {line for line, count in Counter(old).items() if count == 1}
        once &= {line for line, count in Counter(new).items() if count == 1}
        position = {line: new_begin + at for at, line in enumerate(new) if line in once}
        pairs = [(begin + at, position[line]) for at, line in enumerate(old) if line in once]
        return _longest_rising(pairs)

    def _compared(self, begin: int, end: int, new_begin: int, new_end: int) -> Iterator[Range]:
        old, new = self._old[begin:end], self._new[new_begin:new_end]
        self._work += len(old) * len(new) * min(len(old), len(new))
        if self._work > _MAX_WORK:
            yield begin, end, new_begin, new_end
            return
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
            if tag != "equal":
                yield begin + old_from, begin + old_to, new_begin + new_from, new_begin + new_to


def _longest_rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest part of the pairs whose second numbers rise. https://en.wikipedia.org/wiki/Patience_sorting"""
    tops: list[int] = []  # the smallest last number of a rising part, by its length
    ends: list[int] = []  # the index of the pair with that number
    before: list[int] = []
    for index, (_, number) in enumerate(pairs):
        pile = bisect_left(tops, number)
        before.append(ends[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(number)
            ends.append(index)
        else:
            tops[pile], ends[pile] = number, index
    found, at = [], ends[-1] if ends else -1
    while at >= 0:
        found.append(pairs[at])
        at = before[at]
    return found[::-1]


def _hunks(changes: Sequence[Range]) -> Iterator[list[Range]]:
    """Yield the changes, those together that have fewer lines between them than the context shows."""
    hunk: list[Range] = []
    for change in changes:
        if hunk and change[0] - hunk[-1][1] > 2 * _CONTEXT_LINES:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _shown(hunk: Sequence[Range], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    lead = min(_CONTEXT_LINES, hunk[0][0])
    tail = min(_CONTEXT_LINES, len(old) - hunk[-1][1])
    begin, new_begin = hunk[0][0] - lead, hunk[0][2] - lead
    end, new_end = hunk[-1][1] + tail, hunk[-1][3] + tail
    yield f"@@ -{begin + 1},{end - begin} +{new_begin + 1},{new_end - new_begin} @@"
    at = begin
    for old_from, old_to, new_from, new_to in hunk:
        yield from (f" {line}" for line in old[at:old_from])
        yield from (f"-{line}" for line in old[old_from:old_to])
        yield from (f"+{line}" for line in new[new_from:new_to])
        at = old_to
    yield from (f" {line}" for line in old[at:end])
