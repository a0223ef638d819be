"""The tools of a channel to read its part of an alertmanager.yml: nodes that know their position, notes, variables.

What the keys mean: https://prometheus.io/docs/alerting/latest/configuration/#receiver-integration-settings
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol
from urllib.parse import SplitResult, urlsplit

# https://github.com/go-yaml/yaml/blob/v2.4.0/resolve.go: the words that YAML 1.1 reads as true and false.
TRUE_WORDS = frozenset({"y", "yes", "true", "on"})
FALSE_WORDS = frozenset({"n", "no", "false", "off"})
CORRECT_IT = "correct it; Alertmanager would refuse it, too"
Location = tuple[str | int, ...]
Problems = Mapping[str, tuple[str, str]]
"""What is wrong and what to do, by key."""


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """A remark about a key that has no counterpart or needs a manual step. Line and column of alertmanager.yml, from 1."""

    line: int
    column: int
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.what}; {self.todo}"


class NoteTaker(Protocol):
    """Records a note about a location of the file."""

    def note(self, where: Location, what: str, todo: str, *, once: Any = None) -> None: ...


class Node:
    """A mapping of the file. It remembers which keys were read, so that the import can note the others."""

    def __init__(self, notes: NoteTaker, where: Location, data: Mapping[str, Any]) -> None:
        self.where = where
        self.data = data
        self._notes = notes
        self._taken: set[str] = set()
        self._inner: dict[str, list[Node]] = {}

    def note(self, what: str, todo: str, *, key: str | None = None, once: Any = None) -> None:
        """Add a note about this mapping, or about one of its keys.

        :param once: a mark; of all notes with the same mark only the first is kept
        """
        self.note_at(() if key is None else (key,), what, todo, once=once)

    def note_at(self, inside: Location, what: str, todo: str, *, once: Any = None) -> None:
        """Add a note about a location. :param inside: relative to this mapping"""
        self._notes.note((*self.where, *inside), what, todo, once=once)

    def take(self, *keys: str) -> None:
        """Mark keys as read: they need no note."""
        self._taken.update(keys)

    def raw(self, key: str) -> Any:
        """Return the value as it is in the file; None: the key is absent."""
        self.take(key)
        return self.data.get(key)

    def text(self, key: str) -> str | None:
        """Return a text; None: the key is absent, or the text is empty."""
        value = self.raw(key)
        if isinstance(value, dict | list):
            self.note(f"{key} is not text", CORRECT_IT, key=key)
            return None
        return value or None

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean, or the default if there is none."""
        given = self.flag_or_none(key)
        return default if given is None else given

    def flag_or_none(self, key: str) -> bool | None:
        """Return a boolean; None: the key is absent, or its value is not a boolean, which is noted."""
        text = self.text(key)
        if text is None or text.casefold() in TRUE_WORDS | FALSE_WORDS:
            return None if text is None else text.casefold() in TRUE_WORDS
        self.note(f"{key} is neither true nor false", CORRECT_IT, key=key)
        return None

    def texts(self, key: str) -> list[str]:
        """Return a list of texts; anything else is noted and counts as an empty list."""
        value = self.raw(key)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        if value is not None:
            self.note(f"{key} is not a list of words", CORRECT_IT, key=key)
        return []

    def node(self, key: str) -> "Node":
        """Return the mapping below a key; an empty one if there is none."""
        value = self.raw(key)
        if not isinstance(value, dict | None):
            self.note(f"{key} is not a mapping", CORRECT_IT, key=key)
            value = None
        if key not in self._inner:
            self._inner[key] = [Node(self._notes, (*self.where, key), value or {})]
        return self._inner[key][0]

    def nodes(self, key: str) -> "list[Node]":
        """Return the mappings of a list; items of another kind are noted and left out."""
        value = self.raw(key)
        if not isinstance(value, list | None):
            self.note(f"{key} is not a list", CORRECT_IT, key=key)
            value = None
        if key not in self._inner:
            self._inner[key] = []
            for index, item in enumerate(value or []):
                where = (*self.where, key, index)
                if isinstance(item, dict):
                    self._inner[key].append(Node(self._notes, where, item))
                else:
                    self._notes.note(where, f"an item of {key} is not a mapping", CORRECT_IT)
        return self._inner[key]

    def unread(self) -> "Iterator[tuple[Node, str]]":
        """Yield the keys that nothing read, here and below, each with its mapping."""
        yield from ((self, key) for key in self.data if key not in self._taken)
        for nodes in self._inner.values():
            for each in nodes:
                yield from each.unread()


