"""YAML 1.2 to plain data, with the place of every value; variables and duplicate keys on the way.

``${NAME}`` stands for an environment variable, ``${NAME:-default}`` for one with a default. YAML doesn't
allow ``{token: ${TOKEN}}`` as it stands, so variables are hidden from its parser, at the same width.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from router.channels import KINDS
from router.config.problems import ConfigError, Problem, Trap, mask

Location = tuple[str | int, ...]
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}")
_SHIFT = 0xF0000  # a private plane of Unicode: allowed in YAML's plain scalars, used by nobody
_HIDDEN = re.compile("[\U000f0000-\U000fffff]+")
_TAG = "tag:yaml.org,2002:"


# Keys whose values no message shows, and that can be {file: path}.
SECRETS = frozenset({
    "token", "bearer_token", "password", "routing_key", "secret", "url", "webhook_url",
})  # fmt: skip


# Keys that look like it: misspelt, or another program's.
_SECRETIVE = re.compile(r"tok|pass|pwd|secret|_key|ur[il]|auth|cred", re.IGNORECASE)
_KEY = re.compile(r"""\s*(?:- +)?[\w"'-]+[ \t]*:(?:\s|$)""")
_BESIDE_SECRETS = frozenset({"file", "username", "password"})
_CHANNELS = frozenset(
    kind.section for kind in KINDS.values()
)  # whoever writes one word there writes a secret


# Aliases written out, a file has at most so many pieces of data, and so many more a character: a few lines of
# aliases of aliases would else be billions.
_FEWEST, _PIECES = 10_000, 4


class _TooLarge(Exception):  # noqa: N818  (never seen outside)
    """It has more pieces than anybody writes."""


class Missing(StrEnum):
    """What comes of a variable or a secret that isn't there."""

    ERROR = "error"
    WARNING = "warning"
    """A harmless word takes its place, and it is said: for ``check``, where credentials needn't be."""
    MADE_UP = "made up"
    """A harmless word takes its place: for the preview."""


@dataclass(slots=True)
class Document:
    """The data of a file, and where each piece of it stands (line and column from 1)."""

    name: str
    text: str = field(repr=False)
    """Masked: free of secrets."""
    missing: Missing = Missing.ERROR
    data: Any = None
    values: dict[Location, tuple[int, int]] = field(default_factory=dict)
    keys: dict[Location, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.trap is None]

    def problem(self, location: Location, what: str, todo: str, *, at_key: bool = False) -> None:
        """A mistake at a location, or at the nearest known place around it."""
        self.problems.append(Problem(self.name, *self.place(location, at_key=at_key), what, todo))

    def warn(self, trap: Trap, location: Location, what: str, todo: str, *, at_key: bool = False) -> None:
        """What is allowed and rarely meant."""
        self.problems.append(Problem(self.name, *self.place(location, at_key=at_key), what, todo, trap))

    def lack(self, location: Location, what: str, todo: str, *, at_key: bool = False) -> None:
        """A credential that isn't there."""
        if self.missing is Missing.ERROR:
            self.problem(location, what, todo, at_key=at_key)
        elif self.missing is Missing.WARNING:
            self.warn(Trap.CREDENTIALS, location, what, todo, at_key=at_key)

    def place(self, location: Location, *, at_key: bool = False) -> tuple[int, int]:
        """Line and column of a location, or of the nearest known place around it."""
        if at_key and location in self.keys:
            return self.keys[location]
        return next(
            (
                self.values[location[:end]]
                for end in range(len(location), -1, -1)
                if location[:end] in self.values
            ),
            (1, 1),
        )


