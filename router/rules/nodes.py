"""What an import is made with: an alertmanager.yml in pieces that know their place, and YAML to write."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from router.config import ConfigError, Problem
from router.config.document import Location, read_document

# https://github.com/go-yaml/yaml/blob/v2.4.0/resolve.go: what YAML 1.1 takes for true and false.
_TRUE = frozenset({"y", "yes", "true", "on"})
_FALSE = frozenset({"n", "no", "false", "off"})
REFUSED = "mend it; Alertmanager would refuse it, too"
_PLAIN = re.compile(r"[A-Za-z_/](?:[\w./@:+-]*[\w/])?|\d+(?:ms|[smhdwy])", re.ASCII)
_WORDS = _TRUE | _FALSE | {"null"}  # plain, YAML 1.1 or 1.2 would not read them as text
_WIDTH = 100
_MESSAGES = frozenset({
    "title", "title_link", "text", "fallback", "pretext", "footer", "fields", "short_fields", "color", "actions",
    "username", "icon_emoji", "icon_url", "image_url", "thumb_url", "link_names", "callback_id", "mrkdwn_in",
    "message_text", "html", "headers", "description", "details", "client", "client_url", "images", "links",
    "severity", "class", "component", "group", "source", "payload", "content", "avatar_url",
})  # fmt: skip
_CONNECTIONS = frozenset({
    "http_config", "tls_config", "smtp_tls_config", "oauth2", "follow_redirects", "enable_http2", "http_headers",
})  # fmt: skip
_PROXIES = frozenset({"proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header"})
_TODOS = {
    "templates": "these are Go templates; write the words anew in Jinja: docs/templates.md",
    "resolve_timeout": "leave it with Alertmanager, which still ends the alerts",
    "timeout": "one for all webhooks can stand at `channels.webhook`, `timeout`; other channels have their own",
    "tracing": "leave it out; /metrics and the log say what the router does",
}


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """What has no counterpart, or needs a hand. Line and column of the alertmanager.yml count from 1."""

    line: int
    column: int
    what: str
    todo: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column}: {self.what}; {self.todo}"


class AlertmanagerFile:
    """An alertmanager.yml, and the notes about it."""

    def __init__(self, text: str, name: str) -> None:
        """:raises ConfigError: it is no YAML, or not a mapping; shows nothing of the text"""
        todo = "give an alertmanager.yml that Alertmanager itself would read"
        try:
            self._document = read_document(text, name, None)
        except ConfigError as error:
            raise ConfigError(
                Problem(name, each.line, each.column, each.what, todo) for each in error.errors
            ) from None
        self._notes: dict[Any, Note] = {}
        for problem in self._document.problems:
            self._notes[problem] = Note(problem.line, problem.column, problem.what, problem.todo)
        self.root = Node(self, (), self._document.data)

    @property
    def notes(self) -> tuple[Note, ...]:
        """In the file's order."""
        return tuple(sorted(set(self._notes.values())))

    def note(self, where: Location, what: str, todo: str, *, once: Any = None) -> None:
        """:param once: the first note with this mark is kept, and no other"""
        line, column = self._document.position(where, at_key=True)
        note = Note(line, column, what, todo)
        self._notes.setdefault(note if once is None else once, note)