class Variable(str):
    """``${NAME}``. Unlike other text it is written to routes.yaml unescaped."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return self[2:-1].partition(":-")[0]


class Variables:
    """The variables that replace secrets, and values that the file doesn't have."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._by_secret: dict[str, Variable] = {}

    def new(self, *words: str, default: str | None = None) -> Variable:
        """Return a variable with an unused name. :param words: the name is made of these"""
        word = "_".join(re.sub(r"[^A-Z0-9]+", "_", each.upper()).strip("_") for each in words).strip("_")
        stem = word if word[:1].isalpha() else f"RECEIVER_{word}"
        name, count = stem, 1
        while name in self.names:
            count += 1
            name = f"{stem}_{count}"
        self.names.append(name)
        return Variable(f"${{{name}}}" if default is None else f"${{{name}:-{default}}}")

    def secret(self, node: Node, key: str, *words: str) -> Variable | dict[str, str] | None:
        """Return what replaces a secret in routes.yaml: a variable, or the file that Alertmanager reads; None: there is no
        secret.
        """
        node.take(f"{key}_file")
        if (value := node.text(key)) is not None:
            if value not in self._by_secret:
                variable = self._by_secret[value] = self.new(*words)
                what = f"{key} is written here in plain text; it is not copied"
                todo = f"set {variable.name} to it"
                if "{{" in value:
                    what = f"{key} is a Go template"
                    todo = f"write a route and a receiver for each value; {variable.name} is one of them"
                node.note(what, todo, key=key)
            return self._by_secret[value]
        if (path := node.text(f"{key}_file")) is None:
            return None
        if not path.startswith("/"):
            node.note(
                f"{key}_file is a relative path",
                "in routes.yaml it starts from the folder of routes.yaml: move one of the two",
                key=f"{key}_file",
            )
        return {"file": path}


@dataclass(frozen=True, slots=True)
class ImportContext:
    """What the import of the whole file gives to the import of a channel."""

    global_node: Node
    """The ``global:`` section."""
    variables: Variables
    destination_name: Callable[[str, Mapping[str, Any]], str]
    """Returns a name for a destination. Arguments: the receiver's name, and the options that identify the destination.
    Equal options get the same name.
    """
    settings_problems: Callable[[Mapping[str, Any]], Problems]
    """Validates the channel's section of ``channels:``."""
    options_problems: Callable[[Mapping[str, Any]], Problems]
    """Validates the options of a destination."""

    def http_config(self, config: Node, receiver: str) -> tuple[Node, str]:
        """Return the ``http_config`` that applies, and the receiver that owns it; empty: it is the global one."""
        if config.data.get("http_config") is not None:
            return config.node("http_config"), receiver
        return self.global_node.node("http_config"), ""


class ChannelImport(ABC):
    """Turns one kind of ``…_configs`` into destinations of a channel. One instance serves one file."""

    configs_key: ClassVar[str]
    """The key of a receiver that it reads, e.g. ``slack_configs``."""
    global_keys: ClassVar[tuple[str, ...]] = ()
    """Keys of ``global:`` that it reads. They are never reported as unread."""
    message_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that change the text of a message. The router has templates for that, and a note says so."""
    retired_keys: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Keys of a receiver whose service no longer exists: what to note, and what to do."""
    sends_resolved: ClassVar[bool] = True
    """Alertmanager's default of ``send_resolved`` for this kind."""

    def __init__(self, context: ImportContext) -> None:
        self.context = context
        self.settings: dict[str, Any] | None = None
        """The channel's section of ``channels:``; None: no destination needs it yet."""

    @abstractmethod
    def destination(self, config: Node, receiver: str) -> dict[str, Any] | None:
        """Return the options of the destination; None: it is left out, and a note says why.

        :param config: one item of the list below :attr:`configs_key`
        :param receiver: the receiver's name
        """


def split_url(url: str | None) -> SplitResult:
    """Return the parts of a URL; empty parts if the text is not a URL."""
    try:
        if (parts := urlsplit(url or "")).port != 0:
            return parts
    except ValueError:  # also for a port that is not a number
        pass
    return urlsplit("")
