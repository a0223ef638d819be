"""Reads the text of a file as YAML nodes, and finds the position of the mistake in what can't be read.

YAML doesn't allow ``{token: ${TOKEN}}`` as written. So the parser gets a text in which other characters replace each
variable. The replacement has the same length, so that positions stay right.
"""

import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import Node, ScalarNode
from ruamel.yaml.tokens import (
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    ScalarToken,
    TagToken,
)

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}\n]*))?\}")
_SHIFT = 0xF0000  # to a private plane of Unicode, whose characters are allowed in YAML's plain scalars
HIDDEN = re.compile("\U000f0024\U000f007b[^\U000f007d]+\U000f007d")
"""A variable whose characters are replaced, see :func:`_hide`."""
_PRIVATE = re.compile("[\U000f0000-\U000fffff]")
# A hidden variable begins with this character. An escape for it would look like a hidden variable after parsing.
_ESCAPED_START = re.compile(r"\\U000[fF]0024|\\u[dD][bB]80\\u[dD][cC]24")
_LINE_END = re.compile(r"\r\n|\r|\n")
# https://yaml.org/spec/1.2.2/#51-character-set: all but these are printable.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_DIRECTIVE = re.compile(r"\A\ufeff?(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n))*(?P<directive>%)")
# A tag begins a word. Most files have no tag, and need not be scanned a second time.
_MAY_BE_TAGGED = re.compile(r"(?:^|[\s,\[{:?-])!", re.MULTILINE)
_ESCAPE = re.compile(r"\\(?:u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|.)", re.DOTALL)
_SYNTAX_PROBLEMS = {
    ValueError: "this escape is not a character",
    OverflowError: "this escape is not a character",
    RecursionError: "it is nested too deeply",
}


class Position(NamedTuple):
    """Line and column, from 1."""

    line: int
    column: int


@dataclass(slots=True)
class SyntaxRefusedError(Exception):
    """The text is not YAML that is allowed here. The message shows nothing of the text."""

    position: Position
    what: str
    todo: str = "correct the YAML"


def position_of(text: str, index: int, node: Node | None = None) -> Position:
    """Return the position of an index in a text. :param node: a node that begins at or before the index; speeds it up"""
    if node is None:
        line, start, begin = 0, int(text.startswith("\ufeff")), 0
    else:
        mark = node.start_mark
        line, start, begin = mark.line, mark.index - mark.column, mark.index
    for end in _LINE_END.finditer(text, begin, index):
        line, start = line + 1, end.end()
    return Position(line + 1, max(index - start, 0) + 1)


def decoded(data: bytes) -> str:
    """Return bytes as text. :raises SyntaxRefusedError: at the first byte that is not UTF-8"""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise SyntaxRefusedError(position_of(before, len(before)), what, "save the file as UTF-8") from None


def compose(text: str, *, variables: bool = True) -> Node | None:
    """Return the root node; None: the file is empty. :raises SyntaxRefusedError: it is not YAML"""
    bad = _UNPRINTABLE.search(text) or (_PRIVATE.search(text) if variables else None)
    if bad is not None:
        what = f"the character U+{ord(bad.group()[0]):04X} is not allowed in a file"
        todo = "remove it, or write it as an escape in double quotes"
        raise SyntaxRefusedError(position_of(text, bad.start()), what, todo)
    if variables and (escaped := _ESCAPED_START.search(text)) is not None:
        what = "the character U+F0024 is not allowed in a file"
        raise SyntaxRefusedError(position_of(text, escaped.start()), what, "remove it")
    hidden = _without_directives(VARIABLE.sub(_hide, text) if variables else text)
    yaml = _yaml()
    yaml.get_constructor_parser(hidden)  # sets its reader
    yaml.composer.warn_double_anchors = False  # YAML allows them
    try:
        return yaml.composer.get_single_node()  # type: ignore[no-any-return]
    except MarkedYAMLError as error:
        raise _explained(error, text, hidden) from None
    except (YAMLError, ValueError, OverflowError, RecursionError) as error:
        index = min(yaml.reader.index, len(text))
        if isinstance(error, ValueError | OverflowError):
            index = max(text.rfind("\\", 0, index), 0)  # where the escape begins
        what = _SYNTAX_PROBLEMS.get(type(error), "this is not YAML")
        raise SyntaxRefusedError(position_of(text, index), what) from None


def _without_directives(text: str) -> str:
    """Return the text with comments in place of directives, at the same length. No directive changes what a value means."""
    while (found := _DIRECTIVE.match(text)) is not None:
        text = f"{text[: found.start('directive')]}#{text[found.end('directive') :]}"
    return text


def _yaml() -> Any:
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 2)
    return yaml


