"""Mistakes in routes.yaml, said so that a person can mend them."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

_NAMED = 20  # a longer list of names helps nobody
_SHOWN = 160  # characters of a line of the file
# What stands after a secret's key, unless it is a mere ${VARIABLE} or {file: path}; and before an address's @.
_SECRET_TEXTS = (
    re.compile(
        r"""\b(?:token|bearer_token|password|routing_key|service_key|secret|webhook_url|url)["']?[ \t]*:[ \t]*
        (?:[|>]?[-+\d]*[ \t]*\n\s*)?  # or in the next line
        (?P<secret>(?!["']?\$\{\w+\}["']?[ \t]*(?:[,}#]|$))(?:"[^"\n]*"?|'[^'\n]*'?|[^\s{\[|>][^,}\n]*))""",
        re.VERBOSE | re.MULTILINE,
    ),
    re.compile(r"//(?P<secret>[^\s@/]+)@"),
)


class Trap(StrEnum):
    """What is allowed and yet rarely meant: the kinds of warnings."""

    INTERVALS_OR = "intervals-or"
    NEVER = "never-true"
    ALWAYS = "always-true"
    UNREACHABLE = "unreachable-route"
    SHADOWED = "shadowed-route"
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
    def warning(self) -> bool:
        return self.trap is not None

    def as_json(self) -> dict[str, Any]:
        kind = "mistake" if self.trap is None else str(self.trap)
        return {
            "file": self.file, "line": self.line, "column": self.column,
            "severity": "warning" if self.warning else "error", "kind": kind, "what": self.what, "todo": self.todo,
        }  # fmt: skip

    def __str__(self) -> str:
        warning = "warning: " if self.warning else ""
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
        return "\n".join(show(error, self.texts) for error in self.errors)


def show(problem: Problem, texts: Mapping[str, str]) -> str:
    """A problem with the line that it is in, and a caret under its place."""
    lines = texts.get(problem.file, "").splitlines()
    if not 0 < problem.line <= len(lines):
        return str(problem)
    line, number = lines[problem.line - 1], str(problem.line)
    cut = max(0, problem.column - _SHOWN)
    shown = line[cut : cut + _SHOWN].translate(_CONTROL)
    return f"{problem}\n  {number} | {shown}\n  {' ' * len(number)} | {' ' * (problem.column - 1 - cut)}^"


# Each as wide as it was, so that the caret stands right.
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)), " ")


def mask(text: str, spans: Iterable[tuple[int, int]] = ()) -> str:
    """The text with its secrets starred out, at the same width; line ends stay.

    :param spans: where secrets are known to stand (from, to), besides what looks like one
    """
    characters = list(text)
    found = [match.span("secret") for pattern in _SECRET_TEXTS for match in pattern.finditer(text)]
    for begin, end in (*spans, *found):
        for at in range(begin, end):
            if not characters[at].isspace():
                characters[at] = "*"
    return "".join(characters)


def did_you_mean(given: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(names) > _NAMED else ""
    return f"{otherwise}: {', '.join(names[:_NAMED])}{more}" if names else otherwise
