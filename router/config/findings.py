"""Turns the errors of pydantic into messages for people, and removes the invalid values from the data."""

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.config.document import Location


def readable_errors(error: ValidationError) -> list[ErrorDetails]:
    """Return the errors of pydantic. An error "too short" of a list is left out if an item of the list is wrong, too."""
    details = error.errors()
    inner = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(loc[: len(detail["loc"])] == detail["loc"] and loc != detail["loc"] for loc in inner)
    ]


# What is wrong and what to do, by the type of the finding; {limit} is the limit that the finding names.
# https://docs.pydantic.dev/latest/errors/validation_errors/
_FINDING_MESSAGES = {
    "string_pattern_mismatch": (
        "{key} has characters that can't be used here",
        "keep to letters, digits, '_', '.' and '-'",
    ),
    "string_type": ("{key} is not text", "write one word or text here, in quotes if need be"),
    "model_type": ("{key} is not a mapping", "write its keys below it"),
    "tuple_type": ("{key} is not a list", "write it in [brackets]"),
    "float_parsing": ("{key} is not a number", "write one, like 10"),
    "literal_error": ("{key} is none of {limit}", "choose one of them"),
    "greater_than": ("{key} is too small", "it should be more than {limit:g}"),
    "less_than_equal": ("{key} is too large", "it should be at most {limit:g}"),
    "string_too_short": ("{key} has the wrong length", "its length should be {limit}"),
}
_SAME_MESSAGE = {
    "dict_type": "model_type", "list_type": "tuple_type", "float_type": "float_parsing",
    "string_too_long": "string_too_short", "too_short": "string_too_short", "too_long": "string_too_short",
}  # fmt: skip
_LIMIT_NAMES = ("expected", "gt", "le", "min_length", "max_length")
_TODO_IF_EMPTY = {"string_too_short": "give it, or leave the key out", "too_short": "name one at least"}


def describe_finding(detail: ErrorDetails, location: Location) -> tuple[str, str]:
    """Return what is wrong and what to do. The value itself is never shown: it may be a secret."""
    key = next((str(part) for part in reversed(location) if isinstance(part, str)), "this")
    message, kind = detail["msg"].removeprefix("Value error, "), detail["type"]
    if kind == "value_error":
        what, todo = split_message(message)
        spoken = what if what.startswith(f"{key} ") else f"{key}: {what}"
        return f"{key} {what}" if what.startswith("is ") else spoken, todo
    given = detail.get("ctx", {})
    limit = next((given[name] for name in _LIMIT_NAMES if name in given), None)
    if kind in _TODO_IF_EMPTY and limit == 1:
        return f"{key} is empty", _TODO_IF_EMPTY[kind]
    known = _FINDING_MESSAGES.get(_SAME_MESSAGE.get(kind, kind))
    if known is None:
        return f"{key} is not right", message[0].lower() + message[1:]
    what, todo = (text.format(key=key, limit=limit) for text in known)
    return what, todo


def split_message(message: str) -> tuple[str, str]:
    """Return what is wrong and what to do, from ``what; todo``."""
    what, separator, todo = message.partition("; ")
    return what, todo if separator else "correct it"


def keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that a mapping at this location may have."""
    models: list[type[BaseModel]] = [model]
    for part in location:
        inner = [
            found
            for each in models
            for name, field in each.model_fields.items()
            if (field.alias or name) == part
            for found in _models(field.annotation)
        ]
        models = inner or models  # an index, or pydantic's name for a member of a union
    return sorted({field.alias or name for each in models for name, field in each.model_fields.items()})


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from _models(inner)


def remove_piece(data: Any, location: Location) -> bool:
    """Remove the key whose value is the smallest one around a location. Return False if nothing can be removed."""
    holder, key = None, None
    for part in location:
        if not (isinstance(data, dict) and part in data) and not (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            break
        if isinstance(data, dict):
            holder, key = data, part
        data = data[part]  # type: ignore[index]  # a list's part is an index, as checked above
    if holder is None or key == "route":
        return False
    del holder[key]
    return True