def read(text: str, name: str, environ: Mapping[str, str], missing: Missing = Missing.ERROR) -> Document:
    """:raises ConfigError: it is no YAML, or not a mapping"""

    def refused(line: int, column: int, what: str, todo: str) -> ConfigError:
        return ConfigError(
            [Problem(name, line, column, what, todo)], {name: mask(text, _below_secrets(text))}
        )

    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    try:
        root = yaml.compose(_VARIABLE.sub(_hide, text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        what = _harmless(_shown(str(error.problem or error.context or "not YAML")))
        raise refused(line, column, what, "mend the YAML") from None
    except (YAMLError, ValueError) as error:
        what = _shown(str(error).splitlines()[0])
        raise refused(1, 1, what, "mend the YAML") from None
    except RecursionError:
        raise refused(1, 1, "it is nested too deeply", "mend the YAML") from None
    if not isinstance(root, MappingNode):
        what = "the file is empty" if root is None else "the file is not a mapping"
        raise refused(1, 1, what, "start from the routes.yaml of the README")
    try:
        document = Document(name, mask(text, _secret_spans(root)), missing)
    except RecursionError:
        raise refused(1, 1, "an alias stands within its anchor", "mend the YAML") from None
    try:
        document.data = _Builder(document, environ, _FEWEST + _PIECES * len(text)).build(root, ())
    except _TooLarge:
        raise refused(
            1, 1, "its aliases make it too large", "write out what they stand for, or less"
        ) from None
    except RecursionError:
        raise refused(
            1, 1, "it is nested too deeply, or an alias stands within its anchor", "mend the YAML"
        ) from None
    return document


def _below_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Where a text that is no YAML may go on with a secret: whatever follows a line that speaks of one, up to the
    next key.
    """
    below, at = False, 0
    for line in text.splitlines(keepends=True):
        key = _KEY.match(line)
        if key is None and below:
            yield at, at + len(line)
        elif key is not None or _SECRETIVE.search(line):
            below = _SECRETIVE.search(line) is not None
        at += len(line)


def _harmless(what: str) -> str:
    """A password that starts with * or ! is an alias or a tag to YAML, which would tell its name."""
    return "an alias or a tag that isn't known here" if re.search(r"\b(alias|tag)\b", what) else what


def _secret_spans(
    node: Node, *, secret: bool = False, seen: set[tuple[int, bool]] | None = None
) -> Iterator[tuple[int, int]]:
    """Where secrets stand in the text: below their keys, however those are misspelt; a mere variable is none, nor
    is the path of a file.
    """
    seen = set() if seen is None else seen
    if (id(node), secret) in seen:  # an alias
        return
    seen.add((id(node), secret))
    match node:
        case MappingNode():
            for key, value in node.value:
                name = key.value if isinstance(key, ScalarNode) else ""
                if secret and name not in _BESIDE_SECRETS:
                    yield from _secret_spans(key, secret=True, seen=seen)
                scalar = isinstance(value, ScalarNode)
                inside = (
                    not (scalar and name == "file")
                    if secret
                    else _secretive(name) or (scalar and name in _CHANNELS)
                )
                yield from _secret_spans(value, secret=inside, seen=seen)
        case SequenceNode():
            for each in node.value:
                yield from _secret_spans(each, secret=secret, seen=seen)
        case _:
            if secret and not _VARIABLE.fullmatch(_shown(str(node.value))):
                yield node.start_mark.index, node.end_mark.index


def _secretive(key: str) -> bool:
    """Whether a key names a secret, or looks as if it were to."""
    looks = _SECRETIVE.search(key) is not None
    return looks or bool(difflib.get_close_matches(key, SECRETS, n=1, cutoff=0.7))


class _Builder:
    def __init__(self, document: Document, environ: Mapping[str, str], most: int) -> None:
        """:param most: pieces of data, aliases written out"""
        self._document = document
        self._environ = environ
        self._left = most

    def build(self, node: Node, location: Location) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _TooLarge
        self._document.values[location] = (node.start_mark.line + 1, node.start_mark.column + 1)
        match node:
            case MappingNode():
                return self._mapping(node, location)
            case SequenceNode():
                return [self.build(each, (*location, index)) for index, each in enumerate(node.value)]
            case ScalarNode():
                return self._scalar(node, location)
            case _:
                raise TypeError(node)

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        data: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._document.problem(location, "a key is not a word", "write keys as plain words")
                continue
            key = _shown(str(key_node.value))
            inner = (*location, key)
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key == "<<" and key_node.tag == f"{_TAG}merge":
                merged |= self._merge(value_node, location)
                continue
            if key in data:
                first = self._document.keys[inner][0]
                what = f"{key!r} stands twice in the same mapping, first in line {first}"
                self._document.problems.append(Problem(self._document.name, *place, what, "keep one of them"))
                continue
            self._document.keys[inner] = place
            data[key] = self.build(value_node, inner)
        return {**merged, **data}

    def _merge(self, node: Node, location: Location) -> dict[str, Any]:
        """``<<: *anchor``, or a list of them; the first one that has a key counts."""
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for each in nodes:
            if isinstance(each, MappingNode):
                place = self._document.values[location]
                merged = {**self._mapping(each, location), **merged}
                self._document.values[location] = place
        return merged

    def _scalar(self, node: ScalarNode, location: Location) -> Any:
        text = str(node.value)
        if _HIDDEN.search(text):
            return _HIDDEN.sub(lambda match: self._resolve(_shown(match.group()), location), text)
        kind = str(node.tag).removeprefix(_TAG)
        if node.style is not None or kind in {"str", "timestamp"}:
            return text
        if kind not in _PLAIN:
            self._document.problem(location, "this tag is not known here", "write a plain value")
            return text
        return _PLAIN[kind](text)

    def _resolve(self, text: str, location: Location) -> str:
        return _VARIABLE.sub(lambda match: self._variable(match, location), text)

    def _variable(self, match: re.Match[str], location: Location) -> str:
        name, default = match.groups()
        if name in self._environ:
            return self._environ[name]
        if default is not None:
            return default
        self._document.lack(
            location,
            f"the environment variable {name} is not set",
            f"set it, or write ${{{name}:-a default}}",
        )
        return placeholder(name)


def placeholder(name: str) -> str:
    """A word of 32 characters that stands for a secret nobody gave."""
    return name[:32].ljust(32, "x")


def _hide(match: re.Match[str]) -> str:
    return "".join(chr(ord(char) + _SHIFT) if ord(char) < 0x10000 else char for char in match.group())


def _shown(text: str) -> str:
    return _HIDDEN.sub(lambda match: "".join(chr(ord(char) - _SHIFT) for char in match.group()), text)


_PLAIN: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.casefold() == "true",
    # As they stand: a label's 1.10 is not 1.1, and whoever wants a number makes one of it.
    "int": str,
    "float": str,
}
