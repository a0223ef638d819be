"""Warnings about matchers: an equality with a text that looks like a pattern, or a pattern anchored at one end only."""

import re
from collections.abc import Iterator
from typing import Any

from router.config.document import Location
from router.config.inspected_file import InspectedFile
from router.config.problems import Trap
from router.decide.matchers import MatcherError, parse_matchers

# A text without these characters needs no warning.
_SUSPECT = re.compile(r"[*+|^$]")
# A text with these is rarely the value of a label.
_PATTERN = re.compile(r"\*|\.\+|\w\|\w")
_START_ANCHOR = re.compile(r"(?:\(\?[A-Za-z]+\))?\^")
_END_ANCHOR = re.compile(r"(?<!\\)(?:\\\\)*\$\Z")
_OPEN_START = re.compile(r"(?:\(\?[A-Za-z]+\))?\(?\.[*+]")
_OPEN_END = re.compile(r".*(?<!\\)\.[*+]\??\)*", re.DOTALL)


def find_matcher_traps(file: InspectedFile) -> None:
    for path, _ in file.models():
        _inspect(file, file.locations[path], "")
    rules = file.document.data.get("inhibit_rules") or ()
    for index, rule in enumerate(rules):
        if rule is not None:
            for side in ("source_", "target_"):
                _inspect(file, ("inhibit_rules", index), side)


def _inspect(file: InspectedFile, where: Location, side: str) -> None:
    for inside, name, op, value in _matchers(file.given(where), side):
        found = _trap_of(name, op, value)
        if found is not None:
            file.document.add_warning(found[0], (*where, *inside), *found[1:])


def _matchers(given: dict[str, Any], side: str) -> Iterator[tuple[Location, str, str, str]]:
    """Yield the location, name, operator and value of each matcher, as the file has them. The location begins at the route
    or at the rule.
    """
    for key, op in ((f"{side}match", "="), (f"{side}match_re", "=~")):
        for name, value in (given.get(key) or {}).items():
            yield (key, name), name, op, value or ""
    key = f"{side}matchers"
    texts = given.get(key) or []
    positions = (
        [((key,), texts)] if isinstance(texts, str) else [((key, n), each) for n, each in enumerate(texts)]
    )
    for inside, text in positions:
        if _SUSPECT.search(text):
            try:
                yield from ((inside, each.name, each.op, each.value) for each in parse_matchers(text))
            except MatcherError:  # an error has been added already
                continue


def _trap_of(name: str, op: str, value: str) -> tuple[Trap, str, str] | None:
    if op in {"=", "!="}:
        if _PATTERN.search(value) is None:
            return None
        what = f"{name}{op}{value!r} compares with exactly this text: it has no wildcards"
        return (
            Trap.LITERAL_PATTERN,
            what,
            "for a pattern, write =~ or !~ with a regular expression, like web-.*",
        )
    begins, ends = _START_ANCHOR.match(value) is not None, _END_ANCHOR.search(value) is not None
    if begins is ends or (begins and _OPEN_END.fullmatch(value)) or (ends and _OPEN_START.match(value)):
        return None
    sign, side, more = ("^", "begins", "end it in .*") if begins else ("$", "ends", "begin it with .*")
    what = f"{name}{op}{value!r} has to match the whole value; it does not match every value that {side} with this text"
    return Trap.HALF_ANCHORED, what, f"{more} to match all that {side} like this, or leave {sign} out"
