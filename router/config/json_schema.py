"""The JSON Schema of routes.yaml and of the files of teams, made from the models that read them. Editors use it.

It describes the file as people write it: every single value is text to the router, a number or a boolean is written
without quotes, ``${VARIABLE}`` can stand anywhere, and a secret can be ``{file: path}``.

JSON Schema can't express names that must exist, order, and conditions between values. ``alert-router check`` finds those.
"""

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from router.channels import KEYWORDS, REGISTRY, ChannelSpec
from router.config.models import FileModel, FragmentModel

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The version of JSON Schema that editors support best."""
_REF = "#/definitions/{model}"
_VARIABLE = r"\$\{"
_SCALARS = ["string", "number", "boolean"]
_SECRET_FILE = {
    "type": "object",
    "properties": {"file": {"type": "string", "minLength": 1}},
    "required": ["file"],
    "additionalProperties": False,
}
_NULL = {"type": "null"}
_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")


def schema_of_routes() -> dict[str, Any]:
    """Return the schema of routes.yaml (draft 7)."""
    return _schema(FileModel, "routes.yaml of the alert router")


def schema_of_team() -> dict[str, Any]:
    """Return the schema of an included file of a team (draft 7)."""
    return _schema(FragmentModel, "A team's file of the alert router")


class _Written(GenerateJsonSchema):
    """Describes single values as text that is written with or without quotes. Defaults are left out: they are in
    milliseconds, and docs/configuration.md has them.
    """

    def default_schema(self, schema: Any) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def str_schema(self, schema: Any) -> dict[str, Any]:
        made = super().str_schema(schema)
        return {"minLength": 1, **made, "type": _SCALARS}

    def function_before_schema(self, schema: Any) -> dict[str, Any]:
        """A number that is read by a function of its own can be written in any form: the type does not say in which."""
        inner = schema["schema"]
        kind = inner["schema"]["type"] if inner["type"] == "nullable" else inner["type"]
        if kind in {"int", "float", "decimal"}:
            return {"type": [*_SCALARS, *(["null"] if inner["type"] == "nullable" else [])]}
        return super().function_before_schema(schema)

    def bool_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ARG002
        return {"type": "boolean"}


def _schema(root: type[BaseModel], title: str) -> dict[str, Any]:
    models = [root, *(model for spec in REGISTRY.values() for model in (spec.settings, spec.options))]
    mode: JsonSchemaMode = "validation"
    keys = [(model, mode) for model in dict.fromkeys(models)]
    refs, made = models_json_schema(keys, by_alias=True, ref_template=_REF, schema_generator=_Written)
    definitions: dict[str, Any] = made["$defs"]
    _describe(definitions, models)
    whole = definitions.pop(refs[(root, mode)]["$ref"].rpartition("/")[2])
    properties = whole["properties"]
    about = {
        key: {"description": each["description"]} for key, each in properties.items() if "description" in each
    }
    if "channels" in properties:
        properties["channels"] = _channels(refs)
    properties["receivers"] = {**_receivers(refs), **({"minProperties": 1} if root is FileModel else {})}
    properties["route"] = _root_route(properties["route"], is_main=root is FileModel)
    for key in ("channels", "receivers", "route"):
        properties.get(key, {}).update(about.get(key, {}))
    definitions["Secret"] = _secret()
    written = _with_variables({**whole, "definitions": definitions})
    return {"$schema": DRAFT, **written, "title": title}


def _channels(refs: Mapping[Any, Any]) -> dict[str, Any]:
    sections: dict[str, Any] = {}
    for spec in REGISTRY.values():
        sections.setdefault(spec.section, {"anyOf": [refs[(spec.settings, "validation")], _NULL]})
    return {"type": "object", "properties": sections, "additionalProperties": False}


def _receivers(refs: Mapping[Any, Any]) -> dict[str, Any]:
    destination = {
        "type": "object",
        "properties": {word: _options(word, refs) for word in KEYWORDS},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    items = {"anyOf": [{"type": "array", "items": destination}, _NULL]}
    return {"type": "object", "additionalProperties": items}


def _options(word: str, refs: Mapping[Any, Any]) -> Any:
    """Return the schema of the options of a destination. An option chooses between the channels of one word."""
    several: list[ChannelSpec] = [spec for spec in REGISTRY.values() if spec.word == word]
    chosen = next((spec for spec in several if spec.chosen_by), None)
    plain = next(spec for spec in several if not spec.chosen_by)
    otherwise = refs[(plain.options, "validation")]
    if chosen is None:
        return otherwise
    return {
        "if": {"required": [chosen.chosen_by]},
        "then": refs[(chosen.options, "validation")],
        "else": otherwise,
    }


def _root_route(route: Mapping[str, Any], *, is_main: bool) -> dict[str, Any]:
    """Return the schema of the first route: in the main file it takes every alert, so it has a receiver and no condition."""
    if not is_main:
        return dict(route)
    conditions = ("matchers", "match", "match_re", "severity")
    return {
        "allOf": [route],
        "required": ["receiver"],
        "properties": {key: _empty(key) for key in conditions},
    }


def _empty(key: str) -> dict[str, Any]:
    if key == "matchers":
        return {"anyOf": [{"type": "array", "maxItems": 0}, {"type": "string", "maxLength": 0}]}
    return _NULL if key == "severity" else {"type": "object", "maxProperties": 0}


def _secret(limits: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Return the schema of a secret. :param limits: of its length"""
    text = {"type": _SCALARS, "minLength": 1, **(limits or {})}
    return {
        "anyOf": [text, *([{"type": "string", "pattern": _VARIABLE}] if limits else []), _SECRET_FILE],
        "description": "A secret: text, ${VARIABLE}, or {file: path}.",
    }


