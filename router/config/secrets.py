"""Secrets of routes.yaml: which keys have one, where they are in a text, and how they are hidden in messages.

Which keys and which texts are secrets is derived from the models and the channels: nothing here names a channel.
"""

import difflib
import re
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from router.channels import REGISTRY, ChannelSpec
from router.config.file_identity import FileIdentity, identify_file
from router.config.models import FileModel
from router.config.syntax import VARIABLE, with_variables_shown

# A misspelt key, or a key of another program, that probably holds a secret.
_SUSPICIOUS_KEY = re.compile(r"tok|pass|pwd|secret|_key|ur[il]|auth|cred", re.IGNORECASE)
_SIMILAR_KEY = 0.7
_KEY_LINE = re.compile(r"""\s*(?:- +)?[\w"'-]+[ \t]*:(?:\s|$)""")
# Keys that may stand below a secret's key, and are not secrets themselves.
_KEYS_BELOW_SECRETS = frozenset({"file", "username", "password", "password_hash"})
# The value of a secret's key, unless it is only ${VARIABLE} or {file: path}.
_VALUE = r"""["']?[ \t]*:[ \t]*
    (?:[|>]?[-+\d]*[ \t]*\n\s*)?  # or in the next line
    (?P<secret>(?!["']?\$\{\w+\}["']?[ \t]*(?:[,}#]|$))(?:"[^"\n]*"?|'[^'\n]*'?|[^\s{\[|>][^,}\n]*))"""
# A user and a password in an address.
_LOGIN_IN_ADDRESS = r"""//(?P<user>[^\s@/]+)@ | \b[^\s"'@/:]+:(?P<password>[^\s"'@/]+)@"""
# A bcrypt hash, and a token that `alert-router new-token` made.
_CREDENTIALS = r"""(?P<hash>\$2[aby]\$\d\d\$[./A-Za-z0-9]{10,53}) | \b(?P<token>alert_router_[\w-]{20,})"""
# A shorter secret may be part of any word: it counts only as a whole word.
_MIN_SUBSTRING_CHARS = 8
_MIN_SECRET_CHARS = 4
# Above this number of secrets of one length, a text is searched once for all of them.
_MAX_SEPARATE_SEARCHES = 100


@dataclass(frozen=True, slots=True)
class _SecretForms:
    """How secrets are recognized. It depends on the registered channels."""

    keys: frozenset[str]
    """Keys of routes.yaml whose values no message shows, and that can be ``{file: path}``."""
    after_key: re.Pattern[str]
    """A value after such a key, or after a key of another program; the group ``secret``."""
    by_look: re.Pattern[str]
    """A text that is a secret in any position; its last group."""
    sections: frozenset[str]
    """The sections of ``channels:``. A single word below one is probably its secret."""


def secret_keys() -> frozenset[str]:
    """Return the keys of routes.yaml whose values no message shows, and that can be ``{file: path}``."""
    return _forms().keys


def _forms() -> _SecretForms:
    return _forms_of(tuple(REGISTRY.values()))


@lru_cache(maxsize=8)
def _forms_of(specs: tuple[ChannelSpec, ...]) -> _SecretForms:
    models: list[type[BaseModel]] = [FileModel]
    for spec in specs:
        models += (spec.settings, spec.options)
    keys = frozenset(_secret_fields(models))
    words = keys.union(*(spec.secret_keys_elsewhere for spec in specs))
    patterns = [
        f"(?P<pattern{number}>{spec.secret_pattern})"
        for number, spec in enumerate(specs)
        if spec.secret_pattern
    ]
    return _SecretForms(
        keys,
        re.compile(
            rf"\b(?:{'|'.join(sorted(words, key=len, reverse=True))}){_VALUE}", re.VERBOSE | re.MULTILINE
        ),
        re.compile(" | ".join([_LOGIN_IN_ADDRESS, _CREDENTIALS, *patterns]), re.VERBOSE),
        frozenset(spec.section for spec in specs),
    )


def _secret_fields(roots: Iterable[type[BaseModel]]) -> Iterator[str]:
    """Yield the keys that hold a ``SecretStr``, of models and of the models in their fields."""
    pending, seen = list(roots), set()
    while pending:
        model = pending.pop()
        if model in seen:
            continue
        seen.add(model)
        for name, field in model.model_fields.items():
            types = set(_types_in(field.annotation))
            if SecretStr in types:
                yield field.alias or name
            pending += (each for each in types if issubclass(each, BaseModel))


def _types_in(annotation: Any) -> Iterator[type]:
    """Yield the classes that an annotation names, such as the members of a union."""
    if isinstance(annotation, type):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _types_in(inner)


