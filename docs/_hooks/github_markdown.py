r"""A hook of mkdocs: reads pages as GitHub does, so that the same file looks right in both places.

Python-Markdown differs from GitHub in four points: the anchors of headings, the indentation of what stands in a list
item (four columns), the blank line before a list or a table, and ``\|`` in code in a table, which it shows as written.
"""

import re
from dataclasses import dataclass
from typing import Any

_FENCE = re.compile(r" *(`{3,}|~{3,})")
_ITEM = re.compile(r"( *)([-*+]|\d{1,9}[.)])( {1,4})(?=\S)")
_CODE = re.compile(r"`[^`]+`")
_COLUMNS = 4


def slugify(heading: str, _separator: str = "-") -> str:
    """Return the anchor that GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def on_config(config: Any) -> Any:
    """Use GitHub's anchors."""
    config["mdx_configs"].setdefault("toc", {})["slugify"] = slugify
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page with the indentation and the blank lines that Python-Markdown needs."""
    return _Rewriter().rewritten(markdown)


@dataclass(frozen=True)
class _Item:
    indent: int
    """The column of its marker, as written."""
    content: int
    """The column of its text, as written."""


class _Rewriter:
    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._fence = ""
        self._lines: list[str] = []

    def rewritten(self, markdown: str) -> str:
        for line in markdown.splitlines():
            self._add(line)
        return "\n".join(self._lines) + "\n"

    def _add(self, line: str) -> None:
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        before = self._lines[-1] if self._lines else ""
        if self._fence:
            if text.rstrip() == self._fence:
                self._fence = ""
            self._lines.append(self._moved(text, indent))
            return
        if not text:
            self._lines.append("")
            return
        item = _ITEM.match(line)
        self._leave(indent, is_item=item is not None, is_lazy=bool(before) and item is None)
        if fence := _FENCE.match(line):
            self._fence = fence.group(1)
        if item is not None:
            self._begin(item, line, before)
            return
        if text.startswith("|"):
            text = _CODE.sub(lambda code: code.group().replace("\\|", "|"), text)
            if before and not before.lstrip(" ").startswith("|"):
                self._lines.append("")
        self._lines.append(self._moved(text, indent))

    def _leave(self, indent: int, *, is_item: bool, is_lazy: bool) -> None:
        """End the items that a line with this indentation is not part of."""
        if is_lazy:  # it continues the paragraph above
            return
        while self._items and indent < self._items[-1].content:
            if is_item and indent > self._items[-1].indent:
                break
            self._items.pop()

    def _begin(self, item: re.Match[str], line: str, before: str) -> None:
        marks, marker, spaces = item.groups()
        if not self._items and before and not _ITEM.match(before) and not self._is_in_list():
            self._lines.append("")
        indent = _COLUMNS * len(self._items)
        self._items.append(_Item(len(marks), len(marks) + len(marker) + len(spaces)))
        self._lines.append(f"{' ' * indent}{marker} {line[item.end() :]}")

    def _is_in_list(self) -> bool:
        """Return whether the last paragraph belongs to an item of a list."""
        for line in reversed(self._lines):
            if not line:
                return False
            if _ITEM.match(line):
                return True
        return False

    def _moved(self, text: str, indent: int) -> str:
        if not text:
            return ""
        if not self._items:
            return " " * indent + text
        inside = max(0, indent - self._items[-1].content)
        return " " * (_COLUMNS * len(self._items) + inside) + text