class Node:
    """A mapping of the file. It remembers what was taken from it, so that the rest can be noted."""

    def __init__(self, source: AlertmanagerFile, where: Location, data: Mapping[str, Any]) -> None:
        self.where = where
        self.data = data
        self._source = source
        self._taken: set[str] = set()
        self._inner: dict[str, list[Node]] = {}

    def note(self, what: str, todo: str, *, key: str | None = None, once: Any = None) -> None:
        self.note_at(() if key is None else (key,), what, todo, once=once)

    def note_at(self, inside: Location, what: str, todo: str, *, once: Any = None) -> None:
        """:param inside: where in it"""
        self._source.note((*self.where, *inside), what, todo, once=once)

    def take(self, *keys: str) -> None:
        """What needs no note."""
        self._taken.update(keys)

    def raw(self, key: str) -> Any:
        self.take(key)
        return self.data.get(key)

    def text(self, key: str) -> str | None:
        """None: not given, or empty."""
        value = self.raw(key)
        if isinstance(value, dict | list):
            self.note(f"{key} is no text", REFUSED, key=key)
            return None
        return value or None

    def flag(self, key: str, *, default: bool = False) -> bool:
        text = self.text(key)
        if text is None or text.casefold() in _TRUE | _FALSE:
            return default if text is None else text.casefold() in _TRUE
        self.note(f"{key} is neither true nor false", REFUSED, key=key)
        return default

    def texts(self, key: str) -> list[str]:
        value = self.raw(key)
        if isinstance(value, list) and all(isinstance(each, str) for each in value):
            return value
        if value is not None:
            self.note(f"{key} is no list of words", REFUSED, key=key)
        return []

    def piece(self, key: str) -> "Node":
        """The mapping below a key; an empty one if there is none."""
        value = self.raw(key)
        if not isinstance(value, dict | None):
            self.note(f"{key} is not a mapping", REFUSED, key=key)
            value = None
        if key not in self._inner:
            self._inner[key] = [Node(self._source, (*self.where, key), value or {})]
        return self._inner[key][0]

    def pieces(self, key: str) -> "list[Node]":
        """The mappings of a list; what is something else is noted and left out."""
        value = self.raw(key)
        if not isinstance(value, list | None):
            self.note(f"{key} is not a list", REFUSED, key=key)
            value = None
        if key not in self._inner:
            self._inner[key] = []
            for index, item in enumerate(value or []):
                where = (*self.where, key, index)
                if isinstance(item, dict):
                    self._inner[key].append(Node(self._source, where, item))
                else:
                    self._source.note(where, f"an item of {key} is not a mapping", REFUSED)
        return self._inner[key]

    def left(self) -> "Iterator[tuple[Node, str]]":
        """What nobody took, here and below: each with the mapping that it stands in."""
        yield from ((self, key) for key in self.data if key not in self._taken)
        for pieces in self._inner.values():
            for each in pieces:
                yield from each.left()


def note_leftovers(source: AlertmanagerFile) -> None:
    """What nobody asked for, a note for all keys of a kind that are to be treated alike."""
    found: dict[tuple[str, str], list[tuple[Node, str]]] = {}
    for piece, key in source.root.left():
        if piece.data[key] is not None:
            found.setdefault((_kind(piece), _todo(key)), []).append((piece, key))
    for (kind, todo), positions in found.items():
        keys = list(dict.fromkeys(key for _, key in positions))
        several = "has" if len(keys) == 1 else "have"
        piece, key = positions[0]
        piece.note(f"{kind}{', '.join(keys)} {several} no counterpart", todo, key=key)


def _kind(piece: Node) -> str:
    """``slack_configs: ``, ``global.http_config: `` …; nothing for the file's own keys."""
    indices = [at for at, part in enumerate(piece.where) if isinstance(part, int)]
    kind = ".".join(part for part in piece.where[max(indices or [1]) - 1 :] if isinstance(part, str))
    return f"{kind}: " if kind else ""


def _todo(key: str) -> str:
    if key in _MESSAGES:
        return "the router writes its own messages; to change the words: docs/templates.md"
    if key in _CONNECTIONS:
        return "the router connects by its own means; see that it reaches the provider"
    if key in _PROXIES:
        return "set HTTPS_PROXY and NO_PROXY in the router's environment"
    if key in _TODOS:
        return _TODOS[key]
    return "leave it out; the router knows nothing like it"


class Variable(str):
    """``${NAME}``: unlike other text, to be written as it is."""

    __slots__ = ()

    @property
    def name(self) -> str:
        return self[2:-1].partition(":-")[0]


