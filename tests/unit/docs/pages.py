"""Reads the pages of the documentation: their sections, their tables, and the names in backticks."""

import re
from pathlib import Path

from pydantic import BaseModel

ROOT = Path(__file__).parents[3]
_HEADING = re.compile(r"^#+ (.+)$")
_NAME = re.compile(r"`([^`]+)`")


def pages() -> list[Path]:
    """Return every page that people write: README, CONTRIBUTING, CHANGELOG and docs/, without the measured page."""
    found = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
    return found + [page for page in sorted(ROOT.glob("docs/**/*.md")) if page.name != "performance.md"]


def text(page: str) -> str:
    return (ROOT / page).read_text()


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next heading of any level. :raises StopIteration: there is none"""
    lines = iter(text(page).splitlines())
    next(line for line in lines if (found := _HEADING.match(line)) and found.group(1) == heading)
    below: list[str] = []
    is_code = False
    for line in lines:
        is_code ^= line.startswith("```")
        if _HEADING.match(line) and not is_code:
            break
        below.append(line)
    return "\n".join(below)


def headings(page: str) -> list[str]:
    without_code = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)


def tables(markdown: str) -> list[list[list[str]]]:
    """Return the tables of a text, each a list of rows of cells. The first row is the head."""
    found: list[list[list[str]]] = []
    is_inside = False
    for line in markdown.splitlines():
        if not line.startswith("|"):
            is_inside = False
        elif not line.startswith("|---"):
            if not is_inside:
                found.append([])
            is_inside = True
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            found[-1].append([cell.strip() for cell in cells])
    return found


def rows(markdown: str, head: str) -> list[list[str]]:
    """Return the rows, without heads, of all tables whose first column has this name."""
    return [row for table in tables(markdown) if table[0][0] == head for row in table[1:]]


def names(cell: str) -> list[str]:
    """Return what stands in backticks."""
    return _NAME.findall(cell)


def first_names(markdown: str, head: str) -> list[str]:
    """Return the names in the first cells of all tables whose first column has this name."""
    return [name for row in rows(markdown, head) for name in names(row[0])]


def model_keys(*models: type[BaseModel]) -> set[str]:
    """Return the keys of models of routes.yaml, as the file writes them."""
    return {field.alias or name for model in models for name, field in model.model_fields.items()}
