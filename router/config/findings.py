"""Pydantic's findings in words for people, and the data without the pieces they are about."""

import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from router.config.document import Location


def findings(error: ValidationError) -> list[ErrorDetails]:
    """What pydantic found, without lists that are too short only because an item of theirs is wrong."""
    details = error.errors()
    inner = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(loc[: len(detail["loc"])] == detail["loc"] and loc != detail["loc"] for loc in inner)
    ]


def words(detail: ErrorDetails, location: Location) -> tuple[str, str]:
    """What is wrong and what to do, of one of pydantic's findings; never what was given."""
    key = next((str(part) for part in reversed(location) if isinstance(part, str)), "this")
    message = detail["msg"].removeprefix("Value error, ")
    limits = detail.get("ctx", {})
    match detail["type"]:
        case "string_pattern_mismatch":
            return (
                f"{key} has characters that can't be used here",
                "keep to letters, digits, '_', '.' and '-'",
            )
        case "string_too_short" if limits.get("min_length") == 1:
            return f"{key} is empty", "give it, or leave the key out"
        case "too_short" if limits.get("min_length") == 1:
            return f"{key} is empty", "name one at least"
        case "string_too_short" | "string_too_long" | "too_short" | "too_long":
            wanted = limits.get("min_length", limits.get("max_length"))
            return f"{key} has the wrong length", f"it should be {wanted}"
        case "string_type":
            return f"{key} is not text", "write one word or text here, in quotes if need be"
        case "literal_error":
            return f"{key} is none of {limits['expected']}", "choose one of them"
        case "int_parsing" | "int_type" | "float_parsing" | "float_type":
            return f"{key} is not a number", "write one, like 10"
        case "greater_than" | "less_than_equal":
            most = limits.get("le")
            return f"{key} is too {'large' if most else 'small'}", f"it should be {'at most' if most else 'more than'} {most or limits['gt']:g}"
        case "value_error":
            what, todo = split(message)
            spoken = what if what.startswith(f"{key} ") else f"{key}: {what}"
            return f"{key} {what}" if what.startswith("is ") else spoken, todo
        case "model_type" | "dict_type":
            return f"{key} is not a mapping", "write its keys below it"
        case "tuple_type" | "list_type":
            return f"{key} is not a list", "write it in [brackets]"
        case _:
            return f"{key} is not right", message[0].lower() + message[1:]


def split(message: str) -> tuple[str, str]:
    what, separator, todo = message.partition("; ")
    return what, todo if separator else "mend it"


def keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that a mapping at this location may have."""
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


def prune(data: Any, location: Location) -> bool:
    """Leave out the smallest piece around a location that a mapping names. False: there is none left."""
    holder, key = None, None
    for part in location:
        if not (isinstance(data, dict) and part in data) and not (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        ):
            break
        if isinstance(data, dict):
            holder, key = data, part
        data = data[part]  # type: ignore[index]  # a list's part is an index, as just seen
    if holder is None or key == "route":
        return False
    del holder[key]
    return True
