"""Mistakes in routes.yaml, said so that a person can mend them."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

_NAMED = 20  # a longer list of names helps nobody


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Line and column count from 1."""

    line: int
    column: int
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.what}; {self.todo}"


class ConfigError(Exception):
    """routes.yaml can't be used. ``errors`` are all its mistakes, in the order of the file."""

    def __init__(self, name: str, errors: Iterable[Problem]) -> None:
        self.name = name
        self.errors = sorted(set(errors))
        super().__init__("\n".join(f"{name}:{error}" for error in self.errors))


def did_you_mean(given: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name."""
    names = sorted(known)
    close = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = ", …" if len(names) > _NAMED else ""
    return f"{otherwise}: {', '.join(names[:_NAMED])}{more}" if names else otherwise
