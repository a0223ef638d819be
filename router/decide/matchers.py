"""Matchers with Alertmanager's grammar and meaning: its UTF-8 parser, its classic parser, and their fallback.

Source of the rules: https://github.com/prometheus/alertmanager/tree/main/matcher and …/pkg/labels
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import re2

from router.model import Labels

_OPERATORS = ("=~", "!~", "!=", "=")
_RESERVED = frozenset("{}!=~,\\\"'`")
_CLASSIC = re.compile(
    r"[ \t\n\f\r]*([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t\n\f\r]*(=~|=|!=|!~)[ \t\n\f\r]*(.*?)[ \t\n\f\r]*", re.DOTALL
)
_SIMPLE_ESCAPES = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
_HEX_ESCAPES = {"x": 2, "u": 4, "U": 8}
_RE2_OPTIONS = re2.Options()
_RE2_OPTIONS.log_errors = False
# Many routes have the same pattern, and a reload compiles all of them again.
_MAX_PATTERNS_CACHED = 65_536


class MatcherError(ValueError):
    """A text is not a matcher; the message says why."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """``name op value``; a missing label counts as the empty string; regular expressions are RE2, anchored.

    :raises MatcherError: the regular expression can't be compiled
    """

    name: str
    op: str
    value: str
    _regex: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_regex", _compiled(self.value) if self.op in {"=~", "!~"} else None)

    def matches(self, labels: Labels) -> bool:
        return self.accepts(labels.get(self.name, ""))

    def accepts(self, value: str) -> bool:
        """Return whether the matcher matches a label with this value."""
        if self._regex is None:
            return (value == self.value) is (self.op == "=")
        return (self._regex.search(value) is not None) is (self.op == "=~")

    def __str__(self) -> str:
        escaped = self.value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        name = self.name if _name_is_plain(self.name) else '"' + self.name.replace('"', '\\"') + '"'
        return f'{name}{self.op}"{escaped}"'


@lru_cache(maxsize=_MAX_PATTERNS_CACHED)
def _compiled(pattern: str) -> Any:
    try:
        return re2.compile(f"^(?:{pattern})$", _RE2_OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise MatcherError(f"bad regular expression {pattern!r}: {reason}") from None


def is_label_name(name: str) -> bool:
    """Return whether a text can be a label name since Alertmanager 0.27: any UTF-8 text but the empty one."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a text. Both grammars are tried, as Alertmanager does by default; if both accept the text,
    the classic one counts.

    :raises MatcherError: neither accepts it
    """
    try:
        classic = parse_classic(text)
    except MatcherError as refused:
        try:
            return parse_utf8(text)
        except MatcherError:
            raise refused from None
    return classic


def parse_matcher(text: str) -> Matcher:
    """Return the one matcher of a text in either grammar. :raises MatcherError: there is none, or several"""
    try:
        return parse_classic_matcher(text)
    except MatcherError:
        return only_matcher(parse_utf8(text))


def only_matcher(matchers: tuple[Matcher, ...]) -> Matcher:
    """Return the matcher, if there is exactly one. :raises MatcherError: there are none, or several"""
    if len(matchers) != 1:
        raise MatcherError(f"expected one matcher, found {len(matchers)}")
    return matchers[0]


def parse_utf8(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a text in the UTF-8 grammar. :raises MatcherError: with the position of the mistake"""
    return _Parser(text).matchers()


def parse_classic(text: str) -> tuple[Matcher, ...]:
    """Return the matchers of a text in the grammar before Alertmanager 0.27. :raises MatcherError: the text is not in it"""
    tokens: list[str] = []
    token: list[str] = []
    quoted = escaped = False
    for char in text.removeprefix("{").removesuffix("}"):
        if char == "," and not quoted:
            tokens.append("".join(token))
            token = []
            continue
        if char == '"':
            quoted ^= not escaped
        escaped = char == "\\" and not escaped
        token.append(char)
    if last := "".join(token).strip():
        tokens.append(last)
    return tuple(parse_classic_matcher(each) for each in tokens)


def parse_classic_matcher(text: str) -> Matcher:
    """Return the matcher of a text in the classic grammar. :raises MatcherError: the text is none"""
    parts = _CLASSIC.fullmatch(text)
    if parts is None:
        raise MatcherError(f"bad matcher format: {text}")
    name, op, raw = parts.groups()
    return Matcher(name, op, _unescape_classic(raw))


