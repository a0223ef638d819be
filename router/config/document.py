"""Reads YAML 1.2 as plain data, with the position of every value; resolves variables and finds duplicate keys.

Every scalar stays the text that was written, or None. Models turn it into numbers and booleans.
``${NAME}`` stands for an environment variable, ``${NAME:-default}`` for one with a default.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from router.config.problems import ConfigError, Problem, Trap
from router.config.secrets import Secrets, below_secrets, mask, scalars, secret_spans
from router.config.syntax import (
    HIDDEN,
    VARIABLE,
    Position,
    SyntaxRefusedError,
    compose,
    decoded,
    directive,
    half_a_character,
    is_unicode,
    tags,
    with_variables_shown,
)

Location = tuple[str | int, ...]
_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"

# The largest number of values that a file may have after its aliases are expanded: a base, and some for each character.
# Without a bound, a few lines of aliases of aliases would expand to billions.
_BASE_VALUES, _VALUES_PER_CHARACTER = 10_000, 4


class _TooLarge(Exception):  # noqa: N818  (never leaves this module)
    """The file has too many values after its aliases are expanded."""


class MissingVariables(StrEnum):
    """What happens if a variable or a secret is missing."""

    ERROR = "error"
    WARNING = "warning"
    """A placeholder replaces it, and a warning is added. ``check`` does so, because it needs no credentials."""
    MADE_UP = "made up"
    """A placeholder replaces it. The preview does so, because it sends nothing."""


class Document:
    """The data of a file, and the position of each value (line and column from 1).

    Its problems and its text are shown without secrets: the values of secret keys, and all known secrets, are masked.
    """

    def __init__(
        self,
        name: str,
        text: str = "",
        root: Node | None = None,
        missing: MissingVariables = MissingVariables.ERROR,
        secrets: Secrets | None = None,
        data: Any = None,
    ) -> None:
        """:param secrets: the secrets that are known already; those of this file are added"""
        self.name = name
        self.missing = missing
        self.secrets = secrets if secrets is not None else Secrets()
        self.data = data
        self.values: dict[Location, Position] = {}
        self.keys: dict[Location, Position] = {}
        self.variables: dict[str, str] = {}
        """The values of the variables that the file uses and that are set, by name."""
        self._text = text
        self._root = root
        self._problems: list[Problem] = []

    @property
    def text(self) -> str:
        """The text of the file, with secrets masked."""
        known = self.secrets
        spans = [*known.spans(self._text)]
        if self._root is not None:
            spans += secret_spans(self._root)
            spans += (span for text, span in scalars(self._root) if known.shown_in(text))
        return mask(self._text, spans)

    @property
    def problems(self) -> list[Problem]:
        mask_ = self.secrets.mask
        return [replace(each, what=mask_(each.what), todo=mask_(each.todo)) for each in self._problems]

    @property
    def has_errors(self) -> bool:
        return any(problem.trap is None for problem in self._problems)

    @property
    def errors(self) -> list[Problem]:
        return [problem for problem in self.problems if problem.trap is None]

    def add_error(self, location: Location, what: str, todo: str, *, at_key: bool = False) -> None:
        """Add an error at a location, or at the nearest known location around it."""
        self._problems.append(Problem(self.name, *self.position(location, at_key=at_key), what, todo))

    def add_warning(
        self, trap: Trap, location: Location, what: str, todo: str, *, at_key: bool = False
    ) -> None:
        """Add a warning about something that is allowed, but probably not intended."""
        self._problems.append(Problem(self.name, *self.position(location, at_key=at_key), what, todo, trap))

    def add_missing_credential(
        self, location: Location, what: str, todo: str, *, at_key: bool = False
    ) -> None:
        """Add an error, a warning or nothing about a missing credential, see :class:`MissingVariables`."""
        if self.missing is MissingVariables.ERROR:
            self.add_error(location, what, todo, at_key=at_key)
        elif self.missing is MissingVariables.WARNING:
            self.add_warning(Trap.CREDENTIALS, location, what, todo, at_key=at_key)

    def add_error_at(self, position: Position, what: str, todo: str) -> None:
        """Add an error at a position that has no value."""
        self._problems.append(Problem(self.name, *position, what, todo))

    def position(self, location: Location, *, at_key: bool = False) -> Position:
        """Return line and column of a location, or of the nearest known location around it."""
        if at_key and location in self.keys:
            return self.keys[location]
        return next(
            (
                self.values[location[:end]]
                for end in range(len(location), -1, -1)
                if location[:end] in self.values
            ),
            Position(1, 1),
        )


def load_text(data: bytes, name: str) -> str:
    """Return the text of a file. :raises ConfigError: it is not UTF-8"""
    try:
        return decoded(data)
    except SyntaxRefusedError as error:
        raise _refused(error, data.decode(errors="replace"), name) from None


def read_document(
    text: str,
    name: str,
    environ: Mapping[str, str] | None,
    missing: MissingVariables = MissingVariables.ERROR,
    secrets: Secrets | None = None,
) -> Document:
    """Return a file as a document.

    :param environ: the values of variables; None: ``${…}`` is plain text
    :raises ConfigError: it is not YAML, or not a mapping
    """
    try:
        root = _mapping(compose(text, variables=environ is not None))
        document = Document(name, text, root, missing, secrets)
        document.data = _built(document, root, text, environ)
    except SyntaxRefusedError as error:
        raise _refused(error, text, name) from None
    return document


def _mapping(root: Node | None) -> Node:
    if isinstance(root, MappingNode):
        return root
    what = "the file is empty" if root is None else "the file is not a mapping"
    raise SyntaxRefusedError(Position(1, 1), what, "start from the routes.yaml of the README")


def read_value(text: str) -> Any:
    """Return any YAML as data. Variables are not resolved; every scalar is the text that was written, or None.

    :raises ConfigError: it is not YAML, or has a mistake that would change its meaning
    """
    document = Document("")
    try:
        root = compose(text, variables=False)
        data = None if root is None else _built(document, root, text, None)
    except SyntaxRefusedError as error:
        raise _refused(error, text, "") from None
    if document.has_errors:
        raise ConfigError(document.errors)
    return data


def _built(document: Document, root: Node, text: str, environ: Mapping[str, str] | None) -> Any:
    if environ is not None and (begin := directive(text)) is not None:
        document.add_error_at(begin, "a directive is not allowed here", "remove it: the file is YAML 1.2")
    for position in tags(text):
        todo = "write a plain value; in quotes if it begins with !"
        document.add_error_at(position, "YAML tags are not supported", todo)
    try:
        return _DataBuilder(document, text, environ or {}).build(root, ())
    except _TooLarge:
        what = "its aliases make it too large"
        raise SyntaxRefusedError(
            Position(1, 1), what, "write the repeated parts out, or make them smaller"
        ) from None
    except RecursionError:
        what = "it is nested too deeply, or an alias is inside its own anchor"
        raise SyntaxRefusedError(Position(1, 1), what) from None


def _refused(error: SyntaxRefusedError, text: str, name: str) -> ConfigError:
    problem = Problem(name, *error.position, error.what, error.todo)
    return ConfigError([problem], {name: mask(text, below_secrets(text))})


class _DataBuilder:
    def __init__(self, document: Document, text: str, environ: Mapping[str, str]) -> None:
        self._document = document
        self._text = text
        self._environ = environ
        self._left = _BASE_VALUES + _VALUES_PER_CHARACTER * len(text)

    def build(self, node: Node, location: Location, key: Position | None = None) -> Any:
        """Return a node as data. :param key: the position of its key; an absent value gets this position, too"""
        self._left -= 1
        if self._left < 0:
            raise _TooLarge
        absent = key is not None and node.start_mark.index == node.end_mark.index
        self._document.values[location] = key if absent and key is not None else _begin(node)
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
            position = _begin(key_node)
            if not isinstance(key_node, ScalarNode):
                self._document.add_error_at(position, "a key is not a word", "write keys as plain words")
                continue
            key = with_variables_shown(self._whole(key_node))
            inner = (*location, key)
            if key == "<<" and key_node.tag == _MERGE:
                merged |= self._merge(value_node, location)
                continue
            if key in data:
                first = self._document.keys[inner].line
                what = f"{key!r} is written twice in the same mapping, first in line {first}"
                self._document.add_error_at(position, what, "keep one of them")
                continue
            self._document.keys[inner] = position
            data[key] = self.build(value_node, inner, position)
        return {**merged, **data}

    def _merge(self, node: Node, location: Location) -> dict[str, Any]:
        """Return the data of ``<<: *anchor``, or of a list of anchors. If several have a key, the first one counts."""
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for each in nodes:
            if isinstance(each, MappingNode):
                position = self._document.values[location]
                merged = {**self._mapping(each, location), **merged}
                self._document.values[location] = position
            else:
                what, todo = "<< takes a mapping, and this is not one", "write `<<: *anchor` of a mapping"
                self._document.add_error_at(_begin(each), what, todo)
        return merged

    def _scalar(self, node: ScalarNode, location: Location) -> str | None:
        text = self._whole(node)
        if HIDDEN.search(text):
            return HIDDEN.sub(
                lambda match: self._resolve(with_variables_shown(match.group()), location), text
            )
        return None if node.style is None and node.tag == _NULL else text

    def _whole(self, node: ScalarNode) -> str:
        """Return the text of a scalar, as valid Unicode."""
        position = half_a_character(node, self._text)
        if position is not None:
            todo = "write both halves one after the other, or the character itself"
            self._document.add_error_at(position, "this escape is half of a character", todo)
        return str(node.value)

    def _resolve(self, text: str, location: Location) -> str:
        return VARIABLE.sub(lambda match: self._variable(match, location), text)

    def _variable(self, match: re.Match[str], location: Location) -> str:
        name, default = match.groups()
        value = self._environ.get(name, default)
        if value is None:
            what, todo = (
                f"the environment variable {name} is not set",
                f"set it, or write ${{{name}:-a default}}",
            )
            self._document.add_missing_credential(location, what, todo)
            return placeholder(name)
        if not is_unicode(value):
            what = f"the environment variable {name} has bytes that are not UTF-8"
            self._document.add_error(location, what, "set it to text")
            return placeholder(name)
        if name in self._environ:
            self._document.variables[name] = value
        return value.strip("\r\n")


def _begin(node: Node) -> Position:
    return Position(node.start_mark.line + 1, node.start_mark.column + 1)


def placeholder(name: str) -> str:
    """Return a word of 32 characters for a missing secret, a different one for each name."""
    plain_word = re.fullmatch(r"\w{1,31}", name, re.ASCII)
    return name.ljust(32, "x") if plain_word else hashlib.sha256(name.encode()).hexdigest()[:32]
