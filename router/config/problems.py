"""Mistakes in routes.yaml, said so that a person can mend them."""

import difflib
import heapq
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router.config.secrets import mask

_MAX_NAMES_LISTED = 20  # a longer list of names helps nobody
_MAX_NAMES_COMPARED = (
    500  # with more names, those that begin alike: to compare is slow, and there may be as many mistakes
)
_MAX_LINE_CHARS = 160  # characters of a line of the file
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # YAML's; Python knows more


class Trap(StrEnum):
    """What is allowed and yet rarely meant: the kinds of warnings."""

    INTERVALS_OR = "intervals-or"
    MINUTE_GAP = "minute-gap"
    NEVER = "never-true"
    ALWAYS = "always-true"
    UNREACHABLE = "unreachable-route"
    SHADOWED = "shadowed-route"
    LITERAL_PATTERN = "literal-pattern"
    HALF_ANCHORED = "half-anchored"
    NOBODY = "leads-to-nobody"
    UNUSED = "unused"
    INHIBITS_ITSELF = "inhibits-itself"
    INHIBITS_ALL = "inhibits-everything"
    INHIBITS_NOTHING = "inhibits-nothing"
    CREDENTIALS = "no-credentials"
    TEMPLATE = "template-fails"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Line and column count from 1. With a ``trap`` it is a warning."""

    file: str
    line: int
    column: int
    what: str
    todo: str
    trap: Trap | None = field(default=None, compare=False)

    @property
    def is_warning(self) -> bool:
        return self.trap is not None

    def as_json(self) -> dict[str, Any]:
        kind = "mistake" if self.trap is None else str(self.trap)
        return {
            "file": self.file, "line": self.line, "column": self.column,
            "severity": "warning" if self.is_warning else "error", "kind": kind, "what": self.what, "todo": self.todo,
        }  # fmt: skip

    def __str__(self) -> str:
        warning = "warning: " if self.is_warning else ""
        return f"{self.file}:{self.line}:{self.column}: {warning}{self.what}; {self.todo}"


class ConfigError(Exception):
    """routes.yaml can't be used. ``errors`` are all its mistakes, in the order of the file."""

    def __init__(self, errors: Iterable[Problem], texts: Mapping[str, str] | None = None) -> None:
        """:param texts: what the files hold, by name; secrets are masked before it is kept"""
        self.errors = tuple(sorted(set(errors)))
        self.texts = {name: mask(text) for name, text in (texts or {}).items()}
        super().__init__("\n".join(map(str, self.errors)))

    @property
    def shown(self) -> str:
        """All mistakes, each with its line and a caret."""
        return "\n".join(show_problem(error, self.texts) for error in self.errors)


def show_problem(problem: Problem, texts: Mapping[str, str]) -> str:
    """A problem with the line that it is in, and a caret under its place."""
    lines = _LINE_ENDS.split(texts.get(problem.file, ""))
    if problem.file not in texts or not 0 < problem.line <= len(lines):
        return str(problem)
    line, number = lines[problem.line - 1], str(problem.line)
    cut = max(0, problem.column - _MAX_LINE_CHARS)
    shown = line[cut : cut + _MAX_LINE_CHARS].translate(_CONTROL)
    return f"{problem}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * (problem.column - 1 - cut)}^"


# Each as wide as it was, so that the caret stands right.
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")


def did_you_mean(given: str, known: Collection[str], otherwise: str) -> str:
    """What to do about an unknown name."""
    alike = known if len(known) <= _MAX_NAMES_COMPARED else [each for each in known if each[:2] == given[:2]]
    close = difflib.get_close_matches(given, sorted(alike)[:_MAX_NAMES_COMPARED], n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(known) > _MAX_NAMES_LISTED else ""
    return (
        f"{otherwise}: {', '.join(heapq.nsmallest(_MAX_NAMES_LISTED, known))}{more}" if known else otherwise
    )
