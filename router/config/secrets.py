"""Secrets of routes.yaml: which keys hold one, where they stand in a text, and how they are kept out of sight."""

import difflib
import re
from collections.abc import Iterable, Iterator

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from router.channels import REGISTRY
from router.config.syntax import VARIABLE, shown

# Keys whose values no message shows, and that can be {file: path}.
SECRETS = frozenset({
    "token", "bearer_token", "password", "routing_key", "secret", "url", "webhook_url", "proxy_url",
})  # fmt: skip

# Keys that look like it: misspelt, or another program's.
_SECRETIVE = re.compile(r"tok|pass|pwd|secret|_key|ur[il]|auth|cred", re.IGNORECASE)
_KEY = re.compile(r"""\s*(?:- +)?[\w"'-]+[ \t]*:(?:\s|$)""")
_BESIDE_SECRETS = frozenset({"file", "username", "password"})
_CHANNELS = frozenset(
    kind.section for kind in REGISTRY.values()
)  # whoever writes one word there writes a secret
# What stands after a secret's key, unless it is a mere ${VARIABLE} or {file: path}; and before an address's @.
_AFTER_KEYS = re.compile(
    r"""\b(?:token|bearer_token|password|routing_key|service_key|secret|webhook_url|proxy_url|url)["']?[ \t]*:[ \t]*
    (?:[|>]?[-+\d]*[ \t]*\n\s*)?  # or in the next line
    (?P<secret>(?!["']?\$\{\w+\}["']?[ \t]*(?:[,}#]|$))(?:"[^"\n]*"?|'[^'\n]*'?|[^\s{\[|>][^,}\n]*))""",
    re.VERBOSE | re.MULTILINE,
)
# What is a secret by its looks, wherever it stands: a user in an address, addresses that anybody can post to, and
# Slack's tokens. https://docs.slack.dev/authentication/tokens
# Telegram's. https://core.telegram.org/bots/api#authorizing-your-bot
_LOOKS = re.compile(
    r"""//(?P<user>[^\s@/]+)@
    | \b[^\s"'@/:]+:(?P<password>[^\s"'@/]+)@
    | (?P<hook>\bhooks\.slack(?:-gov)?\.com/[^\s"',}\]]+)
    | (?P<discord>\b[^\s"',}\]/]*discord(?:app)?\.com/api/(?:v\d+/)?webhooks/[^\s"',}\]]+)
    | (?P<token>\bxox[a-z]-[\w.-]+ | \bxapp-[\w.-]+)
    | (?P<telegram>(?<!\d)\d{6,12}:[\w-]{35}(?![\w-]))""",
    re.VERBOSE,
)
# A shorter one may be a part of any word, and counts only where it is a word of its own.
_LONG = 8
_SHORT = 4
_MANY = 100  # of one length: then a text is looked through once for all of them


class Secrets:
    """The secrets of the files of a configuration, as far as they are known."""

    def __init__(self) -> None:
        self._by_length: dict[int, set[str]] = {}

    def add(self, value: str) -> None:
        for each in {value, repr(value)[1:-1]}:
            if len(each) >= _SHORT:
                self._by_length.setdefault(len(each), set()).add(each)

    def shown_in(self, text: str) -> bool:
        """Whether a text holds one, or what looks like one."""
        return any(True for _ in self.spans(text)) or _LOOKS.search(text) is not None

    def mask(self, text: str) -> str:
        """A message without them."""
        return starred(text, (*self.spans(text), *_looks(text)))

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where they stand in a text."""
        for length, values in self._by_length.items():
            for at in _found(text, values, length):
                end = at + length
                if length >= _LONG or not (text[at - 1 : at].isalnum() or text[end : end + 1].isalnum()):
                    yield at, end


def _found(text: str, values: set[str], length: int) -> Iterator[int]:
    """Where one of the values stands, which have this length."""
    if len(values) > _MANY:
        yield from (at for at in range(len(text) - length + 1) if text[at : at + length] in values)
        return
    for value in values:
        at = text.find(value)
        while at >= 0:
            yield at
            at = text.find(value, at + 1)


def mask(text: str, spans: Iterable[tuple[int, int]] = ()) -> str:
    """A file's text with its secrets starred out, at the same width; line ends stay.

    :param spans: where secrets are known to stand (from, to), besides what looks like one
    """
    after = (match.span("secret") for match in _AFTER_KEYS.finditer(text))
    return starred(text, (*spans, *after, *_looks(text)))


def starred(text: str, spans: Iterable[tuple[int, int]]) -> str:
    characters = list(text)
    for begin, end in spans:
        for at in range(begin, end):
            if not characters[at].isspace():
                characters[at] = "*"
    return "".join(characters)


def _looks(text: str) -> Iterator[tuple[int, int]]:
    return (match.span(match.lastgroup or 0) for match in _LOOKS.finditer(text))


def secret_spans(
    node: Node, *, secret: bool = False, seen: set[tuple[int, bool]] | None = None
) -> Iterator[tuple[int, int]]:
    """Where secrets stand in the text of a file: below their keys, however those are misspelt; a mere variable is
    none, nor is the path of a file.
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
                    yield from secret_spans(key, secret=True, seen=seen)
                scalar = isinstance(value, ScalarNode)
                if secret:
                    inside = not (scalar and name == "file")
                else:
                    inside = scalar if name in _CHANNELS else _secretive(name)
                yield from secret_spans(value, secret=inside, seen=seen)
        case SequenceNode():
            for each in node.value:
                yield from secret_spans(each, secret=secret, seen=seen)
        case _:
            if secret and not VARIABLE.fullmatch(shown(str(node.value))):
                yield node.start_mark.index, node.end_mark.index


def scalars(root: Node) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every text of a file, with its span; each but once."""
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


def _secretive(key: str) -> bool:
    """Whether a key names a secret, or looks as if it were to."""
    looks = _SECRETIVE.search(key) is not None
    return looks or bool(difflib.get_close_matches(key, SECRETS, n=1, cutoff=0.7))
