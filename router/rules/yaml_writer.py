"""Writes a routes.yaml: plain data as YAML in block style."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from router.channels.importing import FALSE_WORDS, TRUE_WORDS, Variable

_PLAIN = re.compile(r"[A-Za-z_/](?:[\w./@:+-]*[\w/])?|\d+(?:ms|[smhdwy])", re.ASCII)
# Without quotes, YAML 1.1 or 1.2 would not read these as text.
_NOT_TEXT = TRUE_WORDS | FALSE_WORDS | {"null"}
_MAX_LINE_CHARS = 100


def write(data: Mapping[str, Any], indent: int = 0) -> Iterator[str]:
    """Yield lines of YAML in block style. A short mapping or list takes one line."""
    for key, value in data.items():
        yield from _entry(f"{' ' * indent}{_scalar(key)}:", value, indent + 2)


def _entry(start: str, value: Any, indent: int) -> Iterator[str]:
    flow = _flow(value)
    if (
        flow is not None
        and len(start) + len(flow) < _MAX_LINE_CHARS
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
    if flow is not None and indent + len(flow) < _MAX_LINE_CHARS:
        yield f"{' ' * indent}- {flow}"
        return
    if not isinstance(item, dict):
        yield f"{' ' * indent}- {_scalar(item)}"
        return
    first, *rest = write(item, indent + 2)
    yield f"{' ' * indent}- {first.lstrip()}"
    yield from rest


def _flow(value: Any) -> str | None:
    """Return a value in one line; None: it needs several lines."""
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
    """Return a scalar inside brackets, where YAML needs more quotes."""
    scalar = _scalar(value)
    return (
        f'"{scalar}"' if isinstance(value, Variable) or (":" in scalar and scalar[0] not in "'\"") else scalar
    )


def _scalar(value: Any) -> str:
    """Return a scalar. Text is quoted where YAML would read it as a number, a boolean or a variable."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    plain = _PLAIN.fullmatch(text) and text.casefold() not in _NOT_TEXT
    if isinstance(value, Variable) or plain:
        return text
    if text.isprintable() and "${" not in text:
        return "'" + text.replace("'", "''") + "'"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\x24{")
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'
