"""The text of a drawing, for terminals and files: the same words in the same order, without pictures."""

import re
from html.parser import HTMLParser

from router.render.words import clean

_VOID = {"br", "hr", "rect"}
_BLOCKS = {"article", "details", "div", "h1", "h2", "h3", "hr", "p", "pre", "summary"}
# An empty line follows them; other blocks only end their line.
_PARAGRAPHS = {"details", "hr", "p", "pre"}
_SPACED = {"fields", "links", "text", "thread"}
_BAR = "┃ "
_RULE = "-" * 40
# The search begins only at the first of several spaces, so that many of them take no more than one look each.
_LINE_END = re.compile(r"(?<![ \t])[ \t]+(?=\n)")


def text_of(drawing: str) -> str:
    """Return the text of a drawing: paragraphs, addresses after the words of their links, bars as lines at the left.

    :param drawing: HTML made with the functions of :mod:`router.channels.drawing`
    """
    reader = _Reader()
    reader.feed(drawing.encode().decode())  # the parser keeps slices, which must not be Markup
    reader.close()
    return reader.text()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self._open: list[tuple[str, str]] = []
        """The open elements: the name, and the class or the address of each."""
        self._parts: list[str] = []
        self._bars: list[int] = []
        """How many parts there were at the beginning of each open bar."""
        self._links: list[int] = []
        self._left_out = 0
        """How many open elements are within a section that the text leaves out."""

    def text(self) -> str:
        return clean(_tidy("".join(self._parts)))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        css = given.get("class") or ""
        if self._left_out or (tag == "details" and css == "raw"):
            self._left_out += tag not in _VOID
        elif tag == "br":
            self._parts.append("\n")
        else:
            self._begin(tag, css)
        if tag not in _VOID:
            self._open.append((tag, (given.get("href") or "") if tag == "a" else css))
        elif tag == "hr" and not self._left_out:
            self._parts.append(f"{_RULE}\n\n")

    def _begin(self, tag: str, css: str) -> None:
        if tag in _BLOCKS and self._parts and not self._parts[-1].endswith("\n"):
            self._parts.append("\n")
        if tag == "pre" and self._parts:
            self._parts.append("\n")
        if css == "bar":
            self._bars.append(len(self._parts))
        elif css.startswith("tag "):
            self._parts.append("[")
        elif tag == "a":
            self._links.append(len(self._parts))
        elif tag == "summary":
            self._parts.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        _, about = self._open.pop()
        if self._left_out:
            self._left_out -= 1
            return
        if about == "bar":
            barred = self._cut(self._bars.pop())
            self._parts.append(
                "".join(f"{_BAR}{line}".rstrip() + "\n" for line in _tidy(barred).split("\n")) + "\n"
            )
        elif about.startswith("tag "):
            self._parts.append("] ")
        elif tag == "a":
            self._end_link(about)
        elif tag == "summary":
            self._parts.append(":\n")
        elif tag in _BLOCKS:
            self._parts.append("\n\n" if tag in _PARAGRAPHS or about in _SPACED else "\n")

    def _end_link(self, address: str) -> None:
        words = self._cut(self._links.pop())
        is_button = bool(self._open) and self._open[-1][1] == "links"
        text = address if words == address else f"{words}: {address}" if is_button else f"{words} <{address}>"
        self._parts.append(text + "\n" * is_button)

    def _cut(self, start: int) -> str:
        """Remove the parts from a position on, and return them as one text."""
        text = "".join(self._parts[start:])
        del self._parts[start:]
        return text

    def handle_data(self, data: str) -> None:
        if not self._left_out:
            self._parts.append(data)


def _tidy(text: str) -> str:
    """Return a text with no spaces at the ends of lines, and at most one empty line between two others."""
    return re.sub(r"\n{3,}", "\n\n", _LINE_END.sub("", text)).strip("\n")