def _explained(error: MarkedYAMLError, text: str, hidden: str) -> SyntaxRefusedError:
    """Return the error at the position where the unfinished construct begins, not where the parser noticed it."""
    problem, start = str(error.problem or error.context or "not YAML"), error.context_mark
    mark = error.problem_mark or start
    if mark is None:
        return SyntaxRefusedError(Position(1, 1), _harmless(problem))
    ended = not text[mark.index :].strip("\ufeff \t\r\n")
    if start is not None and "quoted scalar" in str(error.context) and (ended or "separator" in problem):
        return SyntaxRefusedError(_at(start), "this quote is never closed", "close it")
    if start is not None and "could not find expected ':'" in problem:
        return SyntaxRefusedError(_at(start), "a colon is missing after this key", "write `key: value`")
    opened, quoted = _unfinished(hidden, mark.index)
    if ended and opened is not None:
        what = f"this {text[opened.index]} is never closed"
        return SyntaxRefusedError(_at(opened), what, "close it")
    if quoted is not None and quoted.end_mark.line == mark.line:
        what = f"the quote that begins here ends in line {mark.line + 1}, and that line can't be read"
        return SyntaxRefusedError(_at(quoted.start_mark), what, "close the quote where it should end")
    return SyntaxRefusedError(_at(mark), _harmless(with_variables_shown(problem)))


def _unfinished(hidden: str, until: int) -> tuple[Any, Any]:
    """Return, from the readable part of the text, the innermost open bracket, and the last quoted text if it has
    several lines.
    """
    opened: list[Any] = []
    quoted = None
    try:
        for token in _yaml().scan(hidden):
            if token.start_mark.index >= until:
                break
            if isinstance(token, FlowSequenceStartToken | FlowMappingStartToken):
                opened.append(token.start_mark)
            elif isinstance(token, FlowSequenceEndToken | FlowMappingEndToken) and opened:
                opened.pop()
            elif isinstance(token, ScalarToken) and token.style in {"'", '"'}:
                quoted = token if token.end_mark.line > token.start_mark.line else None
    except (YAMLError, ValueError, OverflowError):
        pass
    return (opened[-1] if opened else None), quoted


def _at(mark: Any) -> Position:
    return Position(mark.line + 1, mark.column + 1)


def _harmless(what: str) -> str:
    """Return a message without names of aliases or tags: a password that starts with * or ! looks like an alias or a tag."""
    return "an alias or a tag that isn't known here" if re.search(r"\b(alias|tag)\b", what) else what


def directive(text: str) -> Position | None:
    """Return the position of a directive at the start of a file; None: there is no directive."""
    found = _DIRECTIVE.match(text)
    return position_of(text, found.start("directive")) if found is not None else None


def tags(text: str) -> list[Position]:
    """Return the positions of explicit tags."""
    if _MAY_BE_TAGGED.search(text) is None:
        return []
    tokens = _yaml().scan(_without_directives(VARIABLE.sub(_hide, text)))
    return [_at(token.start_mark) for token in tokens if isinstance(token, TagToken)]


def half_a_character(node: ScalarNode, text: str) -> Position | None:
    """Join surrogate pairs: JSON writes some characters as two escapes, each for half of the character.

    Return the position of a surrogate without its other half; None: there is no such surrogate.
    """
    value = str(node.value)
    if node.style != '"' or is_unicode(value):
        return None
    joined = value.encode("utf-16-le", "surrogatepass")
    try:
        node.value = joined.decode("utf-16-le")
    except UnicodeDecodeError:
        node.value = joined.decode("utf-16-le", "replace")
        return position_of(text, _half(text, node), node)
    return None


def _half(text: str, node: ScalarNode) -> int:
    """Return the index of the first escape that is a surrogate without its other half."""
    high: re.Match[str] | None = None
    for escape in _ESCAPE.finditer(text, node.start_mark.index, node.end_mark.index):
        code = int(escape["u"] or escape["U"] or "0", 16)
        if 0xDC00 <= code < 0xE000 and high is not None and high.end() == escape.start():
            high = None
        elif high is not None or 0xDC00 <= code < 0xE000:
            return (high or escape).start()
        else:
            high = escape if 0xD800 <= code < 0xDC00 else None
    return high.start() if high is not None else int(node.start_mark.index)


def is_unicode(text: str) -> bool:
    """Return whether a text is valid Unicode: it has no lone surrogates (halves of characters)."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hide(match: re.Match[str]) -> str:
    return "".join(chr(ord(char) + _SHIFT) if ord(char) < 0x10000 else char for char in match.group())


def with_variables_shown(text: str) -> str:
    """Return a text with its hidden variables as they were written."""
    return HIDDEN.sub(lambda match: "".join(map(_unshifted, match.group())), text)


def _unshifted(char: str) -> str:
    return chr(ord(char) - _SHIFT) if _PRIVATE.match(char) else char
