"""Checks a routes.yaml before it is served: finds mistakes, traps, and templates that fail."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.config import ConfigError, Problem, Trap, load
from router.model import Millis
from router.render import UNREAD, TemplateError


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of a check."""

    problems: tuple[Problem, ...]
    """Errors and warnings, in the order of the files."""
    texts: Mapping[str, str]
    """The files, masked, by name."""
    files: tuple[Path, ...] = ()
    """The files that were read; empty: not even the main file can be used."""


def check_file(path: Path, environ: Mapping[str, str], now: Millis) -> Checked:
    """Load the rules without credentials, look for traps, and dry-run the templates of their folder.

    The templates of the router itself are not checked: the tests of the project do that, and compiling them would
    double the time.
    """
    try:
        config = load(path, environ=environ, now=now, checking=True)
    except ConfigError as error:
        return Checked(error.errors, error.texts)
    if config.templates is None:
        return Checked(config.problems, config.texts, config.files)
    try:
        faults = config.open_templates().check()
    except TemplateError as error:
        return Checked((*config.problems, _fault(str(error))), config.texts, config.files)
    return Checked((*config.problems, *map(_fault, faults)), config.texts, config.files)


def _fault(text: str) -> Problem:
    """Return the problem of a template: a warning if it only has no effect, else an error.

    :param text: ``file:line: why`` or ``file:line:column: why``
    """
    position = re.fullmatch(r"(.+?):(\d+)(?::(\d+))?: (.*)", text, re.DOTALL)
    if position is None:
        return Problem(text, 1, 1, "it can't be used", "correct it")
    file, line, column, why = position.groups()
    trap, todo = None, "correct the template; until then the plain facts are sent"
    if why.startswith(UNREAD):
        trap, todo = Trap.TEMPLATE, "correct the name, or remove it; it has no effect"
    return Problem(file, int(line), int(column or 1), why, todo, trap)
