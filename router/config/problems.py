"""Errors and warnings about routes.yaml, with their position and what to do."""

import difflib
import heapq
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from router.config.secrets import mask

# How many known names a message lists.
_MAX_NAMES_LISTED = 20
# If there are more known names, only those with the same first two letters are compared: comparing is slow.
_MAX_NAMES_COMPARED = 500
_MAX_EXCERPT_CHARS = 160  # characters of a line of the file
_LINE_ENDS = re.compile(r"\r\n|\r|\n")  # YAML's; Python knows more


class Trap(StrEnum):
    """The kinds of warnings: what is allowed, but probably not intended."""

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
    TEMPLATE = "template-unused"
    ENVIRONMENT = "environment"
    WEAK = "weak-credentials"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """An error; or a warning, if it has a ``trap``. Line and column count from 1."""

    file: str
    line: int
    column: int
    what: str
    todo: str
    trap: Trap | None = field(default=None, compare=False)

    @property
    def is_warning(self) -> bool:
        return self.trap is not None

    @property
    def is_note(self) -> bool:
        """It is a warning about something that is intended, but good to know: it fails no check."""
        return self.trap is Trap.LIMITED

    @property
    def severity(self) -> str:
        return "note" if self.is_note else "warning" if self.is_warning else "error"

    def as_json(self) -> dict[str, Any]:
        kind = "mistake" if self.trap is None else str(self.trap)
        return {
            "file": self.file, "line": self.line, "column": self.column,
            "severity": self.severity, "kind": kind, "what": self.what, "todo": self.todo,
        }  # fmt: skip

    def __str__(self) -> str:
        severity = f"{self.severity}: " if self.is_warning else ""
        return f"{self.file}:{self.line}:{self.column}: {severity}{self.what}; {self.todo}"


class ConfigError(Exception):
    """routes.yaml can't be used. ``errors`` has all its mistakes, in the order of the file."""

    def __init__(self, errors: Iterable[Problem], texts: Mapping[str, str] | None = None) -> None:
        """:param texts: the contents of the files, by name; their secrets are masked here"""
        self.errors = tuple(sorted(set(errors)))
        self.texts = {name: mask(text) for name, text in (texts or {}).items()}
        super().__init__("\n".join(map(str, self.errors)))

    @property
    def shown(self) -> str:
        """All errors, each with its line and a caret."""
        return "\n".join(show_problem(error, self.texts) for error in self.errors)


def show_problem(problem: Problem, texts: Mapping[str, str]) -> str:
    """Return a problem with its line of the file, and a caret under its column."""
    lines = _LINE_ENDS.split(texts.get(problem.file, ""))
    if problem.file not in texts or not 0 < problem.line <= len(lines):
        return str(problem)
    line, number = lines[problem.line - 1], str(problem.line)
    cut = max(0, problem.column - _MAX_EXCERPT_CHARS)
    shown = line[cut : cut + _MAX_EXCERPT_CHARS].translate(_CONTROL)
    return f"{problem}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * (problem.column - 1 - cut)}^"


# One space for each control character, so that the caret stays under the right column.
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")


def did_you_mean(given: str, known: Collection[str], otherwise: str) -> str:
    """Return what to do about an unknown name. :param otherwise: how the list of known names begins"""
    alike = known if len(known) <= _MAX_NAMES_COMPARED else [each for each in known if each[:2] == given[:2]]
    close = difflib.get_close_matches(given, sorted(alike)[:_MAX_NAMES_COMPARED], n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(known) > _MAX_NAMES_LISTED else ""
    return (
        f"{otherwise}: {', '.join(heapq.nsmallest(_MAX_NAMES_LISTED, known))}{more}" if known else otherwise
    )
