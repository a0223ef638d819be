"""Texts and tables for terminals: they fit the width, and no text from outside controls the terminal."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_MIN_FLEXIBLE = 16
"""The least width of a column whose texts are wrapped. In a narrower table, each row is written as lines."""
_MAX_MARKS = 2
"""How many combining marks a character keeps: more of them cover the lines above and below."""
_GAP = "  "
_COLORS = {"bad": "31", "warn": "33", "good": "32", "calm": "36", "quiet": "2", "bold": "1"}
_STYLE_OF_WORD = {
    "critical": "bad", "firing": "bad", "dead": "bad", "broken": "bad", "rejected": "bad", "failing": "bad",
    "warning": "warn", "retry": "warn", "held": "warn", "pending": "warn", "inhibited": "warn", "paused": "warn",
    "interrupted": "warn", "rate limited": "warn", "trying": "warn", "under way": "warn",
    "info": "calm", "digest": "calm",
    "resolved": "good", "delivered": "good", "healthy": "good", "notified": "good", "ended": "good",
    "obsolete": "quiet", "dropped": "quiet", "discarded": "quiet", "unused": "quiet",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    title: str
    is_number: bool = False
    is_flexible: bool = False
    """Its texts are wrapped where the table is too wide."""
    is_styled: bool = False
    """Its texts are words of the glossary, such as ``held``, and have the colour of their word."""


def printable(text: object) -> str:
    """Return a text as one line that controls no terminal: without control characters, escape sequences, direction overrides
    and characters without a width.
    """
    words = str(text)
    if words.isascii() and words.isprintable():
        return words
    found: list[str] = []
    marks = 0
    for character in " ".join(words.split()):
        category = unicodedata.category(character)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if category == "Cf" or marks > _MAX_MARKS:
            continue
        is_control = category[0] == "C" or category in {"Zl", "Zp"}
        found.append("\N{REPLACEMENT CHARACTER}" if is_control else character)
    return "".join(found)


def width(text: str) -> int:
    """Return how many columns of a terminal a printable text takes. https://www.unicode.org/reports/tr11/"""
    if text.isascii():
        return len(text)
    return sum(map(_width_of, text))


def _width_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def clipped(text: str, columns: int) -> str:
    """Return a printable text that takes at most so many columns, with an ellipsis if it is cut."""
    if width(text) <= columns:
        return text
    taken, kept = 0, []
    for character in text:
        taken += _width_of(character)
        if taken > columns - 1:
            break
        kept.append(character)
    return "".join(kept) + "…" if columns > 0 else ""


def wrapped(text: str, columns: int) -> list[str]:
    """Return a printable text as lines of at most so many columns. Words that are longer are broken."""
    lines, line = [], ""
    for word in text.split(" "):
        rest = word
        if line and width(line) + 1 + width(rest) <= columns:
            line = f"{line} {rest}"
            continue
        if line:
            lines.append(line)
        while width(rest) > max(columns, 2):
            piece = clipped(rest, max(columns, 2) + 1)[:-1]
            lines.append(piece)
            rest = rest[len(piece) :]
        line = rest
    return [*lines, line]


def painted(text: str, style: str | None, *, colors: bool) -> str:
    """Return a text in a style. :param style: ``bad``, ``warn``, ``good``, ``calm``, ``quiet`` or ``bold``"""
    return f"\x1b[{_COLORS[style]}m{text}\x1b[0m" if colors and style is not None and text else text


def style_of(word: str) -> str | None:
    """Return the style of a word of the glossary, such as ``held``; None: it has none."""
    return _STYLE_OF_WORD.get(word)


class TextTable:
    """Lays out rows. The widths are those of the first rows, so that a long list can be written as it comes."""

    def __init__(self, columns: Sequence[Column], columns_of_terminal: int | None, *, colors: bool) -> None:
        """:param columns_of_terminal: None: no terminal, nothing is wrapped"""
        self._columns = columns
        self._width = columns_of_terminal
        self._colors = colors
        self._widths: list[int] | None = None
        self._as_lines = False

    def lines(self, rows: Iterable[Sequence[object]]) -> Iterator[str]:
        """Yield the lines of some rows. The first ones come after the titles."""
        texts = [[printable(cell) for cell in row] for row in rows]
        if self._widths is None:
            self._lay_out(texts)
            if not self._as_lines:
                yield self._join([(each.title, None) for each in self._columns], "bold")
        for row in texts:
            yield from self._row_as_lines(row) if self._as_lines else self._row(row)

    def _lay_out(self, rows: Sequence[Sequence[str]]) -> None:
        titles = [each.title for each in self._columns]
        widths = [max(map(width, column)) for column in zip(titles, *rows, strict=True)]
        if self._width is not None:
            over = sum(widths) + len(_GAP) * (len(widths) - 1) - self._width
            flexible = [number for number, each in enumerate(self._columns) if each.is_flexible]
            while over > 0 and flexible:
                widest = max(flexible, key=lambda number: widths[number])
                if widths[widest] <= _MIN_FLEXIBLE:
                    break
                widths[widest] -= 1
                over -= 1
            self._as_lines = over > 0
        self._widths = widths

    def _row(self, row: Sequence[str]) -> Iterator[str]:
        assert self._widths is not None  # noqa: S101  (narrows the type)
        cells = [
            wrapped(cell, columns) if self._width is not None and column.is_flexible else [cell]
            for cell, columns, column in zip(row, self._widths, self._columns, strict=True)
        ]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            styles = [style_of(each) if column.is_styled else None for each, column in zip(parts, self._columns, strict=True)]  # fmt: skip
            yield self._join(list(zip(parts, styles, strict=True)))

    def _join(self, cells: Sequence[tuple[str, str | None]], style: str | None = None) -> str:
        assert self._widths is not None  # noqa: S101  (narrows the type)
        found = []
        for (text, own), columns, column in zip(cells, self._widths, self._columns, strict=True):
            space = " " * (columns - width(text))
            shown = painted(text, own or style, colors=self._colors)
            found.append(space + shown if column.is_number else shown + space)
        return _GAP.join(found).rstrip()

    def _row_as_lines(self, row: Sequence[str]) -> Iterator[str]:
        """Yield a row as one line for each column, for a narrow terminal."""
        for column, text in zip(self._columns, row, strict=True):
            if text:
                style = style_of(text) if column.is_styled else None
                title = painted(f"{column.title}:", "quiet", colors=self._colors)
                for number, line in enumerate(wrapped(text, (self._width or 80) - 2)):
                    if number == 0 and width(line) + width(column.title) + 2 <= (self._width or 80):
                        yield f"{title} {painted(line, style, colors=self._colors)}"
                        continue
                    if number == 0:
                        yield title
                    yield f"  {painted(line, style, colors=self._colors)}"
        yield ""
