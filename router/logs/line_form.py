"""The two forms of a log line: a JSON object for programs, and a line for people. Both bound every field, and in neither
can a value look like a line of its own.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any

MAX_FIELD_CHARS = 1_000
_MAX_LONG_FIELD_CHARS = 8_000
# A person needs the whole of these. No request can cause many of them, because errors are sampled.
_LONG_FIELDS = frozenset({"exception", "problems"})
_MAX_ITEMS = 20
_MAX_DEPTH = 3
_PREFIX = "  | "
_HEAD = ("timestamp", "level", "action")
_FIRST_FIELDS = ("status", "tenant", "durationMs")
_ACTION_WIDTH = 30
# https://en.wikipedia.org/wiki/ANSI_escape_code#Select_Graphic_Rendition_parameters
_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = 1, 2, 31, 32, 33, 36
_COLOURS = {"debug": _DIM, "info": _GREEN, "warning": _YELLOW}

Form = Callable[[Mapping[str, Any]], str]
"""Makes a line of the bounded fields of a record."""


def ordered(head: dict[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounded fields of a line: the head, then status, tenant and duration, then the others."""
    for name in _FIRST_FIELDS:
        if name in fields:
            head[name] = bounded(fields[name])
    for name, value in fields.items():
        if name not in head:
            head[name] = bounded(value, _MAX_LONG_FIELD_CHARS if name in _LONG_FIELDS else MAX_FIELD_CHARS)
    return head


def bounded(value: object, limit: int = MAX_FIELD_CHARS, depth: int = 0) -> Any:
    """Return a value that JSON can represent, cut to a bounded size. What is cut is counted.

    :param limit: for each text, in characters
    :param depth: how many lists and objects are around the value
    """
    if isinstance(value, str):
        return str(value) if len(value) <= limit else _cut(value, limit)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth < _MAX_DEPTH and isinstance(value, Mapping):
        some = {
            str(name)[:limit]: bounded(each, limit, depth + 1)
            for name, each in islice(value.items(), _MAX_ITEMS)
        }
        return some | _more(len(value))
    if depth < _MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [
            *_bounded_items(value, limit, depth),
            *(f"{key} {count}" for key, count in _more(len(value)).items()),
        ]
    return _cut(str(value), limit)


def _bounded_items(values: Iterable[object], limit: int, depth: int) -> Iterable[Any]:
    return (bounded(each, limit, depth + 1) for each in islice(values, _MAX_ITEMS))


def _more(count: int) -> dict[str, int]:
    return {"more": count - _MAX_ITEMS} if count > _MAX_ITEMS else {}


def _cut(text: str, limit: int) -> str:
    """Return the first characters of a text, and how many more there are. An exception is at the end of its traceback, so
    a long field keeps its end, too.
    """
    left_out = len(text) - limit
    if left_out <= 0:
        return text
    note = f"… ({left_out} characters are left out)"
    if limit < _MAX_LONG_FIELD_CHARS:
        return text[:limit] + note
    return f"{text[: limit // 4]}{note}…{text[limit // 4 + left_out :]}"


# All characters beyond ASCII are escaped. So a line holds no control character, and no character that changes the direction
# of text, whatever program shows it.
json_object: Form = json.JSONEncoder(ensure_ascii=True, check_circular=False).encode


def human_form(*, colors: bool) -> Form:
    """Return the form for people. A text of several lines, such as a traceback, follows the line; each line of it has a
    prefix.
    """

    def show(record: Mapping[str, Any]) -> str:
        fields = {name: value for name, value in record.items() if name not in _HEAD}
        below = {name: value for name, value in fields.items() if isinstance(value, str) and "\n" in value}
        level = painted(f"{record['level']:<8}", _COLOURS.get(record["level"], _RED))
        action = painted(f"{printable(record['action']):<{_ACTION_WIDTH}}", _BOLD)
        first = [painted(record["timestamp"], _DIM), level, action]
        first += (
            f"{painted(name, _CYAN)}={_quoted(value)}" for name, value in fields.items() if name not in below
        )
        lines = [" ".join(first).rstrip()]
        for name, text in below.items():
            lines += (f"{_PREFIX}{printable(line)}" for line in (f"{name}:", *text.splitlines()))
        return "\n".join(lines)

    def painted(text: str, code: int) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if colors else text

    return show


def printable(text: str) -> str:
    """Return a text with escapes in place of characters that a terminal does not print, such as ESC or a newline."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _quoted(value: object) -> str:
    """Return a value of a field for people. A text that could be taken for several fields is quoted."""
    is_word = (
        isinstance(value, str) and value.isprintable() and value and not any(char in value for char in ' "=')
    )
    return str(value) if is_word else printable(json.dumps(value, ensure_ascii=False))
