"""Reads an alertmanager.yml as nodes, and collects the notes about it."""

from typing import Any

from router.channels import REGISTRY
from router.channels.importing import Node, Note
from router.config import ConfigError, Problem
from router.config.document import Location, read_document
from router.package import docs_page

_CONNECTION_KEYS = frozenset({
    "http_config", "tls_config", "smtp_tls_config", "oauth2", "follow_redirects", "enable_http2", "http_headers",
})  # fmt: skip
_PROXY_KEYS = frozenset({"proxy_url", "no_proxy", "proxy_from_environment", "proxy_connect_header"})
_TODOS = {
    "templates": f"these are Go templates; write them again in Jinja: {docs_page('templates')}",
    "resolve_timeout": "keep it in alertmanager.yml: Alertmanager still resolves the alerts",
    "timeout": "one timeout for all webhooks can be set at `channels.webhook.timeout`; other channels have their own timeouts",
    "tracing": "leave it out; /metrics and the log say what the router does",
}


class AlertmanagerFile:
    """An alertmanager.yml, and the notes about it."""

    def __init__(self, text: str, name: str) -> None:
        """:raises ConfigError: the text is not YAML, or not a mapping; the error shows nothing of the text"""
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
        """The notes in the order of the file."""
        return tuple(sorted(set(self._notes.values())))

    def note(self, where: Location, what: str, todo: str, *, once: Any = None) -> None:
        """Record a note. :param once: a mark; of all notes with the same mark only the first is kept"""
        line, column = self._document.position(where, at_key=True)
        note = Note(line, column, what, todo)
        self._notes.setdefault(note if once is None else once, note)


def note_unread(source: AlertmanagerFile) -> None:
    """Add notes about the keys that were not read. Keys of one section that need the same step share a note."""
    found: dict[tuple[str, str], list[tuple[Node, str]]] = {}
    for node, key in source.root.unread():
        if node.data[key] is not None:
            found.setdefault((_section(node), _todo(key)), []).append((node, key))
    for (section, todo), positions in found.items():
        keys = list(dict.fromkeys(key for _, key in positions))
        several = "has" if len(keys) == 1 else "have"
        node, key = positions[0]
        node.note(f"{section}{', '.join(keys)} {several} no counterpart", todo, key=key)


def _section(node: Node) -> str:
    """Return a prefix such as ``slack_configs: `` or ``global.http_config: ``; empty for the top level of the file."""
    indices = [at for at, part in enumerate(node.where) if isinstance(part, int)]
    section = ".".join(part for part in node.where[max(indices or [1]) - 1 :] if isinstance(part, str))
    return f"{section}: " if section else ""


def _todo(key: str) -> str:
    if any(key in spec.importer.message_keys for spec in REGISTRY.values() if spec.importer is not None):
        return f"the router writes its own messages; to change them: {docs_page('templates')}"
    if key in _CONNECTION_KEYS:
        return "the router connects with its own settings, see `network:`; check that it reaches the provider"
    if key in _PROXY_KEYS:
        return "set HTTPS_PROXY and NO_PROXY in the router's environment"
    if key in _TODOS:
        return _TODOS[key]
    return "leave it out; the router has nothing like it"
