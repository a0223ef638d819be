"""Parses bytes into a JSON value. Lenient: accepts raw newlines in texts, and bytes that are no UTF-8.

The texts of the result have no NUL and no lone surrogates, which no database and no provider accepts.
"""

import json
import re
from collections.abc import Callable, Generator
from typing import Any

_UNFIT = re.compile("[\0\ud800-\udfff]")
# Their escapes in JSON. Other escapes do not count: nearly every body has some, because Go writes & as \u0026.
_ESCAPED = re.compile(r"\\u(?:0000|[dD])")
_SPACE = re.compile(r"[ \t\n\r]*")
_LENIENT = json.JSONDecoder(strict=False)


class NotJson(ValueError):  # noqa: N818  (the name says what is wrong)
    """Bytes are not JSON. The text says why."""


def parse_json(body: bytes) -> Any:
    """Return the value of a body. :raises NotJson: it is no JSON"""
    return _read(_decode(body))


def replace_unfit(value: Any) -> Any:
    """Return the same value with U+FFFD in place of NUL and lone surrogates, in every text."""
    if isinstance(value, str):
        return _UNFIT.sub("\ufffd", value)
    if isinstance(value, dict):
        return {replace_unfit(name): replace_unfit(each) for name, each in value.items()}
    if isinstance(value, list):
        return [replace_unfit(each) for each in value]
    return value


def parse_json_in_pieces(
    body: bytes, key: str, each: Callable[[int, Any], Any]
) -> Generator[None, None, Any]:
    """Parse a large body, as :func:`parse_json` does. Yields after each entry of the list under ``key`` of the
    document.

    :param each: takes the index of an entry and the entry; its result replaces the entry, so that memory does not hold
        the whole list both as JSON and as results
    :raises NotJson: it is no JSON
    """
    text = _decode(body)
    start = _skip(text, 0)
    if text[start : start + 1] != "{":
        return _read(text)
    nul = "\0" in text
    document: dict[str, Any] = {}
    try:
        end = _skip(text, start + 1)
        while text[end : end + 1] != "}":
            if document:
                end = _expect(text, end, ",")
            _expect(text, end, '"')
            name, end = _LENIENT.raw_decode(text, end)
            end = _expect(text, _skip(text, end), ":")
            if name == key and text[end : end + 1] == "[":
                value, end = yield from _entries(text, end + 1, each, nul=nul)
            else:
                value, end = _value(text, end, nul=nul)
            document[replace_unfit(name)] = value
            end = _skip(text, end)
        end = _skip(text, end + 1)
        if end != len(text):
            raise json.JSONDecodeError("Extra data", text, end)
    except NotJson:
        raise
    except ValueError as error:
        raise NotJson(str(error)) from None
    return document


def _entries(
    text: str, end: int, each: Callable[[int, Any], Any], *, nul: bool
) -> Generator[None, None, tuple[list[Any], int]]:
    """Return the entries of a list, and the index after its ``]``. :param end: the index after its ``[``"""
    entries: list[Any] = []
    end = _skip(text, end)
    while text[end : end + 1] != "]":
        if entries:
            end = _expect(text, end, ",")
        entry, end = _value(text, end, nul=nul)
        entries.append(each(len(entries), entry))
        end = _skip(text, end)
        yield
    return entries, end + 1


def _value(text: str, start: int, *, nul: bool) -> tuple[Any, int]:
    value, end = _LENIENT.raw_decode(text, start)
    return (replace_unfit(value) if nul or _ESCAPED.search(text, start, end) else value), end


def _skip(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return start if found is None else found.end()


def _expect(text: str, at: int, sign: str) -> int:
    """Return the index of the next token after a sign. :raises JSONDecodeError: another sign is here"""
    if text[at : at + 1] != sign:
        raise json.JSONDecodeError(f"Expecting {sign!r}", text, at)
    return _skip(text, at + 1)


def _read(text: str) -> Any:
    try:
        return replace_unfit(_LENIENT.decode(text))
    except ValueError as error:
        raise NotJson(str(error)) from None


def _decode(body: bytes) -> str:
    return body.decode("utf-8-sig", errors="replace")
