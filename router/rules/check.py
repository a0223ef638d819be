"""Check a routes.yaml before it is served: mistakes, traps, templates that fail."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from router.config import ConfigError, Problem, Trap, load
from router.model import Millis
from router.render import TemplateError


@dataclass(frozen=True, slots=True)
class Checked:
    problems: tuple[Problem, ...]
    """Errors and warnings, in the order of the files."""
    texts: Mapping[str, str]
    """The files, masked, by name."""


def check_file(path: Path, environ: Mapping[str, str], now: Millis) -> Checked:
    """Load the rules as if every credential were there, look for traps, and dry-run the templates of their folder.

    The shipped templates are left out: the tests of the project dry-run them, and compiling them takes as long as all
    the rest.
    """
    try:
        config = load(path, environ=environ, now=now, checking=True)
    except ConfigError as error:
        return Checked(error.errors, error.texts)
    if config.templates is None:
        return Checked(config.problems, config.texts)
    try:
        faults = config.open_templates().check()
    except TemplateError as error:
        return Checked((*config.problems, _fault(str(error), None)), config.texts)
    return Checked((*config.problems, *(_fault(fault, Trap.TEMPLATE) for fault in faults)), config.texts)


def _fault(text: str, trap: Trap | None) -> Problem:
    """Return the problem of a template, from ``file:line: why``. Without a trap it is an error: nothing could be sent."""
    position = re.fullmatch(r"(.+?):(\d+): (.*)", text, re.DOTALL)
    if position is None:
        return Problem(text, 1, 1, "it can't be used", "mend it", trap)
    todo = "mend the template; until then the plain message is sent" if trap else "mend the template"
    return Problem(position.group(1), int(position.group(2)), 1, position.group(3), todo, trap)