def _unescape_classic(raw: str) -> str:
    body, open_quote = (raw[1:], True) if raw.startswith('"') else (raw, False)
    out: list[str] = []
    last = len(body) - 1
    index = 0
    while index <= last:
        char = body[index]
        if char == "\\" and index < last:
            index += 1
            follower = body[index]
            out.append({"n": "\n", '"': '"', "\\": "\\"}.get(follower, "\\" + follower))
        elif char == '"':
            if not open_quote or index < last:
                raise MatcherError(f"matcher value contains unescaped double quote: {raw}")
            open_quote = False
        else:
            out.append(char)
        index += 1
    if open_quote:
        raise MatcherError(f"matcher value contains unescaped double quote: {raw}")
    return "".join(out)


def _name_is_plain(name: str) -> bool:
    return bool(name) and not any(char.isspace() or char in _RESERVED for char in name)


class _Parser:
    """The UTF-8 grammar, left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def matchers(self) -> tuple[Matcher, ...]:
        braced = self._take("{")
        found: list[Matcher] = []
        while self._peek() not in {"", "}"}:
            found.append(self._matcher())
            if not self._take(","):
                break
        if self._take("}") is not braced:
            raise self._error("expected a comma or closing '}'" if braced else "unexpected '}'")
        if self._peek():
            raise self._error("expected the end" if braced else "expected a comma")
        return tuple(found)

    def _matcher(self) -> Matcher:
        name = self._word("a label name")
        op = next((op for op in _OPERATORS if self._take(op)), None)
        if op is None:
            raise self._error("expected an operator such as '=', '!=', '=~' or '!~'")
        return Matcher(name, op, self._word("a value"))

    def _word(self, what: str) -> str:
        if self._peek() == '"':
            return self._quoted()
        start = self._at
        while (
            self._at < len(self._text)
            and not self._text[self._at].isspace()
            and self._text[self._at] not in _RESERVED
        ):
            self._at += 1
        if self._at == start:
            raise self._error(f"expected {what}")
        return self._text[start : self._at]

    def _quoted(self) -> str:
        start = self._at
        self._at += 1
        out = bytearray()
        while True:
            char = self._text[self._at : self._at + 1]
            if char in {"", "\n"}:
                self._at = start
                raise self._error("missing closing quote")
            self._at += 1
            if char == '"':
                break
            if char == "\\":
                out += self._escape()
            else:
                out += char.encode("utf-8", "surrogatepass")
        try:
            return out.decode()
        except UnicodeDecodeError:
            self._at = start
            raise self._error("invalid UTF-8") from None

    def _escape(self) -> bytes:
        """Handle an escape of Go's interpreted strings: https://go.dev/ref/spec#String_literals"""
        text, at = self._text, self._at
        kind = text[at : at + 1]
        self._at += 1
        if kind in _SIMPLE_ESCAPES:
            return bytes([_SIMPLE_ESCAPES[kind]])
        if kind in _HEX_ESCAPES:
            width = _HEX_ESCAPES[kind]
            digits = text[at + 1 : at + 1 + width]
            if len(digits) == width and all(digit in "0123456789abcdefABCDEF" for digit in digits):
                code = int(digits, 16)
                self._at += width
                if kind == "x":
                    return bytes([code])
                if code <= 0x10FFFF and not 0xD800 <= code < 0xE000:
                    return chr(code).encode()
        digits = text[at : at + 3]
        if len(digits) == 3 and all(digit in "01234567" for digit in digits) and int(digits, 8) < 256:
            self._at += 2
            return bytes([int(digits, 8)])
        self._at = at - 1
        raise self._error("bad escape in quotes")

    def _peek(self) -> str:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._text[self._at : self._at + 1]

    def _take(self, what: str) -> bool:
        self._peek()
        if not self._text.startswith(what, self._at):
            return False
        self._at += len(what)
        return True

    def _error(self, problem: str) -> MatcherError:
        got = self._text[self._at : self._at + 1]
        return MatcherError(
            f"{problem} at character {self._at + 1}" + (f", found {got!r}" if got else ", found the end")
        )