def _with_variables(schema: Any) -> Any:
    """Return a schema that also accepts a variable in place of any single value, and knows secrets."""
    if isinstance(schema, list):
        return [_with_variables(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "password":
        exact = {key: schema[key] for key in ("minLength", "maxLength") if schema.get(key, 1) > 1}
        return _secret(exact) if exact else {"$ref": _REF.format(model="Secret")}
    found = {key: _with_variables(value) for key, value in schema.items() if key != "title"}
    text = found.pop("description", None)
    types = found.get("type", [])
    types = [types] if isinstance(types, str) else types
    if isinstance(found.get("pattern"), str):
        found["pattern"] = f"{found['pattern']}|{_VARIABLE}"
    elif (
        "enum" in found
        or "const" in found
        or ({"integer", "number", "boolean"} & set(types) and "string" not in types)
    ):
        found = {"anyOf": [found, {"type": "string", "pattern": _VARIABLE}]}
    return {**found, **({"description": text} if isinstance(text, str) else {})}


def _describe(definitions: dict[str, Any], models: list[type[BaseModel]]) -> None:
    """Add the docstrings of the models' fields as descriptions; editors show them."""
    for model in _all_models(models):
        made = definitions.get(model.__name__)
        if made is None:
            continue
        made.pop("description", None)
        for base in reversed(model.__mro__):
            for name, text in _docstrings(base) if issubclass(base, BaseModel) else ():
                field = model.model_fields.get(name)
                given = made["properties"].get((field.alias or name) if field is not None else name)
                if isinstance(given, dict):
                    given["description"] = text


def _all_models(models: list[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    pending, seen = list(models), set()
    while pending:
        model = pending.pop()
        if model in seen:
            continue
        seen.add(model)
        yield model
        module = inspect.getmodule(model)
        pending += (
            each
            for each in vars(module).values()
            if isinstance(each, type) and issubclass(each, BaseModel) and each is not BaseModel
        )


def _docstrings(model: type) -> Iterator[tuple[str, str]]:
    """Yield the name and the docstring of each attribute of a class that has one."""
    if model is BaseModel:
        return
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for before, after in itertools.pairwise(statements):
        if not isinstance(before, ast.AnnAssign) or not isinstance(before.target, ast.Name):
            continue
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            text = " ".join(str(after.value.value).split()).replace("``", "`")
            yield before.target.id, _ROLE.sub(r"`\1`", text)