class Variables:
    """The variables that stand for secrets, and for what the file doesn't say."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._by_secret: dict[str, Variable] = {}

    def new(self, *words: str, default: str | None = None) -> Variable:
        """:param words: what its name is made of"""
        word = "_".join(re.sub(r"[^A-Z0-9]+", "_", each.upper()).strip("_") for each in words).strip("_")
        stem = word if word[:1].isalpha() else f"RECEIVER_{word}"
        name, count = stem, 1
        while name in self.names:
            count += 1
            name = f"{stem}_{count}"
        self.names.append(name)
        return Variable(f"${{{name}}}" if default is None else f"${{{name}:-{default}}}")

    def secret(self, piece: Node, key: str, *words: str) -> Variable | dict[str, str] | None:
        """What takes a secret's place: a variable, or the file that Alertmanager reads it from; None: not given."""
        piece.take(f"{key}_file")
        if (value := piece.text(key)) is not None:
            if value not in self._by_secret:
                variable = self._by_secret[value] = self.new(*words)
                what = f"{key} stands here in clear; it is not copied"
                todo = f"set {variable.name} to it"
                if "{{" in value:
                    what = f"{key} is a Go template"
                    todo = f"write a route and a receiver for each value; {variable.name} is one of them"
                piece.note(what, todo, key=key)
            return self._by_secret[value]
        if (path := piece.text(f"{key}_file")) is None:
            return None
        if not path.startswith("/"):
            piece.note(
                f"{key}_file is a relative path",
                "in routes.yaml it starts from the folder of routes.yaml: move one of the two",
                key=f"{key}_file",
            )
        return {"file": path}


def write(data: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Lines of YAML in block style; what is short stands in one line."""
    for key, value in data.items():
        yield from _entry(f"{' ' * indent}{_scalar(key)}:", value, indent + 2)


def _entry(start: str, value: Any, indent: int) -> Iterator[str]:
    flow = _flow(value)
    if (
        flow is not None
        and len(start) + len(flow) < _WIDTH
        and not (indent == 2 and value and flow[0] == "{")
    ):
        yield f"{start} {flow}"
    elif isinstance(value, Mapping):
        yield start
        yield from write(value, indent)
    elif isinstance(value, list):
        yield start
        for item in value:
            yield from _item(item, indent)
    else:
        yield f"{start} {_scalar(value)}"


def _item(item: Any, indent: int) -> Iterator[str]:
    flow = _flow(item)
    if flow is not None and indent + len(flow) < _WIDTH:
        yield f"{' ' * indent}- {flow}"
        return
    if not isinstance(item, dict):
        yield f"{' ' * indent}- {_scalar(item)}"
        return
    first, *rest = write(item, indent + 2)
    yield f"{' ' * indent}- {first.lstrip()}"
    yield from rest


def _flow(value: Any) -> str | None:
    """In one line; None: not to be."""
    match value:
        case dict() if len(value) == 1 and isinstance(inner := next(iter(value.values())), list):
            flow = _flow(inner)
            return None if flow is None else f"{{{_scalar(next(iter(value)))}: {flow}}}"
        case dict() if len(value) <= 2 and not any(isinstance(each, dict | list) for each in value.values()):
            return f"{{{', '.join(f'{_scalar(key)}: {_quoted(each)}' for key, each in value.items())}}}"
        case list() if not any(isinstance(each, dict | list) for each in value):
            return f"[{', '.join(map(_quoted, value))}]"
        case dict() | list():
            return None
        case _:
            return _scalar(value)


def _quoted(value: Any) -> str:
    """As a part of a flow, where YAML is stricter."""
    scalar = _scalar(value)
    return (
        f'"{scalar}"' if isinstance(value, Variable) or (":" in scalar and scalar[0] not in "'\"") else scalar
    )


def _scalar(value: Any) -> str:
    """No text is taken for a number, a truth or a variable."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    plain = _PLAIN.fullmatch(text) and text.casefold() not in _WORDS
    if isinstance(value, Variable) or plain:
        return text
    if text.isprintable() and "${" not in text:
        return "'" + text.replace("'", "''") + "'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\x24{")
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