class Secrets:
    """Collects the secrets that the files of a configuration contain, and masks them in messages."""

    def __init__(self) -> None:
        self._by_length: dict[int, set[str]] = {}
        self.files: dict[Path, FileIdentity] = {}
        """The files of secrets, each as it was just before it was first read; empty: it could not be read, or was not."""

    def note_file(self, path: Path) -> None:
        """Record the identity of a file. Call it before the file is read, so that a later change of the file is
        noticed.
        """
        if path not in self.files:
            self.files[path] = identify_file(path)

    def note_unreadable(self, path: Path) -> None:
        """Record that a file can't be read. It can become readable without any other change."""
        self.files[path] = ()

    def add(self, value: str) -> None:
        for each in {value, repr(value)[1:-1]}:
            if len(each) >= _MIN_SECRET_CHARS:
                self._by_length.setdefault(len(each), set()).add(each)

    def shown_in(self, text: str) -> bool:
        """Return whether a text contains a known secret, or something that looks like a secret."""
        return any(True for _ in self.spans(text)) or _forms().by_look.search(text) is not None

    def mask(self, text: str) -> str:
        """Return a message with asterisks in place of secrets."""
        return starred(text, (*self.spans(text), *_spans_by_look(text)))

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield the spans of known secrets in a text (from, to)."""
        for length, values in self._by_length.items():
            for at in _found(text, values, length):
                end = at + length
                is_word = not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum())
                if length >= _MIN_SUBSTRING_CHARS or is_word:
                    yield at, end


def _found(text: str, values: set[str], length: int) -> Iterator[int]:
    """Yield the index of each occurrence of one of the values. :param length: of every value"""
    if len(values) > _MAX_SEPARATE_SEARCHES:
        yield from (at for at in range(len(text) - length + 1) if text[at : at + length] in values)
        return
    for value in values:
        at = text.find(value)
        while at >= 0:
            yield at
            at = text.find(value, at + 1)


def mask(text: str, spans: Iterable[tuple[int, int]] = ()) -> str:
    """Return a file's text with asterisks in place of secrets. Its width and its line ends stay.

    :param spans: spans of known secrets (from, to); texts that look like a secret are found here
    """
    after = (match.span("secret") for match in _forms().after_key.finditer(text))
    return starred(text, (*spans, *after, *_spans_by_look(text)))


def starred(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """Return a text with asterisks at these spans (from, to); white space stays."""
    characters = list(text)
    for begin, end in spans:
        for at in range(begin, end):
            if not characters[at].isspace():
                characters[at] = "*"
    return "".join(characters)


def _spans_by_look(text: str) -> Iterator[tuple[int, int]]:
    return (match.span(match.lastgroup or 0) for match in _forms().by_look.finditer(text))


def secret_spans(
    node: Node, *, secret: bool = False, seen: set[tuple[int, bool]] | None = None
) -> Iterator[tuple[int, int]]:
    """Yield the spans of secrets in the text of a file: the values below their keys, even misspelt ones.

    A plain ``${VARIABLE}`` is not a secret, and neither is the path of a file.
    """
    seen = set() if seen is None else seen
    if (id(node), secret) in seen:  # an alias
        return
    seen.add((id(node), secret))
    match node:
        case MappingNode():
            for key, value in node.value:
                name = key.value if isinstance(key, ScalarNode) else ""
                if secret and name not in _KEYS_BELOW_SECRETS:
                    yield from secret_spans(key, secret=True, seen=seen)
                scalar = isinstance(value, ScalarNode)
                if secret:
                    inside = not (scalar and name == "file")
                else:
                    inside = scalar if name in _forms().sections else _is_suspicious(name, _forms().keys)
                yield from secret_spans(value, secret=inside, seen=seen)
        case SequenceNode():
            for each in node.value:
                yield from secret_spans(each, secret=secret, seen=seen)
        case _:
            variable = VARIABLE.fullmatch(with_variables_shown(str(node.value)))
            if secret and (variable is None or variable[2]):  # the default of a variable is a secret
                yield node.start_mark.index, node.end_mark.index


def scalars(root: Node) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield every scalar of a file with its span (from, to). An alias is not repeated."""
    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        match node:
            case MappingNode():
                pending += (each for pair in node.value for each in pair)
            case SequenceNode():
                pending += node.value
            case _:
                yield str(node.value), (node.start_mark.index, node.end_mark.index)


def below_secrets(text: str) -> Iterator[tuple[int, int]]:
    """Yield the spans that may continue a secret, in a text that is not YAML: lines between a suspicious key and the next key."""
    below, at = False, 0
    for line in text.splitlines(keepends=True):
        key = _KEY_LINE.match(line)
        if key is None and below:
            yield at, at + len(line)
        elif key is not None or _SUSPICIOUS_KEY.search(line):
            below = _SUSPICIOUS_KEY.search(line) is not None
        at += len(line)


@lru_cache(maxsize=4096)
def _is_suspicious(key: str, keys: frozenset[str]) -> bool:
    """Return whether a key has a secret, or looks as if it had one. :param keys: :func:`secret_keys`"""
    looks = _SUSPICIOUS_KEY.search(key) is not None
    return looks or bool(difflib.get_close_matches(key, keys, n=1, cutoff=_SIMILAR_KEY))
